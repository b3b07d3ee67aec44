"""Measures what runs of a thousand to a million devices take; what was measured is kept, and not measured again.

    python -m simulations.published.capacity [--million] [--only LABEL ...] [--overwrite]

A label is a number of devices of the scenario million, such as 4k, or of the demo, such as demo_300. Stopped at any moment, the same
command goes on with the first run that has not ended. `python -m simulations.published --only capacity` publishes what there is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ...folder_lock import locked_file
from ...terminal.ending import end_with
from ...terminal.lines import say_beside
from ...terminal.printing import say, say_text
from ...terminal.stopping import leaving
from .measure import Case, taken_by
from .numbers import KEPT_FILE, beside_estimates, keep, lines_through, read, table_of

EVERY: Final = ("demo_300", "demo_1k", "1k", "10k", "20k", "100k")
MILLION: Final = "million"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, and print what there is as rows of docs/capacity.md, and beside what was estimated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="measure these alone; may be repeated")
    parser.add_argument("--million", action="store_true", help="a million devices as well, which takes up to an hour")
    parser.add_argument("--overwrite", action="store_true", help="measure again what was measured before")
    parser.add_argument("--out", type=Path, default=KEPT_FILE, help="where what was measured is kept (a .json file)")
    chosen = parser.parse_args(arguments)
    asked = (*(chosen.only or EVERY), *((MILLION,) if chosen.million else ()))
    cases = [Case.named(label) for label in dict.fromkeys(asked)]
    file: Path = chosen.out
    with (
        leaving(lambda: "runs that ended are kept, the folder of the other is gone: give the same command again"),
        locked_file(file),
    ):
        known = read(file)
        for number, case in enumerate(cases, 1):
            if case.label in known and not chosen.overwrite:
                say_beside(f"{case.label}: measured before, --overwrite measures again")
                continue
            say_beside(f"{case.label}: run {number} of {len(cases)}, ebbtide {' '.join(case.command)}")
            known[case.label] = taken_by(case, file.parent / f"scratch-{case.label}")
            keep(known, file)
    known = read(file)
    say_text(table_of(known))
    for line in (*beside_estimates(known), *lines_through(known)):
        say(line)


if __name__ == "__main__":
    end_with(main)
