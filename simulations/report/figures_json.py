"""docs/figures.json: every number that README and docs quote, and how a text quotes one.

A text quotes a number as `<number> <!-- key -->`, with `± <number>` behind it for its spread. Decimals of a
table that were not measured, such as settings, stand in backticks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from shared.files import replace_content, text_of

from ..provenance import ROOT

FIGURES_FILE = ROOT / "docs" / "figures.json"
QUOTE: Final = re.compile(
    r"(-?\d[\d ]*(?:\.\d+)?)\s*(?:\*\*)?\s*<!-- ([a-z0-9_.-]+) -->(?:\s*%)?(?:\*\*)?(?:\s*±\s*(\d+(?:\.\d+)?))?"
)
#: What a spread can be.
DEVIATION: Final = "standard deviation"
HALF_RANGE: Final = "half-range"


@dataclass(frozen=True)
class Published:
    """One quoted number. `spread` is None if there is none; `spread_kind` says what it is: the standard deviation over
    repeated trainings, or half of the way from the lowest to the highest of a few measurements. `baseline` is what the
    number is to be compared with, or empty."""

    value: float
    spread: float | None
    unit: str
    baseline: str
    command: str
    commit: str
    spread_kind: str = DEVIATION


def read() -> dict[str, Published]:
    """Every published number, by key."""
    return {key: Published(**fields) for key, fields in json.loads(text_of(FIGURES_FILE)).items()}


def publish(numbers: Mapping[str, Published]) -> None:
    """Add numbers to the file, or replace them."""
    known = {key: asdict(number) for key, number in read().items()} if FIGURES_FILE.exists() else {}
    known |= {key: asdict(number) for key, number in numbers.items()}
    replace_content(FIGURES_FILE, json.dumps(dict(sorted(known.items())), indent=1) + "\n")


def quotes(text: str) -> Iterator[tuple[str, str, str]]:
    """(number as written, its spread as written or empty, key) of every number that a text quotes."""
    for number, key, spread in QUOTE.findall(text):
        yield number.replace(" ", ""), spread, key


def agrees(known: Published, number: str, spread: str = "") -> bool:
    """Whether a number and its spread, as written, are the published ones at the digits shown; both may be in per cent."""

    def written(value: float | None, text: str, scale: int) -> bool:
        return value is not None and f"{value * scale:.{len(text.partition('.')[2])}f}" == text

    return any(
        written(known.value, number, scale) and (not spread or written(known.spread, spread, scale))
        for scale in (1, 100)
    )


def without_key(text: str) -> list[str]:
    """What a text shows as measured and has no key for: spreads anywhere, decimals in rows of its tables."""
    found = []
    for line in text.splitlines():
        bare = QUOTE.sub("", line)
        decimals = line.startswith("|") and re.search(r"\.\d", re.sub(r"`[^`]*`", "", bare))
        if decimals or re.search(r"±\s*\d", bare):
            found.append(line)
    return found
