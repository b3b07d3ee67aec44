"""`ebbtide evidence --check`: whether a folder of evidence says what its run's folder says, name by name.

Every answer is made again from the run's log and folder, with the operator's answers as the document has them, and every file from
that. One that differs makes the evidence invalid. The log is verified as `ebbtide verify` does it, and what was measured at some
expense, an audit or a withdrawal, is measured again by its own rule.

Two things are of the machine that made the evidence and not of the run: what is installed there, and the last report of its tests.
Where another machine has others, they cannot be made again, and that is said; where it has the same, they are compared like all else.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from shared.errors import ConfigError, EbbtideError, InputError

from ..audit import recompute as audit
from . import withdrawal
from .case import SCENARIO, Case
from .declarations import QUESTIONS, checked
from .document import DOCUMENT_FILE, OPERATOR, Answer, Document, document_of, read
from .verifier import check as check_log
from .writers import WRITERS, files_of

#: Keys of answers that rest on what is installed, with the file that lists it; and of those that rest on the tests' last report.
INSTALLED: Final = ("supply.package", "supply.commit", "supply.constraints")
INSTALLED_FILE: Final = "sbom.json"
TESTED: Final = ("control",)
#: Files in which neither of these shows.
MADE_OF_THE_RUN: Final = frozenset(("registry.yaml", "verifier.py"))
#: What a run's folder may raise that was changed in any way.
_CHANGED: Final = (EbbtideError, LookupError, TypeError, ValueError, OSError)


@dataclass(frozen=True)
class Checked:
    """`found`: what does not hold, a line each; `elsewhere`: what only another machine could make again. Valid if nothing is found."""

    found: tuple[str, ...]
    elsewhere: tuple[str, ...] = ()


def check(run: Path, folder: Path) -> Checked:
    """What does not hold of the evidence in `folder` about the run in `run`. InputError if there is no such document, or no run."""
    document = read(folder / DOCUMENT_FILE)
    if not (run / SCENARIO).is_file():
        raise InputError(f"expected the folder of the run that the evidence is about, got {run}")
    found = [f"log: {line}" for line in _log_findings(run, document)]
    answers, wrong = declared_in(document)
    found += wrong
    try:
        case = Case.of(run, answers)
        again = document_of(case)
    except _CHANGED as error:
        said = str(error) if isinstance(error, EbbtideError) else type(error).__name__
        return Checked((*found, f"the run's folder cannot be read as it was: {said}"))
    files = files_of(case, again)
    others = _of_another_machine(folder, files, document, again)
    found += differences(document, again, set(others))
    left = set(WRITERS) - MADE_OF_THE_RUN if others else set()
    found += _files(folder, files, left | ({DOCUMENT_FILE} if found else set()))
    return Checked((*found, *_recomputed(run)), tuple(f"{key}: {why}" for key, why in others.items()))


def differences(said: Document, again: Document, but: Set[str] = frozenset()) -> list[str]:
    """What one document says otherwise than another, by name: answers first, `but` those of these keys, then what stands at its
    head."""
    before = {answer.name: answer for answer in said.answers if answer.key not in but}
    now = {answer.name: answer for answer in again.answers if answer.key not in but}
    out = []
    if len(before) != sum(answer.key not in but for answer in said.answers):
        out.append(f"{DOCUMENT_FILE}: two answers have one name")
    for name in [*now, *(name for name in before if name not in now)]:
        if name not in before:
            out.append(f"{name}: left out; it is {now[name].state}")
        elif name not in now:
            out.append(f"{name}: nothing says this")
        else:
            out += [f"{name}: {why}" for why in _differ(before[name], now[name])]
    head = {"tables"} | ({"counts"} if out or but else set())
    here, there = said.model_dump(exclude=head), again.model_dump(exclude=head)
    out += [f"{DOCUMENT_FILE}: {key} is not the run's" for key in there if here[key] != there[key]]
    if not out and not but and said != again:
        out.append(f"{DOCUMENT_FILE}: its tables are in another order, or counted otherwise")
    return out


def declared_in(document: Document) -> tuple[dict[str, Any], list[str]]:
    """The operator's answers as a document holds them; and what is declared there without being an answer to a question."""
    answers: dict[str, Any] = {}
    wrong = []
    for answer in document.answers:
        if answer.state != "declared" or not answer.key.startswith(OPERATOR):
            continue
        key = answer.key.removeprefix(OPERATOR)
        try:
            value: Any = answer.value
            if key in QUESTIONS and QUESTIONS[key].kind == "date":
                value = date.fromisoformat(str(value))
            answers |= checked({key: value}, DOCUMENT_FILE)
        except (ConfigError, ValueError):
            wrong.append(f"{answer.name}: declared, and no answer that an operator can give")
    return answers, wrong


def _differ(said: Answer, now: Answer) -> Iterator[str]:
    if said.state != now.state:
        yield f"told as {said.state}, and is {now.state}"
    elif said.value != now.value or type(said.value) is not type(now.value):
        yield f"not what {now.sources[0].name if now.sources else 'the run'} says"
    elif said != now:
        hashes = {(source.kind, source.name): source.sha256 for source in said.sources}
        changed = [s.name for s in now.sources if hashes.get((s.kind, s.name), "") != s.sha256]
        yield f"{', '.join(changed)} is another file than it was" if changed else "its sources are others"


def _log_findings(run: Path, document: Document) -> list[str]:
    if document.log is None:
        return []
    try:
        return check_log(run)
    except (OSError, ValueError):
        return ["it is not there, or cannot be read"]


def _of_another_machine(folder: Path, files: dict[str, bytes], said: Document, again: Document) -> dict[str, str]:
    """Keys of answers that cannot be made again here, and why."""
    out: dict[str, str] = {}
    listed = folder / INSTALLED_FILE
    other_list = listed.is_file() and listed.read_bytes() != files[INSTALLED_FILE]
    if other_list and _installed(said) != _installed(again):
        out |= dict.fromkeys(INSTALLED, f"other packages are installed here than {INSTALLED_FILE} lists, or other code")
    if _report_of(said) != _report_of(again):
        out |= dict.fromkeys(TESTED, "the report of the tests is not here, or is another one")
    return out


def _installed(document: Document) -> list[Answer]:
    return [answer for answer in document.answers if answer.key in INSTALLED]


def _report_of(document: Document) -> set[tuple[str, str | None]]:
    """Name and hash of the report that answers about tests quote."""
    sources = [source for answer in document.answers if answer.key in TESTED for source in answer.sources]
    return {(source.name, source.sha256) for source in sources if source.name.endswith(".xml")}


def _files(folder: Path, again: dict[str, bytes], but: Set[str]) -> Iterator[str]:
    """Files that are not what the run and the answers give, `but` these, of which it is said by answers what differs."""
    for name, data in again.items():
        file = folder / name
        if not file.is_file():
            yield f"{name}: missing"
        elif name not in but and file.read_bytes() != data:
            yield f"{name}: not what the run and the answers give"
    yield from (
        f"{file.name}: not a file of the evidence" for file in sorted(folder.iterdir()) if file.name not in WRITERS
    )


def _recomputed(run: Path) -> Iterator[str]:
    """What was measured at some expense, measured again by its own rule: the audit, and what a withdrawal comes to."""
    yield from audit.recompute(run)
    yield from withdrawal.recompute(run)
