"""Choosing a scenario's settings on its train steps: a grid search, cross-validated over folds in time.

A fold trains on the first of the train steps and is scored on later ones; label windows of the two never overlap.
Events after the last train label are cut away before anything else happens, so test steps cannot be looked at.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from server.privacy.accounting import epsilon_to_public
from shared.errors import BudgetError, ConfigError
from shared.files import replace_content

from ..federation.checks import check_budget, check_settings, named
from ..people.of_scenario import data_title, open_scenario, population_of, protocol_of
from ..people.population import Population
from ..scenarios.config import ProtocolSection, Scenario
from ..scenarios.grid import combinations
from .trials import OnTrial, Trials, repeated, with_noise_for

NOT_COUNTED = (
    "Tuning looks at private data of every user, again and again: that is NOT counted in any epsilon shown here."
)
#: What a grid may hold: what changes the model, and leaves people, labels and steps as they are.
TUNABLE = ("training.", "privacy.", "server.", "warm_start.", "protocol.window_steps", "protocol.short_steps",
           "protocol.ewma_steps")  # fmt: skip
NOISE = "privacy.noise_multiplier"
COSTS = ("privacy.rounds", "privacy.sampling_rate", "privacy.delta")


@dataclass(frozen=True)
class Fold:
    """Steps that train and steps that validate: first and last, both included."""

    train_steps: tuple[int, int]
    validation_steps: tuple[int, int]


@dataclass(frozen=True)
class GridPoint:
    """One point of the grid and what it was worth: mean and spread of the validation AUC over folds and repetitions."""

    values: dict[str, str]
    scenario: Scenario
    epsilon: float
    auc: float
    auc_sd: float
    log_loss: float
    skipped: float


@dataclass(frozen=True)
class Tuning:
    """A search that has ended: settings, best first."""

    settings: list[GridPoint]
    folds: list[Fold]
    repetitions: int
    grid: dict[str, tuple[str, ...]]
    protocol: ProtocolSection
    epsilon_held: float | None

    @property
    def best(self) -> GridPoint:
        return self.settings[0]


def folds_of(protocol: ProtocolSection, n_folds: int) -> list[Fold]:
    """Folds in time, inside the protocol's train steps. The last steps are cut into `n_folds` blocks of equal length;
    each is validated by a model of all train steps whose labels are known before it begins. ConfigError if they do not
    fit."""
    first, last = protocol.train_steps
    horizon, n_steps = protocol.horizon_steps, last - first + 1
    length = (n_steps - horizon) // (n_folds + 1) if n_folds >= 1 else 0
    if length < 1:
        most = max(n_steps - horizon - 1, 0)
        raise ConfigError(
            f"expected 1 to {most} folds in {n_steps} train steps with a horizon of {horizon}, got {n_folds}"
            if most
            else f"expected more than {horizon + 1} train steps to make folds of, got {n_steps}"
        )
    begins = [last + 1 - length * (n_folds - i) for i in range(n_folds)]
    return [Fold((first, begin - horizon - 1), (begin, begin + length - 1)) for begin in begins]


def until_last_label(population: Population, protocol: ProtocolSection) -> Population:
    """The population as it was at the close of the step in which the last train label became known; no truth."""
    return population.until(protocol.train_at + 1)


def default_grid(scenario: Scenario) -> dict[str, tuple[str, ...]]:
    """Two values for each of the six settings that matter most: the scenario's own, and one beside it."""
    training, privacy = scenario.training, scenario.privacy
    rate, q = training.learning_rate, privacy.sampling_rate
    pairs: dict[str, tuple[float, float]] = {
        "training.learning_rate": (rate, rate / 3),
        "privacy.clip_norm": (privacy.clip_norm, privacy.clip_norm * 2),
        "training.l2": (training.l2, training.l2 * 10 or 1e-4),
        "training.dropout": (training.dropout, training.dropout / 2 or 0.1),
        "privacy.rounds": (privacy.rounds, max(1, privacy.rounds // 2)),
        "privacy.sampling_rate": (q, q * 2 if q <= 0.5 else q / 2),
    }
    return {key: tuple(dict.fromkeys(f"{value:.6g}" for value in pair)) for key, pair in pairs.items()}


def tune(
    name_or_file: str,
    grid: Mapping[str, Sequence[str]],
    *,
    overrides: Iterable[str] = (),
    folds: int = 2,
    seeds: int = 2,
    epsilon: float | None = None,
    on_trial: OnTrial = lambda done, total: None,
) -> Tuning:
    """Try every combination of the grid's values (TOML text by scenario key; empty: `default_grid`).

    `seeds` is how often each fold is trained: theta 0 and the devices' draws vary, and so do noise and cohorts, which
    have no seed. With `epsilon`, every setting gets the noise at which its training costs that; without it, a grid over
    rounds or sampling rates holds the scenario's own epsilon, so that no setting wins by spending more.
    ConfigError before the first training if a setting is not valid.
    """
    given = list(overrides)
    base = open_scenario(name_or_file, given)
    values = {key: tuple(each) for key, each in grid.items()} or default_grid(base)
    _check_grid(values, seeds, epsilon)
    protocol = protocol_of(base)
    check_settings(base)
    all_folds = folds_of(protocol, folds)
    points = [(point, open_scenario(name_or_file, [*given, *_sets(point)])) for point in combinations(values)]
    for point, scenario in points:
        with named(", ".join(_sets(point))):
            check_settings(scenario)
    everybody = population_of(base)
    with tempfile.TemporaryDirectory(prefix="ebbtide-tune-") as folder:
        trials = Trials(until_last_label(everybody, protocol), Path(folder))
        held = epsilon or _epsilon_to_hold(base, values, trials)
        points = [(point, _priced(point, scenario, trials, held)) for point, scenario in points]
        total = len(points) * folds * seeds
        scores: list[list[tuple[float, float, int]]] = [[] for _ in points]
        done = 0
        on_trial(done, total)
        for fold in all_folds:
            for found, (_, scenario) in zip(scores, points, strict=True):
                for repetition in range(seeds):
                    found.append(_validate(trials, scenario, fold, repetition))
                    done += 1
                    on_trial(done, total)
        settings = [
            _setting(point, scenario, found, trials) for (point, scenario), found in zip(points, scores, strict=True)
        ]
    settings.sort(key=lambda setting: (-setting.auc, setting.log_loss))
    return Tuning(settings, all_folds, seeds, values, protocol, held)


def _check_grid(grid: Mapping[str, Sequence[str]], seeds: int, epsilon: float | None) -> None:
    for key, each in grid.items():
        if not key.startswith(TUNABLE):
            raise ConfigError(
                f"expected --grid to change training, privacy, server, warm_start or the protocol's windows, got {key}"
            )
        if not each:
            raise ConfigError(f"expected --grid {key}=VALUE,VALUE, got no value")
    if seeds < 1:
        raise ConfigError(f"expected --seeds >= 1, got {seeds}")
    if epsilon is not None and NOISE in grid:
        raise ConfigError(f"expected --epsilon or --grid {NOISE}, got both")
    if epsilon is not None and not 0 < epsilon < math.inf:
        raise ConfigError(f"expected --epsilon > 0, got {epsilon}")


def _sets(point: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in point.items()]


def _epsilon_to_hold(base: Scenario, grid: Mapping[str, object], trials: Trials) -> float | None:
    """The scenario's own epsilon where the grid would change it by the way; None if there is nothing to hold."""
    if NOISE in grid or not base.privacy.noise_multiplier or not any(key in grid for key in COSTS):
        return None
    setup = trials.setup(base)
    return epsilon_to_public(setup.charged, setup.plan.privacy.delta)


def _priced(point: Mapping[str, str], scenario: Scenario, trials: Trials, epsilon: float | None) -> Scenario:
    """The setting with the noise that holds epsilon; ConfigError names a setting that is not valid."""
    try:
        if epsilon is not None:
            scenario = with_noise_for(trials.setup(scenario), epsilon)
        check_budget(trials.setup(scenario).plan)
    except (ConfigError, BudgetError) as error:
        raise ConfigError(f"{', '.join(_sets(point))}: {error}") from None
    return scenario


def _validate(trials: Trials, scenario: Scenario, fold: Fold, repetition: int) -> tuple[float, float, int]:
    """AUC and log loss on the fold's validation steps, and how many rounds were skipped."""
    protocol = protocol_of(scenario).model_copy(update={"train_steps": fold.train_steps})
    setup = trials.setup(repeated(scenario, repetition), protocol)
    trained, held_out = trials.train(setup), trials.held_out(scenario)
    score = trials.score(setup.plan, trained.theta, fold.validation_steps, held_out)
    if score.auc is None:
        first, last = fold.validation_steps
        raise ConfigError(f"expected labels of both kinds in validation steps {first} to {last}: take fewer folds")
    return score.auc, score.log_loss, trained.skipped


def _setting(
    point: dict[str, str], scenario: Scenario, found: Sequence[tuple[float, float, int]], trials: Trials
) -> GridPoint:
    aucs, losses, skipped = ([*column] for column in zip(*found, strict=True))
    setup = trials.setup(scenario)
    return GridPoint(
        point,
        scenario,
        epsilon=epsilon_to_public(setup.charged, setup.plan.privacy.delta),
        auc=statistics.fmean(aucs),
        auc_sd=statistics.stdev(aucs) if len(aucs) > 1 else 0.0,
        log_loss=statistics.fmean(losses),
        skipped=statistics.fmean(skipped),
    )


def write_tuned(tuning: Tuning, file: Path, data_path: str = "") -> None:
    """Write the best setting as a complete scenario file, with how it was made above it. `data_path` is what the
    scenario's file said before the command line changed it: where data lies on this machine is nobody else's business.
    """
    best = tuning.best
    data = best.scenario.data.model_copy(update={"path": data_path})
    name = best.scenario.name.removesuffix("-tuned")[:54] + "-tuned"
    scenario = best.scenario.model_copy(update={"name": name, "data": data, "protocol": protocol_of(best.scenario)})
    header = "\n".join(f"# {line}".rstrip() for line in _header(tuning))
    body = tomli_w.dumps(scenario.model_dump(exclude_none=True))
    if file.suffix != ".toml":
        raise ConfigError(f"expected a .toml file to write, got {file.name!r}")
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_content(file, f"{header}\n\n{body}")


def _header(tuning: Tuning) -> list[str]:
    best, users = tuning.best, tuning.best.scenario.data.users
    people = f"{users} users" if users else "all users"
    lines = [
        f"Made by `ebbtide tune` from scenario {best.scenario.name}: data {data_title(best.scenario)}, {people}.",
        NOT_COUNTED,
        "",
        f"Grid ({len(tuning.settings)} settings):",
        *(f"    {key} = {', '.join(each)}" for key, each in tuning.grid.items()),
    ]
    if tuning.epsilon_held is not None:
        lines.append(f"    {NOISE}: for each setting, so that its training costs epsilon {tuning.epsilon_held:.4g}")
    lines.append(f"Folds in time, each trained {tuning.repetitions} times (test steps were not looked at):")
    for fold in tuning.folds:
        (a, b), (c, d) = fold.train_steps, fold.validation_steps
        lines.append(f"    trained on steps {a} to {b}, validated on steps {c} to {d}")
    lines.append(
        f"Best: validation AUC {best.auc:.4f} (sd {best.auc_sd:.4f} over folds and repetitions), "
        f"log loss {best.log_loss:.4f}, epsilon {best.epsilon:.4g}."
    )
    return lines
