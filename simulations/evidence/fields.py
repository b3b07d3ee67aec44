"""One answer to a reviewer's question: what is said, on what ground, and where to look.

Four grounds, and no fifth. **Measured**: computed from what a run left, or by the attacks and tests that are named; whoever has the
run's folder can compute it again. **Configured**: a setting, or a rule of the design, that was chosen and held to while it ran.
**Declared**: the operator's own word, which nothing here can check. **Missing**: nobody has said or measured it, and why. A field is
never blank.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.errors import InputError

State = Literal["measured", "configured", "declared", "missing"]
STATES: Final[tuple[State, ...]] = ("measured", "configured", "declared", "missing")
#: What a source is: a file of the run's folder, one of this project, a test of it, a command, the operator's answers.
SourceKind = Literal["file", "code", "test", "command", "operator"]


@dataclass(frozen=True)
class Source:
    """Where a value came from. `name`: of a file as it is called below the run's folder, of code below the project's, of a test as
    pytest names it, a whole command. `sha256`: hex, of a file's or code's bytes. `at`: a JSON pointer (RFC 6901) into a file."""

    kind: SourceKind
    name: str
    sha256: str | None = None
    at: str | None = None


@dataclass(frozen=True)
class Field:
    """One answer. `key` names the question, in words that pages have in several languages; `row` what it is asked of, where it is
    asked of several things (a message, a stored column), else empty. `value`: JSON, None only where missing. `why`: of a missing one,
    why, and what would fill it. InputError for an answer without a ground, or without a value."""

    key: str
    state: State
    value: Any
    sources: tuple[Source, ...]
    row: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        said = f"{self.key} {self.row}".strip()
        if self.state == "missing":
            if self.value is not None or not self.why:
                raise InputError(f"expected a missing field to say why, and nothing else: {said}")
        elif blank(self.value) or not self.sources:
            raise InputError(f"expected a value and a source of {said}, got {self.value!r} from {len(self.sources)}")
        json.dumps(self.value, allow_nan=False)

    @property
    def name(self) -> str:
        """What no other field of the document is called."""
        return f"{self.key}[{self.row}]" if self.row else self.key


@dataclass(frozen=True)
class FieldTable:
    """The answers to one requirement, by the name under which the requirement is cited: `gdpr-35-7-a`."""

    key: str
    fields: tuple[Field, ...]


def blank(value: object) -> bool:
    """Whether a value says nothing: none, an empty text or collection."""
    return value is None or (isinstance(value, (str, Mapping, Iterable)) and not value)


def missing(key: str, why: str, row: str = "") -> Field:
    """A question without an answer."""
    return Field(key, "missing", None, (), row, why)


def measured_by(sources: Iterable[Source | Any]) -> Literal["run", "published", "code"]:
    """What a measured answer rests on: files of this very run; a number that was published once, of runs of its own; or the code and
    the tests that hold it, which are the same for every run."""
    kinds = {source.kind for source in sources}
    return "run" if "file" in kinds else "published" if "command" in kinds else "code"
