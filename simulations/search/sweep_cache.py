"""Results of a sweep's trainings, kept by what they depend on: what was trained before is not trained again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shared.files import replace_content, text_of

from ..people.population import Population


class Cache:
    """Results by the SHA-256 of what they depend on, one small file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def clear(self) -> None:
        for file in self._folder.glob("*.json"):
            file.unlink()

    def get(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """What was kept; None if nothing was, or if the file does not hold this key."""
        try:
            entry = json.loads(text_of(self._file(key)))
            found: dict[str, Any] = entry["result"]
            return found if entry["key"] == json.loads(canonical(key)) else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def put(self, key: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        replace_content(self._file(key), json.dumps({"key": json.loads(canonical(key)), "result": result}, indent=1))

    def _file(self, key: Mapping[str, Any]) -> Path:
        return self._folder / f"{hashlib.sha256(canonical(key).encode()).hexdigest()}.json"


def population_sha256(population: Population) -> str:
    """64 hex digits that change with any event."""
    digest = hashlib.sha256(
        canonical(
            {
                "categories": list(population.catalogue.names),
                "step": population.step.value,
                "n_steps": population.n_steps,
            }
        ).encode()
    )
    for column in ("offsets", "category", "kind", "time_s", "amount"):
        values = np.ascontiguousarray(getattr(population, column))
        digest.update(f"{column} {values.dtype.str} {values.shape};".encode())
        digest.update(values.data)
    return digest.hexdigest()


def canonical(value: object) -> str:
    """A JSON value as the one text that stands for it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
