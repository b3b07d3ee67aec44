"""What the server of a run is told: plan, schedule, how it moves, and where its files lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shared.arrays import Floats, hold_declared
from shared.clock import Clock, ReplayClock, WallClock
from shared.codec import fits_utf8
from shared.errors import ConfigError
from shared.plan import Plan
from shared.randomised_response import BitSchedule, due_steps
from shared.register.bounds import MAX_AUDIENCE_BYTES

from .heads.settings import HeadsSettings, pair
from .optimizer import ServerSettings
from .public.risk_start import PublicRows

#: phi's coefficients are averaged over this share of its rounds.
RISK_TAIL = 0.75
#: Where a flat configuration says how long an honest mean is, by line of the ledger.
LONGEST_MEANS = {
    "update": "server.longest-mean",
    "risk_update": "server.risk-longest-mean",
    "crowd": "server.crowd-longest-mean",
    "curvature": "server.curvature-longest-mean",
    "head_update": "server.head-longest-mean",
}


@dataclass(frozen=True)
class Schedule:
    """When the server asks, in steps of the public calendar. `seconds_per_step` 0 replays: nobody waits, and the clock
    shows the calendar's own time, in steps of `replay_step_s`, as the clocks of simulated devices do."""

    train_step: int
    first_query_step: int
    last_query_step: int
    query_every_steps: int = 1
    seconds_per_step: float = 0.0
    origin_s: float = 0.0
    replay_step_s: float = 86_400.0
    bits: BitSchedule | None = None

    @property
    def bit_steps(self) -> range:
        """The steps after training, up to the last query, at which a randomised bit is due."""
        if self.bits is None:
            return range(0)
        return due_steps(self.train_step, self.last_query_step, self.bits.every_steps)

    @property
    def query_steps(self) -> range:
        return range(self.first_query_step, self.last_query_step + 1, self.query_every_steps)

    def wait_for(self, step: int, clock: Clock) -> None:
        """Until the close of a step."""
        clock.wait_until(self.origin_s + (step + 1) * (self.seconds_per_step or self.replay_step_s))

    def clock(self) -> Clock:
        """The wall's, or for a replay one that does not make anybody wait."""
        return WallClock() if self.seconds_per_step else ReplayClock()


@dataclass(frozen=True)
class RunSettings:
    """What a run is made of, for its server. `n_categories` are in the catalogue; `warm`: theta is a warm start's.
    `longest_means`: by line of the ledger, how long an honest cohort's mean of such a part is at most, in clips
    (`server/bounds.py`); 1, that of every other, holds for whatever people do. `heads`: of a plan that learns them. `audience`: the
    deployment or group of devices that it asks, who answer nothing that is for others. `run`: the second at which it began
    (`ServerFolder.begun_s`). `helpers`: identities of those who hold seats for it, 32 bytes each; `epoch_wait_s`: how long it
    waits for its list of devices to be signed. `round_open_s`: how long, by its clock, a round stays open for whoever was
    restarted."""

    plan: Plan
    server: ServerSettings
    schedule: Schedule
    folder: Path
    model: bytes
    theta: Floats
    node_wait_s: float
    risk_server: ServerSettings
    public_rows: PublicRows | None
    key_file: Path
    n_categories: int
    warm: bool = False
    longest_means: Mapping[str, float] = field(default_factory=dict)
    heads: HeadsSettings | None = None
    audience: str = ""
    run: int = 0
    helpers: tuple[bytes, ...] = ()
    epoch_wait_s: float = 300.0
    round_open_s: float = 3600.0

    @property
    def epoch(self) -> int:
        """The number of this run's epoch of enrolment: they only rise, as runs do."""
        return max(1, self.run)

    def __post_init__(self) -> None:
        hold_declared(self)
        if not fits_utf8(self.audience, MAX_AUDIENCE_BYTES):
            raise ConfigError(f"expected server.audience of at most {MAX_AUDIENCE_BYTES} bytes")
        if self.heads is not None:
            self.heads.checked(self.plan)

    @classmethod
    def of(
        cls,
        plan: Plan,
        server: ServerSettings,
        schedule: Schedule,
        folder: Path,
        *,
        model: bytes,
        key_file: Path,
        n_categories: int,
        theta_file: Path | None = None,
        theta_seed: int = 0,
        risk_learning_rate: float = 1.0,
        public_file: Path | None = None,
        node_wait_s: float = 300.0,
        longest_means: Mapping[str, float] | None = None,
        heads: HeadsSettings | None = None,
        audience: str = "",
        helpers: tuple[bytes, ...] = (),
        epoch_wait_s: float = 300.0,
        round_open_s: float = 3600.0,
    ) -> RunSettings:
        """The settings of a run in this process. Theta 0 is that of `theta_file`, a warm start, or else drawn by
        `theta_seed`; phi starts from the rows of `public_file`, if it is learned."""
        asked, paid = len(schedule.bit_steps), plan.bits.coins if plan.bits else 0
        if asked > paid:
            raise ConfigError(f"expected at most the {paid} bits that the plan charges, got a schedule of {asked}")
        return cls(
            plan,
            server,
            schedule,
            folder,
            model,
            np.load(theta_file).astype(np.float32) if theta_file else plan.network.initial_theta(theta_seed),
            node_wait_s,
            ServerSettings(risk_learning_rate, 0.0, RISK_TAIL),
            PublicRows.load(public_file) if public_file else None,
            key_file,
            n_categories,
            warm=theta_file is not None,
            longest_means=longest_means or {},
            heads=heads,
            audience=audience,
            helpers=helpers,
            epoch_wait_s=epoch_wait_s,
            round_open_s=round_open_s,
        )

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> RunSettings:
        """From Flower's run configuration, which is flat; ConfigError names a key that is missing."""
        try:
            theta_file, public_file = str(config["server.theta-file"]), str(config["server.public-rows"])
            plan = Plan.from_bytes(bytes.fromhex(str(config["plan"])))
            return cls.of(
                plan,
                ServerSettings(*(float(config[f"server.{k}"]) for k in ("learning-rate", "momentum", "tail"))),
                Schedule(
                    train_step=int(config["schedule.train-step"]),
                    first_query_step=int(config["schedule.first-query-step"]),
                    last_query_step=int(config["schedule.last-query-step"]),
                    query_every_steps=int(config["schedule.query-every-steps"]),
                    seconds_per_step=float(config["schedule.seconds-per-step"]),
                    origin_s=float(config["schedule.origin-s"]),
                    replay_step_s=float(config["schedule.replay-step-s"]),
                    bits=BitSchedule.of(plan.bits),
                ),
                Path(str(config["server.folder"])),
                model=Path(str(config["server.model-file"])).read_bytes(),
                key_file=Path(str(config["server.key-file"])),
                n_categories=int(config["server.categories"]),
                theta_file=Path(theta_file) if theta_file else None,
                theta_seed=int(config["server.theta-seed"]),
                risk_learning_rate=float(config["server.risk-learning-rate"]),
                public_file=Path(public_file) if public_file else None,
                node_wait_s=float(config["server.node-wait-s"]),
                longest_means={line: float(config[key]) for line, key in LONGEST_MEANS.items()},
                heads=_heads_in(config, plan),
                audience=str(config["server.audience"]),
                helpers=_identities(str(config["server.helpers"])),
                epoch_wait_s=float(config["server.epoch-wait-s"]),
                round_open_s=float(config["server.round-open-s"]),
            )
        except KeyError as missing:
            raise ConfigError(f"expected the run configuration to hold {missing}") from None


def _heads_in(config: Mapping[str, Any], plan: Plan) -> HeadsSettings | None:
    """What a flat configuration says of heads; None of a plan that learns none."""
    if plan.heads is None:
        return None
    numbers = float(config["server.heads-damping"]), float(config["server.heads-tail"])
    rates, public = pair(str(config["server.heads-rates"])), str(config["server.heads-public"])
    return HeadsSettings.load(
        Path(str(config["server.heads-start"])), plan, rates, *numbers, Path(public) if public else None
    )


def _identities(listed: str) -> tuple[bytes, ...]:
    """Public keys of 32 bytes in hex, with commas between them; ConfigError for anything else."""
    try:
        keys = tuple(bytes.fromhex(one) for one in listed.split(",") if one)
    except ValueError:
        keys = (b"",)
    if any(len(key) != 32 for key in keys):
        raise ConfigError("expected server.helpers, public keys of 32 bytes in hex, with commas between them")
    return keys
