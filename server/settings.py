"""What the server of a run is told: plan, schedule, how it moves, and where its files lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.arrays import Floats
from shared.clock import Clock, ReplayClock, WallClock
from shared.errors import ConfigError
from shared.plan import Plan
from shared.randomised_response import BitSchedule

from .optimizer import ServerSettings
from .risk_start import PublicRows

#: phi's coefficients are averaged over this share of its rounds.
RISK_TAIL = 0.75


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
        every, first = self.bits.every_steps, self.train_step + 1
        return range(first + -(first + 1) % every, self.last_query_step + 1, every)

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
    """What the run configuration says."""

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
    warm: bool = False

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> RunSettings:
        """From Flower's run configuration; ConfigError names a key that is missing."""
        try:
            plan = Plan.from_bytes(bytes.fromhex(str(config["plan"])))
            if file := str(config["server.theta-file"]):
                theta = np.load(file).astype(np.float32)
            else:
                theta = plan.network.initial_theta(int(config["server.theta-seed"]))
            return cls(
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
                    bits=_bit_schedule(
                        int(config["schedule.bit-epsilon-micro"]), int(config["schedule.bit-every-steps"])
                    ),
                ),
                Path(str(config["server.folder"])),
                Path(str(config["server.model-file"])).read_bytes(),
                theta,
                float(config["server.node-wait-s"]),
                ServerSettings(float(config["server.risk_start-learning-rate"]), 0.0, RISK_TAIL),
                PublicRows.load(Path(public)) if (public := str(config["server.public-rows"])) else None,
                Path(str(config["server.key-file"])),
                warm=bool(config["server.theta-file"]),
            )
        except KeyError as missing:
            raise ConfigError(f"expected the run configuration to hold {missing}") from None


def _bit_schedule(epsilon_micro: int, every_steps: int) -> BitSchedule | None:
    """None if bits are never asked for: every 0 steps."""
    return BitSchedule(epsilon_micro, every_steps) if every_steps else None
