"""Populations: building, slicing, saving and loading them, and refusing what is not one."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import DataError, InputError
from shared.events import Catalogue, EventKind, Step
from simulations.people.planted import plant
from simulations.people.population import Population
from simulations.people.truth import ChangeKind, Truth

COLUMNS = ("offsets", "category", "kind", "time_s", "amount")
TRUTH = ("user", "category", "kind", "step", "size", "end_step")
N_STEPS = 10


def build(**changes: Any) -> Population:
    """Three users with 2, 0 and 1 events, with some arguments replaced."""
    arguments: dict[str, Any] = {
        "name": "three",
        "catalogue": Catalogue(("a", "b")),
        "step": Step.DAY,
        "n_steps": N_STEPS,
        "simulated": True,
        "n_users": 3,
        "user": np.array([2, 0, 0]),
        "category": np.array([1, 0, 1]),
        "kind": np.array([0, 4, 0]),
        "time_s": np.array([3.0, 90_000.0, 5.0]),
        "amount": np.array([0.0, 7.25, 0.0]),
    }
    return Population.from_events(**{**arguments, **changes})


def assert_same(a: Population, b: Population) -> None:
    assert (a.name, a.catalogue, a.step, a.n_steps, a.simulated) == (
        b.name,
        b.catalogue,
        b.step,
        b.n_steps,
        b.simulated,
    )
    for column in COLUMNS:
        left, right = getattr(a, column), getattr(b, column)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right, err_msg=column)
    assert (a.truth is None) == (b.truth is None)
    if a.truth is not None and b.truth is not None:
        for field in TRUTH:
            np.testing.assert_array_equal(getattr(a.truth, field), getattr(b.truth, field), err_msg=field)


@st.composite
def populations(draw: st.DrawFn) -> Population:
    n_users = draw(st.integers(1, 6))
    event = st.tuples(
        st.integers(0, n_users - 1),
        st.integers(0, 2),
        st.integers(0, 4),
        st.floats(0, N_STEPS * 86_400, exclude_max=True),
        st.floats(0, 1e6, width=32),
    )
    user, category, kind, time_s, amount = zip(*draw(st.lists(event, min_size=1, max_size=30)), strict=True)
    change = st.tuples(
        st.integers(0, n_users - 1),
        st.integers(0, 2),
        st.integers(0, 3),
        st.integers(0, N_STEPS - 1),
        st.floats(-5, 5, width=32),
        st.integers(N_STEPS, 2 * N_STEPS),
    )
    changes = draw(st.none() | st.lists(change, max_size=5))
    truth = None
    if changes is not None:
        types = (np.int64, np.int16, np.int8, np.int32, np.float32, np.int32)
        rows = [list(values) for values in zip(*changes, strict=True)] or [[]] * 6
        truth = Truth(*(np.array(row, dtype) for row, dtype in zip(rows, types, strict=True)))
    return build(
        catalogue=Catalogue(("a", "b", "ç/ü")),
        n_users=n_users,
        user=np.array(user),
        category=np.array(category),
        kind=np.array(kind),
        time_s=np.array(time_s),
        amount=np.where(np.array(kind) == EventKind.PURCHASE, amount, 0.0),
        truth=truth,
    )


@settings(max_examples=60, deadline=None)
@given(population=populations(), data=st.data())
def test_saving_loading_and_taking_keep_every_event(population: Population, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        population.save(folder)
        for mmap in (True, False):
            loaded = Population.load(folder, mmap=mmap)
            assert_same(population, loaded)
            loaded.check()
    users = data.draw(st.lists(st.integers(0, population.n_users - 1), min_size=1, unique=True))
    if all(len(population.user_events(u)) == 0 for u in users):
        with pytest.raises(InputError, match="at least one user and one event"):
            population.take(users)
        return
    part = population.take(users)
    part.check()
    assert part.n_users == len(users)
    for place, user in enumerate(users):
        old, new = population.user_events(user), part.user_events(place)
        assert len(old) == len(new)
        for column in COLUMNS[1:]:
            np.testing.assert_array_equal(getattr(old, column), getattr(new, column))
        if population.truth is not None and part.truth is not None:
            before = population.truth.where(population.truth.user == user)
            after = part.truth.where(part.truth.user == place)
            np.testing.assert_array_equal(before.step, after.step)
            np.testing.assert_array_equal(before.size, after.size)


@settings(max_examples=40, deadline=None)
@given(population=populations(), seed=st.integers(0, 2**16))
def test_the_order_of_events_given_does_not_matter(population: Population, seed: int) -> None:
    user = np.repeat(np.arange(population.n_users), np.diff(population.offsets))
    order = np.random.default_rng(seed).permutation(len(user))
    columns = {c: getattr(population, c)[order] for c in COLUMNS[1:]}
    shuffled = build(catalogue=population.catalogue, n_users=population.n_users, user=user[order], **columns)
    np.testing.assert_array_equal(shuffled.offsets, population.offsets)
    np.testing.assert_array_equal(shuffled.time_s, population.time_s)


def test_events_are_sorted_and_read_only_and_the_givers_arrays_stay_writable() -> None:
    time_s = np.array([3.0, 90_000.0, 5.0])
    population = build(time_s=time_s)
    time_s[0] = 4.0
    assert population.offsets.tolist() == [0, 2, 2, 3]
    assert population.user_events(0).time_s.tolist() == [5.0, 90_000.0]
    assert len(population.user_events(1)) == 0
    assert np.shares_memory(population.user_events(2).category, population.category)
    with pytest.raises(ValueError, match="read-only"):
        population.time_s[0] = 1.0


def test_times_are_whole_seconds_and_money_is_kept_of_purchases_alone() -> None:
    population = build(time_s=np.array([3.7, 90_000.2, 5.999]))
    assert population.time_s.tolist() == [5, 90_000, 3] and population.paid.tolist() == [7.25]
    assert population.amount.sum() == population.user_events(0).amount.sum() == np.float32(7.25)
    elsewhere = replace(population, purchases=np.array([0, 0, 0, 1]))
    with pytest.raises(InputError, match="purchases as many as there are"):
        elsewhere.check()
    with pytest.raises(InputError, match="at most 24855 steps of a day, got 30000"):
        build(n_steps=30_000)


def test_nothing_of_the_events_is_in_a_repr() -> None:
    population = build(amount=np.array([0.0, 4321.0, 0.0]))
    assert repr(population) == "Population('three', 3 users, 2 categories, 10 steps of a day, simulated)"
    assert repr(population.user_events(0)) == "UserEvents(<raw>)"
    assert "4321" not in repr([population, population.user_events(0)])
    assert repr(plant(2, 28, seed=0).truth).endswith("planted changes)")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_users": 0}, "at least one user, got 0"),
        (
            {c: np.array([], int) for c in ("user", *COLUMNS[1:])},
            "at least one user and one event, got 3 and 0",
        ),
        ({"n_steps": 0}, "n_steps >= 1, got 0"),
        ({"user": np.array([3, 0, 0])}, "user in 0..2"),
        ({"user": np.array([-1, 0, 0])}, "user in 0..2"),
        ({"category": np.array([1, 65_536, 0])}, "category in 0..1"),
        ({"kind": np.array([0, 0, 256])}, "kind in 0..4"),
        ({"time_s": np.array([0.0, 1.0, 864_000.0])}, "time_s in the 10 steps"),
        ({"time_s": np.array([0.0, 1.0, -1.0])}, "time_s in the 10 steps"),
        ({"time_s": np.array([0.0, 1.0, np.nan])}, "time_s in the 10 steps"),
        ({"amount": np.array([0.0, 1.0, np.inf])}, "amount in 0..1000000"),
        ({"amount": np.array([0.0, 1.0, -3.5])}, "amount in 0..1000000"),
        ({"amount": np.array([2.0, 7.25, 0.0])}, "amount of 0 unless it is a purchase"),
        ({"amount": np.array([0.0, 7.25])}, "columns of one length"),
        ({"kind": np.array([0, 4.5, 0])}, "kind as whole numbers"),
    ],
)
def test_what_is_not_a_population_is_refused_without_its_values(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError) as caught:
        build(**changes)
    assert expected in str(caught.value)
    for raw in ("65536", "864000", "3.5", "256", "nan"):
        assert raw not in str(caught.value)


@pytest.mark.parametrize("users", [[], [3], [-1], [0, 0], [0.5], [True, False], [[0]]])
def test_taking_users_that_are_not_there_is_refused(users: list[Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        build().take(users)
    with pytest.raises(InputError, match=r"a user in 0\.\.2, got 3"):
        build().user_events(3)


def test_taking_reindexes_the_truth() -> None:
    population = plant(40, 56, seed=3, change_share=1.0)
    part = population.take(np.array([30, 5], np.uint8))
    assert population.truth is not None
    assert part.truth is not None
    for place, user in ((0, 30), (1, 5)):
        old = population.truth.where(population.truth.user == user)
        np.testing.assert_array_equal(old.step, part.truth.where(part.truth.user == place).step)
    assert set(part.truth.user.tolist()) <= {0, 1}
    assert len(part.truth.of_kind(ChangeKind.BURST)) == int((part.truth.kind == ChangeKind.BURST).sum())


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "population"
    plant(20, 56, seed=1).save(folder)
    return folder


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("n_bytes", [0, 5, 90, -1])
def test_a_truncated_file_is_found(saved: Path, tmp_path: Path, mmap: bool, n_bytes: int) -> None:
    for file in sorted(saved.iterdir()):
        broken = tmp_path / f"{file.stem}-{mmap}"
        shutil.copytree(saved, broken)
        (broken / file.name).write_bytes(file.read_bytes()[:n_bytes])
        with pytest.raises(DataError, match="expected"):
            Population.load(broken, mmap=mmap)
        (broken / file.name).unlink()
        with pytest.raises(DataError, match="is missing"):
            Population.load(broken, mmap=mmap)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_byte_is_found(saved: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(sorted(saved.iterdir())))
    whole = file.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "broken"
        shutil.copytree(saved, broken)
        flipped = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
        (broken / file.name).write_bytes(whole[:place] + flipped + whole[place + 1 :])
        if file.suffix == ".json" and _same_json(whole, (broken / file.name).read_bytes()):
            return  # white space
        with pytest.raises(DataError):
            Population.load(broken, mmap=False)
        with contextlib.suppress(DataError):  # memory-mapped: the right shape, or a DataError
            Population.load(broken)


def _same_json(a: bytes, b: bytes) -> bool:
    try:
        return bool(json.loads(a) == json.loads(b))
    except ValueError:
        return False


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"population": []}', '{"population": {"format": 1}}', "\xff"])
def test_a_foreign_folder_is_a_data_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="is missing"):
        Population.load(tmp_path / "nowhere")
    (tmp_path / "population.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="expected a saved population"):
        Population.load(tmp_path)


def test_saving_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = build(), build(n_users=4)
    old.save(tmp_path)
    rename = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target.name == "population.json":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(DataError, match=r"cannot save .*No space left on device"):
            new.save(tmp_path)
    assert_same(Population.load(tmp_path, mmap=False), old)
    new.save(tmp_path)
    assert_same(Population.load(tmp_path, mmap=False), new)
    assert len(list(tmp_path.iterdir())) == 2 + len(COLUMNS)  # nothing stale is left
    (tmp_path / "a file").write_text("")
    with pytest.raises(DataError, match="cannot save"):
        new.save(tmp_path / "a file")


def test_opening_one_users_events_is_fast(tmp_path: Path) -> None:
    plant(500, 100, seed=2).save(tmp_path)
    took_s = []
    for user in range(50):
        start = time.perf_counter()
        Population.load(tmp_path).user_events(user).time_s.sum()
        took_s.append(time.perf_counter() - start)
    assert min(took_s) < 3e-3  # about .8 ms; the bound leaves room for a busy machine
