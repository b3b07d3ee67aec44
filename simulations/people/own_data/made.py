"""A whole scenario from nothing but a log: its protocol from its rhythm, its plan from how many people it has.

The plan is that of the shipped scenarios (complete-journey-eps1): noise that gives everybody epsilon 1 where 900 people or more
share it, and less for fewer, so that it does not drown what they teach: at 300 people epsilon 4, at 150 about 9. Fewer than
that learn nothing behind noise that protects one of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from client.privacy.caps import Cap, Caps, LedgerLine
from server.privacy.accounting import account_of, epsilon_bound
from shared.charges import charges_of
from shared.errors import ConfigError
from shared.events import Catalogue, Step

from ...scenarios.config import Scenario, scenario_of
from ...scenarios.owners import check_caps
from ...scenarios.written import scenario_text
from ..private_choice import choices_of
from ..setup import Crowd, Setup
from .of_file import Resolved, resolved
from .reading import Understanding

#: From so many people on, noise for epsilon 1 costs little (docs/learning.md); the shipped scenarios' noise.
PLENTY: Final = 900
NOISE, RISK_NOISE, ROUNDS, RISK_ROUNDS = 18.4, 10.6, 12, 4
#: With fewer people the noise leaves nothing.
FEWEST: Final = 150
#: Up to so many, each is a node of its own; above, nodes host many.
MOST_DEVICES: Final = 300
#: More people than this do not all answer in a round: owners believe in no more (client/privacy/caps.py).
COHORT: Final = 10_000
#: No cap of a made scenario is larger.
MOST_CAP: Final = 1e6
#: A delta is well below one in all people.
DELTA: Final = 1e-5
#: Planted people for the first model: as many as fit into so many (person, category, step) cells.
CELLS, MOST_PLANTED, LEAST_PLANTED = 8_000_000, 3000, 200


@dataclass(frozen=True)
class Made:
    """`scenario` is whole. For people: `understood` and `decided`, and `text`, the same as a file with comments."""

    scenario: Scenario
    understood: tuple[str, ...]
    decided: tuple[str, ...]
    text: str

    @property
    def lines(self) -> tuple[str, ...]:
        """What was understood and decided."""
        return (*self.understood, *self.decided)


def name_of(path: str) -> str:
    """A scenario's name from a file's.

    >>> name_of("/x/My Shop (2026).csv.gz"), name_of("数据.csv")
    ('my-shop-2026', 'your-data')
    """
    stem = Path(path).name
    while (suffix := Path(stem).suffix) and len(suffix) <= 8:
        stem = stem.removesuffix(suffix)
    cleaned = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    return cleaned[:60].strip("-") or "your-data"


def made_for(path: str, users: int | None = None, overrides: Iterable[str] = ()) -> Made:
    """The scenario of a log, at which nobody has looked yet, with what was set by hand. ConfigError or DataError, before anything
    is written, if the log has no protocol, or so few people that no private training makes sense."""
    given = [*overrides, *([f"data.users={users}"] if users is not None else [])]
    own_protocol = [each for each in given if each.strip().startswith("protocol.")]
    about = {"name": name_of(path), "about": "people of a log of one's own, replayed"}
    data: dict[str, Any] = {"name": "file", "path": path, "users": 0, "file": {}}
    first = scenario_of({**about, "data": dict(data)}, [each for each in given if each not in own_protocol], path)
    found = resolved(first)
    step, protocol = Step(found.scenario.data.file.step), found.scenario.protocol  # type: ignore[union-attr]
    assert protocol is not None, "a resolved scenario"
    n_people = first.data.users or found.understood.users
    by_hand = any(each.strip().startswith("privacy.noise_multiplier") for each in given)
    if n_people < FEWEST and not by_hand:
        raise ConfigError(
            f"expected {FEWEST} people or more for private training, got {n_people}: noise that hides one of so few leaves "
            "nothing to learn; --set privacy.noise_multiplier=NUMBER tries it all the same"
        )
    n_test = protocol.test_steps[1] - protocol.test_steps[0] + 1
    fields = {
        **about,
        "data": found.scenario.data.model_dump(),
        "protocol": protocol.model_dump(),
        **plan_fields(n_people, step, protocol.n_steps, len(found.understood.categories.names), n_test),
    }
    fields = with_caps(fields, given, n_people)
    scenario = scenario_of(fields, given, path)
    decided = (*_protocol_lines(found), *_plan_lines(scenario, n_people))
    return Made(scenario, data_lines(found.understood), decided, text_for(scenario, found, n_people))


def plan_fields(n_people: int, step: Step, n_steps: int, n_categories: int, n_test: int) -> dict[str, Any]:
    """The tables of a scenario that follow from how many people there are, and in which steps, `n_test` of which test: days are
    watched each, and asked about once a week."""
    share = min(1.0, n_people / PLENTY)
    planted = min(max(CELLS // (n_steps * n_categories), LEAST_PLANTED), MOST_PLANTED)
    days = step is Step.DAY
    return {
        "simulation": {
            "fidelity": "devices" if n_people <= MOST_DEVICES else "hosts",
            "query_every_steps": min(7, n_test) if days else 1,
        },
        "warm_start": {"users": planted},
        "training": {"learning_rate": 0.3, "rows": 64},
        "server": {"learning_rate": 1.667, "momentum": 0.0, "longest_mean": 0.5},
        "privacy": {
            "clip_norm": 0.3,
            "noise_multiplier": round(NOISE * share, 2),
            "rounds": ROUNDS,
            "delta": DELTA if n_people < 0.5 / DELTA else 10.0 ** math.floor(math.log10(0.5 / n_people)),
            "sampling_rate": 1.0 if n_people <= COHORT else round(COHORT / n_people, 6),
        },
        "risk": {
            "rounds": RISK_ROUNDS,
            "rows": 8,
            "clip_norm": 1.0,
            "learning_rate": 1.33,
            "noise_multiplier": round(RISK_NOISE * share, 2),
            "longest_mean": 0.5,
        },
        "detection": {
            "detector": "risk",
            "rise_level": 0.5,
            "false_alerts": 4,
            "budget_steps": 91 if days else 13,
            **({"season_steps": 7, "rate_window_steps": 7, "quiet_steps": 21} if days else {}),
        },
    }


def with_caps(fields: dict[str, Any], overrides: Iterable[str], n_people: int) -> dict[str, Any]:
    """The tables, with owners who allow what the plan costs, if the default table would not."""
    setup = Setup.of(scenario_of(_copied(fields), overrides, "the plan"), Crowd(n_people, Catalogue(("any",))))
    try:
        check_caps(setup.plan, setup.caps)
        return fields
    except ConfigError:
        charged, delta, table = charges_of(setup.plan), setup.caps.delta, Caps()
        caps = {"total": _raised(table.total, epsilon_bound(charged, delta))}
        for row in charged:
            caps[row.line] = _raised(table.lines[LedgerLine(row.line)], epsilon_bound((row,), delta))
        return {**fields, "caps": caps}


def _raised(cap: Cap, epsilon: float) -> list[float]:
    """A pair that allows this epsilon, and what the default allows."""
    needed = math.ceil(min(epsilon, MOST_CAP) * 10 + 1) / 10
    return [max(cap.period, needed), max(cap.lifetime, needed)]


def text_for(scenario: Scenario, found: Resolved, n_people: int) -> str:
    """The scenario as a file, with why it is what it is."""
    comments = {
        "": ("Made by ebbtide from your data; edit it and give it back: ebbtide simulate THIS-FILE",),
        "data": data_lines(found.understood),
        "protocol": () if found.proposal is None else found.proposal.reasons,
        "privacy": (_plan_lines(scenario, n_people)[0],),
        "caps": ("Raised, so that they allow what this plan costs.",),
    }
    return scenario_text(scenario, comments)


def data_lines(found: Understanding) -> tuple[str, ...]:
    """What was understood of a log, in a few sentences of counts."""
    kinds = dict.fromkeys(each.kind for each in found.events if each.kind not in ("", "ignore"))
    named = ", ".join(kinds)
    columns = ", ".join(
        f"{each.role} is {each.column}" for each in found.proposals if each.role != "preset" and each.column
    )
    account, names = found.account, found.categories.names
    return (
        f"{account.kept:,} events of {found.users:,} people in {len(names)} categor{'y' if len(names) == 1 else 'ies'}, "
        f"{found.first:%Y-%m-%d} to {found.last:%Y-%m-%d}" + (f" (of kind {named})" if named else ""),
        f"columns: {columns}",
        *(
            f"{each.lines:,} lines dropped: {each.reason.words} (first: {each.first})"
            for each in account.dropped
            if each.lines
        ),
        *found.warnings,
    )


def _protocol_lines(found: Resolved) -> tuple[str, ...]:
    return () if found.proposal is None else found.proposal.reasons


def _plan_lines(scenario: Scenario, n_people: int) -> tuple[str, ...]:
    setup = Setup.of(scenario, Crowd(n_people, Catalogue(("any",))))
    epsilon = account_of(setup.plan, setup.charged)["epsilon_to_public"]
    drawn = " and the choice of categories" if choices_of(scenario) else ""
    privacy, nodes = scenario.privacy, scenario.simulation
    said = "without a bound" if epsilon is None else f"{epsilon:.2g} at delta {privacy.delta:g}"
    how = "each a node of its own" if nodes.fidelity == "devices" else f"hosted by {nodes.hosts} nodes"
    few = f"; {PLENTY} people or more would bear the noise of epsilon 1" if n_people < PLENTY else ""
    return (
        f"{privacy.rounds + scenario.risk.rounds} private rounds{drawn} cost epsilon {said}{few}",
        f"{n_people:,} people are simulated, {how}: {_minutes(n_people, nodes.fidelity)}",
    )


def _minutes(n_people: int, fidelity: str) -> str:
    """Roughly how long it takes on two cores: nodes of their own are a process's work each, hosts share it."""
    minutes = 2 + n_people / (100 if fidelity == "devices" else 2000)
    return f"roughly {minutes:.0f} minutes on two cores"


def _copied(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: dict(value) if isinstance(value, dict) else value for key, value in fields.items()}
