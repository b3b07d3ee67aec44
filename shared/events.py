"""What a user does in a shop: events, the public catalogue, and the step that time is counted in."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import Enum, IntEnum

import numpy as np

from .errors import InputError

MAX_CATEGORIES = 512
MAX_AMOUNT = 1e6
_SEPARATOR = b"\x1f"


class EventKind(IntEnum):
    """The five kinds of behaviour, from the lightest sign of interest to the strongest."""

    VIEW = 0
    CLICK = 1
    FAVOURITE = 2
    CART = 3
    PURCHASE = 4


#: How much one event adds to a step's engagement count, by kind. Fixed by design, not learned: a purchase is 1.
ENGAGEMENT = np.array([0.2, 0.4, 0.6, 0.8, 1.0], dtype=np.float32)


class Step(Enum):
    """The unit of time in which a device closes its counters."""

    DAY = "day"
    WEEK = "week"

    @property
    def seconds(self) -> int:
        return 86_400 if self is Step.DAY else 604_800

    def at(self, time_s: float) -> int:
        """Index of the step that holds `time_s` (seconds since the calendar's public origin).

        >>> Step.DAY.at(86_399.0), Step.DAY.at(86_400.0), Step.WEEK.at(86_400.0)
        (0, 1, 0)
        """
        return math.floor(time_s / self.seconds)


@dataclass(frozen=True)
class Catalogue:
    """The public list of categories; a category is its position in it."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.names, tuple) or not all(isinstance(name, str) for name in self.names):
            raise InputError("expected a tuple of names, each a text")
        if not 1 <= len(self.names) <= MAX_CATEGORIES:
            raise InputError(f"expected 1 to {MAX_CATEGORIES} categories, got {len(self.names)}")
        if len(set(self.names)) != len(self.names):
            raise InputError("expected category names that differ, got a name twice")
        try:
            "".join(self.names).encode()
        except (UnicodeEncodeError, TypeError):
            raise InputError("expected category names that are text") from None

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Position of a category; an unknown name is an InputError."""
        try:
            return self.names.index(name)
        except ValueError:
            raise InputError(f"expected one of the catalogue's {len(self)} categories, got {name!r}") from None

    @property
    def sha256(self) -> bytes:
        """32 bytes that change with any name or with their order, whatever letters names hold.

        Names that hold the separator are hashed with their lengths, behind a byte that no UTF-8 begins with; others, as ever,
        joined: what is in the profiles of devices stays right.
        """
        parts = [name.encode() for name in self.names]
        if not any(_SEPARATOR in part for part in parts):
            return hashlib.sha256(_SEPARATOR.join(parts)).digest()
        return hashlib.sha256(b"\xff" + b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


@dataclass(frozen=True, slots=True)
class BehaviourEvent:
    """One thing a user did. Raw behaviour: it stays on the device, and its repr shows none of it.

    `category` is a position in the catalogue, `time_s` seconds since the calendar's origin, `amount` money (0 unless
    PURCHASE). An amount that is missing is 0; one that is not a number, negative, above `MAX_AMOUNT`, or with anything but a
    PURCHASE is an InputError.
    """

    kind: EventKind
    category: int
    time_s: float
    amount: float = 0.0

    def __repr__(self) -> str:
        return "BehaviourEvent(<raw>)"

    def check(self, n_categories: int) -> None:
        """Raise InputError unless every field is in its range. The message names the field, never its value."""
        if not is_position(self.kind, len(EventKind)) or _is_other(self.kind, EventKind):
            raise InputError("expected an EventKind")
        if not is_position(self.category, n_categories) or _is_other(self.category):
            raise InputError(f"expected a category in 0..{n_categories - 1}")
        if not _is_number(self.time_s) or self.time_s < 0:
            raise InputError("expected time_s to be finite and >= 0")
        if not _is_number(self.amount) or not 0 <= self.amount <= MAX_AMOUNT:
            raise InputError(f"expected an amount in 0..{MAX_AMOUNT:.0f}")
        if self.amount and self.kind != EventKind.PURCHASE:
            raise InputError("expected no amount but with a purchase")


def _is_other(value: object, kind: type[Enum] | None = None) -> bool:
    """Whether it is a member of an enum other than `kind`: a number that means something else."""
    return isinstance(value, Enum) and not (kind and isinstance(value, kind))


def is_position(value: object, size: int) -> bool:
    """Whether it is a whole number in 0..size - 1; apps hand over what they have, whatever the type hints say."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(0 <= value < size)


def _is_number(value: object) -> bool:
    """Whether it is a finite real number."""
    if isinstance(value, bool):
        return False
    try:
        return isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value)
    except OverflowError:
        return False
