"""Why a device called a turn: reasons in words and a counterfactual, for the person whose device it is.

Reasons: exact Shapley values over eight groups of features (`shapley.py`), of the change of
logit p between this stream's own earlier baseline and the alert; where a head called the turn, of the logit of its chance, of a lapse
with the other sign; where the rule of counters did, the two parts that its logit is the sum of. The baseline is the mean feature row of the
`window_steps` steps that end the longest short window before the alert. All 2^8 mixtures of the two rows go through
the model at once. In words, a visit is a step with any activity.

Counterfactual: the activity of the last steps goes on at this user's own earlier rate, the detector goes on from what it
had learned before those steps (`Watch.marks`) on the scores of that history, and only a change after which it stays
silent is named. An alert that is older than the marks gets none.

Where no reason can be told, a sentence says why.

Everything here is raw behaviour. No message carries any of it, and no repr shows it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from shared import slow_average
from shared.arrays import Bools, Doubles, Floats, Ints
from shared.errors import InputError
from shared.events import Step
from shared.features import FeatureSpec, History, extract
from shared.heads.model import Score
from shared.lapse_risk import logit, phi, readings
from shared.plan import Plan

from .alert_budget import LEAST, LOWEST
from .beginnings import Since
from .chances import Chances, Weights, is_quiet
from .detector_table import detector_for
from .risk_levels import Direction
from .shapley import GROUPS, mixtures, shapley
from .watch import Watch, budget_for, observed

#: Groups whose number rises when interest falls.
_PAUSES = ("silence", "rhythm")
#: At most this many reasons, each of at least this share of the largest one.
MOST_REASONS, LEAST_SHARE = 2, 0.25
CALLED_BY_RULE = "called by a rule, the slow average of visits; no model had a say"


@dataclass(frozen=True)
class Reason:
    """One group of features that moved p: by how much (logits), and a number that a person knows, now and usually."""

    group: str
    value: float
    now: float
    usual: float
    text: str

    def __repr__(self) -> str:
        return "Reason(<raw>)"


@dataclass(frozen=True)
class Counterfactual:
    """No alert if the last `stretch_steps` steps had seen `visits` active ones, as earlier; they saw `had`."""

    stretch_steps: int
    visits: int
    had: int
    text: str

    def __repr__(self) -> str:
        return "Counterfactual(<raw>)"


@dataclass(frozen=True)
class Explanation:
    """What moved p, by group: `values` sum to `change`, in logits. Reasons with the strongest first; where there are none,
    `why_none` is a sentence that says why, and else empty. `since`: when the change began, if the detector can tell;
    `called_by`: which rule of counters called the turn, where no model did, and else empty."""

    change: float
    values: dict[str, float]
    reasons: tuple[Reason, ...]
    counterfactual: Counterfactual | None
    why_none: str = ""
    since: Since | None = None
    called_by: str = ""

    @classmethod
    def of_nothing(cls, why: str) -> Explanation:
        """Of an alert that nothing is left of to compute."""
        return cls(0.0, {}, (), None, why)

    def __repr__(self) -> str:
        return "Explanation(<raw>)"

    @property
    def texts(self) -> tuple[str, ...]:
        """The reasons, or why there are none, which rule spoke, since when, then the counterfactual, as sentences: at least one."""
        last = (self.counterfactual.text,) if self.counterfactual else ()
        since = (self.since.text(),) if self.since else ()
        first = tuple(reason.text for reason in self.reasons) or (self.why_none,)
        rule = (self.called_by,) if self.called_by else ()
        return (*first, *rule, *since, *last)


def stretches(features: FeatureSpec) -> tuple[int, int]:
    """How many of the last steps a counterfactual may change, the smallest change first."""
    return features.short_steps[2], features.short_steps[3]


def earlier_visits(history: History, features: FeatureSpec, category: int, step: int, stretch: int) -> int:
    """Active steps that `stretch` steps would hold at this user's own rate in the window before them."""
    end = step + 1 - stretch
    window = history.active[category, max(0, end - features.window_steps) : max(0, end)]
    return round(float(window.mean()) * stretch) if window.size else 0


def at_earlier_rate(history: History, features: FeatureSpec, category: int, step: int, stretch: int) -> History:
    """`history` (C, T) as of `step`, whose last `stretch` steps saw as many active ones in the category as earlier.

    Steps are added or taken away evenly; an added one has the mean count and amount of the active ones before, and as many
    events of each kind.
    """
    end = step + 1
    out = history[:, :end].copy()
    begin = max(0, step + 1 - stretch)
    here, before = slice(begin, step + 1), slice(max(0, begin - features.window_steps), begin)
    active = out.active[category, here]
    wanted = earlier_visits(history, features, category, step, stretch)
    more = wanted - int(active.sum())
    free = np.flatnonzero(~active if more > 0 else active)
    n = min(abs(more), free.size)
    chosen = begin + free[((np.arange(n) + 0.5) * free.size / max(n, 1)).astype(np.int64)]
    usual = out.active[category, before]
    for values in (out.count, out.amount):
        mean = values[category, before][usual].mean() if more > 0 and usual.any() else 0.0
        values[category, chosen] = mean
    if out.kinds is not None:
        earlier = out.kinds[:, category, before][:, usual]
        mean = earlier.mean(axis=-1) if more > 0 and usual.any() else np.zeros(len(out.kinds))
        whole = np.ceil if features.interest else np.rint  # a step that is active has events of what is interest
        out.kinds[:, category, chosen] = whole(mean).astype(np.uint8)[:, None]
    out.active[category, chosen] = more > 0
    return out


def explain(
    plan: Plan,
    weights: Weights,
    score: Score,
    history: History,
    watch: Watch,
    category: int,
    step: int,
    direction: Direction,
    unit: Step,
    began: int | None = None,
) -> Explanation:
    """Why the turn of `category` at the close of `step` was called. history (C, T), T > step; `score` makes p of
    rows under a theta; `began` is the alert's own. InputError if there is no such step or category."""
    if not (0 <= step < history.n_steps and 0 <= category < history.n_categories):
        raise InputError("expected the step and category of an alert of this device")
    features, history = plan.read_features, history.until(step)
    ruled = plan.detection.detector == "slow_average"
    kept, mark = _replayable(features, watch, step)
    long = kept[-1] if kept else 0
    rate = plan.risk.rate_steps if plan.risk else 0
    calm = max(0, step - stretches(features)[-1])
    first = max(0, min(calm - features.window_steps, watch.marked[mark] - rate if kept else calm) + 1)
    steps = np.arange(first, step + 1)
    x = extract(history, features, steps)[:, category]
    before = x[max(0, calm + 1 - features.window_steps - first) : calm + 1 - first].mean(axis=0)

    # Row 0 is what happened, the others what would have: all of them share the steps before the last `long`.
    rows, others = np.repeat(x[None], 1 + len(kept), axis=0), []
    if kept:
        others = [at_earlier_rate(history, features, category, step, n) for n in kept]
        rows[1:, -long:] = extract(_stacked(others), features, steps[-long:])[:, :, category]
    mixed, changed = mixtures(features, before, x[-1]), rows[1:, steps.size - long :]
    several = np.concatenate([mixed, x, changed.reshape(-1, x.shape[-1])])
    read = _chances(plan, weights, score, several, category)
    parts = [np.split(one, [len(mixed), len(mixed) + len(x)]) for one in read]
    if ruled:
        values = _rule_values(plan, history, category, steps, calm, direction)
    else:
        values = shapley(_interest(plan, weights, Chances(*(of_mixed for of_mixed, _, _ in parts)), direction))

    counterfactual = None
    if kept:
        streams = Chances(*(_streams(happened, would, len(kept)) for _, happened, would in parts))
        untouched = ~np.logical_or.accumulate(history.active[category])[steps]
        for stream in streams:
            stream[:, untouched] = np.nan
        streams.takeoff[~is_quiet(features, rows)] = np.nan
        for stream, lived in zip(streams.p, (history, *others), strict=True):
            every = np.broadcast_to(stream[:, None], (steps.size, history.n_categories))
            stream[:] = observed(plan, lived, steps, every)[:, category]
        if ruled:
            for i, lived in enumerate((history, *others)):
                said = slow_average.chances(plan.rule, features, lived, steps) if plan.rule else ()
                for stream, chance in zip(streams[1:], said, strict=True):
                    stream[i] = chance[:, category]
        elif plan.risk is not None and weights.risk.size:
            streams = streams._replace(lapse=_phi(plan, weights.risk, rows, streams.p))
        begin = int(watch.marked[mark]) + 1 - first
        memory = np.repeat(watch.marks[mark, :, category, None], len(rows), axis=1)
        since = steps.size - np.array([long, *kept])
        fired = _fires(plan, memory, streams, begin, since, first, direction, history.n_categories)
        counterfactual = _counterfactual(history, features, category, direction, unit, kept, fired)
    reasons = _reasons(features, before, x[-1], values, direction, unit)
    why_none = "" if reasons else _why_none(values, direction, calm, step, unit)
    named = dict(zip(GROUPS, values.tolist(), strict=True))
    dated = None if began is None else Since(began, step - began, unit)
    return Explanation(float(values.sum()), named, reasons, counterfactual, why_none, dated, CALLED_BY_RULE * ruled)


def _replayable(features: FeatureSpec, watch: Watch, step: int) -> tuple[list[int], int]:
    """The stretches before which the watch has a mark, and the latest mark that lies before them all."""
    marked = watch.marked[watch.marked >= 0]
    kept = [n for n in stretches(features) if n <= step and (marked <= step - n).any()]
    usable = np.flatnonzero((watch.marked >= 0) & (watch.marked <= step - max(kept, default=0)))
    return kept, int(usable[-1]) if kept else -1


def _stacked(histories: list[History]) -> History:
    """Histories (C, T) as one (K, C, T)."""
    kinds = [h.kinds for h in histories if h.kinds is not None]
    active, count, amount = (np.stack([getattr(h, name) for h in histories]) for name in ("active", "count", "amount"))
    return History(active, count, amount, np.stack(kinds, axis=1) if len(kinds) == len(histories) else None)


def _chances(plan: Plan, weights: Weights, score: Score, x: Floats, category: int) -> Chances:
    """What rows x (n, F) of one category say, (n,) each, whether quiet or not; phi on top of p, which needs two of them, is left
    out."""
    p, heads = score(weights.theta, x[:, : plan.features.n_features]), weights.heads
    nothing = np.full(len(x), np.nan, np.float32)
    if plan.heads is None or heads is None:
        return Chances(p, nothing, nothing.copy())
    popularity = np.full(len(x), heads.popularity[category], np.float32)
    return Chances(p, *heads.chances(heads.inputs(plan.heads.features, score, x, popularity)))


def _interest(plan: Plan, weights: Weights, chances: Chances, direction: Direction) -> Doubles:
    """The logit that an alert of this direction looks at, which rises with interest: (n,)."""
    out = logit(chances.p)
    if detector_for(plan.detection).reads_risk and plan.heads is not None and weights.heads is not None:
        out = -logit(chances.lapse) if direction is Direction.FALL else logit(chances.takeoff)
    return out.astype(np.float64)


def _rule_values(plan: Plan, history: History, category: int, steps: Ints, calm: int, direction: Direction) -> Doubles:
    """How far each part of the rule's logit has moved from its mean over the baseline's steps up to `calm`, as `shapley` would say it,
    (8,): the average under "long run", the user's own rate under "elsewhere". It rises with interest."""
    assert plan.rule is not None
    rising, out = direction is Direction.RISE, np.zeros(len(GROUPS))
    slope = plan.rule.rise_slope if rising else -plan.rule.fall_slope
    baseline = (steps > calm - plan.features.window_steps) & (steps <= calm)
    for name, part in zip(
        ("long run", "elsewhere"), slow_average.parts(history, steps, plan.features, rising=rising), strict=True
    ):
        out[GROUPS.index(name)] = slope * (part[-1, category] - part[baseline, category].mean())
    return out


def _streams(happened: Floats, would: Floats, n_others: int) -> Floats:
    """What happened (S,), and what would have, of which the last steps differ: (1 + n, S)."""
    out = np.repeat(happened[None], 1 + n_others, axis=0)
    others = would.reshape(n_others, -1)
    out[1:, out.shape[1] - others.shape[1] :] = others
    return out


def _phi(plan: Plan, risk: Floats, x: Floats, p: Floats) -> Floats:
    """phi (K, S) of streams p (K, S) with rows x (K, S, F)."""
    assert plan.risk is not None
    earlier = np.maximum(np.arange(p.shape[1]) - plan.risk.rate_steps, 0)
    return phi(risk, readings(plan.features, x, p, p[:, earlier]))


def _fires(
    plan: Plan,
    memory: Floats,
    streams: Chances,
    begin: int,
    since: Ints,
    first: int,
    direction: Direction,
    n_categories: int,
) -> Bools:
    """Whether the plan's detector, from `memory` (m, K) on, speaks on streams (K, S) of the steps `first`, first + 1, ..., of which
    it has seen those before index `begin`: (K,). What it says before a stream's index `since` (K,), the first changed one, is
    past and does not count, but under the CUSUM, whose statistics carry it on.

    It errs on the side of firing: the interest counts as one for which `direction` may be called, nothing is quiet, the
    CUSUM's statistics are never set back, either of them counts, and its threshold is the lowest that the budget ever
    gives a user. So where this is silent, so is the device, whatever its threshold was.
    """
    settings = plan.detection
    detector = detector_for(settings)
    n_streams, n_steps = streams.p.shape
    may = np.full(n_streams, direction is Direction.FALL)
    fired = np.zeros(n_streams, bool)
    budget = budget_for(settings, (n_categories,))
    least = max(LOWEST * budget.start_threshold, LEAST) if budget else LEAST
    for i in range(begin, n_steps):
        alarms = detector.update(memory, Chances(*(one[:, i] for one in streams)), may, first + i)
        if detector.adapts:
            fired |= (alarms.strength >= least).any(axis=0)
        else:
            fired |= (alarms.fall, alarms.rise)[direction] & (since <= i)
    return fired


def _counterfactual(
    history: History,
    features: FeatureSpec,
    category: int,
    direction: Direction,
    unit: Step,
    kept: list[int],
    fired: Bools,
) -> Counterfactual | None:
    """The smallest change after which the detector stays silent; `fired` (1 + len(kept),), what happened first. None if
    none does, or if the replay of what happened stays silent too: then it proves nothing."""
    step = history.n_steps - 1
    for stretch, would_fire in zip(kept, fired[1:].tolist(), strict=True):
        had = int(history.active[category, -stretch:].sum())
        visits = earlier_visits(history, features, category, step, stretch)
        turned = visits > had if direction is Direction.FALL else visits < had
        if fired[0] and turned and not would_fire:
            text = f"no alert if visits had stayed at {visits} in {stretch} {unit.value}s (they were {had})"
            return Counterfactual(stretch, visits, had, text)
    return None


def _reasons(
    features: FeatureSpec, before: Floats, now: Floats, values: Doubles, direction: Direction, unit: Step
) -> tuple[Reason, ...]:
    """The groups that moved p the alert's way the most, where a number that a person knows moved visibly too.

    A number that moved the way a person expects (fewer visits, longer silence for a fall) goes before any other: a model
    may also have learned that silence ends. The strongest of the others is told only where there is none of the first.
    """
    names, mid, w = features.names, features.short_steps[2], features.window_steps
    units = f"{unit.value}s"
    known = {  # group: (feature, its scale, what it is, unit behind the number)
        "silence": ("recency", w, "{unit}s since the last visit to this category", ""),
        "rhythm": ("recency_per_interval", 5, "the pause in this category, in usual pauses,", ""),
        "lately": (f"active_{mid}", mid, "visits to this category", f" in the last {mid} {units}"),
        "long run": (f"active_{w}", w, "visits to this category", f" in the last {w} {units}"),
        "trend": ("ewma_difference", 1, "the pace of visits to this category, against your slower average,", ""),
        "amounts": (f"log_amount_{w}", 5, "money spent in this category", f" in the last {w} {units}"),
        "elsewhere": (f"user_active_{mid}", mid, "visits to the whole shop", f" in the last {mid} {units}"),
        "share": ("share_of_user", 100, "this category's share of your visits, in percent,", ""),
    }
    towards = -values if direction is Direction.FALL else values
    out: list[Reason] = []
    odd: list[Reason] = []
    for g in np.argsort(-towards, kind="stable").tolist():
        if towards[g] <= max(LEAST_SHARE * float(towards.max()), 0):
            break
        feature, scale, what, behind = known[GROUPS[g]]
        row = [(float(r[names.index(feature)]) / 2 + 0.5) * scale for r in (now, before)]
        is_now, usual = (math.expm1(v) for v in row) if GROUPS[g] == "amounts" else row
        shown = _number(is_now), _number(usual)
        if shown[0] != shown[1]:
            fell = is_now < usual
            text = (
                f"{what.format(unit=unit.value)} {'fell' if fell else 'rose'}: {shown[0]}{behind}, usually {shown[1]}"
            )
            reason = Reason(GROUPS[g], float(values[g]), is_now, usual, text)
            less = fell != (GROUPS[g] in _PAUSES)
            (out if less == (direction is Direction.FALL) else odd).append(reason)
    return tuple(out[:MOST_REASONS] or odd[:1])


def _why_none(values: Doubles, direction: Direction, calm: int, step: int, unit: Step) -> str:
    """Why no reason is told: nothing moved p the alert's way since the baseline, or nothing that shows in a number."""
    way = "down" if direction is Direction.FALL else "up"
    if (-values if direction is Direction.FALL else values).max() <= 0:
        since = f"than in the {unit.value}s up to {step - calm} {unit.value}s before"
        return f"no reason can be named: nothing moves the score {way} more {since}; the turn shows only in between"
    return f"no reason can be named: what moved the score {way} is too small to show in any number of visits or money"


def _number(value: float) -> str:
    """One decimal below 10, none above."""
    return f"{value:.0f}" if abs(value) >= 9.95 else f"{round(value, 1) + 0.0:g}"
