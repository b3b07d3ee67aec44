"""A run as evidence reads it: its folder, what was asked for, and the files whose values are quoted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from server.run_log.log import LOG_FILE, NOTE_FILE
from server.state import ACCOUNT_FILE
from shared.errors import ConfigError

from ..federation.run_folder import RunFolder
from ..people.population import Population
from ..people.setup import Setup
from .fields import Field, Source

#: Where the code lies that a source of kind `code` names.
PROJECT: Final = Path(__file__).parents[2]
_RUN: Final = RunFolder(Path("run"))
_FILES: Final = (
    _RUN.results_file, _RUN.scenario_file, _RUN.audit_file, _RUN.withdrawal_file, _RUN.server_key_file,
    *(_RUN.server_path / name for name in (ACCOUNT_FILE, LOG_FILE, NOTE_FILE)),
)  # fmt: skip
#: What these files are called below a run's folder.
RESULTS, SCENARIO, AUDIT, WITHDRAWAL, KEY, ACCOUNT, LOG, NOTE = (
    file.relative_to(_RUN.path).as_posix() for file in _FILES
)


@dataclass(frozen=True)
class Case:
    """One run that has ended, and what its operator declared: answers by key, as JSON has them.

    A file is read once: every value and every hash that is told of it is of the same bytes.
    """

    run: RunFolder
    setup: Setup
    simulated: bool
    answers: Mapping[str, Any] = field(default_factory=dict)
    _read: dict[str, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)
    _parsed: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, folder: Path, answers: Mapping[str, Any] | None = None) -> Case:
        """The case of a run's folder; ConfigError if no run has ended there."""
        run = RunFolder(folder)
        scenario = run.begun_scenario()
        if scenario is None or not run.has_account or not run.results_file.exists():
            raise ConfigError(f"expected the folder of a run that has ended, got {folder}")
        people = Population.load(run.population)
        return cls(run, run.setup(scenario, people), people.simulated, answers or {})

    def has(self, name: str) -> bool:
        return (self.run.path / name).is_file()

    def content(self, name: str) -> bytes:
        """The bytes of a file of the run's folder, as they were when it was first asked for; ConfigError if there is none."""
        if name not in self._read:
            try:
                self._read[name] = (self.run.path / name).read_bytes()
            except OSError as error:
                raise ConfigError(f"expected {name} in {self.run.path}: {error.strerror or error}") from None
        return self._read[name]

    def json_of(self, name: str) -> Any:
        """What a JSON file of the run's folder holds; ConfigError if it is damaged."""
        if name not in self._parsed:
            self._parsed[name] = _json_of(self.content(name), name)
        return self._parsed[name]

    def file(self, name: str, at: str | None = None) -> Source:
        """A file of the run's folder as a source."""
        return Source("file", name, sha256(self.content(name)).hexdigest(), at)

    def at(self, key: str, name: str, pointer: str, row: str = "") -> Field:
        """A measured field that says just what a JSON file of the run's folder says at a pointer."""
        return Field(key, "measured", value_at(self.json_of(name), pointer), (self.file(name, pointer),), row)


def code(name: str, at: str | None = None) -> Source:
    """A file of the project as a source."""
    return Source("code", name, sha256((PROJECT / name).read_bytes()).hexdigest(), at)


def value_at(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) points at; ConfigError if nothing is there.

    >>> value_at({"rounds": [{"a/b": 7}]}, "/rounds/0/a~1b")
    7
    """
    at = document
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        try:
            at = at[int(part)] if isinstance(at, list) else at[part]
        except (LookupError, TypeError, ValueError):
            raise ConfigError(f"expected a value at {pointer!r}, found none at {part!r}") from None
    return at


def pointer_part(name: str) -> str:
    """A key as a part of a JSON pointer.

    >>> pointer_part("a/b~c")
    'a~1b~0c'
    """
    return name.replace("~", "~0").replace("/", "~1")


def _json_of(data: bytes, name: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise ConfigError(f"expected JSON in {name}: {error}") from None
