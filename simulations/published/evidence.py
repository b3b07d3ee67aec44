"""How many of a reviewer's questions about the demo's run have an answer that was measured, how many have none; and how many changes of
its log and files the verifier finds."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from ..evidence.case import Case
from ..evidence.document import document_of
from ..evidence.mutations import changed_in_every_way, vouched_for
from .measured import Measured


def evidence_numbers(run: Path) -> dict[str, Measured]:
    """Of a run that has ended, without any answer of an operator's."""
    counts = document_of(Case.of(run)).counts
    total = f"of {sum(counts.model_dump().values())} answers, before the operator answers any"
    return {
        "evidence.fields_measured": Measured(counts.measured, None, "answers", total),
        "evidence.fields_missing": Measured(counts.missing, None, "answers", total),
    }


#: Changes of each kind of each file: some ten thousand in all.
CHANGES_OF_A_KIND = 150


def mutation_numbers(run: Path, n: int = CHANGES_OF_A_KIND) -> dict[str, Measured]:
    """`log.mutations_found`: of changes of a copy's log, checkpoint and files, by chance, the share that the verifier finds."""
    with TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in vouched_for(run):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, copy / name)
        tried, missed = changed_in_every_way(copy, n, seed=1)
    found = (tried - len(missed)) / tried
    return {
        "log.mutations_found": Measured(
            round(found, 5), None, f"share of {tried:,} changes", "of a copy of the demo's run"
        )
    }
