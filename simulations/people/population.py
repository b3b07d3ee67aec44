"""Everybody's events in one place: exists in simulations only, where one user stands for one device.

On disk it is a folder of plain .npy files and one small population.json, so that many worker processes can
memory-map it and read one user's rows without touching the others.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from shared.arrays import Doubles, Floats, Ints, as_declared, hold_declared
from shared.errors import DataError, InputError
from shared.events import MAX_AMOUNT, Catalogue, EventKind, Step
from shared.files import private_folder

from .population_files import (
    COLUMNS,
    LATEST_S,
    TRUTH_FIELDS,
    let_go,
    read_column,
    read_index,
    write_column,
    write_index,
)
from .truth import ChangeKind, Truth, expect_array


@dataclass(frozen=True, eq=False, repr=False)
class UserEvents:
    """One user's events, sorted by time, or those of several, one user after the other: shape (n_events,) each."""

    category: npt.NDArray[np.int16]
    kind: npt.NDArray[np.int8]
    time_s: Doubles
    amount: Floats

    def __post_init__(self) -> None:
        hold_declared(self)

    def __len__(self) -> int:
        return len(self.category)

    def __repr__(self) -> str:
        return "UserEvents(<raw>)"


@dataclass(frozen=True, eq=False, repr=False)
class Population:
    """Everybody's events, for simulation only: one device per user.

    Events of user u are rows offsets[u]:offsets[u + 1], sorted by time; `offsets` has shape (n_users + 1,),
    the columns (n_events,). `time_s` is in whole seconds since the public origin, a Monday or the data set's own
    first day, and the step of an event is `time_s // step.seconds`, in 0..n_steps - 1. Money is kept of purchases alone: `paid`,
    shape (n_purchases,), in the order of the events; those of user u are purchases[u]:purchases[u + 1], `purchases` of shape
    (n_users + 1,). `simulated` is true where no real person did any of it; `truth` is what was planted, or None.

    The constructor looks at shapes and types only, so that opening a memory-mapped population reads nothing;
    `check` looks at every value. An empty population, or one that breaks the above, is an InputError.
    """

    name: str
    catalogue: Catalogue
    step: Step
    n_steps: int
    simulated: bool
    offsets: Ints
    category: npt.NDArray[np.int16]
    kind: npt.NDArray[np.int8]
    time_s: npt.NDArray[np.int32]
    purchases: Ints
    paid: Floats
    truth: Truth | None = None

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise InputError(f"expected n_steps >= 1, got {self.n_steps}")
        if len(self.offsets) < 2 or len(self.category) == 0:
            got = f"{max(len(self.offsets) - 1, 0)} and {len(self.category)}"
            raise InputError(f"expected a population of at least one user and one event, got {got}")
        if self.n_steps * self.step.seconds > LATEST_S:
            most = LATEST_S // self.step.seconds
            raise InputError(f"expected at most {most} steps of a {self.step.value}, got {self.n_steps}")
        rows = {"offsets": len(self.offsets), "purchases": len(self.offsets), "paid": len(self.paid)}
        for column, dtype in COLUMNS.items():
            expect_array(column, getattr(self, column), dtype, rows.get(column, len(self.category)))
        for name, offsets, n_rows in (
            ("offsets", self.offsets, len(self.category)),
            ("purchases", self.purchases, len(self.paid)),
        ):
            if offsets[0] != 0 or offsets[-1] != n_rows:
                raise InputError(f"expected {name} from 0 to the number of rows, {n_rows}")

    def __repr__(self) -> str:
        return (
            f"Population({self.name!r}, {self.n_users} users, {len(self.catalogue)} categories, "
            f"{self.n_steps} steps of a {self.step.value}, {'simulated' if self.simulated else 'recorded'})"
        )

    @property
    def n_users(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_events(self) -> int:
        return len(self.category)

    @property
    def amount(self) -> Floats:
        """Money by event (n_events,), 0 unless it is a purchase; made anew each time."""
        return _amounts(self.kind, self.paid)

    @classmethod
    @as_declared
    def from_events(
        cls,
        *,
        name: str,
        catalogue: Catalogue,
        step: Step,
        n_steps: int,
        simulated: bool,
        n_users: int,
        user: npt.NDArray[np.integer[Any]],
        category: npt.NDArray[np.integer[Any]],
        kind: npt.NDArray[np.integer[Any]],
        time_s: npt.NDArray[np.floating[Any]],
        amount: npt.NDArray[np.floating[Any]],
        truth: Truth | None = None,
    ) -> Self:
        """A checked population of `n_users` from events in any order: arrays of shape (n_events,). Those that come sorted by
        user and time are taken as they are. A value out of range is an InputError."""
        if n_users < 1:
            raise InputError(f"expected a population of at least one user, got {n_users}")
        if len({values.shape for values in (user, category, kind, time_s, amount)}) > 1 or user.ndim != 1:
            raise InputError("expected columns of one length")
        for column, values, highest in (
            ("user", user, n_users - 1),
            ("category", category, len(catalogue) - 1),
            ("kind", kind, max(EventKind).value),
        ):
            if not _within(values, 0, highest):
                raise InputError(f"expected {column} in 0..{highest}")
        step_up = np.diff(user)
        if (step_up < 0).any() or ((step_up == 0) & (np.diff(time_s) < 0)).any():
            order = np.lexsort((amount, kind, category, time_s, user))
            user, category, kind = user[order], category[order], kind[order]
            time_s, amount = time_s[order], amount[order]
        is_purchase = np.asarray(kind) == EventKind.PURCHASE
        for column, good, expected in (
            ("time_s", _within(time_s, 0, LATEST_S), f"in the {n_steps} steps"),
            ("amount", _within(amount, 0, MAX_AMOUNT), f"in 0..{MAX_AMOUNT:.0f}"),
            ("amount", not np.asarray(amount)[~is_purchase].any(), "of 0 unless it is a purchase"),
        ):
            if not good:
                raise InputError(f"expected {column} {expected}")
        columns = {
            "offsets": np.concatenate([[0], np.cumsum(np.bincount(user, minlength=n_users))]),
            "category": category,
            "kind": kind,
            "time_s": time_s,  # the cast to whole seconds drops the rest
            "purchases": np.concatenate([[0], np.cumsum(np.bincount(user[is_purchase], minlength=n_users))]),
            "paid": amount[is_purchase],
        }
        typed = {key: _frozen(np.array(value, COLUMNS[key])) for key, value in columns.items()}
        made = cls(name, catalogue, step, n_steps, simulated, **typed, truth=truth)
        made.check()
        return made

    def check(self) -> None:
        """Look at every value; one out of range is an InputError that names the column, never the value."""
        end_s, last_category = self.n_steps * self.step.seconds, len(self.catalogue) - 1
        bought = np.concatenate([[0], np.cumsum(self.kind == EventKind.PURCHASE)])
        rows_falling = np.flatnonzero(np.diff(self.time_s) < 0) + 1
        for column, good, expected in (
            ("offsets", bool((np.diff(self.offsets) >= 0).all()), "never falling"),
            ("category", _within(self.category, 0, last_category), f"in 0..{last_category}"),
            ("kind", _within(self.kind, 0, max(EventKind)), f"in 0..{max(EventKind).value}"),
            ("time_s", _within(self.time_s, 0, end_s - 1), f"in the {self.n_steps} steps"),
            ("time_s", bool(np.isin(rows_falling, self.offsets).all()), "sorted within every user"),
            ("purchases", bool((self.purchases == bought[self.offsets]).all()), "as many as there are of that kind"),
            ("amount", _within(self.paid, 0, MAX_AMOUNT), f"in 0..{MAX_AMOUNT:.0f}"),
        ):
            if not good:
                raise InputError(f"expected {column} {expected}")
        if (truth := self.truth) is not None:
            if not (_within(truth.user, 0, self.n_users - 1) and _within(truth.category, 0, last_category)):
                raise InputError("expected planted changes on this population's users and categories")
            if not (_within(truth.kind, 0, max(ChangeKind)) and np.isfinite(truth.size).all()):
                raise InputError("expected planted changes of a known kind and a finite size")
            if not (_within(truth.step, 0, self.n_steps - 1) and (truth.end_step > truth.step).all()):
                raise InputError(f"expected planted changes in the {self.n_steps} steps")

    def user_events(self, user: int) -> UserEvents:
        """The events of one user; a user that is not here is an InputError."""
        if not 0 <= user < self.n_users:
            raise InputError(f"expected a user in 0..{self.n_users - 1}, got {user}")
        rows, bought = (slice(int(of[user]), int(of[user + 1])) for of in (self.offsets, self.purchases))
        amount = _amounts(self.kind[rows], self.paid[bought])
        return UserEvents(self.category[rows], self.kind[rows], self.time_s[rows].astype(np.float64), amount)

    @as_declared
    def events_of(self, users: Ints) -> tuple[Ints, UserEvents]:
        """The events (n,) of some different `users` (D,), one user after the other: at which place among them each one's is, and all
        of them."""
        offsets, rows = _taken(self.offsets, users)
        bought = self.paid[_taken(self.purchases, users)[1]]
        kind = self.kind[rows]
        found = UserEvents(self.category[rows], kind, self.time_s[rows].astype(np.float64), _amounts(kind, bought))
        self._let_go()
        return np.repeat(np.arange(users.size), np.diff(offsets)), found

    def take(self, users: npt.ArrayLike) -> Population:
        """The population of these users alone: user i of it is users[i] of this one, in the truth too.

        Anything but different whole numbers in 0..n_users - 1, or nothing, is an InputError.
        """
        chosen = np.asarray(users)
        if chosen.ndim != 1 or len(chosen) == 0:
            raise InputError("expected a list of at least one user to take, got none")
        if not np.issubdtype(chosen.dtype, np.integer) or not _within(chosen, 0, self.n_users - 1):
            raise InputError(f"expected users to be whole numbers in 0..{self.n_users - 1}")
        if len(np.unique(chosen)) != len(chosen):
            raise InputError("expected users to take to be different, got one twice")
        chosen = chosen.astype(np.int64)
        offsets, rows = _taken(self.offsets, chosen)
        purchases, bought = _taken(self.purchases, chosen)
        category, kind, time_s = self.category[rows], self.kind[rows], self.time_s[rows]
        paid, truth = self.paid[bought], None
        self._let_go()
        if self.truth is not None:
            place = np.full(self.n_users, -1, np.int64)
            place[chosen] = np.arange(len(chosen))
            kept = self.truth.where(place[self.truth.user] >= 0)
            kept = kept.where(np.argsort(place[kept.user], kind="stable"))
            truth = replace(kept, user=place[kept.user])
        return replace(
            self,
            offsets=_frozen(offsets),
            category=_frozen(category),
            kind=_frozen(kind),
            time_s=_frozen(time_s),
            purchases=_frozen(purchases),
            paid=_frozen(paid),
            truth=truth,
        )

    def _let_go(self) -> None:
        """Hold in memory no more of what lies on the disk."""
        for column in (self.category, self.kind, self.time_s, self.paid):
            let_go(column)

    def until(self, n_steps: int) -> Population:
        """The population as it was after its first `n_steps` steps; no truth."""
        kept = self.time_s < n_steps * self.step.seconds
        paid = kept[self.kind == EventKind.PURCHASE]
        before, bought = (np.concatenate([[0], np.cumsum(of)]) for of in (kept, paid))
        return replace(
            self,
            n_steps=n_steps,
            offsets=_frozen(before[self.offsets]),
            category=_frozen(self.category[kept]),
            kind=_frozen(self.kind[kept]),
            time_s=_frozen(self.time_s[kept]),
            purchases=_frozen(bought[self.purchases]),
            paid=_frozen(self.paid[paid]),
            truth=None,
        )

    def about(self) -> dict[str, Any]:
        """What an index says of these people besides their files."""
        return {
            "name": self.name,
            "catalogue": list(self.catalogue.names),
            "step": self.step.value,
            "n_steps": self.n_steps,
            "simulated": self.simulated,
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the population into `folder`, made if need be, at once or not at all.

        Files are named after their content and population.json is replaced last, so a reader sees the old
        population or the new one. A folder that cannot be written is a DataError. One writer at a time.
        """
        place = Path(folder)
        arrays: dict[str, npt.NDArray[Any]] = {key: getattr(self, key) for key in COLUMNS}
        if self.truth is not None:
            arrays["truth"] = self.truth.rows()
        try:
            private_folder(place)
            files = {key: write_column(place, key, array) for key, array in arrays.items()}
            write_index(place, self.about(), files)
        except OSError as error:
            raise DataError(f"cannot save the population in {place}: {error.strerror}") from error

    @classmethod
    def load(cls, folder: str | os.PathLike[str], mmap: bool = True) -> Population:
        """The population that `save` wrote; what is missing, truncated, damaged or foreign is a DataError.

        With `mmap` the columns stay on disk until read (opening takes less than a millisecond); sizes, types
        and the description are verified. Without it everything is read, and every byte and value verified.
        """
        place = Path(folder)
        try:
            body = read_index(place)
            arrays = {key: read_column(place, key, entry, mmap) for key, entry in body["files"].items()}
            truth = None
            if (rows := arrays.pop("truth", None)) is not None:
                truth = Truth(**{field: np.ascontiguousarray(rows[field]) for field in TRUTH_FIELDS})
            made = Population(
                name=body["name"],
                catalogue=Catalogue(tuple(body["catalogue"])),
                step=Step(body["step"]),
                n_steps=body["n_steps"],
                simulated=body["simulated"],
                truth=truth,
                **arrays,
            )
            if not mmap:
                made.check()
            return made
        except DataError:
            raise
        except InputError as error:
            raise DataError(f"expected a saved population in {place}: {error}") from error
        except (LookupError, TypeError, ValueError, AttributeError, EOFError) as error:
            raise DataError(f"expected a saved population in {place}: damaged or foreign files") from error
        except OSError as error:
            raise DataError(f"cannot read the population in {place}: {error.strerror}") from error


def _within(values: npt.NDArray[Any], low: float, high: float) -> bool:
    return len(values) == 0 or bool(values.min() >= low and values.max() <= high)


def _taken(offsets: Ints, users: Ints) -> tuple[Ints, Ints]:
    """Of some users (n,), whose rows `offsets` (K + 1,) tell: offsets (n + 1,) of theirs alone, and which rows these are."""
    counts = offsets[users + 1] - offsets[users]
    own = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return own, np.arange(own[-1]) + np.repeat(offsets[users] - own[:-1], counts)


def _amounts(kind: npt.NDArray[np.int8], paid: Floats) -> Floats:
    """What events (n,) of these kinds cost, of which `paid` holds the purchases' amounts in order."""
    amount = np.zeros(len(kind), np.float32)
    amount[kind == EventKind.PURCHASE] = paid
    return amount


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array
