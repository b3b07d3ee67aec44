"""Planted (simulated) users to draw in a report: turns that their devices found, and one that it missed."""

from __future__ import annotations

from typing import Final

import numpy as np

from client.detection.risk_levels import Direction
from client.detection.watch import NOT_KNOWN
from shared.arrays import Doubles, Floats, as_declared
from shared.features import History

from ..federation.alert_table import ShownAlerts
from ..federation.observations import read_reasons
from ..federation.run_folder import RunFolder
from ..people.looked_at import LookedAt
from ..people.setup import Setup
from .ground_truth import Turns, delays, planted_turns
from .result_tables import Way
from .results import ExampleUser, ToldAlert

WAYS: Final[dict[Direction, Way]] = {Direction.FALL: "fall", Direction.RISE: "rise"}


@as_declared
def example_users(
    run: RunFolder, setup: Setup, looked_at: LookedAt, history: History, p: Floats, alerts: ShownAlerts
) -> list[ExampleUser]:
    """Of the users who are looked at, a fall and a rise that were called, those with the most typical delay, and a fall that was
    missed, the first one; fewer where a run has none of a kind. With the reasons that the device showed. Empty without planted
    truth: real people are never drawn."""
    if (truth := looked_at.population.truth) is None:
        return []
    steps = setup.protocol.alert_steps
    out: list[ExampleUser] = []
    for direction, wanted in ((Direction.FALL, True), (Direction.RISE, True), (Direction.FALL, False)):
        turns = planted_turns(truth, direction, steps)
        chosen = typical(delays(alerts.of(direction, steps), turns), wanted)
        if chosen is not None:
            out.append(_drawn(run, looked_at, history, p, alerts, turns, chosen, direction, wanted))
    return out


@as_declared
def typical(delay: Doubles, found: bool) -> int | None:
    """Of turns with `delay` (n,), inf: missed, the position of the found one nearest to the median delay, or of the first
    that was missed; None if there is none."""
    which = np.flatnonzero(np.isfinite(delay) == found)
    if not len(which):
        return None
    return int(which[np.argmin(np.abs(delay[which] - np.median(delay[which])))]) if found else int(which[0])


def _drawn(
    run: RunFolder,
    looked_at: LookedAt,
    history: History,
    p: Floats,
    alerts: ShownAlerts,
    turns: Turns,
    index: int,
    direction: Direction,
    found: bool,
) -> ExampleUser:
    user, category = int(turns.user[index]), int(turns.category[index])
    mine = alerts.where((alerts.user == user) & (alerts.category == category))
    reasons = read_reasons(run, int(looked_at.users[user]))
    return ExampleUser(
        category=looked_at.population.catalogue.names[category],
        direction=WAYS[direction],
        found=found,
        count=[round(float(v), 2) for v in history.count[user, category]],
        p=[None if np.isnan(v) else round(float(v), 4) for v in p[user, :, category]],
        change_step=int(turns.first[index]),
        last_step_in_time=int(turns.last[index]),
        alerts=[
            ToldAlert(
                step=int(s),
                direction=WAYS[Direction(int(d))],
                level=int(w),
                began=int(b) if b != NOT_KNOWN else None,
                reasons=reasons.get((int(s), int(d), category), []),
            )
            for s, d, w, b in zip(mine.step, mine.direction, mine.level, mine.began, strict=True)
        ],
    )
