"""Time is passed in: the wall's, or a replay's."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells seconds since a public origin, and can wait."""

    def now_s(self) -> float: ...

    def wait_until(self, time_s: float) -> None: ...


class WallClock:
    """Real time: seconds since the Unix epoch."""

    def now_s(self) -> float:
        return time.time()

    def wait_until(self, time_s: float) -> None:
        while (left_s := time_s - self.now_s()) > 0:
            time.sleep(min(left_s, 60.0))


class ReplayClock:
    """Time that moves only when told to; waiting is instant. Never moves back."""

    def __init__(self, time_s: float = 0.0) -> None:
        self._time_s = time_s

    def now_s(self) -> float:
        return self._time_s

    def wait_until(self, time_s: float) -> None:
        self._time_s = max(self._time_s, time_s)
