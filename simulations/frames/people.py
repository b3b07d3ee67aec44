"""People from a DataFrame, from a file, or made up: what a run in Python is about.

A DataFrame goes the way of a file: its columns are checked, written as one that has positions in place of the users' identifiers,
and read by the reader of logs, so that both give the same people.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from server.privacy.accounting import account_of
from shared.arrays import Doubles, hold_declared
from shared.errors import ConfigError, DataError, InputError
from shared.events import EventKind

from ..people.of_scenario import population_of
from ..people.own_data import made
from ..people.own_data.of_file import file_people, resolved
from ..people.population import Population
from ..scenarios.config import Scenario, load_scenario, scenario_of

KINDS: Final = tuple(kind.name.lower() for kind in EventKind)
FILE: Final = "dataframe.parquet"


@dataclass(frozen=True, repr=False)
class People:
    """Whom a run is about. `population`: everybody's events, checked; who they were is not kept. `scenario`: what a run of
    them asks for, unless something else is said. `about`: what was understood, in sentences. `whole_plan`: the scenario says its
    own plan, none follows from how many they are. `scores`: what columns of scores said, (K, C, T) each."""

    population: Population
    scenario: Scenario
    about: tuple[str, ...] = ()
    whole_plan: bool = False
    scores: Mapping[str, Doubles] = field(default_factory=dict)

    def __post_init__(self) -> None:
        hold_declared(self)

    def __repr__(self) -> str:
        people = self.population
        return (
            f"People({people.n_users:,} {'simulated ' if people.simulated else ''}users, {people.n_events:,} events, "
            f"{len(people.catalogue)} categories, {people.n_steps} {people.step.value}s)"
        )

    @property
    def categories(self) -> tuple[str, ...]:
        """The names of the categories."""
        return self.population.catalogue.names

    def planned(self, overrides: Iterable[str]) -> Scenario:
        """The scenario that a run of these people carries out, with values replaced as `--set` does. ConfigError if one is wrong,
        or the people are too few for private training."""
        fields = self.scenario.model_dump(exclude_none=True)
        given = list(overrides)
        if self.whole_plan or self.scenario.data.name != "file":
            return scenario_of(fields, given, self.scenario.name)
        n_people, protocol = self.population.n_users, self.scenario.protocol
        by_hand = any(each.strip().startswith("privacy.noise_multiplier") for each in given)
        if n_people < made.FEWEST and not by_hand:
            raise ConfigError(
                f"expected {made.FEWEST} people or more for private training, got {n_people}; "
                'set={"privacy.noise_multiplier": NUMBER} tries it all the same'
            )
        assert protocol is not None, "a resolved scenario"
        first, last = protocol.test_steps
        categories = len(self.categories)
        plan = made.plan_fields(n_people, self.population.step, protocol.n_steps, categories, last - first + 1)
        return scenario_of(made.with_caps({**fields, **plan}, given, n_people), given, self.scenario.name)

    def epsilon(self, overrides: Iterable[str] = ()) -> float | None:
        """What the plan costs whoever sees the models; None: no bound."""
        from ..people.setup import Setup

        setup = Setup.of(self.planned(overrides), self.population)
        found: float | None = account_of(setup.plan, setup.charged)["epsilon_to_public"]
        return found


def people(
    df: Any,
    *,
    user: str = "user",
    time: str = "time",
    category: str = "category",
    event: str | None = None,
    amount: str | None = None,
    kind: str = "purchase",
    events: Mapping[str, str] | None = None,
    scores: Mapping[str, str] | None = None,
    step: str = "auto",
    name: str = "your-data",
) -> People:
    """People from a DataFrame of events, one a row; `user`, `time`, `category`, `event` and `amount` name its columns.

    Times are datetimes (without a zone: UTC), texts that pandas reads as such, or seconds since 1970. `events` maps the frame's
    own words of events to view, click, favourite, cart, purchase or ignore; without an `event` column every row is of `kind`.
    `scores` names columns of numbers that you computed, to be compared with ours (docs/library.md). Which steps train and
    test follows from the length and the rhythm of the log, in days or weeks (`step`). Identifiers are not kept. DataError or
    ConfigError, which name the column and what was expected of it, if it is no such log.
    """
    columns = {"user": user, "time": time, "category": category, "event": event, "amount": amount}
    frame = _checked(df, columns, kind, events or {}, scores or {})
    section: dict[str, Any] = {"user": "user", "time": "time", "category": "category", "kind": kind, "step": step}
    section |= {"event": "event"} if event else {}
    section |= {"amount": "amount"} if amount else {}
    section |= {"scores": {name: f"score_{i}" for i, name in enumerate(scores)}} if scores else {}
    with tempfile.TemporaryDirectory(prefix="ebbtide-") as folder:
        file = Path(folder) / FILE
        frame.to_parquet(file, index=False)
        found = _of_file(str(file), section, name)
    data = found.scenario.data.model_copy(update={"path": FILE})
    return replace(found, scenario=found.scenario.model_copy(update={"data": data}))


def people_from_file(path: str | Path, *, name: str | None = None, **columns: Any) -> People:
    """People from a log in a file or a folder (CSV, Parquet); `columns` are keys of a scenario's [data.file], such as
    user="customer". DataError or ConfigError if it is no such log."""
    return _of_file(str(path), columns, name or made.name_of(str(path)))


def planted(users: int = 300, *, seed: int = 1, scenario: str = "demo") -> People:
    """Made-up people whose turns of interest are known, as the scenario `demo` or another about planted people has them."""
    chosen = load_scenario(scenario, [f"data.users={users}", f"data.seed={seed}"])
    if chosen.data.name != "planted":
        raise ConfigError(f"expected a scenario about planted people, got {scenario!r}")
    return of_scenario(chosen)


def of_scenario(scenario: Scenario) -> People:
    """The people that a scenario names."""
    return People(population_of(scenario), scenario)


def _of_file(path: str, section: Mapping[str, Any], name: str) -> People:
    data = {"name": "file", "path": path, "users": 0, "file": dict(section)}
    about = {"name": name, "about": "people of a log of one's own, replayed"}
    found = resolved(scenario_of({**about, "data": data}, (), name))
    said = (*found.understood.lines, *(found.proposal.reasons if found.proposal else ()))
    people = file_people(found.scenario)
    scores = {name: people.scores_at(name) for name in people.scores}
    return People(people.population, found.scenario, said, scores=scores)


def _checked(
    df: Any, names: Mapping[str, str | None], kind: str, events: Mapping[str, str], scores: Mapping[str, str]
) -> Any:
    """A frame with our columns: users as positions, UTC times, categories as texts, events in our words, amounts."""
    pandas = importlib.import_module("pandas")
    if not isinstance(df, pandas.DataFrame):
        raise InputError(f"expected a pandas DataFrame, got {type(df).__name__}")
    for role, column in names.items():
        if column is not None and column not in df.columns:
            there = ", ".join(str(each) for each in list(df.columns)[:20])
            raise DataError(f"expected the column {column!r} for {role}=, got the columns {there}")
        if column is not None and list(df.columns).count(column) > 1:
            raise DataError(f"expected one column {column!r} for {role}=, got several of that name")
    if not len(df):
        raise DataError("expected a DataFrame with events, got no row")
    if kind not in KINDS:
        raise ConfigError(f"expected kind= among {', '.join(KINDS)}, got {kind!r}")
    user, category = df[names["user"]], df[names["category"]]
    if missing := int(user.isna().sum()):
        raise DataError(
            f"expected a user in every row of {names['user']!r}, got none in {missing}: drop these rows first"
        )
    out = {
        "user": pandas.factorize(user)[0],
        "time": _times(pandas, df[names["time"]], str(names["time"])),
        "category": category.astype("object")
        .where(category.notna(), None)
        .map(lambda each: None if each is None else str(each)),
    }
    if names["event"] is not None:
        words = df[names["event"]].astype(str).str.strip().str.lower()
        out["event"] = words.map(_kinds_of(words, names["event"], events))
    if names["amount"] is not None:
        amount = pandas.to_numeric(df[names["amount"]], errors="coerce")
        if bad := int((amount.isna() & df[names["amount"]].notna()).sum()):
            raise DataError(f"expected numbers in {names['amount']!r} for amount=, got {bad} rows that are none")
        out["amount"] = amount.fillna(0.0).astype("float64")
    for i, (name, column) in enumerate(scores.items()):
        if column not in df.columns or not pandas.api.types.is_numeric_dtype(df[column]):
            raise DataError(f"expected a column of numbers as the scores {name!r}, got {column!r}")
        out[f"score_{i}"] = df[column].astype("float64")
    made_of = pandas.DataFrame({key: getattr(column, "array", column) for key, column in out.items()})
    if names["event"] is not None:
        made_of = made_of[made_of["event"] != "ignore"]
    if not len(made_of):
        raise DataError(f"expected events in {names['event']!r} that are not ignored, got none")
    return made_of


def _times(pandas: Any, column: Any, name: str) -> Any:
    """UTC times of a column of datetimes, of texts, or of seconds."""
    if missing := int(column.isna().sum()):
        raise DataError(f"expected a time in every row of {name!r}, got none in {missing}: drop these rows first")
    expected = f"expected datetimes, texts such as 2026-01-05 10:30 or seconds since 1970 in {name!r} for time="
    try:
        if pandas.api.types.is_bool_dtype(column):
            raise DataError(f"{expected}, got true and false")
        if pandas.api.types.is_numeric_dtype(column):
            if not bool(((column >= 0) & (column < 2**33)).all()):
                raise DataError(f"{expected}, got numbers that are none: milliseconds have to be divided by 1,000")
            return pandas.to_datetime(column, unit="s", utc=True).astype("datetime64[us, UTC]")
        return pandas.to_datetime(column, utc=True).astype("datetime64[us, UTC]")
    except (ValueError, TypeError, OverflowError):
        raise DataError(f"{expected}, got {column.dtype} that is no time in some row") from None


def _kinds_of(words: Any, column: str, events: Mapping[str, str]) -> dict[str, str]:
    """What every word of the event column means. DataError if one is not known: the words are the log's, not anybody's."""
    given = {str(word).strip().lower(): kind for word, kind in events.items()}
    for word, kind in given.items():
        if kind not in (*KINDS, "ignore"):
            raise ConfigError(f"expected {', '.join(KINDS)} or ignore for {word!r} in events=, got {kind!r}")
    known = {**{kind: kind for kind in KINDS}, **given}
    unknown = sorted(set(words.unique()) - set(known))
    if unknown:
        raise DataError(
            f"expected {', '.join(KINDS)} in {column!r} for event=, got {', '.join(map(repr, unknown[:5]))}: "
            f'say what they are, as in events={{"{unknown[0]}": "purchase"}}'
        )
    return {word: known[word] for word in sorted(set(words.unique()))}
