"""A review of a run in ten minutes: `python -m simulations.evidence.review [RUN]`, or `make review`; docs/review.md is the script.

The run, its evidence, its log, copies of it that were tampered with, what one device says left it, and what comes of going. Whoever
tampers or goes does it in copies: the run stays as it is.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from shared.errors import ConfigError, RunError

from ...federation.run_folder import RunFolder
from ...terminal.ending import end_with
from ...terminal.printing import say, say_table
from ..verifier import Seen, check, holds_in_words
from ..witness import seen_by_device
from .own_view import gone, telling_device, what_left
from .tampering import found_in_copies


def review(run: RunFolder, user: int) -> None:
    """Print the whole of it. RunError if the run's own log does not hold, or if a tampering was not found."""
    home = run.device(user)
    seen = seen_by_device(home)
    _title(1, "The log: what the server wrote down, and what a device saw of it")
    found = check(run.path, run.server_key(), seen)
    if found:
        raise RunError(f"the log of {run.path} does not hold: {found[0]}")
    say(holds_in_words(run.path, seen))
    say(f"yourself: ebbtide verify {run.path} --witness {home}")
    say(f"or, with nothing of this project but one file: python {run.path}/evidence/verifier.py {run.path}")
    with tempfile.TemporaryDirectory(prefix="ebbtide-review-") as at:
        _title(2, "Four copies, each tampered with")
        _tampered(run, Path(at), seen)
        _title(3, f"Device {user}: everything that left it, by its own journal")
        _left(home)
        _title(4, f"Device {user} goes (a copy of it): what its server gets from then on")
        _gone(run, user, Path(at) / "gone")


def _tampered(run: RunFolder, at: Path, seen: list[Seen]) -> None:
    table = Table("what was done", "found in the folder alone", "with what one device saw")
    missed = []
    for words, (alone, witnessed) in found_in_copies(run, at, seen).items():
        table.add_row(words, alone[0] if alone else "nothing", witnessed[0] if witnessed else "nothing")
        if not witnessed:
            missed.append(words)
    say_table(table)
    if missed:
        raise RunError(f"expected every tampering to be found, got none for: {missed[0]}")


def _left(home: Path) -> None:
    consent, rows = what_left(home)
    table = Table("what", "messages", "bytes", "epsilon", "what for", title=f"consent: {consent}")
    for row in rows:
        epsilon = "outside: by consent" if row.epsilon is None else f"{row.epsilon:.3g}"
        table.add_row(row.kind, str(row.times), str(row.size_bytes), epsilon, row.purpose)
    say_table(table)
    say(
        "Epsilon here is of each message alone, added up: more than what all of them together come to, which the evidence says."
    )


def _gone(run: RunFolder, user: int, at: Path) -> None:
    told = gone(run, user, at)
    table = Table("after", "the device answers", "milliseconds since the decision")
    for decision, answered, ms in told.answers:
        table.add_row(decision, answered, f"{ms:.0f}")
    say_table(table)
    say(f"left of the device: {', '.join(told.files) or 'nothing'}")


def _title(number: int, words: str) -> None:
    say("")
    say(f"{number}. {words}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Review one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/demo"), help="a run that has ended (runs/demo)")
    parser.add_argument("--device", type=int, help="whose journal is read (the first that told an alert)")
    chosen = parser.parse_args(arguments)
    run = RunFolder(chosen.run)
    run.ended_scenario()
    if not run.devices.is_dir():
        raise ConfigError(f"expected a run of devices with folders of their own, got {chosen.run}: try runs/demo")
    user = chosen.device if chosen.device is not None else telling_device(run) or 0
    if not run.device(user).is_dir():
        raise ConfigError(f"expected the number of a device of {chosen.run}, got {user}")
    review(run, user)


if __name__ == "__main__":
    end_with(main)
