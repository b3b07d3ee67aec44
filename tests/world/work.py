"""How much work reading bytes is, counted: the same on every machine, however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple


class Work(NamedTuple):
    """Calls of functions, Python's and C's, and how many of the bytes were looked at or copied, each time counted."""

    calls: int
    n_bytes: int


class Counted(bytes):
    """Bytes that count how many of them are taken."""

    n_taken = 0

    def __getitem__(self, at: Any) -> Any:
        taken = super().__getitem__(at)
        self.n_taken += 1 if isinstance(taken, int) else len(taken)
        return taken


def work_of(read: Callable[[bytes], object], data: bytes) -> Work:
    """What `read(data)` comes to; the counting itself is counted, too."""
    counted, calls = Counted(data), 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        read(counted)
    finally:
        sys.setprofile(before)
    return Work(calls, counted.n_taken)
