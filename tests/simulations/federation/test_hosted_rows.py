"""What hosts keep of people: counters as cells, and training rows that are written out or made again, the same either way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simulations.federation.host_app as host_app
import simulations.federation.hosted.counters as counters_file
import simulations.federation.hosted.training_rows as training_rows
import simulations.life.rows as feature_rows
from shared.events import Catalogue, EventKind, Step
from shared.features import History
from simulations.federation.equivalence import run_hosted, scenario_without_noise, some_people
from simulations.federation.host_training import row_draws
from simulations.federation.hosted.counters import Counters
from simulations.federation.hosted.training_rows import MadeAgain, TrainingRows, rows_in, write_rows
from simulations.federation.run_folder import RunFolder
from simulations.people.labelled_rows import counted
from simulations.people.planted import plant
from simulations.people.population import Population
from tests.world.basics import examples

COLUMNS = ("active", "count", "amount", "kinds")


def same(one: History, other: History) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS[: 3 + (one.kinds is not None)]
    )


def people_of(
    events: list[tuple[int, int, int, int, float]], n_users: int, n_categories: int, n_steps: int
) -> Population:
    user, category, kind, step, amount = (np.array(column) for column in zip(*events, strict=True))
    return Population.from_events(
        name="few",
        catalogue=Catalogue(tuple(f"c{i}" for i in range(n_categories))),
        step=Step.DAY,
        n_steps=n_steps,
        simulated=True,
        n_users=n_users,
        user=user,
        category=category,
        kind=kind,
        time_s=step * 86_400,
        amount=np.where(kind == EventKind.PURCHASE, amount, 0),
    )


@examples(25)
@given(data=st.data(), with_kinds=st.booleans())
def test_counters_read_from_disk_are_those_that_were_counted(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, with_kinds: bool
) -> None:
    """Whatever the events, and whichever users are asked for in whatever order."""
    n_users, n_categories, n_steps = 5, 3, 30
    event = st.tuples(
        st.integers(0, n_users - 1),
        st.integers(0, n_categories - 1),
        st.integers(0, max(EventKind)),
        st.integers(0, n_steps - 1),
        st.floats(0, 999, width=32),
    )
    people = people_of(data.draw(st.lists(event, min_size=1, max_size=40)), n_users, n_categories, n_steps)
    folder = tmp_path_factory.mktemp("counters")
    people.save(folder / "people")
    at_once = data.draw(st.integers(1, n_users))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counters_file, "COUNT_USERS", at_once)
        hosted = np.arange(n_users)[data.draw(st.integers(0, n_users - 1)) :]
        found = Counters.write(Population.load(folder / "people"), hosted, folder / "counters", with_kinds=with_kinds)
    whole = counted(people, with_kinds=with_kinds)[hosted]
    asked = data.draw(st.lists(st.integers(0, len(hosted) - 1), unique=True))
    assert (found.n_users, found.n_categories, found.with_kinds) == (len(hosted), n_categories, with_kinds)
    assert same(found.of(np.array(asked, np.int64)), whole[np.array(asked, np.int64)])
    parts = list(Counters(folder / "counters").some(2))
    assert [part[0].start for part in parts] == list(range(0, len(hosted), 2))
    assert all(same(part, whole[users]) for users, part in parts)


def test_a_user_may_have_more_counters_than_sixteen_bits_number(tmp_path: Path) -> None:
    people = people_of([(0, 39, 4, 1999, 7.25), (1, 0, 0, 0, 0.0)], 2, 40, 2000)
    people.save(tmp_path / "people")
    found = Counters.write(Population.load(tmp_path / "people"), np.arange(2), tmp_path / "counters")
    assert same(found.of(np.arange(2)), counted(people))


def test_counters_take_what_there_is_and_not_what_there_could_be(tmp_path: Path) -> None:
    people = plant(60, 120, seed=3)
    people.save(tmp_path / "people")
    found = Counters.write(Population.load(tmp_path / "people"), np.arange(60), tmp_path / "counters")
    cells = int((counted(people).count > 0).sum())
    kept = sum(file.stat().st_size for file in (tmp_path / "counters").iterdir())
    assert 6 * cells < kept < 8 * cells + 60 * 16 + 2000 < 60 * 12 * 120 * 9
    assert found.n_users == 60


def test_counters_that_were_cut_off_are_counted_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people, calls = plant(30, 60, seed=1), []
    people.save(tmp_path / "people")

    def killed(*arguments: Any, **more: Any) -> History:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return counted(*arguments, **more)

    Counters.write(Population.load(tmp_path / "people"), np.arange(30), tmp_path / "counters")
    monkeypatch.setattr(counters_file, "COUNT_USERS", 10)
    monkeypatch.setattr(counters_file, "counted", killed)
    with pytest.raises(KeyboardInterrupt):
        Counters.write(Population.load(tmp_path / "people"), np.arange(30), tmp_path / "counters", with_kinds=True)
    assert not Counters.are_in(tmp_path / "counters"), "half of them are none"
    found = Counters.write(Population.load(tmp_path / "people"), np.arange(30), tmp_path / "counters")
    assert same(found.of(np.arange(30)), counted(people)) and not found.with_kinds


@pytest.mark.parametrize("way", ["by_loops", "each_extracted"])
@pytest.mark.parametrize("kind", ["p", "phi"])
def test_rows_made_again_are_those_that_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, way: str
) -> None:
    monkeypatch.setattr(training_rows, "features_for", lambda noise_multiplier: getattr(feature_rows, way))
    people = some_people()
    people.save(tmp_path / "people")
    counters = Counters.write(Population.load(tmp_path / "people"), np.arange(people.n_users), tmp_path / "counters")
    run = RunFolder(tmp_path / "run")
    plan = run_hosted(
        run, people, scenario_without_noise("risk.rounds=1", "risk.noise_multiplier=0.0", "risk.public_users=60")
    ).plan
    trained_at = int(run.host(0).trained_at_file.read_text())
    assert plan.risk is not None
    make = training_rows.rows_of_p(plan) if kind == "p" else training_rows.rows_of_phi(plan, plan.risk)
    held_out = np.arange(people.n_users) % 4 == 1
    folders = [tmp_path / name for name in ("written", "counted")]
    for folder, most_bytes in zip(folders, (None, 1000), strict=True):
        folder.mkdir()
        parts = (part.until(trained_at) for _, part in counters.some(7))
        width = plan.features.n_features * (1 if kind == "p" else 2)
        write_rows(folder, parts, width, make, held_out, most_bytes)
    written, again = (rows_in(folder, counters, lambda h: h.until(trained_at), make) for folder in folders)
    assert isinstance(written, TrainingRows) and isinstance(again, MadeAgain)
    assert sorted(file.name for file in folders[1].iterdir()) == ["offsets.npy"]
    np.testing.assert_array_equal(written.offsets, again.offsets)
    assert (np.diff(again.offsets)[held_out] == 0).all() and written.offsets[-1] > 100
    devices = np.array([0, 1, 2, 5, 9, people.n_users - 1])
    n_rows = written.offsets[devices + 1] - written.offsets[devices]
    picks = row_draws(n_rows, devices, (3, 16), 0, 1)
    real = picks >= 0
    for one, other in zip(written.drawn(devices, picks), again.drawn(devices, picks), strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype == np.float32
        np.testing.assert_array_equal(one[real], other[real])


def test_a_run_whose_rows_are_too_many_to_write_learns_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, scenario = (
        some_people(),
        scenario_without_noise("risk.rounds=1", "risk.noise_multiplier=0.0", "risk.public_users=60"),
    )
    run_hosted(RunFolder(tmp_path / "few"), people, scenario)
    monkeypatch.setattr(host_app, "HOST_ROWS_BYTES", 1000)
    run_hosted(RunFolder(tmp_path / "many"), people, scenario)
    few, many = (RunFolder(tmp_path / name) for name in ("few", "many"))
    np.testing.assert_array_equal(few.server.models()[-1], many.server.models()[-1])
    assert not list(few.host(0).path.rglob("x.npy")), "rows are scratch: once alerts are asked for they are gone"
