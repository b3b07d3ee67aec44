"""The line to warn at, chosen on the weeks before those it is judged on, and what warnings there are expected to be worth.

How right contacts are is learned on the earlier weeks, **by the share of watched streams at or above the line**, not by its score:
scores move as histories grow. The line itself is the score that the same share has in the latest weeks before training ends.

Two ways to ask. **So many contacts a week**: the line at which as many are expected. **An offer that costs so much, to save so much**:
everybody is contacted of whom P(lapse) x save_share x saved_value > offer_cost. P is a score made a probability on the earlier weeks,
by a curve that never falls (isotonic regression), ours and every rule's alike.

Risk is not effect: who is about to leave need not be who a contact keeps (docs/decide.md). `save_share`, the share of the rightly
contacted who stay because of it, is an assumption that an experiment has to replace.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from sklearn.isotonic import IsotonicRegression

from shared.arrays import Bools, Doubles, Floats, Ints, as_declared, hold_declared
from shared.errors import ConfigError
from shared.features import History
from shared.heads import Heads
from shared.plan import Detection

from ..evaluation.answer import AVERAGE, BG_NBD, SILENCE, rule_scores, steps_a_week
from ..evaluation.contacts import ContactList, Limits
from ..evaluation.ground_truth import watched
from ..evaluation.replay import scores_at
from ..people.setup import Setup
from ..scenarios.config import DetectionSection
from .expectation import COUNTS, Expected, Range, drift_of, expected_of
from .weeks import Outcome, Period, Streams, earlier_period, later_period, latest_steps, outcome_of

OURS: Final = "Ebbtide"
#: Rules that stand beside ours.
RULES: Final = (SILENCE, AVERAGE, BG_NBD)
#: People that numbers are given for.
PEOPLE: Final = 1000
#: Of the people who were about to leave and are contacted, the share that stays because of it: nobody measured it here.
SAVE_SHARE: Final = 0.1
#: Lapses in the earlier weeks below which nothing is said.
LEAST_LAPSES: Final = 10
_TRIES: Final = 8


@dataclass(frozen=True)
class Wish:
    """What is asked for: contacts a week per 1,000 people, or what an offer costs and a saved interest is worth, in money."""

    contacts_per_week: float | None = None
    offer_cost: float | None = None
    saved_value: float | None = None
    save_share: float = SAVE_SHARE

    def __post_init__(self) -> None:
        money = self.offer_cost, self.saved_value
        if (self.contacts_per_week is None) == (money == (None, None)):
            got = "neither" if self.contacts_per_week is None else "both"
            raise ConfigError(f"expected --contacts-per-week, or --offer-cost and --saved-value, got {got}")
        if self.contacts_per_week is None and None in money:
            missing = "--offer-cost" if self.offer_cost is None else "--saved-value"
            raise ConfigError(f"expected --offer-cost and --saved-value together, got no {missing}")
        named = {"--contacts-per-week": self.contacts_per_week, "--saved-value": self.saved_value}
        for name, value in {**named, "--offer-cost": self.offer_cost}.items():
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"expected {name} above 0, got {value:g}")
        if not 0 < self.save_share <= 1:
            raise ConfigError(f"expected --save-share in (0, 1], got {self.save_share:g}")

    @property
    def has_money(self) -> bool:
        return self.offer_cost is not None

    @property
    def least_p(self) -> float:
        """The probability of a lapse above which a contact is worth its cost."""
        assert self.offer_cost is not None and self.saved_value is not None
        return self.offer_cost / (self.save_share * self.saved_value)

    def money_weights(self) -> dict[str, float]:
        """What a right and a wrong contact bring."""
        assert self.offer_cost is not None and self.saved_value is not None
        return {"right": self.save_share * self.saved_value - self.offer_cost, "wrong": -self.offer_cost}


@dataclass(frozen=True)
class Worth:
    """Warnings of one score at its line, per week and 1,000 people: expected and what came; `money` where it was asked for."""

    name: str
    line: float
    contacts: Range
    right: Range
    wrong: Range
    missed: Range
    money: Range | None
    happened: dict[str, float]

    def of(self, name: str) -> Range:
        return {"right": self.right, "wrong": self.wrong, "missed": self.missed}[name]


@dataclass(frozen=True)
class Decision:
    """What was chosen: `key` of the scenario's detection and its `value` (None: no contact is worth it), and what that and the
    rules are worth. Steps that it was chosen and judged on; how many people, how many lapses in the earlier steps."""

    wish: Wish
    detector: str
    key: str
    value: float | None
    worth: dict[str, Worth]
    earlier: Period
    later: Period
    people: int
    lapses: int
    simulated: bool
    step: str
    limits: Limits

    @property
    def ours(self) -> Worth:
        return self.worth[OURS]


@dataclass(frozen=True)
class Judged:
    """Everybody's watched rows of both periods and a score of each (early, late); `known`: scores (K, S, C) of all steps up to
    training, NaN where nobody watches."""

    setup: Setup
    earlier: Streams
    later: Streams
    scores: dict[str, tuple[Doubles, Doubles]]
    known: dict[str, Doubles]

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    @as_declared
    def of(
        cls,
        history: History,
        setup: Setup,
        theta: Floats,
        weights: Floats,
        rules: Sequence[str] = RULES,
        heads: Heads | None = None,
    ) -> Judged:
        """With p or, where the plan learns it, phi of theta (P,) and weights (R,; empty: none) or of the heads (None: none), and these
        `rules`. ConfigError where there is too little to choose from."""
        protocol, least = setup.protocol, setup.plan.detection.min_active_steps
        periods = earlier_period(protocol), later_period(protocol)
        if periods[1].last < periods[1].judged:
            raise ConfigError(
                "expected alert steps whose lapses are known in the end, got none: nothing to judge a line on"
            )
        earlier, later = (Streams.of(history, protocol, period, least) for period in periods)
        if (n := int((earlier.y & earlier.judged).any() and len(np.unique(earlier.run[earlier.y])))) < LEAST_LAPSES:
            raise ConfigError(
                f"expected {LEAST_LAPSES} lapses or more in the earlier steps {periods[0].judged} to {periods[0].last}, got {n}: "
                "not enough to choose a line from"
            )
        known = np.arange(periods[0].first, protocol.train_at + 1)
        unseen = ~watched(history.until(protocol.train_at), known, protocol, least)
        n_early = len(periods[0].steps)
        before, after = (
            _cubes(history, setup, theta, weights, steps, rules, heads) for steps in (known, periods[1].steps)
        )
        return cls(
            setup,
            earlier,
            later,
            {name: (earlier.score_of(before[name][:, :n_early]), later.score_of(after[name])) for name in before},
            {name: np.where(unseen, np.nan, cube) for name, cube in before.items()},
        )

    @property
    def per_week(self) -> float:
        """From all people and a step to 1,000 people and a week."""
        return PEOPLE * steps_a_week(self.setup.step) / self.earlier.n_users

    def latest_line(self, name: str, line: float) -> float:
        """The score that, of streams watched in the latest steps, the same share reaches as `line` in the earlier ones."""
        before, latest = self._before_and_latest(name)
        share = float((before >= line).mean())
        if not share or not latest.size:
            return line
        return float(np.quantile(latest, 1 - share, method="closest_observation"))

    def expected(self, name: str, line: float, outcome: Outcome) -> Expected:
        """Of contacts that came to `outcome` in the earlier steps, and will be made at the latest steps' `line`."""
        earlier, later, cube = self.earlier.period, self.later.period, self.known[name]
        steps = np.arange(earlier.first, earlier.first + cube.shape[1])
        latest = latest_steps(self.setup.protocol)
        watching, above = (n.sum(axis=(0, 2)).astype(np.float64) for n in (np.isfinite(cube), cube >= line))
        drift = drift_of(watching, above, steps, (earlier, latest, later))
        whole = max(1, later.n_judged - self.setup.protocol.lapse_steps + 1)
        return expected_of(outcome, earlier, later, whole, drift)

    def _before_and_latest(self, name: str) -> tuple[Doubles, Doubles]:
        """Scores (n,) of all watched rows in the earlier steps, and in the latest ones (m,)."""
        cube, earlier = self.known[name], self.earlier.period
        latest = latest_steps(self.setup.protocol)
        before, since = cube[:, : len(earlier.steps)], cube[:, latest.judged - earlier.first :]
        return before[np.isfinite(before)], since[np.isfinite(since)]

    def worthwhile_line(self, name: str, wish: Wish) -> float:
        """Where a contact is worth its cost, by what happened at these scores in the earlier steps."""
        counted = self.earlier.judged
        return worthwhile_line(self.scores[name][0][counted], self.earlier.y[counted], wish.least_p)

    def lists(self, name: str) -> tuple[ContactList, ContactList]:
        limits = Limits.of(self.setup.plan.detection)
        first, second = (
            ContactList(one.user, one.step, one.category, score, limits, one.judged)
            for one, score in zip((self.earlier, self.later), self.scores[name], strict=True)
        )
        return first, second


def _cubes(
    history: History,
    setup: Setup,
    theta: Floats,
    weights: Floats,
    steps: Ints,
    rules: Sequence[str],
    heads: Heads | None,
) -> dict[str, Doubles]:
    """Ours and every rule's score (K, S, C) of a lapse at `steps` (S,)."""
    found = scores_at(history, setup, theta, weights, steps, heads)
    risk = 1 - found.p if found.risk is None else found.risk
    others = rule_scores(history, setup, steps) if rules else {}
    return {OURS: risk.astype(np.float64), **{rule: others[rule] for rule in rules}}


@as_declared
def decide(
    history: History,
    setup: Setup,
    theta: Floats,
    weights: Floats,
    wish: Wish,
    *,
    simulated: bool,
    heads: Heads | None = None,
) -> Decision:
    """The line for a wish, from the earlier steps of everybody's history (K, C, T), and what came of it in the later ones."""
    judged, has_phi = Judged.of(history, setup, theta, weights, heads=heads), bool(setup.plan.risk and weights.size)
    return decide_on(judged, wish, has_phi=has_phi or heads is not None, simulated=simulated)


def decide_on(judged: Judged, wish: Wish, *, has_phi: bool, simulated: bool) -> Decision:
    """The same where both periods are laid out already."""
    setup, worth = judged.setup, {}
    line, n_early, n_late = math.inf, 0, 0
    for name in judged.scores:
        first, second = judged.lists(name)
        if name == OURS or wish.has_money:
            before = judged.worthwhile_line(name, wish) if wish.has_money else _line_for(judged, first, wish)
            own = judged.latest_line(name, before)
            chosen = [_at(first, before), _at(second, own)]
        else:
            own, chosen = first.line_of_number(n_early), [first.of_number(n_early), second.of_number(n_late)]
        if name == OURS:
            line, n_early, n_late = own, first.number(chosen[0]), second.number(chosen[1])
        worth[name] = _worth(judged, name, own, chosen[0], chosen[1], wish)
    key = "risk_line" if has_phi else "fall_level"
    value = None if not np.isfinite(line) else _writable(line if has_phi else 1 - line, up=not has_phi)
    period = judged.earlier.period
    return Decision(
        wish,
        "risk" if has_phi else "level",
        key,
        value,
        worth,
        period,
        judged.later.period,
        judged.earlier.n_users,
        len(np.unique(judged.earlier.run[judged.earlier.y])),
        simulated,
        setup.step.value,
        Limits.of(setup.plan.detection),
    )


@as_declared
def worthwhile_line(score: Doubles, y: Bools, least_p: float) -> float:
    """The lowest score (n,) at which a lapse is more probable than `least_p`, by isotonic regression on y (n,); infinity where
    it never is."""
    p = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit_transform(score, y.astype(np.float64))
    above = score[p > least_p]
    return float(above.min()) if above.size else math.inf


def _at(listed: ContactList, line: float) -> Bools:
    """The contacts (n,) at a line; none at an infinite one."""
    return listed.at(line) if np.isfinite(line) else np.zeros(len(listed.score), bool)


def _line_for(judged: Judged, listed: ContactList, wish: Wish) -> float:
    """The line in the earlier steps from which as many contacts a week and 1,000 people follow for the later ones."""
    wanted = (wish.contacts_per_week or 0.0) / judged.per_week  # of all people, per later step
    count, line = wanted * judged.earlier.period.n_judged, math.inf
    for _ in range(_TRIES):
        line = listed.line_of_number(max(count, 1.0))
        outcome = outcome_of(judged.earlier, _at(listed, line), judged.setup.protocol.lapse_steps)
        mean = judged.expected(OURS, line, outcome).mean
        comes = mean["right"] + mean["wrong"]
        if comes <= 0:
            break
        count *= min(max(wanted / comes, 0.25), 4.0)
    return line


def _worth(judged: Judged, name: str, line: float, early: Bools, late: Bools, wish: Wish) -> Worth:
    lapse_steps = judged.setup.protocol.lapse_steps
    expected = judged.expected(name, line, outcome_of(judged.earlier, early, lapse_steps))
    came = outcome_of(judged.later, late, lapse_steps)
    factor = judged.per_week
    happened = {one: float(getattr(came, one).sum()) / getattr(came, one).shape[1] * factor for one in COUNTS}
    happened["contacts"] = happened["right"] + happened["wrong"]
    money = None
    if wish.has_money:
        weights = wish.money_weights()
        money = expected.range(factor, **weights)
        happened["money"] = sum(weight * happened[one] for one, weight in weights.items())
    counts = {one: expected.range(factor, **{one: 1.0}) for one in COUNTS}
    contacts = expected.range(factor, right=1.0, wrong=1.0)
    return Worth(name, line, contacts, counts["right"], counts["wrong"], counts["missed"], money, happened)


def _writable(line: float, *, up: bool) -> float:
    """The line in few digits, on the side on which nobody is lost."""
    scale = 10**6
    found = (math.ceil if up else math.floor)(line * scale) / scale
    return min(max(found, 1 / scale), 1 - 1 / scale)


def setting(decision: Decision, settings: Detection | DetectionSection) -> dict[str, float | str]:
    """What the scenario's detection has to say, by key."""
    assert decision.value is not None, "a line that somebody is contacted at"
    out: dict[str, float | str] = {"detector": decision.detector, decision.key: decision.value}
    if decision.key == "fall_level" and decision.value >= settings.rise_level:
        out["rise_level"] = min(1.0, decision.value + 1e-6)
    return out


def names_of(worth: Mapping[str, Worth]) -> list[str]:
    """Ours first, then the rules in their order."""
    return [OURS, *(name for name in RULES if name in worth)]
