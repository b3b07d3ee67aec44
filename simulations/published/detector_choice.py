"""Which detector the rule chooses on each data set: the measurements behind published numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..people.of_scenario import population_of
from ..people.setup import Setup
from ..scenarios.config import load_scenario
from ..search.choose_detector import choose
from .measured import Measured

#: The scenario that stands for each data set, and what differs from it: enough planted people for planted falls to count.
SCENARIOS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "planted": ("demo", ("data.users=2000",)),
    "complete-journey": ("complete-journey-eps1", ()),
    "online-retail-ii": ("online-retail-ii-eps1", ()),
}
MEASURES: Final = (
    ("setting", "setting"),
    ("precision", "share"),
    ("recall", "share"),
    ("f_score", "F-score"),
    ("lead_steps", "{step}s"),
    ("false_per_user", "false falls per user"),
    ("ahead_low", "F-score"),
    *(
        (f"{name}_{end}", unit)
        for name, unit in (
            ("precision", "share"),
            ("recall", "share"),
            ("f_score", "F-score"),
            ("false_per_user", "false falls per user"),
        )
        for end in ("low", "high")
    ),
)


def choice_numbers(data: str, overrides: Sequence[str] = ()) -> dict[str, Measured]:
    """What the rule finds on a data set; on planted people, on planted falls too (`choice.planted_falls`)."""
    name, own = SCENARIOS[data]
    scenario = load_scenario(name, [*own, *overrides])
    people = population_of(scenario)
    found = choose(Setup.of(scenario, people), people)
    out = _numbers(f"choice.{data}", found, found)
    return {**out, **(_numbers("choice.planted_falls", found, found["planted"]) if found["planted"] else {})}


def _numbers(key: str, about: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Measured]:
    baseline = f"chosen: {told['chosen']}; {told['turns']} turns, {about['users']} users, steps {about['steps']}"
    out = {
        f"{key}.budget": Measured(round(about["budget"], 4), None, "false falls per user", baseline),
        f"{key}.users": Measured(about["users"], None, "users", "of whom the intervals draw"),
    }
    for row in told["rows"]:
        for measure, unit in MEASURES:
            if (value := row[measure]) is not None:
                what = baseline if measure != "setting" else row["key"]
                out[f"{key}.{row['detector']}.{measure}"] = Measured(
                    round(value, 4), None, unit.format(step=about["step"]), what
                )
    return out
