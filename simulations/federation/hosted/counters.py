"""The counters of hosted users on disk: only where there is anything, and read for some users at a time.

Of every user the cells, a step of a category each, in which something was counted; and of these what was paid in the few that
have a purchase. A user of the demo takes 2 kB, where columns (C, T) would take 20. Nothing is mapped into memory, so that what is read
does not stay there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Ints, as_declared
from shared.features import N_KINDS, History
from shared.files import private_folder, replacing

from ...people.labelled_rows import counted
from ...people.population import Population

#: Users that are counted, or that work on something, at once.
COUNT_USERS = 4096
_INDEX = "index.npz"
_CELLS, _PAID, _KINDS = "cells", "paid", "kinds"


@dataclass(frozen=True)
class _Column:
    """A file of rows of one type, of which any stretch can be read."""

    file: Path
    dtype: np.dtype[Any]

    def read(self, first: int, end: int) -> NDArray[Any]:
        return np.fromfile(self.file, self.dtype, end - first, offset=first * self.dtype.itemsize)


class Counters:
    """The counters of K users of a population, in the folder that `write` left them in; `with_kinds`: events were counted by kind as
    well."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / _INDEX) as index:
            self._offsets = {name: index[name] for name in (_CELLS, _PAID)}
            self._shape: tuple[int, int] = tuple(index["shape"].tolist())
            self.with_kinds = bool(index["with_kinds"])
        cell = _cell_type(self._shape)
        self._columns = {
            name: _Column(folder / f"{name}.raw", dtype)
            for name, dtype in ((_CELLS, cell), (_PAID, cell), (_KINDS, np.dtype((np.uint8, (N_KINDS,)))))
        }

    @staticmethod
    def are_in(folder: Path) -> bool:
        """Whether `write` came to its end there."""
        return (folder / _INDEX).exists()

    @property
    def n_users(self) -> int:
        return int(self._offsets[_CELLS].size) - 1

    @property
    def n_categories(self) -> int:
        return self._shape[0]

    @as_declared
    def of(self, users: Ints) -> History:
        """The history of some different `users` (D,) over all steps: (D, C, T)."""
        if (np.diff(users) < 0).any():
            order = np.argsort(users)
            return self.of(users[order])[np.argsort(order)]
        shape = (users.size, *self._shape)
        count, amount = np.zeros((2, users.size * self._shape[0] * self._shape[1]), np.float32)
        kinds = np.zeros((N_KINDS, count.size), np.uint8) if self.with_kinds else None
        if users.size:
            kept, place, cells = self._read(_CELLS, users)
            count[place] = cells["value"]
            if kinds is not None:
                kinds[:, place] = self._columns[_KINDS].read(kept.start, kept.stop)[kept.rows].T
            _, place, paid = self._read(_PAID, users)
            amount[place] = paid["value"]
        by_kind = None if kinds is None else kinds.reshape(N_KINDS, *shape)
        return History((count > 0).reshape(shape), count.reshape(shape), amount.reshape(shape), by_kind)

    def some(self, at_once: int = COUNT_USERS) -> Iterator[tuple[slice, History]]:
        """Everybody, `at_once` users at a time: which these are, and their history over all steps."""
        for first in range(0, self.n_users, at_once):
            users = slice(first, min(first + at_once, self.n_users))
            yield users, self.of(np.arange(users.start, users.stop))

    def _read(self, name: str, users: Ints) -> tuple[_Stretch, Ints, NDArray[Any]]:
        """The rows of a column that are of `users`: where they lie, their places among these users' counters, and they."""
        offsets = self._offsets[name]
        stretch = _Stretch.of(offsets, users)
        rows = self._columns[name].read(stretch.start, stretch.stop)[stretch.rows]
        each = np.repeat(np.arange(users.size), offsets[users + 1] - offsets[users])
        return stretch, rows["place"] + each * (self._shape[0] * self._shape[1]), rows

    @classmethod
    @as_declared
    def write(cls, population: Population, users: Ints, folder: Path, *, with_kinds: bool = False) -> Counters:
        """Count the events of `users` (K,) of a population into `folder`, `with_kinds` by kind as well. What lies there is complete once
        its index does."""
        private_folder(folder)
        (folder / _INDEX).unlink(missing_ok=True)
        shape = len(population.catalogue), population.n_steps
        n_cells: dict[str, list[Ints]] = {_CELLS: [np.zeros(1, np.int64)], _PAID: [np.zeros(1, np.int64)]}
        with ExitStack() as stack:
            names = (_CELLS, _PAID, _KINDS) if with_kinds else (_CELLS, _PAID)
            files = {name: stack.enter_context((folder / f"{name}.raw").open("wb")) for name in names}
            for first in range(0, users.size, COUNT_USERS):
                here = users[first : first + COUNT_USERS]
                part = counted(population, here, with_kinds=with_kinds)
                for name, values in ((_CELLS, part.count), (_PAID, part.amount)):
                    flat = values.reshape(len(here), -1)
                    user, place = np.nonzero(flat)
                    rows = np.empty(user.size, _cell_type(shape))
                    rows["place"], rows["value"] = place, flat[user, place]
                    rows.tofile(files[name])
                    n_cells[name].append(np.bincount(user, minlength=len(here)))
                    if name == _CELLS and part.kinds is not None:
                        part.kinds.reshape(N_KINDS, len(here), -1)[:, user, place].T.tofile(files[_KINDS])
        index: dict[str, Any] = {name: np.cumsum(np.concatenate(counts)) for name, counts in n_cells.items()}
        index |= {"shape": np.array(shape), "with_kinds": np.array(with_kinds)}
        with replacing(folder / _INDEX) as out:
            np.savez(out, **index)
        return cls(folder)


@dataclass(frozen=True)
class _Stretch:
    """A stretch of rows from `start` to `stop`, and which `rows` of it are meant."""

    start: int
    stop: int
    rows: Ints | slice

    @classmethod
    def of(cls, offsets: Ints, users: Ints) -> _Stretch:
        """The shortest one with all rows of rising `users`."""
        first, last = int(users[0]), int(users[-1])
        start, stop = int(offsets[first]), int(offsets[last + 1])
        if last + 1 - first == users.size:
            return cls(start, stop, slice(None))
        counts = offsets[users + 1] - offsets[users]
        before = np.cumsum(counts) - counts
        return cls(start, stop, np.arange(counts.sum()) + np.repeat(offsets[users] - start - before, counts))


def _cell_type(shape: tuple[int, int]) -> np.dtype[Any]:
    """A cell's place among a user's C T counters, and what was counted there."""
    place = "<u2" if shape[0] * shape[1] <= 1 << 16 else "<u4"
    return np.dtype([("place", place), ("value", "<f4")])
