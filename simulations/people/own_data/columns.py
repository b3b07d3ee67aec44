"""Which column is what: from the scenario, from a public schema, from names, from what stands in it; each with its reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import DataError

from ...scenarios.own_data import FileSection
from .opening import LogFile
from .presets import ALSO, EVENTS, NAMES, PRESETS, PresetColumns, bare, kind_of_event, plain
from .values import is_number, is_time, text_of

ROLES: Final = ("user", "time", "event", "category", "item", "amount", "price", "quantity", "order")
_USER_WORDS: Final = ("user", "customer", "visitor", "client", "member", "household", "shopper", "buyer")
_TIME_WORDS: Final = ("time", "timestamp", "date", "datetime")

#: How the reason of a column of events ends that was passed over.
UNKNOWN_NAMES: Final = "is the name of an event that is known"


@dataclass(frozen=True)
class Proposal:
    """A column for a role ("" for none), and why."""

    role: str
    column: str
    reason: str


@dataclass(frozen=True)
class Columns:
    """The position of each role's column in the file, or None; the columns of scores; and the schema they come from."""

    at: dict[str, int | None]
    scores: dict[str, int]
    proposals: tuple[Proposal, ...]
    preset: str

    @property
    def rules(self) -> PresetColumns:
        return PRESETS.get(self.preset, PresetColumns({}, ()))


def propose(connection: Any, table: str, file: LogFile, section: FileSection) -> Columns:
    """The columns of a log. `table` holds its first lines. DataError if users or times are nowhere, or a column that the
    scenario names is not there."""
    preset, why = _preset(file.columns, section)
    known = PRESETS.get(preset)
    found: dict[str, Proposal] = {}
    for role in ROLES:
        if own := getattr(section, role):
            found[role] = Proposal(role, _there(file, own, f"data.file.{role}"), "the scenario says so")
        elif known and (name := _of_preset(known, role, file.columns)):
            found[role] = Proposal(role, name, f"the schema {preset} has it")
    taken = {each.column for each in found.values()}
    for role in ROLES:
        if role in found or (known and role not in ("category", "user")):
            continue
        if (proposal := _by_name(role, file, taken)) and _fits(connection, table, file, proposal, section):
            found[role] = proposal
            taken.add(proposal.column)
    if "time" not in found and (name := _first_of_times(connection, table, file, taken)):
        found["time"] = Proposal("time", name, "most of its values are dates")
    if "amount" in found and "price" in found and not section.price:
        del found["price"]
    for role, what in (("user", "users"), ("time", "times")):
        if role not in found:
            listed = ", ".join(file.columns[:20])
            raise DataError(
                f"expected a column of {what} in {file.path}, and none is called so: --set data.file.{role}=COLUMN says which it "
                f"is of {listed}"
            )
    scores = {
        name: _position(file, _there(file, column, f"data.file.scores.{name}"))
        for name, column in section.scores.items()
    }
    at = {role: _position(file, found[role].column) if role in found else None for role in ROLES}
    own = own_list(preset, at["category"], section)
    if own:
        found["category"] = Proposal("category", "", "of the list of product codes that comes along")
    said = [found.get(role, Proposal(role, "", "no column looks like it")) for role in ROLES]
    if "event" not in found:
        said[ROLES.index("event")] = Proposal("event", "", _without_events(file, taken, section))
    return Columns(at, scores, (Proposal("preset", preset, why), *said), preset)


def own_list(preset: str, category: int | None, section: FileSection) -> bool:
    """Whether the categories are those of the list that comes along: of Online Retail II, where nothing else says them."""
    asked = section.categories in ("auto", "file") and not (section.category_file or section.top_epsilon)
    return preset == "online-retail-ii" and category is None and asked


def _preset(columns: Sequence[str], section: FileSection) -> tuple[str, str]:
    if section.preset:
        if (known := PRESETS.get(section.preset)) and (missing := [n for n in known.needed if not _named(n, columns)]):
            raise DataError(
                f"expected column{'s' * (len(missing) > 1)} {', '.join(missing)} of the schema {section.preset}: not there"
            )
        return section.preset, "the scenario says so"
    for name, known in PRESETS.items():
        if all(_named(needed, columns) for needed in known.needed):
            return name, f"its columns {', '.join(known.needed)} are there"
    return "purchases", "of no other known schema: columns are told by their names"


def _named(name: str, columns: Sequence[str]) -> str:
    """The column of that name, or of its other name, or ""."""
    return next((each for each in (name, ALSO.get(name, name)) if each in columns), "")


def _of_preset(known: PresetColumns, role: str, columns: Sequence[str]) -> str:
    return _named(known.columns[role], columns) if role in known.columns else ""


def _there(file: LogFile, name: str, key: str) -> str:
    if name in file.columns:
        return name
    alike = [each for each in file.columns if plain(each) == plain(name)]
    if len(alike) == 1:
        return alike[0]
    raise DataError(f"expected the column {name!r} of {key} in {file.path}; there are: {', '.join(file.columns[:20])}")


def _position(file: LogFile, name: str) -> int:
    return file.columns.index(name)


def _by_name(role: str, file: LogFile, taken: set[str]) -> Proposal | None:
    free = {bare(name): name for name in file.columns if name not in taken}
    for name in NAMES[role]:
        if name in free:
            return Proposal(role, free[name], "by its name")
    words = {"user": _USER_WORDS, "time": _TIME_WORDS}.get(role, ())
    for real in free.values():
        if any(word in words for word in plain(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", real)).split("_")):
            return Proposal(role, real, "by a word in its name")
    return None


def _without_events(file: LogFile, taken: set[str], section: FileSection) -> str:
    """Why no column says what an event is."""
    every = f"every line is a {section.kind}"
    passed_over = _by_name("event", file, taken)
    return every if passed_over is None else f"{every}: of {passed_over.column} no value {UNKNOWN_NAMES}"


def _fits(connection: Any, table: str, file: LogFile, proposal: Proposal, section: FileSection) -> bool:
    """Whether what stands in the column can be what its name says: of events, one of a name that is known."""
    if proposal.role != "event":
        return True
    at = _position(file, proposal.column)
    value = text_of(f"c{at}", file.types[at])
    names = connection.execute(f"SELECT DISTINCT lower({value}) FROM {table} LIMIT 1000").fetchall()
    own = {plain(each): kind for each, kind in section.events.items()}
    return any(name and kind_of_event(plain(name), {**EVENTS, **own}) for (name,) in names)


def _first_of_times(connection: Any, table: str, file: LogFile, taken: set[str]) -> str:
    for position, (name, kind) in enumerate(zip(file.columns, file.types, strict=True)):
        if name in taken or is_number(kind):
            continue
        if is_time(kind):
            return name
        dates = f"count_if(regexp_matches(c{position}, '^\\d{{1,4}}[-/.]\\d{{1,2}}[-/.]\\d{{1,4}}')) * 10 > 9 * count(c{position})"
        if connection.execute(f"SELECT {dates} AND count(c{position}) > 0 FROM {table}").fetchone()[0]:
            return name
    return ""
