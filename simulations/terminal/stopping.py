"""Ctrl-C and SIGTERM: one exception in the main thread, which carries the exit code and what to say of what is left.

Of the standard library alone: it is there before anything else is loaded.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
#: Until then, whoever asks again is answered by the tidying up that goes on.
PATIENCE_S: Final = 10.0
#: What commands leave that write when all is done.
NOTHING_WRITTEN: Final = "nothing was written: give the same command again"


class Stopped(BaseException):
    """Somebody asked this process to end. No Exception, and no KeyboardInterrupt, which click would make a code of its own.

    `left`: what is left, and how to go on; empty as long as nothing was begun.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.left = ""

    @property
    def code(self) -> int:
        """130 or 143: 128 and the signal's number."""
        return 128 + signal.Signals[str(self)]


def watch_signals() -> None:
    """From now on a signal raises Stopped in the main thread; the next ones only after `PATIENCE_S`, so that what tidies up
    is not cut off by an impatient hand."""
    asked_s: list[float] = []

    def stop(number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if not asked_s or now_s - asked_s[-1] > PATIENCE_S:
            asked_s.append(now_s)
            raise Stopped(number)

    for number in SIGNALS:
        signal.signal(number, stop)


def ignore_signals() -> None:
    """From now on signals change nothing: the last words are being said."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def leaving(tell: Callable[[], str]) -> Iterator[None]:
    """A body that, when it is stopped, says what is left: `tell` is asked then."""
    try:
        yield
    except Stopped as stop:
        stop.left = stop.left or tell()
        raise
