"""evidence.json: every answer of a run with its ground and its sources, in one document with a schema.

The same run and the same answers give the same bytes: nothing in it is of the clock or of the machine that wrote it.

python -m simulations.evidence.document      writes docs/evidence.schema.json again
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import JsonValue, ValidationError

from shared.errors import InputError, RunError
from shared.files import replace_content, text_of

from ..evaluation import results_file
from ..evaluation.result_tables import Part
from ..evaluation.results_file import SCHEMA_DIALECT
from ..provenance import ROOT
from .case import KEY, LOG, NOTE, Case
from .declarations import QUESTIONS
from .fields import STATES, Field, FieldTable, Source, SourceKind, State
from .tables.every import every_table
from .verifier import check as check_log

FORMAT: Final = 1
DOCUMENT_FILE: Final = "evidence.json"
MOST_BYTES: Final = 1 << 28
SCHEMA_FILE: Final = ROOT / "docs" / "evidence.schema.json"
#: What a field of the operator's own begins with: what follows is the question's key.
OPERATOR: Final = "operator."


class SourceSaid(Part):
    """Where a value came from, as `Source` has it."""

    kind: SourceKind
    name: str
    sha256: str | None
    at: str | None


class Answer(Part):
    """One field: a question, what it is asked of, the answer, on which ground, from where; of a missing one, why."""

    key: str
    row: str
    state: State
    value: JsonValue
    why: str
    sources: list[SourceSaid]

    @property
    def name(self) -> str:
        """What no other answer is called."""
        return f"{self.key}[{self.row}]" if self.row else self.key


class Counts(Part):
    """How many answers stand on each ground."""

    measured: int
    configured: int
    declared: int
    missing: int


class Requirement(Part):
    """The answers to one requirement, by the name under which it is cited."""

    key: str
    counts: Counts
    answers: list[Answer]


class Log(Part):
    """The checkpoint of the run's log: how many lines, their root (hex), the signed note, and the key (hex) that signs it."""

    size: int
    root: str
    note: str
    key: str


class Document(Part):
    """All that is said of a run. `blanks`: the questions that the operator has not answered, by key. `simulated`: its people
    are made up. `log` is None of a run whose server kept none."""

    format: Literal[1]
    run: str
    about: str
    simulated: bool
    fidelity: Literal["devices", "hosts"]
    commit: str
    made_with: dict[str, str]
    plan_sha256: str
    log: Log | None
    verify: list[str]
    counts: Counts
    blanks: list[str]
    tables: list[Requirement]

    @property
    def answers(self) -> Iterator[Answer]:
        """Every answer, in the order of the tables."""
        return (answer for table in self.tables for answer in table.answers)


def document_of(case: Case) -> Document:
    """The document of a case; InputError if its results cannot be read, RunError if its log does not hold, or if two answers have
    one name."""
    results = results_file.read(case.run.results_file)
    log = _log_of(case)
    if log is not None and (found := check_log(case.run.path)):
        raise RunError(f"expected a run whose log holds, got {len(found)} findings, the first: {found[0]}")
    tables = [
        Requirement(key=t.key, counts=_counts(t.fields), answers=[*map(_answer, t.fields)]) for t in every_table(case)
    ]
    fields = [answer for table in tables for answer in table.answers]
    twice = [name for name, n in Counter(answer.name for answer in fields).items() if n > 1]
    if twice:
        raise RunError(f"expected one answer of each name, got two of {twice[0]}")
    asked = {answer.key.removeprefix(OPERATOR) for answer in fields if answer.key.startswith(OPERATOR)}
    if forgotten := [key for key in QUESTIONS if key not in asked]:
        raise RunError(f"expected every question of the operator's in a table, got none of {forgotten[0]}")
    return Document(
        format=FORMAT,
        run=results.name,
        about=results.about,
        simulated=case.simulated,
        fidelity=results.fidelity,
        commit=results.commit,
        made_with=results.made_with,
        plan_sha256=results.plan.sha256,
        log=log,
        verify=["ebbtide verify RUN", "python verifier.py RUN", "ebbtide evidence RUN --check"],
        counts=_counts(fields),
        blanks=[key for key in QUESTIONS if key not in case.answers],
        tables=tables,
    )


def _answer(field: Field) -> Answer:
    sources = [SourceSaid(kind=s.kind, name=s.name, sha256=s.sha256, at=s.at) for s in field.sources]
    value = json.loads(json.dumps(field.value))  # tuples become lists here, as they do in the file
    return Answer(key=field.key, row=field.row, state=field.state, value=value, why=field.why, sources=sources)


def _counts(fields: Iterable[Field | Answer]) -> Counts:
    found = Counter(field.state for field in fields)
    return Counts(**{state: found[state] for state in STATES})


def _log_of(case: Case) -> Log | None:
    if not all(map(case.has, (LOG, NOTE, KEY))):
        return None
    note = case.content(NOTE).decode("utf-8", "replace")
    try:
        _, size, root = note.split("\n")[:3]
        return Log(size=int(size), root=base64.b64decode(root).hex(), note=note, key=case.content(KEY).hex())
    except ValueError:
        raise RunError(f"expected a signed checkpoint in {NOTE}, got something else") from None


def tables_of(document: Document) -> list[FieldTable]:
    """The tables of a document, as pages are made of them."""
    return [FieldTable(table.key, tuple(map(_field, table.answers))) for table in document.tables]


def _field(answer: Answer) -> Field:
    sources = tuple(Source(source.kind, source.name, source.sha256, source.at) for source in answer.sources)
    return Field(answer.key, answer.state, answer.value, sources, answer.row, answer.why)


def bytes_of(document: Document) -> bytes:
    """The document as its file holds it."""
    return (json.dumps(document.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read(file: Path) -> Document:
    """The document in a file; InputError, without a value of it, if it is none."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise InputError(f"expected evidence of a run in {file}, got more than {MOST_BYTES} bytes")
        text = text_of(file)
    except OSError:
        raise InputError(f"expected evidence of a run, got no {file}: ebbtide evidence RUN makes it") from None
    except ValueError:
        raise InputError(f"expected evidence of a run in {file}, got a damaged file") from None
    try:
        return Document.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise InputError(
            f"expected evidence of format {FORMAT} in {file}: {where or 'it'} is not as declared"
        ) from None


def schema() -> dict[str, Any]:
    """The JSON schema of evidence.json."""
    return {"$schema": SCHEMA_DIALECT, **Document.model_json_schema(), "title": f"Ebbtide evidence, format {FORMAT}"}


def schema_text() -> str:
    """The schema as docs/evidence.schema.json holds it."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    replace_content(SCHEMA_FILE, schema_text())
