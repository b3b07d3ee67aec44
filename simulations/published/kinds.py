"""Whether looking at views and carts warns earlier than looking at purchases: planted (simulated) people who look no more at a category
weeks before they stop to buy there.

Both sides are the same people, the same weeks and code; they differ in what is counted. Heads are as planted people of the same counters
start them: no private round is run, so nothing depends on noise. Whoever sees more kinds calls more falls, so purchases alone are judged
at the highest line, too, at which they call as many falls of other streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from client.detection.chances import Weights, chances_of, recent_rows
from client.detection.watch import Watch, observed, past_steps
from client.model.runtime import pinned_sha256
from shared.arrays import Bools, Floats, Ints, as_declared
from shared.events import Catalogue, EventKind, Step
from shared.features import History, extract, seen
from shared.heads import Heads
from shared.network import forward
from shared.plan import Plan

from ..evaluation.quality import interval
from ..people.heads_start import heads_start
from ..people.of_scenario import protocol_of
from ..people.planted import plant
from ..people.population import Population
from ..people.teaching import Lesson
from ..scenarios.config import ProtocolSection, Scenario, load_scenario
from ..scenarios.planted_rates import PLANTED_RATES
from .measured import Measured

SCENARIO: Final = "complete-journey-heads"
#: Users, categories, the weeks in which purchases end, and for how many weeks before that nothing is looked at any more.
USERS, CATEGORIES, ENDS, LEAD_WEEKS = 600, 12, (26, 40), 4
#: Weeks with a purchase that a stream has at least, in the window before looking ends and in the weeks from there to the last purchase.
BEFORE, BETWEEN = 4, 2
#: Weeks behind the last purchase from which on a warning is none: a lapse is a fact then.
NEVER = 8
DRAWS: Final = 500
#: Lines of purchases alone, from the shipped one down.
LINES: Final = (0.25, 0.22, 0.2, 0.18, 0.16, 0.14, 0.12, 0.1, 0.08)


def kinds_numbers(seed: int = 0, overrides: Sequence[str] = ()) -> dict[str, Measured]:
    """`kinds.lead.<side>`, weeks from a first alert to the last purchase, negative behind it; how much earlier kinds warn than purchases at
    as many other falls; the share of streams warned of in time, and other falls per user."""
    user, lead, others = _warned("kinds", LINES[0], seed, overrides)
    shipped = _warned("purchases", LINES[0], seed, overrides)
    line, alike = next(
        (line, found)
        for line in LINES
        if (found := _warned("purchases", line, seed, overrides))[2] >= others or line == LINES[-1]
    )
    low, high = _over_users(user, lead - alike[1])
    what = f"{len(lead)} streams of simulated people; one not warned of in time counts as {NEVER} weeks late"
    out = {
        "kinds.earlier": Measured(float(np.median(lead - alike[1])), None, "weeks", what),
        "kinds.earlier_low": Measured(low, None, "weeks", "95 % bootstrap over users"),
        "kinds.earlier_high": Measured(high, None, "weeks", "95 % bootstrap over users"),
        "kinds.line_alike": Measured(line, None, "probability", "at which purchases alone call as many other falls"),
    }
    for side, (_, leads, falls) in {"kinds": (user, lead, others), "purchases": shipped, "alike": alike}.items():
        out[f"kinds.lead.{side}"] = Measured(float(np.median(leads)), None, "weeks", what)
        out[f"kinds.warned.{side}"] = Measured(round(float((leads > -NEVER).mean()), 4), None, "share", what)
        out[f"kinds.other_falls.{side}"] = Measured(round(falls, 4), None, "falls per user", "of other streams")
    return out


def _warned(side: str, line: float, seed: int, overrides: Sequence[str]) -> tuple[Ints, Ints, float]:
    """Of one side at a line: whose each stream is, weeks from its first alert to its last purchase (n,), and other falls per user."""
    scenario = load_scenario(SCENARIO, overrides)
    protocol = protocol_of(scenario)
    plan, lesson = plan_of(side, scenario, protocol)
    plan = replace(plan, detection=replace(plan.detection, risk_line=line))
    people = plant(USERS, protocol.n_steps * 7, seed=seed + 1, n_categories=CATEGORIES)
    history, streams = leaving(people, protocol, np.random.Generator(np.random.Philox(seed)), side)
    start = heads_start(lesson)
    heads = Heads(start, np.zeros(CATEGORIES, np.float32), start.weights)
    raised = falls_of(plan, heads, history, ENDS[0] - LEAD_WEEKS - 1)
    user, category, ends = streams
    first, leads = ENDS[0] - LEAD_WEEKS, np.full(len(user), -NEVER)
    for i, (u, c, end) in enumerate(zip(user, category, ends, strict=True)):
        told = first + np.flatnonzero(raised[u, :, c])
        told = told[(told >= end - LEAD_WEEKS) & (told < end + NEVER)]
        if told.size:
            leads[i] = end - told[0]
    mine = np.zeros((USERS, CATEGORIES), bool)
    mine[user, category] = True
    return user, leads, float(raised.sum(axis=1)[~mine].sum() / USERS)


def plan_of(side: str, scenario: Scenario, protocol: ProtocolSection) -> tuple[Plan, Lesson]:
    """The scenario's plan for a shop of `CATEGORIES`, and what planted people teach of it, of purchases alone or of all kinds."""
    catalogue, only = Catalogue(tuple(f"category {i}" for i in range(CATEGORIES))), side == "purchases"
    plan = scenario.plan(protocol, catalogue, USERS, pinned_sha256(1))
    assert plan.heads is not None and plan.heads.features.more is not None
    kinds = (int(EventKind.PURCHASE),) if only else tuple(map(int, EventKind))
    r, alpha, a, b = PLANTED_RATES["week", only]
    more = replace(plan.heads.features.more, kinds=kinds, r=r, alpha=alpha, a=a, b=b)
    heads = replace(plan.heads, features=replace(plan.heads.features, more=more))
    plan = replace(plan, heads=heads, detection=replace(plan.detection, false_alerts=0))
    return plan, replace(Lesson.of(scenario, protocol, CATEGORIES, plan, heads.features), purchases_only=only)


def leaving(
    people: Population, protocol: ProtocolSection, random: np.random.Generator, side: str
) -> tuple[History, tuple[Ints, Ints, Ints]]:
    """Weekly counters (K, C, T) of one side, and streams whose looking ends `LEAD_WEEKS` before their purchases do: whose, of what, and the
    first week without a purchase. Both sides choose the same streams."""
    user = np.repeat(np.arange(people.n_users), np.diff(people.offsets))
    week = (people.time_s // Step.WEEK.seconds).astype(np.int64)
    shape = (people.n_users, CATEGORIES, protocol.n_steps)
    bought = np.zeros(shape, bool)
    is_purchase = people.kind == EventKind.PURCHASE
    bought[user[is_purchase], people.category[is_purchase], week[is_purchase]] = True
    end = random.integers(*ENDS, shape[:2])
    before, between = (_bought_in(bought, end - a, end - b) for a, b in ((16, 4), (4, 0)))
    chosen = (before >= BEFORE) & (between >= BETWEEN)
    ends = np.where(chosen, end, protocol.n_steps)[user, people.category]
    gone = (week >= ends) | ((week >= ends - LEAD_WEEKS) & ~is_purchase & chosen[user, people.category])
    kept = ~gone & (is_purchase if side == "purchases" else True)
    at = user[kept], people.category[kept], week[kept]
    history = History.from_events(shape, at, people.kind[kept], people.amount[kept], with_kinds=True)
    who, what = np.nonzero(chosen)
    return history, (who, what, end[chosen])


def _bought_in(bought: Bools, first: Ints, last: Ints) -> Ints:
    """Weeks with a purchase in [first, last) of each stream: (K, C)."""
    weeks = np.arange(bought.shape[-1])
    found: Ints = (bought & (weeks >= first[..., None]) & (weeks < last[..., None])).sum(axis=-1)
    return found


@as_declared
def falls_of(plan: Plan, heads: Heads, history: History, since: int) -> Bools:
    """Falls that devices raise at the weeks after `since` (K, S, C), by the code that they run."""

    def score(theta: Floats, x: Floats) -> Floats:
        return forward(plan.network, theta, x)

    theta = heads.start.networks[0]
    past = np.arange(since + 1 - past_steps(plan), since + 1)
    p = np.where(seen(history, past), score(theta, extract(history, plan.features, past)), np.float32(np.nan))
    watch = Watch.start(plan, observed(plan, history.until(since), past, p), since)
    out = []
    for step in range(since + 1, history.n_steps):
        known = history.until(step)
        chances = chances_of(
            plan, Weights(theta, np.empty(0, np.float32), heads), score, *recent_rows(known, plan, step)
        )
        out.append(watch.see(plan, known, step, chances)[0][:, 0])
    return np.stack(out, axis=1)


def _over_users(user: Ints, value: Ints) -> tuple[float, float]:
    """The ends of the 95 % interval of the median over draws of users."""
    random, users = np.random.Generator(np.random.Philox(0)), np.unique(user)
    rows: Mapping[int, Ints] = {int(u): value[user == u] for u in users}
    drawn = [
        float(np.median(np.concatenate([rows[int(u)] for u in random.choice(users, len(users))]))) for _ in range(DRAWS)
    ]
    low, high = interval(np.array(drawn)) or (np.nan, np.nan)
    return float(low), float(high)
