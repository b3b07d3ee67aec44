"""A log understood: what stands in it, what is done with every line, and the words of a scenario that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from shared.errors import DataError

from ...scenarios.own_data import FileSection, Kind
from .account import Account
from .categories import EVERYTHING_ELSE, Categories, choose_categories
from .cleaning import clean, parts_of
from .columns import UNKNOWN_NAMES, Columns, Proposal
from .opening import files_of
from .presets import EVENTS, plain
from .rhythm import Rhythm, rhythm_of
from .staging import OnRead, read_log

#: Names of events that are told at most.
MOST_EVENTS = 50


@dataclass(frozen=True)
class EventCount:
    """A name of events in the log ("" where every line is of one kind), what it counts as ("" if nothing), its lines."""

    name: str
    kind: str
    lines: int


@dataclass(frozen=True)
class Understanding:
    """What a log looks like, of counts and names of columns, events and categories only.

    `section` is complete: given to `understand` again, it gives the same. `proposals` say why each column is what it is,
    `reasons` the same of other keys of the scenario; `warnings` are what its reader should look at. `first`, `last`: of the kept
    lines, on the zone's clocks.
    """

    path: Path
    files: int
    columns: tuple[str, ...]
    section: FileSection
    proposals: tuple[Proposal, ...]
    reasons: dict[str, str]
    warnings: tuple[str, ...]
    events: tuple[EventCount, ...]
    categories: Categories
    account: Account
    users: int
    first: datetime
    last: datetime
    rhythm: Rhythm

    @property
    def n_categories(self) -> int:
        return len(self.categories.names)

    @property
    def lines(self) -> tuple[str, ...]:
        """What was understood, in sentences."""
        kept, read = self.account.kept, self.account.read
        days = f"{self.first:%Y-%m-%d} to {self.last:%Y-%m-%d}"
        dropped = [f"{each.lines:,} {each.reason.words} (first: {each.first})" for each in self.account.dropped]
        return (
            f"{kept:,} of {read:,} lines can be used: {self.users:,} people, {self.n_categories} categories, {days}",
            *([f"dropped: {'; '.join(dropped)}"] if dropped else []),
            *(f"look at this: {each}" for each in self.warnings),
        )


#: The last logs that were understood, by what they are and how they lay on the disk.
_UNDERSTOOD: dict[tuple[object, ...], Understanding] = {}
_MOST_UNDERSTOOD = 4


def understand(path: Path, section: FileSection | None = None, on_read: OnRead | None = None) -> Understanding:
    """What `_understand` says of the log at `path`, a file or a folder: looked at once as long as it does not change."""
    asked = section or FileSection()
    own = [*files_of(Path(path)), *(files_of(Path(asked.category_file)) if asked.category_file else ())]
    stamps = tuple((str(each), each.stat().st_mtime_ns, each.stat().st_size) for each in own)
    key = (str(path), asked.model_dump_json(), stamps)
    if key not in _UNDERSTOOD:
        found = _understand(Path(path), asked, on_read)
        while len(_UNDERSTOOD) >= _MOST_UNDERSTOOD:
            del _UNDERSTOOD[next(iter(_UNDERSTOOD))]
        _UNDERSTOOD[key] = found
    return _UNDERSTOOD[key]


def _understand(path: Path, asked: FileSection, on_read: OnRead | None) -> Understanding:
    """The log at `path`, a file or a folder, read once from its first line to its last; what `asked` leaves open is proposed.

    `on_read(what, done, total)` is told how far it is. DataError if it is no log, or no line of it can be used.

    Guarantees. Nothing of it stays on the disk; memory is bounded by that of the workshop; no error shows what stands in a line.
    """
    with read_log(Path(path), asked, on_read) as (connection, staged):
        account = clean(connection, staged, on_read)
        if not account.kept:
            most = max(account.dropped, key=lambda each: each.lines)
            raise DataError(
                f"expected lines that can be used in {path}, got none of {account.read:,}; the most, {most.lines:,}: "
                f"{most.reason.words} (first: {most.first})"
            )
        categories = choose_categories(connection, staged)
        counts = connection.execute(
            "SELECT coalesce(event, ''), any_value(kind), count(*) FROM lines WHERE reason NOT IN (2, 3, 4, 5) "
            f"GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT {MOST_EVENTS}"
        ).fetchall()
        rhythm = rhythm_of(
            connection, parts_of(staged), (lambda done, total: on_read("rhythm", done, total)) if on_read else None
        )
        first, last = connection.execute("SELECT min(time_s), max(time_s) FROM kept").fetchone()
    forms = staged.forms
    kinds: tuple[Kind, ...] = ("view", "click", "favourite", "cart", "purchase")
    named: dict[int, Kind] = {-1: "ignore"}
    named.update(enumerate(kinds))
    events = tuple(
        EventCount(name, named.get(kind, "") if kind is not None else "", int(n)) for name, kind, n in counts
    )
    complete = asked.model_copy(
        update={
            **{each.role: each.column for each in staged.columns.proposals if each.role != "preset"},
            "preset": staged.columns.preset,
            "events": {**{e.name: e.kind for e in events if e.name and e.kind}, **asked.events},
            "time_unit": forms.unit,
            "date_order": forms.order,
            "decimal": forms.decimal,
            "zone": forms.zone,
            "categories": {"none": "top"}.get(categories.how, categories.how),
            "chosen": _chosen(asked, categories),
        }
    )
    return Understanding(
        path=Path(path),
        files=len(staged.files),
        columns=staged.files[0].columns,
        section=complete,
        proposals=staged.columns.proposals,
        reasons=forms.reasons,
        warnings=_warnings(
            forms.reasons, events, account, categories, staged.columns, {**staged.columns.rules.events, **asked.events}
        ),
        events=events,
        categories=categories,
        account=account,
        users=rhythm.users,
        first=datetime(1970, 1, 1) + timedelta(seconds=first),
        last=datetime(1970, 1, 1) + timedelta(seconds=last),
        rhythm=rhythm,
    )


def _chosen(asked: FileSection, categories: Categories) -> tuple[str, ...]:
    """The names of a private choice, which stay in the scenario."""
    drawn = asked.top_epsilon > 0 and categories.how == "top"
    return tuple(name for name in categories.names if name != EVERYTHING_ELSE) if drawn else asked.chosen


def _warnings(
    reasons: dict[str, str],
    events: tuple[EventCount, ...],
    account: Account,
    categories: Categories,
    columns: Columns,
    own: Mapping[str, Kind],
) -> tuple[str, ...]:
    known = {*EVENTS, *(plain(name) for name in own)}
    said = [each.reason for each in columns.proposals if each.role == "event" and each.reason.endswith(UNKNOWN_NAMES)]
    if guessed := [
        f"{each.name} is {each.kind}" for each in events if each.name and each.kind and each.name not in known
    ]:
        said.append(
            f"events told by their verbs: {', '.join(guessed[:10])}; --set data.file.events.NAME=KIND says otherwise"
        )
    if "AMBIGUOUS" in reasons["date_order"] or "BOTH" in reasons["date_order"]:
        said.append(f"dates: {reasons['date_order']}")
    if unknown := [each.name for each in events if each.name and not each.kind]:
        said.append(
            f"events of no known kind are dropped: {', '.join(unknown[:10])}; --set data.file.events.NAME=KIND keeps them"
        )
    if account.kept * 2 < account.read:
        said.append(f"more than half of the lines are dropped: {account.read - account.kept:,} of {account.read:,}")
    if categories.how == "top" and columns.at["category"] is None:
        share = categories.lines[-1] / account.kept
        said.append(
            f"no column or file of categories: the {len(categories.names) - 1} items that most people touched stand for themselves, "
            f"and {share:.0%} of the lines that are kept count as everything else; --set data.file.category_file=FILE.csv, a list "
            "of items and their categories, or --set data.file.category=COLUMN"
        )
    if categories.how == "none":
        said.append("neither categories nor items: all lines count as one category; --set data.file.category=COLUMN")
    elif categories.without * 5 > account.kept:
        share = categories.without / account.kept
        said.append(f"{share:.0%} of the lines that are kept have no category, and count as everything else")
    return tuple(said)
