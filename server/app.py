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

from shared.clock import Clock, WallClock
from shared.codec import pack_floats
from shared.errors import BudgetError, ConfigError, RunError
from shared.plan import Plan

from .accounting import (
    TO_SERVER,
    RoundAccountant,
    epsilon_to_public,
    epsilon_unamplified,
    likely_participations,
)
from .inbox import Inbox
from .rounds import Line, Traffic, mean_update, poisson_cohort
from .state import ServerFolder
from .strategy import ServerOptimizer, ServerSettings

app = ServerApp()


@dataclass(frozen=True)
class Schedule:
    """When the server asks, in steps of the public calendar. `seconds_per_step` 0 replays: nobody waits."""

    train_step: int
    first_query_step: int
    last_query_step: int
    query_every_steps: int = 1
    seconds_per_step: float = 0.0
    origin_s: float = 0.0

    @property
    def query_steps(self) -> range:
        return range(self.first_query_step, self.last_query_step + 1, self.query_every_steps)

    def wait_for(self, step: int, clock: Clock) -> None:
        """Until the close of a step."""
        if self.seconds_per_step:
            clock.wait_until(self.origin_s + (step + 1) * self.seconds_per_step)


@dataclass(frozen=True)
class RunSettings:
    """What the run configuration says."""

    plan: Plan
    server: ServerSettings
    schedule: Schedule
    folder: Path
    model: bytes
    theta_seed: int
    node_wait_s: float

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> RunSettings:
        """From Flower's run configuration; ConfigError names a key that is missing."""
        try:
            return cls(
                Plan.from_bytes(bytes.fromhex(str(config["plan"]))),
                ServerSettings(*(float(config[f"server.{k}"]) for k in ("learning-rate", "momentum", "averaging"))),
                Schedule(
                    train_step=int(config["schedule.train-step"]),
                    first_query_step=int(config["schedule.first-query-step"]),
                    last_query_step=int(config["schedule.last-query-step"]),
                    query_every_steps=int(config["schedule.query-every-steps"]),
                    seconds_per_step=float(config["schedule.seconds-per-step"]),
                    origin_s=float(config["schedule.origin-s"]),
                ),
                Path(str(config["server.folder"])),
                Path(str(config["server.model-file"])).read_bytes(),
                int(config["server.theta-seed"]),
                float(config["server.node-wait-s"]),
            )
        except KeyError as missing:
            raise ConfigError(f"expected the run configuration to hold {missing}") from None


def wait_for_nodes(grid: Grid, expected: int, timeout_s: float) -> list[int]:
    """Ids of at least `expected` connected nodes, sorted; RunError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while len(nodes := sorted(grid.get_node_ids())) < expected:
        if time.monotonic() > end:
            raise RunError(f"expected {expected} connected devices within {timeout_s:.0f} s, got {len(nodes)}")
        time.sleep(0.2)
    return nodes


def train(line: Line, nodes: list[int], settings: RunSettings, folder: ServerFolder) -> RoundAccountant:
    """Run the plan's rounds, or as many as its epsilon allows; keeps every published model."""
    plan = settings.plan
    accountant = RoundAccountant(plan.privacy)
    optimizer = ServerOptimizer(plan.network.initial_theta(settings.theta_seed), settings.server)
    models = [optimizer.published]
    for round_number in range(1, plan.privacy.rounds + 1):
        if not accountant.affords_another():
            break
        accountant.charge()
        cohort = poisson_cohort(nodes, plan.privacy.sampling_rate)
        request = {
            "step": settings.schedule.train_step,
            "round": round_number,
            "plan_sha256": plan.sha256,
            "theta": pack_floats(optimizer.theta.astype(np.float32)),
        }
        mean_delta = mean_update(line, cohort, plan, request)
        if mean_delta is not None:
            optimizer.step(mean_delta)
        models.append(optimizer.published)
        folder.report("rounds", round_number, plan.privacy.rounds, epsilon=_finite(accountant.epsilon))
    folder.keep_models(models)
    if not accountant.rounds:
        raise BudgetError(f"expected max_epsilon to allow one round, got {plan.privacy.max_epsilon}")
    offer(line, nodes, settings, optimizer.published, accountant.rounds, with_file=False)
    return accountant


def offer(line: Line, nodes: list[int], settings: RunSettings, theta: Any, round_number: int, with_file: bool) -> None:
    """Give every device the plan, weights and, the first time, the model file."""
    fields = {
        "step": settings.schedule.train_step,
        "round": round_number,
        "plan": settings.plan.canonical,
        "model": settings.model if with_file else b"",
        "theta": pack_floats(theta),
    }
    line.ask(nodes, "query.model", "model_offer", fields, "receipt")


def ask_for_alerts(
    line: Line, nodes: list[int], settings: RunSettings, folder: ServerFolder, inbox: Inbox, clock: Clock
) -> None:
    """Query every device at every scheduled step; what identified devices tell goes to the inbox."""
    steps = settings.schedule.query_steps
    for i, step in enumerate(steps, start=1):
        settings.schedule.wait_for(step, clock)
        for node, fields in line.ask(nodes, "query.alerts", "alerts_query", {"step": step}, "alerts").items():
            inbox.add(node, fields["alerts"])
        folder.report("queries", i, len(steps))


def _finite(value: float) -> float | None:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else None


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One run, from the first device to the last query."""
    settings = RunSettings.read(context.run_config)
    folder = ServerFolder(settings.folder)
    privacy = settings.plan.privacy
    nodes = wait_for_nodes(grid, privacy.population, settings.node_wait_s)
    folder.report("devices", len(nodes), privacy.population)
    line, clock, inbox = Line(grid, Traffic()), WallClock(), Inbox(folder.inbox_file)
    theta = settings.plan.network.initial_theta(settings.theta_seed)
    settings.schedule.wait_for(settings.schedule.train_step, clock)
    offer(line, nodes, settings, theta, 0, with_file=True)
    folder.report("offer", 1, 1)
    accountant = train(line, nodes, settings, folder)
    ask_for_alerts(line, nodes, settings, folder, inbox, clock)
    participations = likely_participations(privacy)
    folder.keep_account(
        {
            "rounds_charged": accountant.rounds,
            "rounds_planned": privacy.rounds,
            "delta": privacy.delta,
            "epsilon_rdp": _finite(accountant.epsilon),
            "epsilon_to_public": _finite(epsilon_to_public(privacy, accountant.rounds)),
            "epsilon_unamplified": _finite(epsilon_unamplified(privacy, participations)),
            "likely_participations": participations,
            "to_server": TO_SERVER,
            "plan_sha256": settings.plan.sha256.hex(),
            "traffic": line.traffic.to_map(),
            "identified_alerts": inbox.count(),
        }
    )
    folder.report("done", 1, 1)
