"""What the report says of devices that cheat: what was measured of them once, on made-up people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .figures_json import FIGURES_FILE, Published, read

SCENARIO = "demo"


@dataclass(frozen=True)
class CheatRow:
    """One attack: who cheats and how, and the test AUC and the rounds not used, of trainings in which the server sees each vector,
    and of trainings in which it sees the sum alone."""

    about: str
    auc_seen: float
    not_used_seen: float
    auc_sum: float
    not_used_sum: float


def cheat_rows(published: Mapping[str, Published] | None = None) -> list[CheatRow]:
    """The attacks that docs/figures.json has been measured under, nobody cheating first; none if it holds none."""
    known = published if published is not None else read() if FIGURES_FILE.exists() else {}
    keys = [key.split(".")[2] for key in known if key.startswith(f"poison.{SCENARIO}.") and key.endswith(".seen.auc")]
    rows = []
    for key in sorted(keys, key=lambda key: (key != "none", not key.startswith("one"), key)):
        found = {
            f"{measure}_{side}": known[f"poison.{SCENARIO}.{key}.{side}.{measure}"]
            for side in ("seen", "sum")
            for measure in ("auc", "not_used")
        }
        about = found["auc_seen"].baseline
        rows.append(CheatRow(about, **{name: number.value for name, number in found.items()}))
    return rows
