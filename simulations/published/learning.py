"""What private learning is worth on all users of the real data sets: the measurements behind published numbers.

Every training is compared with pooled models that are fitted in the same run, on the same rows, under the same seed.
A seed stands for one repetition: planted people, theta 0, devices' draws of rows, pooled models and, where users are
held out, who they are. Noise has no seed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
from rich.progress import track

from shared.arrays import Bools, Floats, as_declared
from shared.heads import Heads
from shared.network import forward

from ..baselines.interest_models import (
    BOOSTED,
    BY_ITSELF,
    FOREST,
    GAP_BASELINES,
    POOLED_DNN,
    POOLED_LR,
    POOLED_NUMPY,
    RECENCY_FREQUENCY,
    gap_baselines,
    pooled_baselines,
)
from ..evaluation.aggregates.bit_rates import ANSWERS, EPSILON, REPETITIONS, TRUE_RATE, coverage
from ..evaluation.quality import UserBootstrap, auc, interval
from ..federation.equivalence import (
    N_USERS,
    run_devices,
    run_hosted,
    scenario_without_noise,
    some_people,
    theta_difference,
)
from ..federation.run_folder import RunFolder
from ..people.labelled_rows import Rows
from ..people.of_scenario import population_of
from ..report.plots import save_utility_panels
from ..report.utility import UTILITY_EPSILONS, utility_points
from ..scenarios.config import Scenario, load_scenario
from ..search.other_teachers import TEACHERS, alerted, fared
from ..search.rated import rated_aucs
from ..search.trials import Trained, Trials, repeated, warmed, with_noise_for
from .heads_training import trained_heads
from .measured import Measured, known
from .strangers import turns_of_strangers

SEEDS = 5
UTILITY_SEEDS = 3
HELD_OUT_SHARE = 0.2
P_ALONE = ("privacy.max_epsilon=inf", "risk.rounds=0")
MEASURES = (("auc", "AUC"), ("auc_gap", "AUC"), ("calibration_error", "share"), ("log_loss", "nats"))
GAP_TO = "best of pooled LR and pooled DNN"
#: Data sets whose only scenario is that of epsilon <= 1.
ONE_SCENARIO = ("ta-feng",)
#: The data sets with a scenario that learns heads.
WITH_HEADS = ("complete-journey", "online-retail-ii", "ta-feng")
#: What ours is compared with in the same run, by the key that its number has.
BASELINES = {
    "pooled_lr": POOLED_LR,
    "pooled_dnn": POOLED_DNN,
    "pooled_numpy": POOLED_NUMPY,
    "boosted": BOOSTED,
    "forest": FOREST,
    "recency": "recency",
    "frequency": "frequency",
    "recency_frequency": RECENCY_FREQUENCY,
    "alone": BY_ITSELF,
}


class Learning:
    """Trainings on all users of one data set, and pooled models to compare with. `overrides` are of its scenarios."""

    _heads: ClassVar[dict[str, tuple[Floats, Heads]]] = {}

    def __init__(self, name: str, overrides: Sequence[str], folder: Path) -> None:
        self.name, self._overrides, self._folder = name, overrides, folder
        first = self.scenario("eps1")
        self.trials = Trials(population_of(first), folder)
        self.setup = self.trials.setup(first)

    def scenario(self, key: str, *overrides: str) -> Scenario:
        """The data set's scenario `eps1` or `eps7`; of one in ONE_SCENARIO the one that it has, for epsilon 1."""
        own = self.name in ONE_SCENARIO and key == "eps1"
        return load_scenario(self.name if own else f"{self.name}-{key}", [*self._overrides, *overrides])

    @property
    def warning_scenario(self) -> Scenario:
        """By which turns are warned of: one that learns heads, where the data set has one."""
        return self.scenario("heads" if self.name in WITH_HEADS else "eps1")

    def halves(self) -> tuple[Rows, Rows]:
        """Everybody's labelled rows of the train steps, and of the test steps."""
        plan, protocol = self.setup.plan, self.setup.protocol
        train, test = (
            self.trials.rows(plan.features, plan.horizon_steps, steps)
            for steps in (protocol.train_steps, protocol.test_steps)
        )
        return train, test

    @as_declared
    def pooled_auc(self, seed: int, held_out: Bools | None = None) -> float:
        """Test AUC of the better pooled model. With `held_out` (K,): fitted without those users, judged on them."""
        train, test = self.halves()
        if held_out is not None:
            train, test = train.where(~held_out[train.user]), test.where(held_out[test.user])
        return max(known(auc(test.y, p)) for p in gap_baselines(train, test, self.setup.plan, seed).values())

    def baselines(self, seed: int) -> dict[str, Floats]:
        """p of every baseline on the test rows, by its name."""
        train, test = self.halves()
        return pooled_baselines(train, test, self.setup.plan, seed)

    @as_declared
    def aucs(self, scores: Mapping[str, Floats]) -> dict[str, float]:
        """Test AUC of each p on the test rows."""
        y = self.halves()[1].y
        return {name: known(auc(y, p)) for name, p in scores.items()}

    def train(self, scenario: Scenario, seed: int) -> Trained:
        """One private training."""
        return self.trials.train(self.trials.setup(repeated(warmed(scenario, seed), seed)))

    def heads(self, scenario: Scenario, seed: int) -> tuple[Floats, Heads]:
        """Theta (P,) and the heads of one private training; learned once in a process, for all that is said of them."""
        repetition = repeated(warmed(scenario, seed), seed)
        key = repetition.model_dump_json()
        if key not in self._heads:
            self._heads[key] = trained_heads(repetition, self.trials.population, self._folder / f"heads-{seed}")
        return self._heads[key]

    def start(self, scenario: Scenario, seed: int) -> Floats:
        """The model that it begins with: planted people's."""
        return self.trials.start(self.trials.setup(warmed(scenario, seed)))

    @as_declared
    def judge(self, theta: Floats, pooled: float, left_out: Bools | None = None) -> tuple[float, ...]:
        """The MEASURES of a model on the test steps; users in `left_out` (K,) are not looked at."""
        score = self.trials.score(self.setup.plan, theta, self.setup.protocol.test_steps, left_out)
        ours = known(score.auc)
        return ours, pooled - ours, score.calibration_error, score.log_loss


@contextmanager
def learning(name: str, overrides: Sequence[str]) -> Iterator[Learning]:
    with tempfile.TemporaryDirectory(prefix="ebbtide-numbers-") as folder:
        yield Learning(name, overrides, Path(folder))


def _by_measure(name: str, runs: Mapping[str, Sequence[tuple[float, ...]]], baseline: str) -> dict[str, Measured]:
    """`<measure>.<name>.<key>` for every key of `runs`, which holds the MEASURES of each seed."""
    return {
        f"{measure}.{name}.{key}": Measured.over([run[i] for run in values], unit, baseline)
        for key, values in runs.items()
        for i, (measure, unit) in enumerate(MEASURES)
    }


def epsilon_numbers(name: str, overrides: Sequence[str] = (), seeds: int = SEEDS) -> dict[str, Measured]:
    """Each epsilon scenario of a data set on all users, the planted start alone, and every baseline. Those that come out
    the same for every seed have no spread."""
    keys = ("eps1",) if name in ONE_SCENARIO else ("eps1", "eps7")
    baselines: list[dict[str, float]] = []
    people: list[dict[str, float]] = []
    runs: dict[str, list[tuple[float, ...]]] = {key: [] for key in (*keys, "planted_only")}
    with learning(name, overrides) as of:
        scenarios = {key: of.scenario(key) for key in keys}
        for seed in track(range(seeds), description=name):
            theirs = of.baselines(seed)
            baselines.append(of.aucs(theirs))
            pooled = _better(baselines[-1])
            models = {key: of.train(scenario, seed).theta for key, scenario in scenarios.items()}
            models["planted_only"] = of.start(scenarios["eps1"], seed)
            for key, theta in models.items():
                runs[key].append(of.judge(theta, pooled))
            people.append(people_ends(of, models, theirs))
        users = np.unique(of.halves()[1].user).size, len(of.halves()[1].y)
    best = [_better(aucs) for aucs in baselines]
    out = _by_measure(name, runs, f"{GAP_TO}, AUC {np.mean(best):.4f}")
    out[f"auc.users.{name}"] = Measured(users[0], None, "users", f"{users[1]} rows")
    for key in people[0]:
        ends = [one[key] for one in people]
        what = f"an end of 95 %, bootstrap over {users[0]} users, mean of the trainings"
        out[key] = Measured.over(ends if len(set(ends)) > 1 else ends[:1], "AUC", what)
    out[f"calibration_error.{name}"] = out[f"calibration_error.{name}.eps1"]
    out[f"auc.{name}.pooled"] = Measured.over(best, "AUC")
    for key, row in BASELINES.items():
        found = [aucs[row] for aucs in baselines]
        out[f"auc.{name}.{key}"] = Measured.over(found if len(set(found)) > 1 else found[:1], "AUC")
    return out


@as_declared
def people_ends(of: Learning, models: Mapping[str, Floats], theirs: Mapping[str, Floats]) -> dict[str, float]:
    """The ends of the 95 % intervals over users of one training: of every model's AUC (`models`: theta by key, `theirs`: p by name),
    `auc_<end>.<name>.<key>`, and of how far the better pooled model is ahead of each of ours, `auc_gap_<end>`."""
    test, plan = of.halves()[1], of.setup.plan
    draws = UserBootstrap(test.y, test.user, 0)
    drawn = {key: draws.aucs(forward(plan.network, theta, test.x)) for key, theta in models.items()}
    aucs = of.aucs({name: theirs[name] for name in GAP_BASELINES})
    pooled = draws.aucs(theirs[max(aucs, key=lambda name: aucs[name])])
    beside = {key: draws.aucs(theirs[row]) for key, row in BASELINES.items() if row in theirs}
    ranges = {
        **{f"auc_{{}}.{of.name}.{key}": interval(values) for key, values in {**drawn, **beside}.items()},
        **{f"auc_gap_{{}}.{of.name}.{key}": interval(pooled - values) for key, values in drawn.items()},
    }
    return {
        key.format(end): value
        for key, ends in ranges.items()
        if ends is not None
        for end, value in zip(("low", "high"), ends, strict=True)
    }


def _better(aucs: Mapping[str, float]) -> float:
    """The AUC that a gap is measured to."""
    return max(aucs[name] for name in GAP_BASELINES)


def held_out_numbers(name: str, overrides: Sequence[str] = (), seeds: int = SEEDS) -> dict[str, Measured]:
    """One in five users held out, other users for each seed: ours and the better pooled model, neither of which has seen a row of
    theirs, on those users alone. Of interest under scenario `eps1`; of lapses and take-offs, with their rules, under that with heads."""
    pooled: list[float] = []
    turns: list[dict[str, float]] = []
    runs: list[tuple[float, ...]] = []
    with learning(name, overrides) as of:
        for seed in track(range(seeds), description=f"{name}, users held out"):
            apart = f"data.held_out_share={HELD_OUT_SHARE}", f"data.seed={seed + 1}"
            scenario, warning = of.scenario("eps1", *apart), of.scenario("heads", *apart)
            mask = of.trials.held_out(scenario)
            assert mask is not None
            pooled.append(of.pooled_auc(seed, mask))
            runs.append(of.judge(of.train(scenario, seed).theta, pooled[-1], ~mask))
            setup, (_, heads) = of.trials.setup(warning), of.heads(warning, seed)
            turns.append(turns_of_strangers(of.trials.history, setup, heads, mask, seed))
    baseline = f"{GAP_TO}, without those users, AUC {np.mean(pooled):.4f}"
    out = _by_measure(name, {"eps1.held_out": runs}, baseline)
    strangers = f"a fifth of {of.setup.n_users} users, others for each seed"
    for key in turns[0]:
        turn, _, who = key.partition(".")
        out[f"{turn}.{who}.{name}.held_out"] = Measured.over([found[key] for found in turns], "AUC", strangers)
    return {**out, f"auc.{name}.pooled.held_out": Measured.over(pooled, "AUC")}


def utility_numbers(
    data: Mapping[str, Sequence[str]],
    picture: Path,
    seeds: int = UTILITY_SEEDS,
    epsilons: Sequence[float] = UTILITY_EPSILONS,
) -> dict[str, Measured]:
    """AUC of scenario `eps1`, p alone, with the noise that each epsilon asks for, and with none, on every data set of `data`
    (name: overrides); draws them into `picture`, data sets side by side."""
    out: dict[str, Measured] = {}
    for name, overrides in data.items():
        pooled: list[float] = []
        with learning(name, overrides) as of:
            scenario = of.scenario("eps1", *P_ALONE)
            setup = of.trials.setup(scenario)
            scenarios = {f"eps_{epsilon:g}": with_noise_for(setup, epsilon) for epsilon in epsilons}
            scenarios["no_noise"] = of.scenario("eps1", *P_ALONE, "privacy.noise_multiplier=0.0")
            runs: dict[str, list[float]] = {key: [] for key in (*scenarios, "planted_only")}
            for seed in track(range(seeds), description=f"{name}, utility"):
                pooled.append(of.pooled_auc(seed))
                for key, each in scenarios.items():
                    runs[key].append(of.judge(of.train(each, seed).theta, pooled[-1])[0])
                runs["planted_only"].append(of.judge(of.start(scenario, seed), pooled[-1])[0])
        baseline = f"{GAP_TO}, AUC {np.mean(pooled):.4f}"
        out |= {f"utility.{name}.{key}": Measured.over(values, "AUC", baseline) for key, values in runs.items()}
        out[f"utility.{name}.pooled"] = Measured.over(pooled, "AUC")
        out[f"auc.{name}.no_noise"] = out[f"utility.{name}.no_noise"]
    save_utility_panels({name: utility_points(out, name, epsilons) for name in data}, picture)
    return out


def teacher_numbers(name: str, overrides: Sequence[str], seeds: int = 3) -> dict[str, Measured]:
    """`teachers.<set>`, on folds of train weeks alone: the AUC after planted people as they ship, and what others gain on them, fold by
    fold and seed by seed; the same in categories to which others add purchases; and falls that those come to."""
    scenario, out = f"{name}-eps1", dict[str, Measured]()
    found = fared(scenario, overrides, seeds)
    plain = {"auc": np.array([one.auc for one in found["plain"]])}
    plain |= {f"under_{k}": np.array([one.under[k] for one in found["plain"]]) for k in found["plain"][0].under}
    for key, values in plain.items():
        out[f"teachers.{name}.plain.{key}"] = Measured.over(values.tolist(), "AUC", "folds of train weeks")
    for who in TEACHERS[1:]:
        for key, values in plain.items():
            ours = [one.auc if key == "auc" else one.under[int(key.removeprefix("under_"))] for one in found[who]]
            gains = (np.array(ours) - values).tolist()
            out[f"teachers.{name}.{who}.{key}_gain"] = Measured.over(gains, "AUC", "planted people as they ship")
    runs = [alerted(scenario, overrides, seed, ("plain", "attacked")) for seed in range(seeds)]
    for who, falls in runs[0].items():
        for k in falls:
            key = f"teachers.{name}.{who}.falls_{k}"
            out[key] = Measured.over([run[who][k] for run in runs], "share of users", f"{k} purchases added")
    return out


def ratings_numbers(seeds: int = 3) -> dict[str, Measured]:
    """`ratings.<way>`: AUC of planted people's purchases where a rating tells of them, by how a model comes by what ratings mean; and what
    it gains on the model beside it that has none."""
    runs, out = [rated_aucs(seed) for seed in range(seeds)], dict[str, Measured]()
    for way in runs[0]:
        beside = "pooled_none" if way == "pooled" else "none"
        out[f"ratings.{way}.auc"] = Measured.over([run[way] for run in runs], "AUC", "simulated people")
        if way not in ("none", "pooled_none"):
            out[f"ratings.{way}.gain"] = Measured.over([run[way] - run[beside] for run in runs], "AUC", beside)
    return out


def fidelity_numbers() -> dict[str, Measured]:
    """The largest difference of any weight after three rounds of the same users in both fidelities, without noise."""
    people, scenario = some_people(), scenario_without_noise()
    with tempfile.TemporaryDirectory(prefix="ebbtide-numbers-") as folder:
        ways = RunFolder(Path(folder) / "alone"), RunFolder(Path(folder) / "hosted")
        run_devices(ways[0], people, scenario)
        run_hosted(ways[1], people, scenario)
        # To three digits: how rounding errors add up differs from processor to processor.
        difference = float(f"{theta_difference(*ways):.3g}")
    baseline = f"{N_USERS} simulated users, {scenario.privacy.rounds} rounds; expected: at most 1e-5"
    return {"fidelity.max_theta_difference": Measured(difference, None, "weight", baseline)}


def bit_numbers() -> dict[str, Measured]:
    """`bit.coverage`, over so many repetitions."""
    baseline = (
        f"{REPETITIONS} repetitions of {ANSWERS} coins of epsilon {EPSILON:g}, {TRUE_RATE:.0%} alerted; "
        "expected: 0.93 to 0.97"
    )
    return {"bit.coverage": Measured(round(coverage(), 4), None, "share", baseline)}
