"""PIPL: what makes an assessment due (article 55), and what it has to hold (article 56)."""

from __future__ import annotations

from datetime import date

from ..case import ACCOUNT, Case
from ..fields import Field, FieldTable, Source, missing
from ..grounds import declared, epsilon, of_code, quoted

#: For how long the report and its records are kept at least: article 56.
KEPT_YEARS = 3


def pipl_tables(case: Case) -> list[FieldTable]:
    """The five triggers; then legitimacy, effect, measures, and until when all of it is kept."""
    return [
        FieldTable("pipl-55", tuple(_triggers(case))),
        FieldTable("pipl-56", tuple(_assessment(case))),
    ]


def _triggers(case: Case) -> list[Field]:
    names = "shared/events.py"
    return [
        declared(case, "pipl_sensitive"),
        of_code("pipl.categories_to_look_at", list(case.setup.catalogue.names), names),
        of_code(
            "pipl.automated_decisions",
            True,
            "client/detection/watch.py",
            "client/detection/policy.py",
            state="configured",
        ),
        declared(case, "pipl_entrusts"),
        declared(case, "pipl_cross_border"),
        declared(case, "pipl_other_impact"),
        declared(case, "pipl_notes"),
    ]


def _assessment(case: Case) -> list[Field]:
    return [
        declared(case, "pipl_legitimate"),
        epsilon(case, "pipl.effect_to_public", ACCOUNT, "/epsilon_to_public"),
        epsilon(case, "pipl.effect_to_server", ACCOUNT, "/epsilon_to_server"),
        quoted(case, "pipl.measures", "/to_server", name=ACCOUNT),
        keep_until(case),
    ]


def keep_until(case: Case) -> Field:
    """Until when report and records are kept: three years from the day that the operator assessed on."""
    key = "pipl.keep_until"
    if (made := case.answers.get("assessment_date")) is None:
        return missing(key, "it is three years from `assessment_date` in the operator's file, which is not answered")
    day = date.fromisoformat(made)
    try:
        until = day.replace(year=day.year + KEPT_YEARS)
    except ValueError:  # a 29 February, or the last years that dates know
        until = date(day.year + KEPT_YEARS, 3, 1) if day.year + KEPT_YEARS <= date.max.year else date.max
    return Field(key, "declared", until.isoformat(), (Source("operator", "assessment_date"),))
