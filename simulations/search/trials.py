"""Trials: many trainings on one population in this process, for `tune` and `sweep`.

A trial is the server's own `train` with a federation that only trains (`trial_federation.py`). Training rows are computed
once for each protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from server.federation import Federation
from server.state import RISK as RISK_FILE
from server.training import train
from shared.arrays import Bools, Floats, as_declared, hold_declared
from shared.errors import ConfigError
from shared.features import FeatureSpec
from shared.files import private_folder
from shared.network import forward
from shared.plan import Plan, RiskPlan

from ..evaluation.quality import metrics_of
from ..federation.hosted.training_rows import TrainingRows
from ..federation.run_folder import RunFolder
from ..federation.run_settings import run_settings
from ..people.labelled_rows import SCORE_USERS, Rows, history_of, rows_of, users_of
from ..people.population import Population
from ..people.setup import Crowd, Setup
from ..scenarios.config import BitsSection, ProtocolSection, Scenario
from ..scenarios.held_out import held_out_users
from ..scenarios.sections import CountsSection, EvaluationSection
from .noise_calibration import noise_multiplier_for
from .trial_federation import Scratch, TrainingHost

FORWARD_ROWS = 200_000
#: Makes whom to train with: of rows by request, how many devices, a folder, and the share that stays silent in a round.
MakeHost = Callable[[Mapping[str, TrainingRows], int, Path, float], Federation]
#: Told before the first training and after each: how many are done, of how many.
OnTrial = Callable[[int, int], None]


@dataclass(frozen=True)
class Trained:
    """What a trial ended with: the published theta (P,), phi's weights (R,; empty if the plan learns none), how many
    rounds of p it paid for, how many of all were skipped."""

    theta: Floats
    risk: Floats
    rounds: int
    skipped: int

    def __post_init__(self) -> None:
        hold_declared(self)


@dataclass(frozen=True)
class ModelScore:
    """How good p is on labelled rows; `auc` is None where only one class is there."""

    auc: float | None
    log_loss: float
    calibration_error: float


class Trials:
    """Trainings on one population. `folder` is for training rows, and is the caller's to remove."""

    def __init__(self, population: Population, folder: Path) -> None:
        self.population, self._folder = population, private_folder(folder)
        self.history = history_of(population)
        self._interest: tuple[int, ...] = ()
        self._training_rows: dict[tuple[object, ...], TrainingRows] = {}
        self._rows: dict[tuple[object, ...], Rows] = {}
        self._starts: dict[tuple[object, ...], RunFolder] = {}

    def setup(self, scenario: Scenario, protocol: ProtocolSection | None = None) -> Setup:
        """A scenario for these people; in another `protocol` than its own if one is given. A trial trains and asks for
        nothing, so what it costs is that of the training: without the scenario's bits, evaluation and counts. Heads are counted, and
        not learned: nobody is taught where they start."""
        nothing = {"bits": BitsSection(), "evaluation": EvaluationSection(), "counts": CountsSection()}
        crowd = Crowd(self.population.n_users, self.population.catalogue)
        setup = Setup.of(scenario.model_copy(update=nothing), crowd, protocol)
        features = setup.plan.read_features
        if (features.counts_kinds and self.history.kinds is None) or features.interest != self._interest:
            self.history, self._interest = history_of(self.population, features), features.interest
        return setup

    def train(self, setup: Setup, *, host: MakeHost = TrainingHost) -> Trained:
        """One training, on the protocol's train steps and the users who are not held out. Noise, cohorts and who stays
        silent come from OS entropy, and differ from one to the next. `host` makes the federation that is trained with."""
        plan, step = setup.plan, setup.protocol.train_at
        settings = run_settings(setup, self._begin_at(setup))
        held_out = self.held_out(setup.scenario)
        rows = {"train_request": self._rows_to_train_on(plan, step, held_out)}
        if plan.risk:
            rows["risk_request"] = self._lapses_to_train_on(plan, plan.risk, step, held_out)
        dropout = setup.scenario.simulation.dropout
        federation, folder = host(rows, self.population.n_users, self._folder, dropout), Scratch()
        accountant = train(federation, settings, folder, to_the_end=True, lines=("update", "risk_update"))
        dropped = federation.traffic.dropped
        skipped = dropped["round_small_cohort"] + dropped["round_few_survivors"] + dropped["round_too_long"]
        risk = folder.models(RISK_FILE)[-1] if plan.risk else np.empty(0, np.float32)
        return Trained(folder.models()[-1], risk, accountant.rounds, skipped)

    def held_out(self, scenario: Scenario) -> Bools | None:
        """The scenario's held-out users (K,); None if it holds nobody out."""
        return held_out_users(scenario, self.population.n_users)

    def start(self, setup: Setup) -> Floats:
        """Theta 0: float32 (P,). With a warm start, what planted people alone teach."""
        if not setup.scenario.warm_start.users:
            return setup.plan.network.initial_theta(setup.scenario.server.theta_seed)
        theta: Floats = np.load(self._begin_at(setup).theta_file)
        return theta

    @as_declared
    def score(self, plan: Plan, theta: Floats, steps: tuple[int, int], held_out: Bools | None = None) -> ModelScore:
        """How good theta is on the rows of these steps of every user who is not held out, as in the report."""
        rows = self.rows(plan.features, plan.horizon_steps, steps)
        if held_out is not None:
            rows = rows.where(~held_out[rows.user])
        starts = range(0, len(rows.y), FORWARD_ROWS)
        p = np.concatenate([forward(plan.network, theta, rows.x[i : i + FORWARD_ROWS]) for i in starts])
        found = metrics_of(rows.y, p)
        assert found.log_loss is not None and found.calibration_error is not None, "there are rows"
        return ModelScore(found.auc, found.log_loss, found.calibration_error)

    def rows(self, features: FeatureSpec, horizon_steps: int, steps: tuple[int, int]) -> Rows:
        """The labelled rows of these steps, computed once, a chunk of users at a time."""
        key = (features, horizon_steps, steps)
        if key not in self._rows:
            known = self.history.until(steps[1] + horizon_steps)
            parts = [
                rows_of(users_of(known, first), features, horizon_steps, steps)
                for first in range(0, self.population.n_users, SCORE_USERS)
            ]
            users = np.concatenate([part.user + SCORE_USERS * i for i, part in enumerate(parts)])
            x, y, step, category = (
                np.concatenate([getattr(p, k) for p in parts]) for k in ("x", "y", "step", "category")
            )
            if not len(y):
                raise ConfigError(f"expected rows in steps {steps[0]} to {steps[1]}, got none")
            self._rows[key] = Rows(x, y, users, step, category)
        return self._rows[key]

    def _rows_to_train_on(self, plan: Plan, step: int, held_out: Bools | None = None) -> TrainingRows:
        without = None if held_out is None else held_out.tobytes()
        key = (plan.features, plan.horizon_steps, plan.training.history_steps, step, without)
        if key not in self._training_rows:
            folder = private_folder(self._folder / f"rows-{len(self._training_rows)}")
            TrainingRows.write(folder, self.history.until(step), plan, held_out)
            self._training_rows[key] = TrainingRows.load(folder)
        return self._training_rows[key]

    def _lapses_to_train_on(self, plan: Plan, risk: RiskPlan, step: int, held_out: Bools | None) -> TrainingRows:
        without = None if held_out is None else held_out.tobytes()
        watched = (plan.detection.min_active_steps, plan.detection.lapse_steps)
        key = ("lapses", plan.features, watched, risk.history_steps, risk.rate_steps, step, without)
        if key not in self._training_rows:
            folder = private_folder(self._folder / f"rows-{len(self._training_rows)}")
            TrainingRows.write_lapses(folder, self.history.until(step), plan, risk, held_out)
            self._training_rows[key] = TrainingRows.load(folder)
        return self._training_rows[key]

    def _begin_at(self, setup: Setup) -> RunFolder:
        """The folder with what planted people teach under this setup, made once."""
        scenario, plan = setup.scenario, setup.plan
        if not scenario.warm_start.users and not plan.risk:
            return RunFolder(self._folder)
        own = self.setup(scenario)  # not in the protocol of a fold: planted people are public
        watched = plan.detection.min_active_steps
        risk = plan.risk and (scenario.risk.public_users, plan.risk.rate_steps, watched)
        key = (scenario.warm_start, plan.network, plan.features, own.protocol, risk)
        if key not in self._starts:
            folder = RunFolder(self._folder / f"start-{len(self._starts)}")
            private_folder(folder.path)
            folder.write_public(own)
            self._starts[key] = folder
        return self._starts[key]


def with_noise_for(setup: Setup, epsilon: float) -> Scenario:
    """The scenario with the noise of p's rounds at which its whole training, phi included, costs at most `epsilon`."""
    privacy = setup.scenario.privacy
    noise = noise_multiplier_for(epsilon, setup.charged, privacy.delta)
    return setup.scenario.model_copy(update={"privacy": privacy.model_copy(update={"noise_multiplier": noise})})


def warmed(scenario: Scenario, seed: int) -> Scenario:
    """The scenario with other planted people to start from."""
    warm = scenario.warm_start.model_copy(update={"seed": scenario.warm_start.seed + seed})
    return scenario.model_copy(update={"warm_start": warm})


def repeated(scenario: Scenario, repetition: int) -> Scenario:
    """The scenario with another theta 0, and other draws by which devices choose their rows."""
    training, server = scenario.training, scenario.server
    changed = {
        "training": training.model_copy(update={"seed": training.seed + repetition}),
        "server": server.model_copy(update={"theta_seed": server.theta_seed + repetition}),
    }
    return scenario.model_copy(update=changed)
