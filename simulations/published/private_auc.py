"""How near a private evaluation comes to the clear one, of people other than those whom its bins, weights and clip were chosen on
(simulations/search/score_cells.py)."""

from __future__ import annotations

from ..search.private_auc import CALENDARS, DRAWS, crowd, errors_of
from .measured import Measured

SEED = 8


def private_auc_numbers() -> dict[str, Measured]:
    """`sum.private_auc_rms`, of days, and of weeks; with the parts that it is made of."""
    out: dict[str, Measured] = {}
    for calendar in CALENDARS:
        found = errors_of(crowd(calendar, SEED))
        where = "sum.private_auc_rms" + ("" if calendar == "days" else f".{calendar}")
        beside = f"clear AUC {found.clear:.4f} of the same rows of planted people, {calendar}"
        out[where] = Measured(round(found.rms, 5), None, f"AUC, root mean square of {DRAWS} draws", beside)
        for part, value in (("bins", found.bins), ("clip", found.clip), ("noise", found.noise)):
            out[f"{where}.{part}"] = Measured(round(value, 5), None, "AUC", beside)
        out[f"{where}.coverage"] = Measured(float(found.coverage), None, "share of 95 % intervals", "AUC without noise")
    return out
