"""Audit a run that has ended once more, with as many draws as wanted: `python -m simulations.audit RUN --draws 1000000`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from shared.errors import ConfigError

from ..federation.run_folder import RunFolder
from ..folder_lock import locked
from ..people.population import Population
from ..terminal.ending import end_with
from ..terminal.printing import say_table
from .audit import audit_run, expect_kept, keep_audit
from .words import table_of

MILLION = 1_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the audit of a run again, write it down, and print it; RunError if something that is stated was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run that has ended")
    parser.add_argument("--draws", type=int, default=MILLION, help="trials of every view of the mechanism (1000000)")
    parser.add_argument("--whole", action="store_true", help="also look at all sums of a run together: minutes")
    chosen = parser.parse_args(arguments)
    run = RunFolder(chosen.run)
    scenario = run.begun_scenario()
    if scenario is None or not run.has_account or chosen.draws < 1:
        raise ConfigError(f"expected the folder of a run that has ended, and at least one draw, got {chosen.run}")
    with locked(run.path):
        population = Population.load(run.population)
        audit = audit_run(run, run.setup(scenario, population), population, chosen.draws, whole=chosen.whole)
        keep_audit(run, audit)
        run.vouch()
    say_table(table_of(audit))
    expect_kept(audit)


if __name__ == "__main__":
    end_with(main)
