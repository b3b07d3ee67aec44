"""Where a device keeps its state between two calls: one file, replaced in one move.

A process that is killed at any moment leaves the old state or the new one, never half of one. Power loss may lose the
last write. The file is NOT encrypted yet.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError

STATE_FILE = "device.state"
VERSION = 1


def pack(array: NDArray[Any]) -> list[Any]:
    """An array as (dtype, shape, bytes)."""
    return [array.dtype.str, list(array.shape), array.tobytes()]


def unpack(parts: list[Any]) -> NDArray[Any]:
    """The array of `pack`, writable."""
    dtype, shape, data = parts
    return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape).copy()


class Store:
    """One device's folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / STATE_FILE

    def exists(self) -> bool:
        return self._file.exists()

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(cbor2.dumps({"version": VERSION, **state}))
        os.replace(fresh, self._file)

    def load(self) -> dict[str, Any]:
        """The state that was saved last; DataError if it is missing, damaged, or of another version."""
        try:
            state = cbor2.loads(self._file.read_bytes())
        except OSError:
            raise DataError(f"expected a device in this folder: {STATE_FILE} is missing") from None
        except Exception:
            raise DataError(f"expected a device's state in {STATE_FILE}: it is damaged") from None
        if not isinstance(state, dict) or state.get("version") != VERSION:
            raise DataError(f"expected version {VERSION} of {STATE_FILE}")
        return state
