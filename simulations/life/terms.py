"""What the loop that closes a step reads of features: which windows, which sums over them, which averages, which last steps.

A feature of other readings costs a line here; the loop itself (`kernel.py`) knows no feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from shared.events import EventKind
from shared.features import FeatureSpec

#: A window that nothing falls out of.
EVER = 1 << 30


class Value(IntEnum):
    """What is counted of a cell: columns of `Cells.values`. The kinds of events follow as `KINDS`, each that happened as `HAPPENED`."""

    ACTIVE = 0
    COUNT = 1
    AMOUNT = 2
    USUAL = 3  #: the log of what was counted, of which the usual is the mean
    BURST = 4
    LOG_COUNT = 5
    LOG_AMOUNT = 6


KINDS = len(Value)
HAPPENED = KINDS + len(EventKind)
N_VALUES = HAPPENED + len(EventKind)
#: What is counted of a user's step, over all categories: whether there was anything, and in how many.
USER_ACTIVE, USER_BREADTH, N_USER_VALUES = 0, 1, 2


@dataclass(frozen=True)
class Terms:
    """`windows`: widths in steps. `sums`: (window, value) pairs. `averages`: (span in steps, value). `lasts`: values of which the last
    cell above 0 is remembered. Each in the order in which it is read."""

    windows: tuple[int, ...]
    sums: tuple[tuple[int, int], ...]
    averages: tuple[tuple[int, int], ...]
    lasts: tuple[int, ...]


@lru_cache(maxsize=16)
def of_categories(spec: FeatureSpec) -> Terms:
    """What is read of every category. Sums: active steps in the five windows and in all, engagement and money in the middle and the
    longest one, then events of each kind used in these two. Averages: activity over the spec's own spans, then those of
    `shared.features.running.Running`."""
    windows, mid, long = (*spec.short_steps, spec.window_steps), spec.mid_steps, spec.window_steps
    sums = [(width, int(Value.ACTIVE)) for width in (*windows, EVER)]
    sums += [(width, int(value)) for value in (Value.COUNT, Value.AMOUNT) for width in (mid, long)]
    averages = [(span, int(Value.ACTIVE)) for span in spec.ewma_steps]
    lasts = [int(Value.ACTIVE), int(Value.BURST)]
    if spec.more is not None:
        kinds = spec.more.kinds
        sums += [(width, KINDS + kind) for width in (mid, long) for kind in kinds]
        averages += [(span, int(Value.ACTIVE)) for span in spec.spans]
        averages += [(span, int(value)) for value in (Value.LOG_COUNT, Value.LOG_AMOUNT) for span in spec.spans[1:3]]
        averages += [(span, HAPPENED + kind) for span in spec.spans[:3] for kind in kinds]
        lasts += [HAPPENED + kind for kind in kinds]
    return Terms((*windows, EVER), tuple(sums), tuple(averages), tuple(lasts))


@lru_cache(maxsize=16)
def of_users(spec: FeatureSpec) -> Terms:
    """What is read of a user's steps: active ones in the five windows and in all, averages of activity and of breadth."""
    windows = (*spec.short_steps, spec.window_steps, EVER)
    spans = spec.spans[:3] if spec.more is not None else ()
    averages = [(span, value) for value in (USER_ACTIVE, USER_BREADTH) for span in spans]
    return Terms(windows, tuple((width, USER_ACTIVE) for width in windows), tuple(averages), (USER_ACTIVE,))
