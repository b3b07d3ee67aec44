"""The counters of hosted users on disk, a chunk of users at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from shared.arrays import Ints, as_declared
from shared.features import N_KINDS, FeatureSpec
from shared.files import replacing

from ...people.labelled_rows import history_of
from ...people.population import Population

COUNT_USERS = 4096
_TYPES = {"active": "|b1", "count": "<f4", "amount": "<f4"}


@as_declared
def write_history(population: Population, users: Ints, files: Sequence[Path]) -> None:
    """Count the events of `users` into columns (K, C, T), each named as its file; the last file appears last."""
    shape = (len(users), len(population.catalogue), population.n_steps)
    with ExitStack() as whole:
        columns = {file.stem: whole.enter_context(replacing(file)) for file in reversed(files)}
        for name, column in columns.items():
            header = {"descr": _TYPES[name], "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(column, header)
        for first in range(0, len(users), COUNT_USERS):
            part = history_of(population.take(users[first : first + COUNT_USERS]))
            for name, column in columns.items():
                column.write(np.ascontiguousarray(getattr(part, name), _TYPES[name]).data)


@as_declared
def write_kinds(population: Population, users: Ints, features: FeatureSpec, file: Path) -> None:
    """Count the events of `users` by kind, (kinds, K, C, T)."""
    shape = (N_KINDS, len(users), len(population.catalogue), population.n_steps)
    with replacing(file) as out:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        begin, user_bytes = out.tell(), shape[2] * shape[3]
        for first in range(0, len(users), COUNT_USERS):
            part = history_of(population.take(users[first : first + COUNT_USERS]), features)
            assert part.kinds is not None
            for kind, counted in enumerate(part.kinds):
                out.seek(begin + (kind * len(users) + first) * user_bytes)
                out.write(np.ascontiguousarray(counted).data)
