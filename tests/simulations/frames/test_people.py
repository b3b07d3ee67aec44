"""People from a DataFrame are those of the same log in a file; what is no such frame is refused by the name of its column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ebbtide
from shared.errors import ConfigError, DataError, InputError
from shared.events import Step
from simulations.people.population import Population
from tests.world.frames import COLUMNS, FIRST_DAY, shop


@pytest.fixture(scope="module")
def df() -> Any:
    return shop()


def same(one: Population, other: Population) -> bool:
    """The same events of the same people in the same order, and the same catalogue and steps."""
    about = [(each.catalogue, each.step, each.n_steps, each.n_users) for each in (one, other)]
    columns = ("offsets", "category", "kind", "time_s", "amount")
    return about[0] == about[1] and all(np.array_equal(getattr(one, c), getattr(other, c)) for c in columns)


def changed(df: Any, column: str, values: Any) -> Any:
    return df.assign(**{column: values})


def test_everybody_s_events_are_there_and_nobody_s_name(df: Any) -> None:
    people = ebbtide.people(df, **COLUMNS)
    population = people.population
    assert population.n_users == df["customer"].nunique() and population.step is Step.DAY
    assert people.categories == tuple(sorted(df["dept"].unique()))
    assert population.amount.sum() == pytest.approx(df["paid"].sum(), rel=1e-4)
    population.check()
    kept = repr(people) + repr(people.scenario) + repr(vars(population))
    assert "c-0" not in kept and not population.simulated
    assert people.scenario.protocol is not None and people.scenario.data.file is not None
    assert people.scenario.data.file.first_day == FIRST_DAY and "tmp" not in people.scenario.data.path


TIMES = {
    "datetimes without a zone": lambda when: when,
    "datetimes of another zone": lambda when: when.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"),
    "texts": lambda when: when.dt.strftime("%Y-%m-%d %H:%M:%S"),
    "whole seconds": lambda when: (when - pd.Timestamp(0)) // pd.Timedelta(seconds=1),
    "seconds": lambda when: (when - pd.Timestamp(0)).dt.total_seconds(),
}


@pytest.mark.parametrize("form", TIMES)
def test_every_form_of_time_gives_the_same_people(df: Any, form: str) -> None:
    other = ebbtide.people(changed(df, "when", TIMES[form](df["when"])), **COLUMNS)
    assert same(other.population, ebbtide.people(df, **COLUMNS).population)


def test_rows_and_identifiers_in_any_order_and_form_give_the_same_events(df: Any) -> None:
    numbers = changed(df, "customer", df["customer"].str[2:].astype(int) + 10**12)
    assert same(ebbtide.people(numbers, **COLUMNS).population, ebbtide.people(df, **COLUMNS).population)
    index = df.set_index(np.arange(len(df))[::-1])
    assert same(ebbtide.people(index, **COLUMNS).population, ebbtide.people(df, **COLUMNS).population)


def test_the_same_log_in_a_file_gives_the_same_people(df: Any, tmp_path: Path) -> None:
    file = tmp_path / "shop.parquet"
    df.to_parquet(file, index=False)
    found = ebbtide.people_from_file(file, **COLUMNS)
    assert same(found.population, ebbtide.people(df, **COLUMNS).population)
    assert found.scenario.name == "shop"


def test_own_words_of_events_are_mapped(df: Any) -> None:
    own = {"view": "Seen", "purchase": "ORDER"}
    renamed = changed(df, "what", df["what"].replace(own))
    words = {"seen": "view", "order": "purchase"}
    assert same(ebbtide.people(renamed, **COLUMNS, events=words).population, ebbtide.people(df, **COLUMNS).population)
    fewer = ebbtide.people(renamed, **COLUMNS, events={"seen": "ignore", "order": "purchase"}).population
    assert fewer.n_events < ebbtide.people(df, **COLUMNS).population.n_events


def test_without_events_every_row_is_a_purchase(df: Any) -> None:
    bought = df[df["what"] == "purchase"]
    people = ebbtide.people(bought, user="customer", time="when", category="dept", amount="paid")
    assert set(people.population.kind) == {4}


WRONG: dict[str, tuple[Any, str]] = {
    "no frame": (lambda df: (df.to_dict(), COLUMNS), "expected a pandas DataFrame, got dict"),
    "no such column": (
        lambda df: (df, {**COLUMNS, "user": "uid"}),
        "expected the column 'uid' for user=, got the columns customer",
    ),
    "a column twice": (
        lambda df: (pd.concat([df, df["paid"]], axis=1), COLUMNS),
        "expected one column 'paid' for amount=",
    ),
    "no row": (lambda df: (df[:0], COLUMNS), "expected a DataFrame with events, got no row"),
    "a user missing": (
        lambda df: (changed(df, "customer", df["customer"].mask(df.index == 3)), COLUMNS),
        "got none in 1",
    ),
    "a time missing": (
        lambda df: (changed(df, "when", df["when"].mask(df.index < 2)), COLUMNS),
        "'when', got none in 2",
    ),
    "times that are none": (lambda df: (changed(df, "when", "soon"), COLUMNS), "or seconds since 1970 in 'when'"),
    "milliseconds": (
        lambda df: (changed(df, "when", df["when"].astype("datetime64[ms]").astype("int64")), COLUMNS),
        "milliseconds have to be divided",
    ),
    "truths": (lambda df: (changed(df, "when", True), COLUMNS), "got true and false"),
    "amounts that are none": (
        lambda df: (changed(df, "paid", ["a lot", *["1"] * (len(df) - 1)]), COLUMNS),
        "expected numbers in 'paid' for amount=, got 1 rows",
    ),
    "an unknown event": (
        lambda df: (changed(df, "what", "wished"), COLUMNS),
        "'what' for event=, got 'wished': say what they are",
    ),
    "an unknown kind": (lambda df: (df, {**COLUMNS, "kind": "sale"}), "expected kind= among view"),
    "an event mapped to nothing known": (
        lambda df: (df, {**COLUMNS, "events": {"view": "look"}}),
        "for 'view' in events=",
    ),
    "a log that is too short": (lambda df: (df[df["when"] < "2026-01-20"], COLUMNS), "weeks or more"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_log_is_refused_by_name(df: Any, case: str) -> None:
    make, said = WRONG[case]
    frame, columns = make(df)
    with pytest.raises(InputError, match=said) as refused:
        ebbtide.people(frame, **columns)
    assert isinstance(refused.value, DataError | ConfigError | InputError)
    assert "\n" not in str(refused.value) and "c-0" not in str(refused.value)


def test_a_plan_follows_from_how_many_they_are() -> None:
    people = ebbtide.people(shop(users=40, days=120), **COLUMNS)
    with pytest.raises(ConfigError, match="150 people or more for private training, got 40"):
        people.planned(())
    planned = people.planned(["privacy.noise_multiplier=3.0", "protocol.horizon_steps=5"])
    assert planned.privacy.noise_multiplier == 3.0 and planned.risk.rounds > 0
    assert planned.protocol is not None and planned.protocol.horizon_steps == 5
    epsilon = people.epsilon(["privacy.noise_multiplier=3.0"])
    assert epsilon is not None and epsilon > 0


def test_planted_people_are_those_of_the_scenario() -> None:
    people = ebbtide.planted(25, seed=4)
    assert people.population.n_users == 25 and people.population.simulated
    assert people.planned(["privacy.rounds=3"]).privacy.rounds == 3
    assert repr(people).startswith("People(25 simulated users")
    with pytest.raises(ConfigError, match="a scenario about planted people"):
        ebbtide.planted(25, scenario="complete-journey")
