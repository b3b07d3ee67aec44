"""What devices call on the lapse test weeks of the two real data sets with the detector as shipped: at the line of the
scenario with heads, which nobody drew through these weeks, with its quiet time and each user's bucket.

Precision is that of every alert shown. Recall and lead are over whole silences, as in the table of lapses
(`turn_rows.Silences`): those that began with an active step of these weeks and could be watched to their last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from client.detection.risk_levels import Direction
from shared.arrays import Doubles, Floats, Ints, as_declared
from shared.features import History
from shared.heads import Heads

from ..evaluation.alert_quality import alert_steps, lived_steps, over_budget
from ..evaluation.ground_truth import Turns, delays, in_time, judge, takeoff_mask
from ..evaluation.quality import interval
from ..evaluation.replay import SETTINGS, alerts_of, scores_at
from ..federation.alert_table import Alerts
from ..people.setup import Setup
from ..search.choose_detector import FallTruth, outcome
from .learning import SEEDS, learning
from .measured import Measured

#: What is measured, per user or as a share or in weeks.
MEASURES: Final = {
    "precision": "share of falls",
    "recall": "share of whole lapses",
    "median_lead": "weeks",
    "falls": "falls per user",
    "false_falls": "falls per user",
    "rise_precision": "share of rises",
    "rise_recall": "share of take-offs",
    "rises": "rises per user",
    "false_rises": "rises per user",
    "users_over_budget": "share of users",
}
#: Of which the ends of a 95 % interval over users are published, too: all but the share that the bucket holds at 0.
RANGED: Final = tuple(key for key in MEASURES if key != "users_over_budget")
DRAWS: Final = 200


def shipped_numbers(name: str, overrides: Sequence[str] = (), seeds: int = SEEDS) -> dict[str, Measured]:
    """`shipped.<measure>.<name>`, from one private training for each seed."""
    with learning(name, overrides) as of:
        scenario, found = of.warning_scenario, []
        setup, none = of.trials.setup(scenario), np.empty(0, np.float32)
        settings = setup.plan.detection
        for seed in track(range(seeds), description=f"{name}, as shipped"):
            if scenario.heads.rounds:
                theta, heads = of.heads(scenario, seed)
                found.append(as_shipped(of.trials.history, setup, theta, none, heads))
            else:
                trained = of.train(scenario, seed)
                found.append(as_shipped(of.trials.history, setup, trained.theta, trained.risk))
    baseline = (
        f"line {settings.risk_line:g}, {settings.quiet_steps} weeks of quiet, at most {settings.false_alerts} alerts in "
        f"{settings.budget_steps} weeks; test weeks {of.setup.protocol.alert_steps[0]} to {of.setup.protocol.alert_steps[1]}"
    )
    units = {**MEASURES, **{f"{key}_{end}": MEASURES[key] for key in RANGED for end in ("low", "high")}}
    known = {key: [value for one in found if (value := one[key]) is not None] for key in units}
    users = Measured(of.setup.n_users, None, "users", "of whom the intervals draw")
    return {
        f"shipped.users.{name}": users,
        **{
            f"shipped.{key}.{name}": Measured.over(values, units[key], baseline)
            for key, values in known.items()
            if values
        },
    }


@as_declared
def as_shipped(
    history: History, setup: Setup, theta: Floats, weights: Floats, heads: Heads | None = None
) -> dict[str, float | None]:
    """The MEASURES of the plan's own detector on everybody's p and chances under theta (P,) and phi's weights (R,) or the heads; of
    those RANGED also `<measure>_low` and `<measure>_high`, over draws of users."""
    protocol, plan = setup.protocol, setup.plan
    settings, steps, n_users = plan.detection, alert_steps(protocol), len(history.active)
    scores = scores_at(history, setup, theta, weights, lived_steps(protocol), heads)
    raised = alerts_of(plan, settings, scores)[:, -len(steps) :]
    truth = FallTruth.of_lapses(history, protocol, settings.min_active_steps, steps)
    setting = float(getattr(settings, SETTINGS[settings.detector][0]))
    falls = outcome(settings.detector, setting, raised[:, :, Direction.FALL], truth, steps)
    takeoffs = Turns.of_runs(takeoff_mask(history, steps, protocol), steps)
    rises = Alerts.of_mask(raised[:, :, Direction.RISE], steps, Direction.RISE, 0)
    rising = judge(rises, takeoffs, n_users)
    false = [
        Alerts.of_mask(raised[:, :, Direction.FALL] & ~truth.true, steps, Direction.FALL, 0),
        rises.where(~in_time(rises, takeoffs)),
    ]
    called, right, lapses, caught = np.moveaxis(falls.counts[0], -1, 0)
    risen, true = (np.bincount(some.user, minlength=n_users) for some in (rises, rises.where(in_time(rises, takeoffs))))
    found = np.isfinite(delays(rises, takeoffs))
    begun, met = (np.bincount(some, minlength=n_users) for some in (takeoffs.user, takeoffs.user[found]))
    one = np.ones(n_users)
    shares = {
        "precision": (right, called),
        "recall": (caught, lapses),
        "falls": (called, one),
        "false_falls": (called - right, one),
        "rise_precision": (true, risen),
        "rise_recall": (met, begun),
        "rises": (risen, one),
        "false_rises": (risen - true, one),
    }
    lead, whose = protocol.lapse_steps - falls.waits, np.repeat(np.arange(n_users), caught.astype(np.int64))
    return {
        **{f"{key}_{end}": value for key, share in shares.items() for end, value in _ends(*share).items()},
        **{f"median_lead_{end}": value for end, value in _median_ends(lead, whose, n_users).items()},
        "precision": falls.precision,
        "recall": falls.recall,
        "median_lead": protocol.lapse_steps - float(np.median(falls.waits)) if len(falls.waits) else None,
        "falls": float(falls.total[0] / n_users),
        "false_falls": falls.false_per_user,
        "rise_precision": rising.precision,
        "rise_recall": rising.recall,
        "rises": len(rises) / n_users,
        "false_rises": rising.false_per_user,
        "users_over_budget": over_budget(false, n_users, settings) if settings.false_alerts else None,
    }


@as_declared
def _ends(hits: NDArray[Any], of: NDArray[Any]) -> dict[str, float | None]:
    """The ends of the 95 % interval of a share, hits (K,) of so many (K,) by user, over draws of users; None where there is nothing."""
    times = _draws(len(hits))
    drawn = (times @ of).astype(np.float64)
    return _named(interval((times @ hits) / np.where(drawn > 0, drawn, np.nan)))


@as_declared
def _median_ends(value: Doubles, user: Ints, n_users: int) -> dict[str, float | None]:
    """The ends of the 95 % interval of the median of values (n,) of users (n,), over the same draws."""
    if not len(value):
        return _named(None)
    drawn = (np.repeat(value, times[user]) for times in _draws(n_users))
    return _named(interval(np.array([np.median(some) if len(some) else np.nan for some in drawn])))


def _draws(n_users: int) -> Ints:
    """How often each draw takes each user: (DRAWS, K)."""
    random = np.random.Generator(np.random.Philox(0))
    return np.stack([np.bincount(random.integers(0, n_users, n_users), minlength=n_users) for _ in range(DRAWS)])


def _named(ends: tuple[float, float] | None) -> dict[str, float | None]:
    return dict(zip(("low", "high"), ends or (None, None), strict=True))
