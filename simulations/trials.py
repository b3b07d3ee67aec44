"""Trials: many trainings on one population in this process, for `tune` and `sweep`.

A trial is the server's own `train` over devices that are drawn, clipped, noised and counted by the code of `hosts`
fidelity. Left out is what a trial has no use for: Flower's start-up, charges that survive power loss (nothing is
published), and devices that watch for turns. Training rows are computed once for each protocol.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from client.runtime import PINNED_SHA256
from server.accounting import Also, RoundAccountant, epsilon_to_public
from server.app import RunSettings, train
from server.federation import Federation
from server.rounds import INTEREST, Part, Traffic, poisson_cohort
from server.state import INTEREST as INTEREST_FILE
from server.state import RISK as RISK_FILE
from server.state import Charges, ServerFolder
from server.strategy import ServerOptimizer
from shared.codec import unpack_floats
from shared.coins import BitSchedule
from shared.errors import ConfigError
from shared.features import FeatureSpec, History
from shared.network import forward
from shared.plan import Plan, PrivacyPlan, RiskPlan

from .config import ProtocolSection, Scenario
from .counted import history_of, rows_of
from .held_out import held_out_users
from .host_training import SCORE_USERS, TrainingRows, fresh_entropy, sum_of_risk_updates, sum_of_updates
from .population import Population
from .quality import Rows, auc, calibration_error
from .simulate import THETA_FILE, protocol_of, run_config, write_public

Floats = NDArray[np.float32]

FORWARD_ROWS = 200_000
#: A search for noise ends at an epsilon in this share of its target, up to the target itself.
NEAR_TARGET = 0.985


@dataclass(frozen=True)
class Trained:
    """What a trial ended with: the published theta (P,), phi's weights (R,; empty if the plan learns none), how many
    rounds of p it paid for, how many of all were skipped."""

    theta: Floats
    risk: Floats
    rounds: int
    skipped: int


@dataclass(frozen=True)
class Score:
    """How good p is on labelled rows; `auc` is None where only one class is there."""

    auc: float | None
    log_loss: float
    calibration_error: float


class TrainingHost:
    """Hosts that train only: the devices of one population, every one of them clipped and noised on its own."""

    def __init__(self, rows: TrainingRows, lapses: TrainingRows | None, n_devices: int, folder: Path) -> None:
        self._rows, self._lapses, self._n_devices, self._folder = rows, lapses, n_devices, folder
        self.traffic = Traffic()

    def offer(self, fields: Mapping[str, Any]) -> None:
        """Nothing to do: rows are there, and nobody watches."""

    def sample(self, sampling_rate: float) -> Sequence[int]:
        return poisson_cohort(range(self._n_devices), sampling_rate)

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], part: Part
    ) -> tuple[NDArray[np.uint32], int]:
        devices, entropy = np.asarray(cohort, np.int64), fresh_entropy(self._folder)
        theta = unpack_floats(request["theta"])
        if part is INTEREST:
            total = sum_of_updates(self._rows, devices, devices, plan, theta, request["round"], entropy)
        else:
            assert self._lapses is not None and plan.risk is not None
            basis, coefficients = (unpack_floats(request[name]) for name in ("basis", "coefficients"))
            asked = theta, basis.reshape(-1, len(coefficients)), coefficients
            total = sum_of_risk_updates(
                self._lapses, devices, devices, plan, plan.risk, asked, request["round"], entropy
            )
        return total, len(cohort)

    def alerts(self, step: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        yield from ()

    def bits(self, asked: BitSchedule, step: int) -> Iterator[tuple[int, int]]:
        yield from ()


class Dropouts:
    """A federation in which every member of a cohort stays silent with probability `rate`, by OS entropy.

    The plan stays as it is: a round that fewer than `min_survivors` answer is not opened, and counts as skipped.
    """

    def __init__(self, federation: Federation, rate: float) -> None:
        if not 0 <= rate < 1:
            raise ConfigError(f"expected dropout in [0, 1), got {rate}")
        self._federation, self._rate = federation, rate
        self.traffic = federation.traffic

    def offer(self, fields: Mapping[str, Any]) -> None:
        self._federation.offer(fields)

    def sample(self, sampling_rate: float) -> Sequence[int]:
        return self._federation.sample(sampling_rate)

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], part: Part
    ) -> tuple[NDArray[np.uint32], int]:
        return self._federation.collect(poisson_cohort(cohort, 1 - self._rate), plan, request, part)

    def alerts(self, step: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        return self._federation.alerts(step)

    def bits(self, asked: BitSchedule, step: int) -> Iterator[tuple[int, int]]:
        return self._federation.bits(asked, step)


class _Uncharged(Charges):
    """No ledger: a trial always begins at its first round, and publishes nothing."""

    def __init__(self) -> None:
        pass

    def add(self, round_number: int) -> None:
        pass

    def count(self, after: int = 0, until: int = 2**31) -> int:
        return 0


class _Scratch(ServerFolder):
    """The server's folder of a trial: in memory, gone with it."""

    def __init__(self) -> None:
        self._models: dict[str, list[Floats]] = {}

    def charges(self, plan_sha256: bytes) -> Charges:
        return _Uncharged()

    def report(self, phase: str, done: int, total: int, **figures: float | None) -> None:
        pass

    def save_checkpoint(self, optimizer: ServerOptimizer, models: list[Floats], name: str = INTEREST_FILE) -> None:
        self._models[name] = models[-1:]

    def load_checkpoint(self, optimizer: ServerOptimizer, name: str = INTEREST_FILE) -> list[Floats]:
        return []

    def models(self, name: str = INTEREST_FILE) -> Floats:
        return np.stack(self._models[name])


class Trials:
    """Trainings on one population. `folder` is for training rows, and is the caller's to remove."""

    def __init__(self, population: Population, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.population, self._folder = population, folder
        self.history = history_of(population)
        self._training_rows: dict[tuple[object, ...], TrainingRows] = {}
        self._rows: dict[tuple[object, ...], Rows] = {}
        self._starts: dict[tuple[object, ...], Path] = {}

    def plan(self, scenario: Scenario, protocol: ProtocolSection, repetition: int = 0) -> Plan:
        """A scenario's plan for these people; `repetition` varies the seed by which devices draw their rows."""
        people = self.population
        plan = scenario.plan(protocol, people.catalogue, people.n_users, bytes.fromhex(PINNED_SHA256))
        return replace(plan, training=replace(plan.training, seed=plan.training.seed + repetition))

    def train(
        self, scenario: Scenario, protocol: ProtocolSection, *, repetition: int = 0, dropout: float = 0.0
    ) -> Trained:
        """One training, on the protocol's train steps and the users who are not held out. `repetition` varies theta 0
        and the devices' draws; noise and cohorts come from OS entropy and differ anyway."""
        plan = self.plan(scenario, protocol, repetition)
        server = scenario.server.model_copy(update={"theta_seed": scenario.server.theta_seed + repetition})
        scenario = scenario.model_copy(update={"server": server})
        settings = RunSettings.read(run_config(scenario, protocol, plan, self._begin_at(scenario, plan)))
        held_out = self.held_out(scenario)
        rows = self._rows_to_train_on(plan, protocol.train_at, held_out)
        lapses = self._lapses_to_train_on(plan, plan.risk, protocol.train_at, held_out) if plan.risk else None
        federation: Federation = TrainingHost(rows, lapses, self.population.n_users, self._folder)
        if dropout:
            federation = Dropouts(federation, dropout)
        folder = _Scratch()
        accountant = train(federation, settings, folder)
        dropped = federation.traffic.dropped
        skipped = dropped["round_small_cohort"] + dropped["round_few_survivors"]
        risk = folder.models(RISK_FILE)[-1] if plan.risk else np.empty(0, np.float32)
        return Trained(folder.models()[-1], risk, accountant.rounds, skipped)

    def held_out(self, scenario: Scenario) -> NDArray[np.bool_] | None:
        """The scenario's held-out users (K,); None if it holds nobody out."""
        return held_out_users(scenario, self.population.n_users)

    def start(self, scenario: Scenario, plan: Plan) -> Floats:
        """Theta 0 of a scenario: float32 (P,). With a warm start, what planted people alone teach."""
        if not scenario.warm_start.users:
            return plan.network.initial_theta(scenario.server.theta_seed)
        theta: Floats = np.load(self._begin_at(scenario, plan) / THETA_FILE)
        return theta

    def score(
        self, plan: Plan, theta: Floats, steps: tuple[int, int], held_out: NDArray[np.bool_] | None = None
    ) -> Score:
        """How good theta is on the rows of these steps of every user who is not held out, as in the report."""
        rows = self.rows(plan.features, plan.horizon_steps, steps)
        if held_out is not None:
            rows = rows.where(~held_out[rows.user])
        starts = range(0, len(rows.y), FORWARD_ROWS)
        p = np.concatenate([forward(plan.network, theta, rows.x[i : i + FORWARD_ROWS]) for i in starts])
        return score_of(rows.y, p)

    def rows(self, features: FeatureSpec, horizon_steps: int, steps: tuple[int, int]) -> Rows:
        """The labelled rows of these steps, computed once, a chunk of users at a time."""
        key = (features, horizon_steps, steps)
        if key not in self._rows:
            parts = [
                rows_of(part, features, horizon_steps, steps)
                for part in _chunks(self.history.until(steps[1] + horizon_steps))
            ]
            users = np.concatenate([part.user + SCORE_USERS * i for i, part in enumerate(parts)])
            x, y, step, category = (
                np.concatenate([getattr(p, k) for p in parts]) for k in ("x", "y", "step", "category")
            )
            if not len(y):
                raise ConfigError(f"expected rows in steps {steps[0]} to {steps[1]}, got none")
            self._rows[key] = Rows(x, y, users, step, category)
        return self._rows[key]

    def _rows_to_train_on(self, plan: Plan, step: int, held_out: NDArray[np.bool_] | None = None) -> TrainingRows:
        without = None if held_out is None else held_out.tobytes()
        key = (plan.features, plan.horizon_steps, plan.training.history_steps, step, without)
        if key not in self._training_rows:
            folder = self._folder / f"rows-{len(self._training_rows)}"
            folder.mkdir()
            TrainingRows.write(folder, self.history.until(step), plan, held_out)
            self._training_rows[key] = TrainingRows.load(folder)
        return self._training_rows[key]

    def _lapses_to_train_on(
        self, plan: Plan, risk: RiskPlan, step: int, held_out: NDArray[np.bool_] | None
    ) -> TrainingRows:
        without = None if held_out is None else held_out.tobytes()
        watched = (plan.detection.min_active_steps, plan.detection.lapse_steps)
        key = ("lapses", plan.features, watched, risk.history_steps, risk.rate_steps, step, without)
        if key not in self._training_rows:
            folder = self._folder / f"rows-{len(self._training_rows)}"
            folder.mkdir()
            TrainingRows.write_lapses(folder, self.history.until(step), plan, risk, held_out)
            self._training_rows[key] = TrainingRows.load(folder)
        return self._training_rows[key]

    def _begin_at(self, scenario: Scenario, plan: Plan) -> Path:
        """The folder with what planted people teach under this scenario, made once."""
        if not scenario.warm_start.users and not plan.risk:
            return self._folder
        protocol = protocol_of(scenario)  # of the scenario, not of a fold: planted people are public
        watched = plan.detection.min_active_steps
        risk = plan.risk and (scenario.risk.public_users, plan.risk.rate_steps, watched)
        key = (scenario.warm_start, plan.network, plan.features, protocol, risk)
        if key not in self._starts:
            folder = self._folder / f"start-{len(self._starts)}"
            folder.mkdir()
            write_public(folder, scenario, protocol, plan, self.population)
            self._starts[key] = folder
        return self._starts[key]


def _chunks(history: History) -> Iterator[History]:
    for first in range(0, len(history.active), SCORE_USERS):
        chunk = slice(first, first + SCORE_USERS)
        yield History(history.active[chunk], history.count[chunk], history.amount[chunk])


def score_of(y: NDArray[np.bool_], p: NDArray[Any]) -> Score:
    """AUC, log loss and calibration error, as in the report."""
    clipped = np.clip(p.astype(np.float64), 1e-6, 1 - 1e-6)
    return Score(auc(y, p), float(log_loss(y, clipped, labels=[False, True])), calibration_error(y, p))


@lru_cache(maxsize=1024)
def noise_multiplier_for(epsilon: float, rounds: int, sampling_rate: float, delta: float, also: Also = ()) -> float:
    """The noise multiplier at which a whole training, and what is charged beside it, cost at most `epsilon` to who sees
    the models, and at least 98.5 % of it. By bisection on RDP, aimed at what PLD then says. ConfigError if no multiplier
    in 0.1..1000 does."""

    def plan(noise: float) -> PrivacyPlan:
        """One device under that noise, on a grid that makes the plan valid: it costs as much as many devices do."""
        grid = min(max(round(1024 / noise), 16), 2**24)
        return PrivacyPlan(1.0, noise, sampling_rate, rounds, 1, 1, steps_per_clip=grid, delta=delta)

    def by_rdp(noise: float) -> float:
        accountant = RoundAccountant(plan(noise), *(part for part, _ in also))
        accountant.charge(rounds)
        for part, (_, count) in enumerate(also, start=1):
            accountant.charge(count, part)
        return accountant.epsilon

    least, most = 0.1, 1000.0
    if not 0 < epsilon < math.inf:
        raise ConfigError(f"expected epsilon > 0, got {epsilon}")
    if by_rdp(most) > epsilon or by_rdp(least) <= epsilon:
        raise ConfigError(
            f"expected an epsilon that a noise multiplier of {least:g} to {most:g} gives in {rounds} rounds at sampling "
            f"rate {sampling_rate:g}, got {epsilon:g}"
        )
    aim, enough = epsilon, most
    for _ in range(20):
        low, high = least, most
        while high > 1.0005 * low:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if by_rdp(middle) <= aim else (middle, high)
        noise = _round_up(high)
        reached = epsilon_to_public(plan(noise), rounds, also)
        if reached <= epsilon:
            enough = min(enough, noise)
            if reached >= NEAR_TARGET * epsilon:
                break
        aim *= 0.995 * epsilon / reached  # PLD is below RDP by a factor that hardly changes from here to there
    return enough


def with_noise_for(scenario: Scenario, epsilon: float, plan: Plan) -> Scenario:
    """The scenario with the noise of p's rounds at which its whole training, phi as in its `plan` included, costs at
    most `epsilon`."""
    privacy = scenario.privacy
    noise = noise_multiplier_for(epsilon, privacy.rounds, privacy.sampling_rate, privacy.delta, plan.also)
    return scenario.model_copy(update={"privacy": privacy.model_copy(update={"noise_multiplier": noise})})


def _round_up(value: float) -> float:
    """At least `value`, in four digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return float(f"{math.ceil(value / unit) * unit:.4g}")


def parse_values(option: str, given: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """`KEY=VALUE,VALUE` as the values (TOML text) of each key; a comma inside [] or "" does not separate."""
    out: dict[str, tuple[str, ...]] = {}
    for text in given:
        key, equals, values = (part.strip() for part in text.partition("="))
        if not key or not equals:
            raise ConfigError(f"expected {option} KEY=VALUE,VALUE, got {text!r}")
        if key in out:
            raise ConfigError(f"expected {option} {key} once, got it twice")
        parts = [value.strip() for value in _split(values)]
        if not all(parts):
            raise ConfigError(f"expected {option} {key}=VALUE,VALUE with no empty value, got {text!r}")
        out[key] = tuple(dict.fromkeys(parts))
    return out


def _split(text: str) -> list[str]:
    parts, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter == '"'
        depth += (letter == "[") - (letter == "]")
        if letter == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def combinations(values: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Every combination of one value for each key, the last key fastest."""
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


#: Told before the first training and after each: how many are done, of how many.
OnTrial = Callable[[int, int], None]
