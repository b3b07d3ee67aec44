"""Progress where no bar can be drawn, as in a pipe: lines on standard error, and few of them."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console

from .printing import shown

#: Between two lines about the same thing.
LINE_EVERY_S: Final = 60.0


def screen() -> Console:
    """Standard error, for bars and lines."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def can_draw(console: Console) -> bool:
    """Whether a bar can be drawn there, and drawn again over itself."""
    return console.is_terminal and not console.is_dumb_terminal


def say_beside(text: str) -> None:
    """One line on standard error, never cut and never wrapped; above bars, where there are any."""
    screen().print(shown(text), soft_wrap=True)


class Lines:
    """A line when something begins, then at most one a minute until the next thing begins."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told_s: dict[str, float] = {}

    def tell(self, what: str, done: int, total: int) -> None:
        """`what`, with how much is done of how much."""
        now_s = time.monotonic()
        if now_s - self._told_s.get(what, -LINE_EVERY_S) >= LINE_EVERY_S:
            self._told_s[what] = now_s
            self._console.print(shown(what if total <= 1 else f"{what}: {done} of {total}"), soft_wrap=True)
