"""Sweeps: one scenario trained again and again with other values of a few keys. A table, a figure, and a cache.

Every run's result is kept in the sweep's folder under the SHA-256 of what it depends on, as soon as it is there: a
sweep that was interrupted goes on, and one that is asked for twice trains nothing.
"""

from __future__ import annotations

import io
import json
import math
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from server.privacy.accounting import epsilon_to_public
from shared.errors import BudgetError, ConfigError
from shared.files import replace_content, text_of

from ..baselines.interest_models import gap_baselines
from ..evaluation.quality import auc
from ..federation.checks import check_budget, check_settings, check_training_budget, named
from ..federation.run_folder import RESULTS_FILE, RunFolder
from ..folder_lock import locked
from ..people.of_scenario import data_title, open_scenario, population_of, protocol_of
from ..people.private_choice import choices_of
from ..report.plots import save_utility_figure
from ..report.svg import COLOURS
from ..report.utility import swept_points
from ..scenarios.config import ProtocolSection, Scenario
from ..scenarios.grid import combinations
from .sweep_cache import Cache, population_sha256
from .trials import OnTrial, Trials, repeated, with_noise_for

#: Raised when a result would come out otherwise for the same scenario: older results are not used again.
CACHE_FORMAT = 2
CACHE = "cache"
FIGURE_FILE = "sweep.svg"
#: Short keys: a target, and the share of a cohort that stays silent.
EPSILON, DROPOUT = "epsilon", "dropout"
DROPOUT_KEY = "simulation.dropout"
NOISE = "privacy.noise_multiplier"
POOLED_LINE = "pooled model, no privacy"
#: What a run's result does not depend on.
NOT_IN_KEY = {"name", "about", "detection", "simulation"}


@dataclass(frozen=True)
class SweepPoint:
    """One combination of the swept values."""

    values: dict[str, str]
    scenario: Scenario
    protocol: ProtocolSection


def sweep(
    name_or_file: str,
    over: Mapping[str, Sequence[str]],
    folder: Path,
    *,
    overrides: Iterable[str] = (),
    repeat: int = 3,
    fresh: bool = False,
    overwrite: bool = False,
    on_trial: OnTrial = lambda done, total: None,
) -> dict[str, Any]:
    """Train every combination of `over` (TOML texts by scenario key, or by `epsilon` or `dropout`) `repeat` times;
    writes and returns results.json, and draws sweep.svg. ConfigError if a combination is not valid, or if the folder holds
    the results of another sweep, unless `overwrite`; those of a run are never replaced."""
    given = list(overrides)
    settings = _settings(name_or_file, given, over)
    if repeat < 1:
        raise ConfigError(f"expected --repeat >= 1, got {repeat}")
    with locked(folder):
        asked = {
            "scenario": settings[0].scenario.name,
            "over": {key: list(values) for key, values in over.items()},
            "set": [each for each in given if not each.startswith("data.path=")],  # no place on this machine
        }
        _expect_free(folder, asked, overwrite)
        results = {**asked, **_sweep(settings, folder, repeat, fresh, on_trial)}
        replace_content(folder / RESULTS_FILE, json.dumps(results, indent=1))
        draw(results, folder / FIGURE_FILE)
        return results


def _expect_free(folder: Path, asked: Mapping[str, Any], overwrite: bool) -> None:
    """ConfigError if results in the folder may not be replaced: a run's, or, unless `overwrite`, of another sweep than was
    `asked` for."""
    if RunFolder(folder).scenario_file.exists():
        raise ConfigError(f"expected a folder for a sweep, got that of a run: {folder}")
    if overwrite or not (file := folder / RESULTS_FILE).exists():
        return
    try:
        found = json.loads(text_of(file))
        same = {key: found[key] for key in asked} == asked
    except (ValueError, LookupError, TypeError):
        same = False
    if not same:
        raise ConfigError(
            f"expected a free folder or the same sweep, but {file} holds other results: --overwrite replaces them, another "
            "--out leaves them"
        )


def _sweep(settings: list[SweepPoint], folder: Path, repeat: int, fresh: bool, on_trial: OnTrial) -> dict[str, Any]:
    """What was found, setting by setting."""
    cache = Cache(folder / CACHE)
    if fresh:
        cache.clear()
    total, done = len(settings) * repeat, 0
    found: list[tuple[int, list[dict[str, Any]], dict[str, float]]] = []
    for people in _by_people(settings):
        runs = Runs(settings[people[0]], cache)
        on_trial(done, total)
        try:
            priced = {i: runs.priced(settings[i]) for i in people}
            for i, setting in priced.items():
                results = []
                for repetition in range(repeat):
                    results.append(runs.result(setting, repetition))
                    done += 1
                    on_trial(done, total)
                settings[i] = setting
                found.append((i, results, runs.pooled_aucs(setting)))
        finally:
            runs.close()
    rows = [_row(settings[i], results, pooled) for i, results, pooled in sorted(found, key=lambda each: each[0])]
    return {
        "data": data_title(settings[0].scenario),
        "simulated": settings[0].scenario.data.name == "planted",
        "repeat": repeat,
        "rows": rows,
    }


class Runs:
    """The runs of one population. People are read at once; anything that has to be trained on is made when asked for."""

    def __init__(self, first: SweepPoint, cache: Cache) -> None:
        population = population_of(first.scenario)
        self._data = population_sha256(population)
        self._cache = cache
        self._folder = tempfile.TemporaryDirectory(prefix="ebbtide-sweep-")
        self._trials = Trials(population, Path(self._folder.name))

    def close(self) -> None:
        self._folder.cleanup()

    def priced(self, setting: SweepPoint) -> SweepPoint:
        """The setting with the noise that its epsilon asks for; ConfigError names a setting that is not valid."""
        scenario = setting.scenario
        try:
            if EPSILON in setting.values:
                privacy = scenario.privacy
                target = _number(EPSILON, setting.values[EPSILON])
                key = {
                    "format": CACHE_FORMAT,
                    "epsilon": target,
                    **privacy.model_dump(exclude={"noise_multiplier", "clip_norm", "max_epsilon"}),
                    "users": scenario.data.users,
                    "phi": scenario.risk.model_dump(include={"rounds", "noise_multiplier"}),
                }
                if (kept := self._cache.get(key)) is None:
                    kept = {
                        "noise_multiplier": with_noise_for(
                            self._trials.setup(scenario), target
                        ).privacy.noise_multiplier
                    }
                    self._cache.put(key, kept)
                scenario = scenario.model_copy(update={"privacy": privacy.model_copy(update=kept)})
            check_budget(self._trials.setup(scenario).plan)
        except (ConfigError, BudgetError) as error:
            values = ", ".join(f"{key}={value}" for key, value in setting.values.items())
            raise ConfigError(f"{values}: {error}") from None
        return SweepPoint(setting.values, scenario, setting.protocol)

    def result(self, setting: SweepPoint, repetition: int) -> dict[str, Any]:
        """One run's quality on the test steps, and what it cost: from the cache, or trained now."""
        key = {
            "format": CACHE_FORMAT,
            "data": self._data,
            "scenario": setting.scenario.model_dump(mode="json", exclude={*NOT_IN_KEY, "data", "protocol"}),
            "protocol": setting.protocol.model_dump(mode="json"),
            "dropout": setting.scenario.simulation.dropout,
            "repetition": repetition,
            **({"choices": [asdict(each) for each in choices]} if (choices := choices_of(setting.scenario)) else {}),
            **_held_out_key(setting),
        }
        if (kept := self._cache.get(key)) is not None:
            return kept
        setup = self._trials.setup(repeated(setting.scenario, repetition))
        trained, plan = self._trials.train(setup), setup.plan
        held_out = self._trials.held_out(setting.scenario)
        score = self._trials.score(plan, trained.theta, setting.protocol.test_steps, held_out)
        if score.auc is None:
            raise ConfigError("expected labels of both kinds in the test steps, got one kind")
        first, *others = setup.charged
        epsilon = epsilon_to_public((replace(first, times=trained.rounds), *others), plan.privacy.delta)
        result = {
            **asdict(score),
            "epsilon_to_public": epsilon if math.isfinite(epsilon) else None,
            "rounds": trained.rounds,
            "skipped": trained.skipped,
        }
        self._cache.put(key, result)
        return result

    def pooled_aucs(self, setting: SweepPoint) -> dict[str, float]:
        """Test AUC of GAP_BASELINES, fitted to the pooled train rows of all who train: no privacy at all."""
        protocol, plan = setting.protocol, self._trials.setup(setting.scenario).plan
        seed = setting.scenario.data.seed
        key = {
            "format": CACHE_FORMAT,
            "data": self._data,
            "baselines": [plan.network.hidden, seed],
            "protocol": protocol.model_dump(mode="json"),
            **_held_out_key(setting),
        }
        kept = self._cache.get(key)
        if kept is None:
            train, test = (
                self._trials.rows(plan.features, plan.horizon_steps, steps)
                for steps in (protocol.train_steps, protocol.test_steps)
            )
            if (held_out := self._trials.held_out(setting.scenario)) is not None:
                train, test = (rows.where(~held_out[rows.user]) for rows in (train, test))
            kept = {name: auc(test.y, p) for name, p in gap_baselines(train, test, plan, seed).items()}
            self._cache.put(key, kept)
        return kept


def _settings(name_or_file: str, given: Sequence[str], over: Mapping[str, Sequence[str]]) -> list[SweepPoint]:
    """Every combination, as a scenario; ConfigError before anything is trained."""
    if not over:
        raise ConfigError("expected --over KEY=VALUE,VALUE at least once, e.g. --over epsilon=0.5,1,2")
    if EPSILON in over and NOISE in over:
        raise ConfigError(f"expected --over {EPSILON} or --over {NOISE}, got both")
    for key, values in over.items():
        if not values:
            raise ConfigError(f"expected --over {key}=VALUE,VALUE, got no value")
        if key in (EPSILON, DROPOUT):
            for value in values:
                _number(key, value)
        elif "." not in key or key.startswith(("detection.", "simulation.")):
            raise ConfigError(
                f"expected --over to name {EPSILON}, {DROPOUT} or a scenario key that changes the model, "
                f"such as privacy.noise_multiplier, got {key}"
            )
    out = []
    for point in combinations(over):
        names = {key: DROPOUT_KEY if key == DROPOUT else key for key in point if key != EPSILON}
        sets = [f"{name}={float(point[key]) if key == DROPOUT else point[key]}" for key, name in names.items()]
        scenario = open_scenario(name_or_file, [*given, *sets])
        with named(", ".join(f"{key}={value}" for key, value in point.items())):
            check_settings(scenario)
            if EPSILON not in point:
                check_training_budget(scenario)
        out.append(SweepPoint(point, scenario, protocol_of(scenario)))
    return out


def _number(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(f"expected numbers for {key}, got {text!r}") from None
    if key == DROPOUT and not 0 <= value < 1:
        raise ConfigError(f"expected {DROPOUT} in [0, 1), got {text}")
    if key == EPSILON and not 0 < value < math.inf:
        raise ConfigError(f"expected {EPSILON} > 0, got {text}")
    return value


def _held_out_key(setting: SweepPoint) -> dict[str, Any]:
    """What a result depends on besides the people, if some of them are held out."""
    data = setting.scenario.data
    return {"held_out": [data.held_out_share, data.seed]} if data.held_out_share else {}


def _by_people(settings: Sequence[SweepPoint]) -> Iterator[list[int]]:
    """Positions of settings, those on the same people together: each population is in memory once."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, setting in enumerate(settings):
        groups.setdefault((setting.scenario.data.model_dump_json(), setting.protocol.n_steps), []).append(i)
    yield from groups.values()


def _row(setting: SweepPoint, results: Sequence[Mapping[str, Any]], pooled: Mapping[str, float]) -> dict[str, Any]:
    """One row of the table: means over repetitions, with spreads; the gap is to the better baseline."""

    def mean(name: str) -> float:
        return statistics.fmean(result[name] for result in results)

    def spread(name: str) -> float:
        return statistics.stdev(result[name] for result in results) if len(results) > 1 else 0.0

    privacy, best = setting.scenario.privacy, max(pooled.values())
    return {
        "values": setting.values,
        "noise_multiplier": privacy.noise_multiplier,
        "sampling_rate": privacy.sampling_rate,
        "epsilon_to_public": results[0]["epsilon_to_public"],
        "auc_mean": mean("auc"),
        "auc_sd": spread("auc"),
        "auc": [result["auc"] for result in results],
        "log_loss_mean": mean("log_loss"),
        "calibration_error_mean": mean("calibration_error"),
        "rounds": results[0]["rounds"],
        "skipped_mean": mean("skipped"),
        "pooled": pooled,
        "pooled_auc": best,
        "gap_mean": best - mean("auc"),
    }


def draw(results: Mapping[str, Any], file: Path) -> None:
    """The figure as SVG: AUC on the test steps by epsilon, or by the first swept key, with the pooled model's. One curve
    for each combination of the other keys; bars are one standard deviation over repetitions."""
    first, *others = results["over"]
    by_epsilon = first in (EPSILON, NOISE)
    if by_epsilon and not others:
        save_utility_figure(swept_points(results["rows"]), file)
        return
    private = [row for row in results["rows"] if row["epsilon_to_public"] is not None or not by_epsilon]
    places = {value: i for i, value in enumerate(results["over"][first])}
    numeric = all(_is_number(value) for value in places)

    def across(row: Mapping[str, Any]) -> float:
        if by_epsilon:
            return float(row["epsilon_to_public"])
        value = row["values"][first]
        return float(value) if numeric else float(places[value])

    curves: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(private, key=across):
        curves.setdefault(", ".join(f"{key} {row['values'][key]}" for key in others), []).append(row)
    style: dict[Any, Any] = {"svg.hashsalt": "sweep", "svg.fonttype": "none", "font.size": 9, "text.parse_math": False}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        for i, (name, rows) in enumerate(curves.items()):
            x = [across(row) for row in rows]
            colour, label = (COLOURS["ours"], "federated, private") if not name else (f"C{i}", name)
            means, spreads = ([row[key] for row in rows] for key in ("auc_mean", "auc_sd"))
            axes.errorbar(x, means, yerr=spreads, marker="o", capsize=3, color=colour, label=label)
        pooled = sorted({(across(row), row["pooled_auc"]) for row in private})
        if len({value for _, value in pooled}) == 1:
            axes.axhline(pooled[0][1], color=COLOURS["ink"], linestyle="--", label=POOLED_LINE)
        elif pooled:
            axes.plot(*zip(*pooled, strict=True), "--", color=COLOURS["ink"], label=POOLED_LINE)
        if by_epsilon:
            at = sorted({across(row) for row in private})
            axes.set_xscale("log")
            axes.set_xticks(at, [f"{x:.3g}" for x in at])
            axes.minorticks_off()
        elif not numeric:
            axes.set_xticks(list(places.values()), list(places))
        axes.set_xlabel("epsilon to who sees the models" if by_epsilon else first)
        axes.set_ylabel("AUC on the test steps")
        axes.set_title(f"{results['scenario']}{' (SIMULATED data)' if results['simulated'] else ''}", loc="left")
        axes.grid(color=COLOURS["rule"], linewidth=0.7)
        if private:
            axes.legend(frameon=False)
        drawing = io.StringIO()
        figure.savefig(drawing, format="svg", metadata={"Date": None, "Creator": None})
    replace_content(file, drawing.getvalue())


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
