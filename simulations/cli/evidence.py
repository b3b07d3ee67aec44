"""`ebbtide evidence`: what a reviewer is shown of a run, and whether it still holds."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.errors import ConfigError, RunError

from ..terminal.printing import say, say_paragraph, say_path
from ..terminal.stopping import leaving
from .options import Overwrite, expect_free_file

if TYPE_CHECKING:
    from ..evidence.document import Counts, Document


def register(parent: typer.Typer) -> None:
    """Add the command to `parent`."""
    parent.command()(evidence)


def evidence(
    run: Annotated[Path, typer.Argument(help="The folder of a run that has ended, e.g. runs/demo.")],
    operator: Annotated[
        Path | None,
        typer.Option(help="Your answers: a file that --template wrote, and that you filled in.", metavar="FILE.toml"),
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(help="Write the questions that only you can answer, and nothing else.", metavar="FILE.toml"),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="The folder to write (default: evidence/ in the run's).")
    ] = None,
    overwrite: Overwrite = False,
    check: Annotated[
        bool, typer.Option("--check", help="Make every measured answer again, and say which ones do not hold.")
    ] = False,
) -> None:
    """Write what a reviewer of a run asks for: every answer is measured, configured, declared by you, or missing.

    Each with the file, hash, command or test that it came from. What only you know stands first, until you answer it. With
    --check every answer is made again: from the run's log and folder, the code, and numbers published once in docs/figures.json. One
    mismatch, which is named, ends with 1. It takes about a minute.

    Examples: [bold]ebbtide evidence runs/demo --template operator.toml[/], [bold]ebbtide evidence runs/demo --operator
    operator.toml --overwrite[/], [bold]ebbtide evidence runs/demo --check[/]
    """
    from ..evidence.folder import EVIDENCE

    target = folder or run / EVIDENCE
    if check and (operator or template):
        raise ConfigError("expected --check alone: it takes your answers from the evidence itself")
    if template and operator:
        raise ConfigError(
            "expected --template or --operator, got both: one writes the questions, the other reads answers"
        )
    if check:
        _check(run, target)
    elif template:
        _write_template(template, overwrite=overwrite)
    else:
        _write(run, operator, target, overwrite=overwrite)


def _write_template(file: Path, *, overwrite: bool) -> None:
    from shared.files import replace_content

    from ..evidence.declarations import QUESTIONS, template

    expect_free_file(file, overwrite=overwrite)
    replace_content(file, template())
    say(f"{len(QUESTIONS)} questions that only the operator can answer")
    say_path("questions", file)


def _write(run: Path, operator: Path | None, target: Path, *, overwrite: bool) -> None:
    from ..evidence.case import Case
    from ..evidence.declarations import answers_in
    from ..evidence.document import document_of
    from ..evidence.folder import expect_free_folder, write_folder
    from ..evidence.writers import files_of
    from ..folder_lock import locked, locked_file

    kept = {} if operator else _answers_kept(target)
    answers = answers_in(operator) if operator else kept
    case = Case.of(run, answers)
    lock = locked(run) if target.parent.resolve() == run.resolve() else locked_file(target)
    with leaving(lambda: "no half-written evidence is left: give the same command again"), lock:
        expect_free_folder(target, overwrite=overwrite)
        document = document_of(case)
        write_folder(target, files_of(case, document))
    _say(document, run, answered=operator is not None)
    if kept:
        say(
            f"{len(kept)} answers of the operator's are kept from the evidence that was there: --operator replaces them"
        )
    say_path("evidence", target)


def _answers_kept(target: Path) -> dict[str, Any]:
    """What the operator declared in the evidence that is about to be replaced; nothing where there is none that can be read."""
    from shared.errors import InputError

    from ..evidence.check import declared_in
    from ..evidence.document import DOCUMENT_FILE, read

    try:
        return declared_in(read(target / DOCUMENT_FILE))[0]
    except InputError:
        return {}


def _check(run: Path, target: Path) -> None:
    from ..evidence.check import check
    from ..evidence.document import DOCUMENT_FILE, read

    checked = check(run, target)
    for line in checked.found:
        say(line)
    for line in checked.elsewhere:
        say(f"not made again here: {line}")
    if checked.found:
        raise RunError(f"the evidence in {target} is invalid: {len(checked.found)} findings")
    counts = _in_words(read(target / DOCUMENT_FILE).counts)
    say(f"the evidence holds: {counts}; what is of this run and of the code was made again, and the rest compared")


def _say(document: Document, run: Path, *, answered: bool) -> None:
    """The answer first, then what the operator left open, then what else is missing."""
    from ..evidence.fields import measured_by

    say_paragraph(f"{document.run}: {_in_words(document.counts)}.", strong=True)
    rests = Counter(measured_by(answer.sources) for answer in document.answers if answer.state == "measured")
    say_paragraph(
        f"Of the measured, {rests['run']} are of this run's own files, {rests['code']} of the code and the tests that hold it, "
        f"{rests['published']} numbers published once, of other runs."
    )
    if document.blanks:
        say_paragraph(
            f"Only the operator can answer {len(document.blanks)} of the missing: {', '.join(document.blanks)}."
        )
    why: dict[str, Counter[str]] = {}
    for answer in document.answers:
        if answer.state == "missing" and answer.key.removeprefix("operator.") not in document.blanks:
            why.setdefault(answer.why, Counter())[answer.key] += 1
    for reason, keys in why.items():
        say(f"missing: {', '.join(key if n == 1 else f'{key} ({n})' for key, n in keys.items())}: {reason}")
    where = shlex.quote(str(run))
    if document.blanks and not answered:
        say(f"next: ebbtide evidence {where} --template operator.toml, fill it in, and give it back with --operator")
    else:
        say(f"next: ebbtide evidence {where} --check")


def _in_words(counts: Counts) -> str:
    total = sum(counts.model_dump().values())
    return (
        f"{total} answers, {counts.measured} measured, {counts.configured} configured, {counts.declared} declared by the operator, "
        f"{counts.missing} missing"
    )
