"""A run as evidence reads it: its folder, what was asked for, and the files whose values are quoted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from shared.errors import ConfigError

from ..federation.run_folder import RunFolder
from ..people.population import Population
from ..people.setup import Setup
from .fields import Field, Source

#: Where the code lies that a source of kind `code` names.
PROJECT: Final = Path(__file__).parents[2]
ACCOUNT, RESULTS, SCENARIO, AUDIT = "server/account.json", "results.json", "scenario.json", "audit.json"
WITHDRAWAL: Final = "withdrawal.json"


@dataclass(frozen=True)
class Case:
    """One run that has ended, and what its operator declared: answers by key."""

    run: RunFolder
    setup: Setup
    simulated: bool
    answers: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, answers: Mapping[str, Any] | None = None) -> Case:
        """The case of a run's folder; ConfigError if no run has ended there."""
        run = RunFolder(folder)
        scenario = run.begun_scenario()
        if scenario is None or not run.has_account or not run.results_file.exists():
            raise ConfigError(f"expected the folder of a run that has ended, got {folder}")
        people = Population.load(run.population)
        return cls(run, Setup.of(scenario, people), people.simulated, answers or {})

    def has(self, name: str) -> bool:
        return (self.run.path / name).is_file()

    def json_of(self, name: str) -> Any:
        """What a JSON file of the run's folder holds; ConfigError if it is damaged."""
        return _json_of(self.run.path / name)

    def file(self, name: str, at: str | None = None) -> Source:
        """A file of the run's folder as a source."""
        return Source("file", name, _sha256_of(self.run.path / name), at)

    def at(self, key: str, name: str, pointer: str, row: str = "") -> Field:
        """A measured field that says just what a JSON file of the run's folder says at a pointer."""
        return Field(key, "measured", value_at(self.json_of(name), pointer), (self.file(name, pointer),), row)


def code(name: str) -> Source:
    """A file of the project as a source."""
    return Source("code", name, _sha256_of(PROJECT / name))


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


def _json_of(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"expected JSON in {file}: {error}") from None


def _sha256_of(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()
