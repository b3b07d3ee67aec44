"""The labelled rows that hosted devices learn from: written out once, or made again of their counters whenever some are drawn.

A row takes a hundred bytes, and a device of the demo has eight hundred of them: of few devices they are written out, and mapped; of
very many only how many there are of each, and every round makes again those that it draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from client.model.training_rows import Features, each_extracted, lapse_rows
from shared.arrays import Bools, Floats, Ints, as_declared, hold_declared
from shared.features import History, labels, seen
from shared.files import replacing, text_of
from shared.plan import Plan, RiskPlan

from ...life.rows import features_of
from ...people.labelled_rows import SCORE_USERS, users_of
from ..host_folder import HostFolder
from .counters import Counters

#: Rows x (n, F) and labels y (n,) of users (K, C, T), in the order of where they come from, (K, S, C).
Made = tuple[Floats, NDArray[np.generic], Bools]
Maker = Callable[[History], Made]
#: How many rows each device has; what is written last.
OFFSETS_FILE: Final = "offsets.npy"


class Rows(Protocol):
    """The rows of K devices, of which device k has offsets[k + 1] - offsets[k]."""

    @property
    def offsets(self) -> Ints: ...

    def drawn(self, devices: Ints, picks: Ints) -> tuple[Floats, Floats]:
        """x (D, ..., F) and y (D, ...) of some `devices` (D,): of each the rows `picks` (D, ...), counted from its first; whichever row
        stands for a pick of -1."""


def features_for(noise_multiplier: float) -> Features:
    """What makes features of rows to learn from under so much noise: without any the reference, as `way_for` says."""
    return features_of if noise_multiplier else each_extracted


def rows_of_p(plan: Plan) -> Maker:
    """What p is learned from: each category that a user knew, at the last steps whose labels are known."""

    features = features_for(plan.privacy.noise_multiplier)

    def make(part: History) -> Made:
        last = part.n_steps - 1 - plan.horizon_steps
        steps = np.arange(max(0, last - plan.training.history_steps + 1), last + 1)
        chosen = seen(part, steps)
        x = features(part, plan.features, steps)[0][chosen]
        return x, labels(part, steps, plan.horizon_steps)[chosen], chosen

    return make


def rows_of_phi(plan: Plan, risk: RiskPlan) -> Maker:
    """What phi is learned from: x (n, 2 F) holds the features at a row's step, and `rate_steps` earlier."""

    features = features_for(risk.privacy.noise_multiplier)

    def make(part: History) -> Made:
        rows = lapse_rows(part, plan, risk, features)
        return np.concatenate([rows.x, rows.x_before], axis=1), rows.y, rows.chosen

    return make


@dataclass(frozen=True)
class TrainingRows:
    """Rows that are written out, device by device: x (n + 1, F), y (n + 1,) memory-mapped, offsets (K + 1,).

    The last row is spare, so that a device without rows has one to point at (with weight 0).
    """

    x: Floats
    y: Floats
    offsets: Ints

    def __post_init__(self) -> None:
        hold_declared(self)

    @as_declared
    def drawn(self, devices: Ints, picks: Ints) -> tuple[Floats, Floats]:
        """As `Rows` says."""
        at = _rows_at(self.offsets[devices], picks, 0)
        return self.x.take(at, axis=0), self.y.take(at)

    @classmethod
    @as_declared
    def write(cls, folder: Path, history: History, plan: Plan, held_out: Bools | None = None) -> None:
        """Rows to learn p from, of the hosted users' history (K, C, T) as of now.

        Users in `held_out` (K,) get none: as any device without rows, they contribute zero plus noise (with L2, the
        decay of the weights they were sent).
        """
        write_rows(folder, _parts(history), plan.features.n_features, rows_of_p(plan), held_out)

    @classmethod
    @as_declared
    def write_lapses(
        cls, folder: Path, history: History, plan: Plan, risk: RiskPlan, held_out: Bools | None = None
    ) -> None:
        """The same, of the rows to learn phi from."""
        write_rows(folder, _parts(history), 2 * plan.features.n_features, rows_of_phi(plan, risk), held_out)

    @classmethod
    def load(cls, folder: Path) -> TrainingRows:
        """What `write_rows` left; OSError if that is only how many there are."""
        x, y = (np.asarray(np.load(folder / name, mmap_mode="r")) for name in ("x.npy", "y.npy"))
        return cls(x, y, np.load(folder / OFFSETS_FILE))


@dataclass(frozen=True)
class MadeAgain:
    """Rows of K devices that `make` makes, whenever some are drawn, of what `as_of` gives of their counters; only how many there are of
    each is kept."""

    offsets: Ints
    counters: Counters
    as_of: Callable[[History], History]
    make: Maker

    def __post_init__(self) -> None:
        hold_declared(self)

    @as_declared
    def drawn(self, devices: Ints, picks: Ints) -> tuple[Floats, Floats]:
        """As `Rows` says."""
        x, y, chosen = self.make(self.as_of(self.counters.of(devices)))
        ends = np.cumsum(chosen.sum(axis=(1, 2)))
        x = np.append(x, np.zeros((1, x.shape[1]), np.float32), axis=0)
        at = _rows_at(np.concatenate([[0], ends[:-1]]), picks, len(y))
        return x.take(at, axis=0), np.append(y.astype(np.float32), np.float32(0)).take(at)


def _rows_at(first: Ints, picks: Ints, spare: int) -> Ints:
    """Where picks (D, ...) of devices lie whose rows begin at `first` (D,)."""
    out: Ints = np.where(picks >= 0, picks + first.reshape(-1, *([1] * (picks.ndim - 1))), spare)
    return out


def is_written_out(folder: Path) -> bool:
    """Whether the rows themselves are in a folder, and not only how many there are."""
    return (folder / "x.npy").exists()


def rows_in(folder: Path, counters: Counters, as_of: Callable[[History], History], make: Maker) -> Rows:
    """The rows that `write_rows` left in a folder: written out, or to be made again."""
    if is_written_out(folder):
        return TrainingRows.load(folder)
    return MadeAgain(np.load(folder / OFFSETS_FILE), counters, as_of, make)


def rows_of_host(host: HostFolder, counters: Counters, plan: Plan, request: str) -> Rows:
    """The rows that a host's devices have for a request for updates of p or phi."""
    trained_at = int(text_of(host.trained_at_file))

    def as_of(history: History) -> History:
        return plan.read_features.of(history.until(trained_at))

    make = rows_of_p(plan) if plan.risk is None or request == "train_request" else rows_of_phi(plan, plan.risk)
    return rows_in(host.rows(request), counters, as_of, make)


def _parts(history: History) -> Iterable[History]:
    return (users_of(history, first) for first in range(0, len(history.active), SCORE_USERS))


def write_rows(
    folder: Path,
    parts: Iterable[History],
    width: int,
    make: Maker,
    held_out: Bools | None = None,
    most_bytes: int | None = None,
) -> None:
    """Leave the rows in a folder, of width F, that `make` makes of users, who come in `parts` (K, C, T); if they were more than
    `most_bytes`, only how many each has. Users in `held_out` (of all parts together) get none.

    A .npy file is written as its rows come, and its header again when it is known how many they are.
    """
    remove_rows(folder)
    counts, first, kept = [], 0, True
    shapes = {"x.npy": (width,), "y.npy": ()}
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("wb")) for name in shapes}
        for name, file in files.items():
            _write_header(file, (0, *shapes[name]))
        for part in parts:
            x, y, chosen = make(part)
            count = chosen.sum(axis=(1, 2))
            if held_out is not None:
                stays = ~held_out[first : first + len(count)]
                there = np.repeat(stays, count)
                x, y, count = x[there], y[there], np.where(stays, count, 0)
            counts.append(count)
            first += len(count)
            kept = kept and (most_bytes is None or files["x.npy"].tell() + x.nbytes <= most_bytes)
            if kept:
                for name, rows in (("x.npy", x), ("y.npy", y)):
                    files[name].write(np.ascontiguousarray(rows, np.float32).data)
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        for name, file in files.items():
            file.write(np.zeros(shapes[name], np.float32).data)
            file.seek(0)
            _write_header(file, (int(offsets[-1]) + 1, *shapes[name]))
    if not kept:
        remove_rows(folder)
    with replacing(folder / OFFSETS_FILE) as out:
        np.save(out, offsets)


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """numpy leaves room in it for every number of rows."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


def remove_rows(folder: Path) -> None:
    """Leave of the rows in a folder only how many there are: the others are made again when they are drawn."""
    for name in ("x.npy", "y.npy"):
        (folder / name).unlink(missing_ok=True)
