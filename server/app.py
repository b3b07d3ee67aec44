"""The ServerApp: waits for devices, offers them the model, trains in private rounds, then asks for alerts step by step."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from numpy.typing import NDArray

from shared.clock import Clock, ReplayClock, WallClock
from shared.codec import pack_floats
from shared.coins import BitSchedule
from shared.errors import BudgetError, ConfigError, RunError
from shared.plan import Plan, PrivacyPlan

from .accounting import (
    RoundAccountant,
    epsilon_to_public,
    epsilon_unamplified,
    likely_participations,
    to_server,
)
from .bits import BitInbox, bits_account
from .departed import Departed
from .federation import DeviceNodes, Federation
from .inbox import Inbox
from .risk import PublicRows, RiskStart
from .rounds import INTEREST, RISK, Line, Part, Traffic, open_sum
from .signing import Signer, signing_key
from .state import RISK as RISK_FILE
from .state import Charges, ServerFolder
from .strategy import ServerOptimizer, ServerSettings

app = ServerApp()

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
    theta: NDArray[np.float32]
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
                ServerSettings(float(config["server.risk-learning-rate"]), 0.0, RISK_TAIL),
                PublicRows.load(Path(public)) if (public := str(config["server.public-rows"])) else None,
                Path(str(config["server.key-file"])),
                warm=bool(config["server.theta-file"]),
            )
        except KeyError as missing:
            raise ConfigError(f"expected the run configuration to hold {missing}") from None


def _bit_schedule(epsilon_micro: int, every_steps: int) -> BitSchedule | None:
    """None if bits are never asked for: every 0 steps."""
    return BitSchedule(epsilon_micro, every_steps) if every_steps else None


def hasten(grid: Grid) -> None:
    """Look for replies every 10 ms where the grid polls (by default it does so every 100 ms)."""
    if hasattr(grid, "pull_interval"):
        grid.pull_interval = 0.01


def wait_for_nodes(grid: Grid, expected: int, timeout_s: float) -> list[int]:
    """Ids of at least `expected` connected nodes, sorted; RunError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while len(nodes := sorted(grid.get_node_ids())) < expected:
        if time.monotonic() > end:
            raise RunError(f"expected {expected} connected devices within {timeout_s:.0f} s, got {len(nodes)}")
        time.sleep(0.2)
    return nodes


def train(federation: Federation, settings: RunSettings, folder: ServerFolder) -> RoundAccountant:
    """Run the plan's rounds, p's and then phi's, or as many of p's as its epsilon allows; goes on where an earlier
    process stopped. Then every device gets the weights.

    A round is charged durably before its cohort is sampled. One that was interrupted stays charged: it is never run
    again, so no device ever makes noise twice for one sum, and epsilon is at least that of an uninterrupted run.
    """
    plan, n_rounds = settings.plan, settings.plan.privacy.rounds
    charges = folder.charges(plan.sha256)
    accountant = RoundAccountant(*plan.charged)
    accountant.charge(charges.count(until=n_rounds))
    if plan.risk:
        accountant.charge(charges.count(after=n_rounds), 1)
    optimizer = ServerOptimizer(settings.theta, settings.server)
    models = folder.load_checkpoint(optimizer) or [optimizer.published]
    for round_number in range(accountant.rounds + 1, n_rounds + 1):
        if not accountant.affords_another():
            break
        charges.add(round_number)
        accountant.charge()
        request = _request(settings, round_number, optimizer.theta)
        mean_delta = run_round(federation, plan, plan.privacy, request, INTEREST)
        if mean_delta is not None:
            optimizer.step(mean_delta)
        models.append(optimizer.published)
        folder.keep_traffic(federation.traffic.to_map())
        folder.save_checkpoint(optimizer, models)
        folder.report("rounds", round_number, n_rounds, epsilon=_finite(accountant.epsilon))
    if not accountant.rounds:
        raise BudgetError(f"expected max_epsilon to allow one round, got {plan.privacy.max_epsilon}")
    theta = optimizer.published
    risk = train_risk(federation, settings, folder, charges, accountant, theta) if plan.risk else None
    offer(federation, settings, theta, accountant.rounds, risk=risk)
    return accountant


def train_risk(
    federation: Federation,
    settings: RunSettings,
    folder: ServerFolder,
    charges: Charges,
    accountant: RoundAccountant,
    theta: NDArray[np.float32],
) -> NDArray[np.float32]:
    """phi's weights (R,), learned on top of p in rounds that are numbered after p's."""
    plan = settings.plan
    assert plan.risk is not None
    if settings.public_rows is None:
        raise ConfigError("expected server.public-rows, a file of public lapse rows, for a plan that learns phi")
    privacy = plan.risk.privacy
    # Weights that public people taught read public people as the trained ones read the devices' users.
    start = RiskStart.learn(settings.public_rows, plan, settings.theta if settings.warm else theta)
    optimizer = ServerOptimizer(start.coefficients, settings.risk_server)
    models = folder.load_checkpoint(optimizer, RISK_FILE) or [start.weights(optimizer.published)]
    for i in range(accountant.also[0][1] + 1, privacy.rounds + 1):
        charges.add(plan.privacy.rounds + i)
        accountant.charge(part=1)
        request = {
            **_request(settings, plan.privacy.rounds + i, theta),
            "basis": pack_floats(start.basis),
            "coefficients": pack_floats(optimizer.theta.astype(np.float32)),
        }
        mean_delta = run_round(federation, plan, privacy, request, RISK)
        if mean_delta is not None:
            optimizer.step(start.newton @ mean_delta)
        models.append(start.weights(optimizer.published))
        folder.keep_traffic(federation.traffic.to_map())
        folder.save_checkpoint(optimizer, models, RISK_FILE)
        folder.report("risk_rounds", i, privacy.rounds, epsilon=_finite(accountant.epsilon))
    return models[-1]


def _request(settings: RunSettings, round_number: int, theta: NDArray[np.floating]) -> dict[str, Any]:
    """What every request for an update says."""
    return {
        "step": settings.schedule.train_step,
        "round": round_number,
        "plan_sha256": settings.plan.sha256,
        "theta": pack_floats(theta.astype(np.float32)),
    }


def run_round(
    federation: Federation, plan: Plan, privacy: PrivacyPlan, request: dict[str, Any], part: Part
) -> NDArray[np.float64] | None:
    """The mean update of one round that is charged already, float64 (part's length,); None if its sum may not be
    opened."""
    cohort = federation.sample(privacy.sampling_rate)
    if len(cohort) < privacy.min_survivors:
        federation.traffic.dropped["round_small_cohort"] += 1
        return None
    total, survivors = federation.collect(cohort, plan, request, part)
    return open_sum(total, survivors, privacy, federation.traffic)


def offer(
    federation: Federation,
    settings: RunSettings,
    theta: NDArray[np.float32],
    round_number: int,
    *,
    with_file: bool = False,
    risk: NDArray[np.float32] | None = None,
) -> None:
    """Give every device the plan, weights and, the first time, the model file."""
    federation.offer(
        {
            "step": settings.schedule.train_step,
            "round": round_number,
            "plan": settings.plan.canonical,
            "model": settings.model if with_file else b"",
            "theta": pack_floats(theta),
            "risk": b"" if risk is None else pack_floats(risk),
        }
    )


def ask_for_alerts(
    federation: Federation, settings: RunSettings, folder: ServerFolder, inbox: Inbox, clock: Clock
) -> None:
    """Query every device at every scheduled step; what identified devices tell goes to the inbox, and so do randomised
    bits, asked for at the steps at which they are due."""
    schedule, bits = settings.schedule, BitInbox(folder.inbox_file)
    steps = sorted({*schedule.query_steps, *schedule.bit_steps})
    for i, step in enumerate(steps, start=1):
        schedule.wait_for(step, clock)
        if step in schedule.query_steps:
            for device, alerts in federation.alerts(step):
                inbox.add(device, alerts)
        if schedule.bits and step in schedule.bit_steps:
            bits.add_all(step, schedule.bits.epsilon_micro, federation.bits(schedule.bits, step))
        folder.keep_traffic(federation.traffic.to_map())
        folder.report("queries", i, len(steps))


def run(federation: Federation, settings: RunSettings, clock: Clock) -> None:
    """One run with its devices connected: offer, train, query, and the account of it all."""
    folder = ServerFolder(settings.folder)
    privacy = settings.plan.privacy
    inbox = Inbox(folder.inbox_file)
    federation.traffic.add(folder.traffic())
    settings.schedule.wait_for(settings.schedule.train_step, clock)
    offer(federation, settings, settings.theta, 0, with_file=True)
    folder.report("offer", 1, 1)
    accountant = train(federation, settings, folder)
    ask_for_alerts(federation, settings, folder, inbox, clock)
    folder.keep_traffic(federation.traffic.to_map())
    coins, bit_steps = settings.schedule.bits, settings.schedule.bit_steps
    participations = likely_participations(privacy)
    likely = tuple((part, likely_participations(part)) for part in settings.plan.charged[1:])
    folder.keep_account(
        {
            "rounds_charged": accountant.rounds,
            "rounds_planned": privacy.rounds,
            "delta": privacy.delta,
            "epsilon_rdp": _finite(accountant.epsilon),
            "risk_rounds_charged": sum(count for _, count in accountant.also),
            "epsilon_to_public": _finite(epsilon_to_public(privacy, accountant.rounds, accountant.also)),
            "epsilon_unamplified": _finite(epsilon_unamplified(privacy, participations, likely)),
            "likely_participations": participations,
            "to_server": to_server(coins, len(bit_steps), privacy.delta),
            "bits": bits_account(folder.inbox_file, coins, len(bit_steps), privacy.delta) if coins else None,
            "plan_sha256": settings.plan.sha256.hex(),
            "identified_alerts": inbox.count(),
        }
    )


def _finite(value: float) -> float | None:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else None


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One Flower run in which every node is one device."""
    settings = RunSettings.read(context.run_config)
    population = settings.plan.privacy.population
    hasten(grid)
    folder, clock = ServerFolder(settings.folder), settings.schedule.clock()
    departed = Departed(folder.departed_file)
    nodes = wait_for_nodes(grid, population - len(departed), settings.node_wait_s)
    folder.report("devices", len(nodes), population)
    line = Line(grid, Traffic(), Signer(signing_key(settings.key_file), clock), departed)
    run(DeviceNodes(line, nodes), settings, clock)
