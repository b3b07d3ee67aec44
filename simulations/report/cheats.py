"""What the report says of devices that cheat: what was measured of them once, on made-up people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .figures_json import FIGURES_FILE, Published, read

SCENARIO = "demo"


@dataclass(frozen=True)
class CheatRow:
    """One attack: who cheats and how, the test AUC of the trainings, and their rounds that were not used."""

    about: str
    auc: float
    not_used: float


def cheat_rows(published: Mapping[str, Published] | None = None) -> list[CheatRow]:
    """The attacks that docs/figures.json has been measured under, nobody cheating first; none if it holds none."""
    known = published if published is not None else read() if FIGURES_FILE.exists() else {}
    keys = [key.split(".")[2] for key in known if key.startswith(f"poison.{SCENARIO}.") and key.endswith(".sum.auc")]
    rows = []
    for key in sorted(keys, key=lambda key: (key != "none", not key.startswith("one"), key)):
        auc, not_used = (known[f"poison.{SCENARIO}.{key}.sum.{measure}"] for measure in ("auc", "not_used"))
        rows.append(CheatRow(auc.baseline, auc.value, not_used.value))
    return rows
