"""Attacks beside bounds: what was stated, what an attack found, and what would have been found if less noise had been added."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import RESULTS, Case
from ..fields import Field, FieldTable
from ..grounds import epsilon, figure, figures, of_code, quoted

#: Figures of attacks on made-up people, by the field that they are told in: how their keys begin.
ATTACKS = {
    "attack.told": "attack.told.demo.",
    "attack.update": "attack.update.",
    "attack.server": "attack.server.",
    "attack.member": "attack.member.",
    "attack.poison": "poison.demo.",
    "attack.hostile": "hostile.",
    "attack.cheat_found": "cheat.demo.",
    "attack.audit": "audit.",
}


def robustness_tables(case: Case) -> list[FieldTable]:
    """What hostile servers, devices and behaviour came to, beside what is stated; then this run's own bounds."""
    return [FieldTable("robustness", (*_of_run(case), *_measured_once()))]


def _of_run(case: Case) -> Iterator[Field]:
    for at, bound in enumerate(case.json_of(RESULTS)["cheat_bounds"]):
        for name in ("mean_clips", "found_clips"):
            yield quoted(case, f"robustness.{name}", f"/cheat_bounds/{at}/{name}", row=str(bound["part"]))
    yield epsilon(case, "robustness.stated_epsilon", RESULTS, "/privacy/epsilon_to_public")
    yield of_code(
        "robustness.of_devices",
        "a sum is opened only if no seat accuses it; longer vectors than an honest device can send are found, or bounded in the mean",
        "server/bounds.py",
        "shared/secure_sum/correction.py",
        "shared/secure_sum/consistency.py",
        tests=("tests/server/test_bounds.py", "tests/server/sums/test_misbehaving.py"),
    )


def _measured_once() -> Iterator[Field]:
    known = figures()
    for key, begins in ATTACKS.items():
        numbers = [number for number in known if number.startswith(begins)]
        yield from (figure(key, number) for number in numbers or [begins.rstrip(".")])
