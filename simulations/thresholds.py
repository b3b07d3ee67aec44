"""The thresholds that `client.budget` starts from: made by simulating users without any change, kept in the client.

    python -m simulations.thresholds

It writes `client/threshold_table.py`: how often a stream has a false alarm at each threshold, and the lowest start
threshold at which at most `OVERRUN` of users (with their adapting thresholds, without the bucket) have more than F false
alarms in N steps: a mean over the stretches of N steps that a year after warming up holds. Users have streams of mixed
kinds (simulations/daily_streams.py); the seeds are not those of the measurements (simulations/streams.py). About three
minutes on one core.
"""

from __future__ import annotations

import pprint
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from client import threshold_table
from client.budget import ETA, HIGHEST, LEAST, LOWEST, false_alarm_rate
from client.cusum import MOST, CusumDetector

from .daily_streams import Change, simulated

Floats = NDArray[np.float32]

TABLE_FILE = Path(threshold_table.__file__)
OVERRUN = 0.005
STREAMS, STEPS, FALSE_ALERTS = (1, 3, 10, 30, 100), (28, 91, 182, 364), (1, 2, 3, 5, 8, 13)
GRID = tuple(round(float(h), 2) for h in np.arange(LEAST, 9.01, 0.4))
#: A rate from fewer alarms than this is extrapolated.
ENOUGH = 30
#: First of a seed: nobody else's.
SEED = 1
WEEK = 7
TABLE = '''"""Start thresholds and false-alarm rates of the CUSUM on simulated users. Made by `python -m simulations.thresholds`.

At THRESHOLDS[streams][steps][false alerts], at most OVERRUN of users have more than that many false alarms in that many
steps. RATES are false alarms per observed step and stream at RATE_THRESHOLDS.
"""

# fmt: off
OVERRUN = {overrun}
RATE_THRESHOLDS = {grid}
RATES = {rates}
STREAMS = {streams}
STEPS = {steps}
FALSE_ALERTS = {false_alerts}
THRESHOLDS = {thresholds}
'''


def false_alarms(p: Floats, threshold: float, rate: float | None) -> tuple[NDArray[np.int64], float]:
    """False alarms per step and user (T, U) on streams p (T, U, C), and their rate per judged step and stream. The
    threshold adapts towards `rate` (per judged step and stream); None: not at all."""
    detector = CusumDetector(season_steps=WEEK)
    _, n_users, n_streams = p.shape
    memory, everybody = detector.start((n_users, n_streams)), np.ones((n_users, n_streams), bool)
    own = np.full(n_users, threshold, np.float32)
    out = np.zeros(p.shape[:2], np.int64)
    n_judged = 0
    for step, now in enumerate(p):
        alarms = detector.update(memory, now, everybody, step, own[:, None])
        out[step] = (alarms.fall | alarms.rise).sum(axis=-1)
        judged = alarms.judged.sum(axis=-1)
        n_judged += int(judged.sum())
        if rate is not None:
            own += ETA * (out[step] - rate * judged)
            np.clip(own, max(LOWEST * threshold, LEAST), min(HIGHEST * threshold, MOST), out=own)
    return out, float(out.sum() / n_judged)


def overruns(alarms: NDArray[np.int64], first: int, steps: int, most: int) -> float:
    """The share of users with more than `most` false alarms in `steps` steps: mean over the whole stretches of so many
    steps from step `first` on."""
    n = (len(alarms) - first) // steps
    stretches = alarms[first : first + n * steps].reshape(n, steps, -1).sum(axis=1)
    return float((stretches > most).mean())


def lowest_threshold(grid: Sequence[float], shares: Sequence[float], n_users: int) -> float:
    """Where the share of users over budget, falling along the grid, comes down to OVERRUN: its logarithm is linear
    between two thresholds; no user in n counts as half a user."""
    logs = np.log(np.maximum(shares, 0.5 / n_users))
    over = np.flatnonzero(logs > np.log(OVERRUN))
    if not over.size:
        return grid[0]
    i = int(over[-1])
    if i + 1 == len(grid):
        return grid[-1]
    share = (logs[i] - np.log(OVERRUN)) / (logs[i] - logs[i + 1])
    return float(grid[i] + share * (grid[i + 1] - grid[i]))


def make_table(n_users: int, n_streams: int) -> str:
    """The text of the table's file: from `n_users` users of each size, or as many as have `n_streams` streams together
    if those are fewer."""
    warm = CusumDetector().warm_steps
    n_steps = warm + max(STEPS)
    alone = simulated(None, Change.NONE, n_streams // 5, 1, n_steps, (SEED, 0))
    measured = [false_alarms(alone, h, None) for h in track(GRID, description="rates")]
    known = [i for i, (alarms, _) in enumerate(measured) if alarms.sum() >= ENOUGH]
    known_grid, known_rates = [GRID[i] for i in known], [float(f"{measured[i][1]:.3g}") for i in known]
    rates = [false_alarm_rate(h, known_grid, known_rates) for h in GRID]
    thresholds = []
    for n in STREAMS:
        users = min(n_users, n_streams // n)
        p = simulated(None, Change.NONE, users, n, n_steps, (SEED, n))
        runs = [
            false_alarms(p, h, rate)[0]
            for h, rate in track(list(zip(GRID, rates, strict=True)), description=f"users of {n} streams")
        ]
        thresholds.append(
            tuple(
                tuple(
                    round(lowest_threshold(GRID, [overruns(a, warm, steps, most) for a in runs], users), 2)
                    for most in FALSE_ALERTS
                )
                for steps in STEPS
            )
        )
    return TABLE.format(
        overrun=OVERRUN,
        grid=pprint.pformat(tuple(known_grid), width=110, compact=True),
        rates=pprint.pformat(tuple(known_rates), width=110, compact=True),
        streams=STREAMS,
        steps=STEPS,
        false_alerts=FALSE_ALERTS,
        thresholds=pprint.pformat(tuple(thresholds), width=110, compact=True),
    )


if __name__ == "__main__":
    TABLE_FILE.write_text(make_table(n_users=4_000, n_streams=150_000), encoding="utf-8")
    print(f"{TABLE_FILE.name}: {len(STREAMS) * len(STEPS) * len(FALSE_ALERTS)} start thresholds")
