"""Progress on standard error, so that what a command prints can be piped: bars on a terminal, elsewhere a line now and then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..terminal.lines import Lines, can_draw, screen

if TYPE_CHECKING:
    from ..run import OnProgress
    from ..search.trials import OnTrial

#: The phases of a run, and what their bars are called.
PHASES: Final[Mapping[str, str]] = {
    "people": "the people",
    "warm_start": "a first model from planted people",
    "devices": "devices connect",
    "offer": "the model reaches every device",
    "rounds": "private training rounds",
    "risk_rounds": "private rounds of phi",
    "crowd_round": "a private sum of what everybody does",
    "curvature_round": "a private sum of curvature",
    "head_rounds": "private rounds of the heads",
    "queries": "devices live, score and detect",
    "results": "results and report",
}
WIDTH: Final = 34


def _progress(console: Console, width: int, *more: ProgressColumn) -> Progress:
    columns = (TextColumn(f"{{task.description:<{width}}}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, *more, console=console)


@contextmanager
def bars(names: Mapping[str, str] | None = None) -> Iterator[OnProgress]:
    """A callback that draws a bar for each thing that is worked on. With `names`, things come one after the other, under
    these names: the clocks of earlier ones stand still."""
    console = screen()
    if not can_draw(console):
        lines = Lines(console)
        yield lambda what, done, total: lines.tell(names.get(what, what) if names else what, done, total)
        return
    with _progress(console, WIDTH) as progress:
        drawn: dict[str, TaskID] = {}

        def on_progress(what: str, done: int, total: int) -> None:
            if what not in drawn:
                for earlier in drawn.values() if names else ():
                    progress.stop_task(earlier)
                drawn[what] = progress.add_task(names.get(what, what) if names else what, total=total)
            progress.update(drawn[what], completed=done, total=total)

        yield on_progress


def phase_bars() -> AbstractContextManager[OnProgress]:
    """A callback that draws a bar for each of PHASES."""
    return bars(PHASES)


@contextmanager
def trial_bar() -> Iterator[OnTrial]:
    """A callback that draws one bar over all trainings."""
    console = screen()
    if not can_draw(console):
        lines = Lines(console)
        yield lambda done, total: lines.tell("trainings", done, total)
        return
    with _progress(console, 0, TimeRemainingColumn()) as progress:
        bar = progress.add_task("trainings", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
