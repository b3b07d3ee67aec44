"""Every line of a log, kept or dropped: the two add up to what was read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Reason(IntEnum):
    """Why a line is not counted, in the order in which it is looked at. 0: it is kept."""

    KEPT = 0
    MALFORMED = 1
    NO_USER = 2
    NO_TIME = 3
    UNREADABLE_TIME = 4
    FAR_TIME = 5
    UNKNOWN_EVENT = 6
    IGNORED_EVENT = 7
    NO_PRODUCT = 8
    BAD_AMOUNT = 9
    RETURNED = 10
    NO_CATEGORY = 11
    DUPLICATE = 12
    BOT = 13
    OUTSIDE = 14

    @property
    def words(self) -> str:
        return _WORDS[self]


_WORDS = {
    Reason.KEPT: "kept",
    Reason.MALFORMED: "malformed: more or fewer values than columns, or no text",
    Reason.NO_USER: "no user",
    Reason.NO_TIME: "no time",
    Reason.UNREADABLE_TIME: "a time that cannot be read",
    Reason.FAR_TIME: "a time before 1970 or after 2099",
    Reason.UNKNOWN_EVENT: "an event of no known kind",
    Reason.IGNORED_EVENT: "an event that is ignored",
    Reason.NO_PRODUCT: "no product: postage, fees and the like",
    Reason.BAD_AMOUNT: "an amount that cannot be read",
    Reason.RETURNED: "returned or cancelled",
    Reason.NO_CATEGORY: "no category",
    Reason.DUPLICATE: "the same line as an earlier one",
    Reason.BOT: "of a user with more events on one day than a person makes",
    Reason.OUTSIDE: "outside of the steps that were asked for",
}


@dataclass(frozen=True)
class Dropped:
    """How many lines one reason dropped, and where the first stands: "line 17" or "line 17 of part-2.csv"; the first line of a
    text file is its header, line 1; the first row of a Parquet file is row 1."""

    reason: Reason
    lines: int
    first: str


@dataclass(frozen=True)
class Account:
    """`read` = `kept` + the lines of all `dropped`."""

    read: int
    kept: int
    dropped: tuple[Dropped, ...]

    def lines_of(self, reason: Reason) -> int:
        return sum(each.lines for each in self.dropped if each.reason == reason)
