"""What the report says of attacks on privacy: what was measured of them once, beside what is stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .figures_json import FIGURES_FILE, Published, read

SCENARIO = "demo"
#: How the two extremes of noise end their keys: they say whether an attack finds what is there.
WEAKENED = ("none", "quarter")


@dataclass(frozen=True)
class ToldRow:
    """Who sees what of one device; the epsilon that is stated, and the one that was measured at least. `weakened`: with less noise
    than stated, where the attack has to find more."""

    about: str
    stated: float
    measured: float
    weakened: bool


@dataclass(frozen=True)
class UpdateRow:
    """What is recovered of a device where one update is seen so: two rank correlations, and the share of updates that are told from
    all others."""

    about: str
    rows: float
    returned: float
    told_apart: float


@dataclass(frozen=True)
class MemberRow:
    """How well a published model tells who taught it: AUC, and the share found at one in a hundred false."""

    about: str
    auc: float
    found: float


@dataclass(frozen=True)
class ServerRow:
    """What a server tries with a sum: the share of tries that are refused, and the epsilon that it gains at least."""

    about: str
    refused: float
    epsilon: float


@dataclass(frozen=True)
class Attacks:
    """Every attack that docs/figures.json has been measured under."""

    told: list[ToldRow]
    updates: list[UpdateRow]
    members: list[MemberRow]
    server: list[ServerRow]


def attacks(published: Mapping[str, Published] | None = None) -> Attacks | None:
    """What is known of them; None if there is nothing."""
    known = published if published is not None else read() if FIGURES_FILE.exists() else {}
    if not any(key.startswith("attack.") for key in known):
        return None

    def keys(begins: str, ends: str) -> list[str]:
        return [key[: -len(ends)] for key in known if key.startswith(begins) and key.endswith(ends)]

    def row(of: str, *measures: str) -> tuple[str, list[float]]:
        found = [known[f"{of}.{measure}"] for measure in measures]
        return found[-1].baseline.split(";")[0], [number.value for number in found]

    told = [
        ToldRow(known[f"{of}.stated"].baseline, known[f"{of}.stated"].value, known[of].value, of.endswith(WEAKENED))
        for of in keys(f"attack.told.{SCENARIO}.", ".stated")
    ]
    updates = [row(of, "rows", "returned", "told_apart") for of in keys("attack.update.", ".rows")]
    members = [row(of, "auc", "found") for of in keys("attack.member.", ".auc")]
    server = [row(of, "refused", "epsilon") for of in keys("attack.server.", ".epsilon")]
    return Attacks(
        sorted(told, key=lambda one: (one.weakened, one.measured)),
        sorted((UpdateRow(about, *values) for about, values in updates), key=lambda one: -one.told_apart),
        sorted((MemberRow(about, *values) for about, values in members), key=lambda one: one.auc),
        sorted((ServerRow(about, *values) for about, values in server), key=lambda one: (-one.refused, one.epsilon)),
    )
