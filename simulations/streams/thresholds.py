"""The thresholds that `client.detection.alert_budget` starts from: made by simulating users without any change, kept in the client.

    python -m simulations.streams.thresholds

It writes `client/detection/threshold_table.py`: how often a stream has a false alarm at each threshold, and the lowest start
threshold at which at most `OVERRUN` of users (with their adapting thresholds, without the bucket) have more than F false
alarms in N steps: a mean over the stretches of N steps that a year after warming up holds. Users have streams of mixed
kinds (simulations/streams/generate.py); the seeds are not those of the measurements (simulations/streams/measure.py). About three
minutes on one core.
"""

from __future__ import annotations

import pprint
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from client.detection import threshold_table
from client.detection.alert_budget import LEAST, SIDES, OwnThresholds, false_alarm_rate
from client.detection.chances import Chances
from client.detection.cusum import CusumDetector
from shared.arrays import Doubles, Floats, Ints, as_declared
from shared.files import replace_content

from .generate import Change, simulated

TABLE_FILE = Path(threshold_table.__file__)
OVERRUN = 0.005
STREAMS, STEPS, FALSE_ALERTS = (1, 3, 10, 30, 100), (28, 91, 182, 364), (1, 2, 3, 5, 8, 13)
GRID = tuple(round(float(h), 2) for h in np.arange(LEAST, 9.01, 0.2))
#: Rates are linear in their logarithm over twice the step: the slope of the last two, which is extrapolated, is steadier.
RATE_GRID = GRID[::2]
#: A rate from fewer alarms than this is extrapolated.
ENOUGH = 30
#: First of a seed: nobody else's.
SEED = 1
WEEK = 7
TABLE = '''"""Start thresholds and false-alarm rates of the CUSUM on simulated users. Made by `python -m simulations.streams.thresholds`.

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


@as_declared
def false_alarms(p: Floats, own: OwnThresholds, *, adapting: bool = True) -> tuple[Ints, float]:
    """False alarms per step and user (T, U) on streams p (T, U, C), and their rate per judged step and stream, by the
    thresholds that devices run; not `adapting`: all stay at the start."""
    detector = CusumDetector(season_steps=WEEK)
    _, n_users, n_streams = p.shape
    memory, everybody = detector.start((n_users, n_streams)), np.ones((n_users, n_streams), bool)
    moved = np.zeros((SIDES, n_users), np.float32)
    out = np.zeros(p.shape[:2], np.int64)
    n_judged = 0
    for step, now in enumerate(p):
        alarms = detector.update(memory, Chances.of_p(now), everybody, step, own.now(moved)[..., None])
        sides = np.stack([alarms.fall, alarms.rise]).sum(axis=-1)
        assert alarms.judged is not None, "the CUSUM says whom it judged"
        judged = alarms.judged.sum(axis=-1)
        if adapting:
            own.adapt(moved, sides, judged)
        out[step] = sides.sum(axis=0)
        n_judged += int(judged.sum())
    return out, float(out.sum() / n_judged)


@as_declared
def overruns(alarms: Ints, first: int, steps: int, most: int) -> float:
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
    if i + 1 == len(shares):
        return grid[i]
    share = (logs[i] - np.log(OVERRUN)) / (logs[i] - logs[i + 1])
    return float(grid[i] + share * (grid[i + 1] - grid[i]))


@as_declared
def start_thresholds(p: Floats, rates: Sequence[float], first: int) -> list[list[float]]:
    """The lowest start thresholds of users with streams p (T, U, C), for STEPS and FALSE_ALERTS; `rates` are those of
    GRID, which is climbed until all of them keep to OVERRUN."""
    over: list[Doubles] = []
    for h, rate in zip(GRID, rates, strict=True):
        alarms, _ = false_alarms(p, OwnThresholds(h, rate))
        over.append(np.array([[overruns(alarms, first, steps, most) for most in FALSE_ALERTS] for steps in STEPS]))
        if over[-1].max() <= OVERRUN:
            break
    shares = np.array(over)
    return [
        [round(lowest_threshold(GRID, shares[:, i, j].tolist(), p.shape[1]), 2) for j in range(len(FALSE_ALERTS))]
        for i in range(len(STEPS))
    ]


def make_table(n_users: int, n_streams: int) -> str:
    """The text of the table's file: from `n_users` users of each size, or as many as have `n_streams` streams together
    if those are fewer."""
    warm = CusumDetector().warm_steps
    n_steps = warm + max(STEPS)
    alone = simulated(None, Change.NONE, n_streams // 5, 1, n_steps, (SEED, 0))
    measured = [
        false_alarms(alone, OwnThresholds(h, 0.0), adapting=False) for h in track(RATE_GRID, description="rates")
    ]
    known = [i for i, (alarms, _) in enumerate(measured) if alarms.sum() >= ENOUGH]
    known_grid, known_rates = [RATE_GRID[i] for i in known], [float(f"{measured[i][1]:.3g}") for i in known]
    rates = [false_alarm_rate(h, known_grid, known_rates) for h in GRID]
    thresholds = []
    for n in track(STREAMS, description="thresholds"):
        p = simulated(None, Change.NONE, min(n_users, n_streams // n), n, n_steps, (SEED, n))
        thresholds.append(tuple(tuple(row) for row in start_thresholds(p, rates, warm)))
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
    replace_content(TABLE_FILE, make_table(n_users=10_000, n_streams=200_000))
    print(f"{TABLE_FILE.name}: {len(STREAMS) * len(STEPS) * len(FALSE_ALERTS)} start thresholds")
