"""The audit of the run itself: what it proved, beside what is stated, and with what power it would have found a mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..case import AUDIT, Case
from ..fields import Field, FieldTable, missing
from ..grounds import epsilon, of_code, quoted

NOT_AUDITED = "`ebbtide evaluate RUN` audits it"
TESTS = ("tests/simulations/audit/test_audit.py",)


def audit_tables(case: Case) -> list[FieldTable]:
    """The mechanism in two worlds, view by view; canaries and noise of this run's own sums; who taught its model."""
    return [FieldTable("audit", (*_of_run(case), _method()))]


def _of_run(case: Case) -> Iterator[Field]:
    if not case.has(AUDIT):
        yield missing("audit.breaches", f"{AUDIT} is not in the run's folder: {NOT_AUDITED}")
        return
    audit = case.json_of(AUDIT)
    why: dict[str, str] = audit["why"]
    yield Field("audit.breaches", "measured", len(audit["breaches"]), (case.file(AUDIT, "/breaches"),))
    yield quoted(case, "audit.confidence", "/confidence", name=AUDIT, state="configured")
    yield epsilon(case, "audit.stated", AUDIT, "/stated")
    yield from _views(case, audit, why)
    for part, names in OF_RUN.items():
        for name in names:
            yield quoted(case, f"audit.{part}_{name}", f"/{part}/{name}", name=AUDIT, why=why.get(part, ""))
    finds = "canaries_find_quarter"
    yield quoted(case, f"audit.{finds}", f"/{finds}", name=AUDIT, why=why.get("canaries", ""))


#: What is told of each part of an audit.
OF_RUN = {
    "canaries": ("rounds", "canaries", "stated", "at_least"),
    "noise": ("planned", "at_most", "stated", "at_least"),
    "membership": ("auc", "by_chance_sd", "found_at_one_percent"),
}


def _views(case: Case, audit: dict[str, Any], why: dict[str, str]) -> Iterator[Field]:
    if not audit["mechanism"]:
        yield missing("audit.view_at_least", why.get("mechanism", "no view of the mechanism was tried"))
    for at, view in enumerate(audit["mechanism"]):
        for name in ("stated", "at_least", "trials"):
            yield quoted(case, f"audit.view_{name}", f"/mechanism/{at}/{name}", name=AUDIT, row=str(view["key"]))
    for key in audit["power"]:
        for name in ("perfect", "finds_quarter"):
            yield quoted(case, f"audit.power_{name}", f"/power/{key}/{name}", name=AUDIT, row=str(key))


def _method() -> Field:
    return of_code(
        "audit.method",
        "clip, grid, noise and sum as devices make them, in two worlds that differ in one device; canaries and noise in the sums that "
        "this run opened; losses of trained people beside those of people held out. Every bound holds with the confidence that is said",
        "simulations/audit/audit.py",
        "simulations/audit/bounds.py",
        tests=TESTS,
    )
