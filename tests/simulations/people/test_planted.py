"""The planted population: the same every time, shaped like a shop's users, and its truth is true."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from shared.errors import DataError, InputError
from shared.events import EventKind, Step
from simulations.people import planted
from simulations.people.planted import ToPlant, plant
from simulations.people.population import Population
from simulations.people.truth import ChangeKind, Truth

ARRAYS = ("offsets", "category", "kind", "time_s", "amount")
N_STEPS = 200
SPAN = 21


@pytest.fixture(scope="module")
def many() -> Population:
    return plant(1500, N_STEPS, seed=11)


def active_days(population: Population) -> npt.NDArray[np.bool_]:
    """True where a user did anything in a category on a day: (n_users, n_categories, n_steps)."""
    active = np.zeros((population.n_users, len(population.catalogue), population.n_steps), bool)
    user = np.repeat(np.arange(population.n_users), np.diff(population.offsets))
    active[user, population.category, (population.time_s // population.step.seconds).astype(int)] = True
    return active


def truth_of(population: Population) -> Truth:
    assert population.truth is not None
    return population.truth


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first, again, other = (plant(60, 84, seed=seed) for seed in (7, 7, 8))
    for array in ARRAYS:
        assert getattr(first, array).tobytes() == getattr(again, array).tobytes()
    for field in ("user", "category", "kind", "step", "size", "end_step"):
        assert getattr(truth_of(first), field).tobytes() == getattr(truth_of(again), field).tobytes()
    assert first.time_s.tobytes() != other.time_s.tobytes()


def test_it_is_labelled_simulated_and_counts_days() -> None:
    population = plant(3, 28, seed=0, n_categories=40)
    assert population.simulated
    assert population.name == "planted"
    assert population.step is Step.DAY
    assert (population.n_users, population.n_steps, len(population.catalogue)) == (3, 28, 40)


@pytest.mark.parametrize("seed", range(20))
def test_one_user_is_a_population(seed: int) -> None:
    population = plant(1, 28, seed=seed, n_categories=1 + seed % 3, sparse_share=1.0)
    assert population.n_users == 1
    assert population.n_events >= 1


def test_users_of_several_chunks_are_numbered_through() -> None:
    population = plant(90, 1000, seed=1, n_categories=100)  # 40 users at a time
    assert (np.diff(population.offsets) > 0).all()
    assert truth_of(population).user.max() >= 80
    drops = truth_of(population).of_kind(ChangeKind.DROP)
    before, after = _means_around(population, drops)
    assert after.mean() < before.mean()


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_people_planted_where_they_are_to_lie_are_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(planted, "_CHUNK_CELLS", chunk * 60 * 12)
    later, people = ToPlant(20, 60, seed=4), plant(20, 60, seed=4)
    assert (later.n_users, later.catalogue) == (people.n_users, people.catalogue)
    people.save(tmp_path / "made")
    later.save(tmp_path / "saved")
    made, saved = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("made", "saved"))
    assert made == saved and len(saved) == 8
    assert Population.load(tmp_path / "saved", mmap=False).truth is not None


def test_planting_that_ends_early_leaves_no_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(planted.ColumnFile, "finish", full)
    with pytest.raises(DataError, match="cannot save the population in .*No space left"):
        ToPlant(3, 60, seed=4).save(tmp_path / "people")
    assert list((tmp_path / "people").iterdir()) == []


def test_the_funnel_narrows_and_only_purchases_have_an_amount(many: Population) -> None:
    counts = np.bincount(many.kind, minlength=5)
    assert (np.diff(counts) < 0).all()
    assert (many.amount[many.kind == EventKind.PURCHASE] > 0).all()
    assert (many.amount[many.kind != EventKind.PURCHASE] == 0).all()


def test_most_users_are_light_and_some_are_sparse(many: Population) -> None:
    n_events = np.diff(many.offsets)
    assert n_events.mean() > 1.6 * np.median(n_events)
    days = active_days(many).any(1).mean(1)
    assert 0.15 < (days < 0.15).mean() < 0.4


def test_weekdays_and_moods_show(many: Population) -> None:
    active = active_days(many)
    days = active.any(1).astype(float)
    weekend = days[:, np.arange(N_STEPS) % 7 >= 5].mean()
    weekday = days[:, np.arange(N_STEPS) % 7 < 5].mean()
    assert weekend > 1.03 * weekday
    days -= days.mean(1, keepdims=True)
    neighbours = (days[:, 1:] * days[:, :-1]).mean() / (days**2).mean()
    assert neighbours > 0.03


def test_the_interest_label_is_balanced_and_learnable(many: Population) -> None:
    """Rows are (user, touched category, day); the label is any event in the next 7 days."""
    active = np.cumsum(active_days(many), axis=-1)
    for step in (60, 100, 150, 190):
        touched = active[:, :, step] > 0
        label = (active[:, :, step + 7] > active[:, :, step])[touched]
        recent: npt.NDArray[np.int64] = (active[:, :, step] - active[:, :, step - 28])[touched]
        assert 0.38 < label.mean() < 0.62
        assert 0.78 < _auc(recent, label) < 0.92


def _auc(score: npt.NDArray[Any], label: npt.NDArray[np.bool_]) -> float:
    """Probability that a positive scores above a negative, ties counting half."""
    ordered = np.sort(score[~label])
    below = np.searchsorted(ordered, score[label], "left") + np.searchsorted(ordered, score[label], "right")
    return float(below.mean() / 2 / len(ordered))


def _means_around(population: Population, changes: Truth) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Share of active days in the three weeks before each change and the three after it settled."""
    active = active_days(population)
    before, after = [], []
    for user, category, step, end in zip(changes.user, changes.category, changes.step, changes.end_step, strict=True):
        if step >= SPAN and end + SPAN <= population.n_steps:
            before.append(active[user, category, step - SPAN : step].mean())
            after.append(active[user, category, end : end + SPAN].mean())
    return np.array(before), np.array(after)


@pytest.mark.parametrize(
    ("kind", "sign"),
    [(ChangeKind.DROP, -1), (ChangeKind.RISE, 1), (ChangeKind.GRADUAL, -1), (ChangeKind.GRADUAL, 1)],
)
def test_the_truth_is_true(many: Population, kind: ChangeKind, sign: int) -> None:
    changes = truth_of(many).of_kind(kind)
    if kind is not ChangeKind.GRADUAL:
        assert (np.sign(changes.size) == sign).all()
    changes = changes.where(np.sign(changes.size) == sign)
    before, after = _means_around(many, changes)
    assert len(before) > 100
    assert (after.mean() - before.mean()) * sign > 0.15
    assert ((after - before) * sign > 0).mean() > 0.85
    early, late = changes.step < N_STEPS // 2, changes.step >= N_STEPS // 2
    assert min(early.sum(), late.sum()) > 0.3 * len(changes)


def test_gradual_drifts_take_about_three_weeks_and_sudden_ones_a_day(many: Population) -> None:
    truth = truth_of(many)
    length = truth.end_step - truth.step
    gradual = length[truth.kind == ChangeKind.GRADUAL]
    assert (gradual.min(), gradual.max()) == (14, 28)
    assert abs(gradual.mean() - 21) < 1
    assert set(length[truth.kind <= ChangeKind.RISE].tolist()) == {1}


def test_there_is_one_change_per_pair_and_bursts_keep_away_from_it(many: Population) -> None:
    truth = truth_of(many)
    changes = truth.where(truth.kind != ChangeKind.BURST)
    pairs = set(zip(changes.user.tolist(), changes.category.tolist(), strict=True))
    assert len(pairs) == len(changes)
    assert (truth.end_step <= N_STEPS).all()
    bursts = truth.of_kind(ChangeKind.BURST)
    change_of = {(int(u), int(c)): i for i, (u, c) in enumerate(zip(changes.user, changes.category, strict=True))}
    for user, category, step, end in zip(bursts.user, bursts.category, bursts.step, bursts.end_step, strict=True):
        if (at := change_of.get((int(user), int(category)))) is not None:
            assert end <= changes.step[at] - 7 or step >= changes.end_step[at] + 7


def test_bursts_last_up_to_three_days_and_leave_the_level_alone() -> None:
    population = plant(800, N_STEPS, seed=5, change_share=0, bursts_per_100_steps=1)
    bursts = truth_of(population)
    assert (bursts.kind == ChangeKind.BURST).all()
    assert set((bursts.end_step - bursts.step).tolist()) == {1, 2, 3}
    active = active_days(population)
    for sign in (-1, 1):
        chosen = np.sign(bursts.size) == sign
        during = active[bursts.user[chosen], bursts.category[chosen], bursts.step[chosen]].mean()
        before, after = _means_around(population, bursts.where(chosen))
        assert (during - before.mean()) * sign > 0.1
        assert abs(after.mean() - before.mean()) < 0.02


def test_nothing_is_planted_where_nothing_is_asked() -> None:
    assert len(truth_of(plant(50, 100, seed=1, change_share=0, bursts_per_100_steps=0))) == 0


def test_sparse_users_have_changes_too() -> None:
    changes = truth_of(plant(400, N_STEPS, seed=2, sparse_share=1.0)).of_kind(ChangeKind.DROP, ChangeKind.RISE)
    assert len(changes) > 20


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"n_users": 0}, "expected n_users >= 1, got 0"),
        ({"n_users": 2.0}, "expected n_users >= 1, got 2.0"),
        ({"n_users": True}, "expected n_users >= 1, got True"),
        ({"n_steps": 27}, "expected n_steps >= 28, got 27"),
        ({"seed": -1}, "expected seed >= 0, got -1"),
        ({"n_categories": 0}, "expected n_categories in 1..512, got 0"),
        ({"n_categories": 513}, "expected n_categories in 1..512, got 513"),
        ({"sparse_share": 1.5}, "expected sparse_share in 0..1, got 1.5"),
        ({"change_share": float("nan")}, "expected change_share in 0..1, got nan"),
        ({"bursts_per_100_steps": -0.1}, "expected bursts_per_100_steps in 0..3, got -0.1"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        plant(**{"n_users": 2, "n_steps": 28, "seed": 0, **arguments})
    assert str(caught.value) == expected


def test_it_is_fast() -> None:
    start = time.perf_counter()
    plant(300, N_STEPS, seed=1)
    assert time.perf_counter() - start < 1.5  # about .1 s; the bound leaves room for a busy machine
