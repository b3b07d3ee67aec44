"""What a plan has a device do and hold for one request, before it does it: no request may cost more than `MOST`.

Everything in a plan that multiplies is in here. Counted are row-steps and bytes, not seconds: they are the same on every
device, and are known when a plan is offered. What a device's own history takes is not the plan's: it is there anyway.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

from shared.errors import Refusal, RefusalCode
from shared.features import FeatureSpec
from shared.heads.inputs import NETWORKS
from shared.plan import Plan
from shared.register.heads_plan import HeadsPlan
from shared.register.queries import QueryPlan

#: No plan looks further, back or ahead, or waits longer, in steps.
MOST_STEPS = 10_000
#: For how long a device remembers: ten years of days. Averages over all of it are made for every step that is looked at.
LIFE_STEPS = 3653
#: Choosing among so many rows costs no more than passing one of them through the network.
DRAWS_PER_ROW = 64

#: Bytes, each at least what tests measure (tests/client/model/test_costs.py): of a row of features and what it is made from;
#: of an average over a step that is remembered; of a word that decides which row is chosen; of a number that the rate rule
#: remembers, with its copies in memory and 16 times for being written at every step; of a column of the table that noise is
#: drawn from, and of a cell of the shortcut through it, while it is made; of a column that is kept, and of a table whatever its size.
ROW_BYTES, AVERAGE_BYTES, WORD_BYTES, REMEMBERED_BYTES, COLUMN_BYTES, CELL_BYTES = 640, 28, 40, 1024, 64, 36
KEPT_BYTES, TABLE_BYTES = 16, 1 << 14
#: The same of a row and an average of version 2, which has more of both.
ROW_2_BYTES, AVERAGE_2_BYTES = 2048, 64
#: And of a value of a vector, until it is shared out.
VALUE_BYTES = 64
#: The table of `shared.mechanisms`: columns on each side of zero for one grid step of noise, and how many cells.
TAIL_SIGMAS, CELLS_PER_COLUMN, LEAST_CELLS, MOST_CELLS = 12, 32, 1 << 16, 1 << 20


class Cost(NamedTuple):
    """What one request takes at its worst: rows passed through the network, forwards or back, and bytes at one time."""

    row_steps: float
    size_bytes: float


#: A row-step is some 10,000 additions: 2^17 of them are a second of a slow phone's single core, which may be spent while it
#: charges. 128 MiB are what the smallest phones still sold give to one app.
MOST = Cost(1 << 17, 1 << 27)


def cost_of(plan: Plan, n_categories: int) -> Cost:
    """The most that any request under a plan takes on a device of so many categories, from its offer to its last round."""
    noises = [_noise_bytes(privacy.share_sigma) for privacy in (kind.privacy for kind in plan.sums)]
    noise_bytes = sum(kept for kept, _ in noises) + max(making for _, making in noises)
    requests = [
        _offer(plan, n_categories),
        _round(plan, n_categories),
        *([_risk_round(plan, n_categories)] if plan.risk else []),
        *(_heads_rounds(plan, plan.heads, n_categories) if plan.heads else []),
        *(_query(plan, query, n_categories) for query in plan.queries),
    ]
    row_steps, size_bytes = (max(numbers) for numbers in zip(*requests, strict=True))
    return Cost(row_steps, size_bytes + noise_bytes)


def _offer(plan: Plan, n_categories: int) -> Cost:
    """The detectors start again on the past, and remember it."""
    past = max(plan.features.window_steps, 2 * plan.detection.warm_steps)
    row_steps, size_bytes = _looked_at(plan.features, past, n_categories)
    remembered = plan.detection.rate_window_steps * n_categories
    return Cost(row_steps, size_bytes + remembered * REMEMBERED_BYTES)


def _round(plan: Plan, n_categories: int) -> Cost:
    """Rows are made, some are chosen for every local step, and are passed through the network there and back."""
    training, network = plan.training, plan.network
    row_steps, size_bytes = _looked_at(plan.features, training.history_steps, n_categories)
    available, batch = training.history_steps * n_categories, training.local_steps * training.rows
    row_bytes = 8 * network.n_features + 20 * network.n_hidden + 64
    return Cost(
        row_steps + batch + training.local_steps * available / DRAWS_PER_ROW,
        size_bytes + batch * row_bytes + available * WORD_BYTES,
    )


def _risk_round(plan: Plan, n_categories: int) -> Cost:
    """Rows are made, twice each: as of a step and before it; then they are read."""
    assert plan.risk is not None
    row_steps, size_bytes = _looked_at(plan.features, plan.risk.history_steps, n_categories)
    row_bytes, _ = _sizes(plan.features)
    return Cost(2 * (row_steps + plan.risk.rows), 2 * size_bytes + (row_steps + 2 * plan.risk.rows) * row_bytes)


def _heads_rounds(plan: Plan, heads: HeadsPlan, n_categories: int) -> list[Cost]:
    """Steps are counted for the crowd, and a vector is filled. For the others the rows of one head after the other are made, and some
    of them are read by three networks; both heads' stay until they are added up."""
    n_crowd, n_curvature, _ = heads.lengths
    row_bytes, _ = _sizes(heads.features)
    looked = [_looked_at(heads.features, head.history_steps, n_categories) for head in heads.heads]
    available = max(head.history_steps for head in heads.heads) * n_categories
    rows = sum(head.rows for head in heads.heads)
    work = Cost(
        sum(cost.row_steps for cost in looked) + len(NETWORKS) * rows,
        max(cost.size_bytes for cost in looked)
        + available * WORD_BYTES
        + rows * 2 * row_bytes
        + n_curvature * VALUE_BYTES,
    )
    return [Cost(n_categories, n_crowd * VALUE_BYTES + LIFE_STEPS * n_categories), work]


def _query(plan: Plan, query: QueryPlan, n_categories: int) -> Cost:
    """Rows are made, if it is about rows, and some are scored; a vector is filled, and shared out."""
    row_steps, size_bytes = _looked_at(plan.features, query.number("history_steps"), n_categories)
    available, rows = query.number("history_steps") * n_categories, query.number("rows")
    row_bytes, _ = _sizes(plan.features)
    return Cost(row_steps + rows, size_bytes + available * WORD_BYTES + rows * row_bytes + query.n_values * VALUE_BYTES)


def _looked_at(features: FeatureSpec, steps: int, n_categories: int) -> Cost:
    """Making the rows of every category at so many steps."""
    row_bytes, average_bytes = _sizes(features)
    return Cost(steps * n_categories, steps * (n_categories * row_bytes + LIFE_STEPS * average_bytes))


def _sizes(features: FeatureSpec) -> tuple[int, int]:
    """Bytes of a row of features, and of its averages over a step."""
    return (ROW_BYTES, AVERAGE_BYTES) if features.version == 1 else (ROW_2_BYTES, AVERAGE_2_BYTES)


def _noise_bytes(share_sigma: float) -> tuple[float, float]:
    """What the table of one noise takes for good, and while it is made."""
    columns = 2.0 ** math.ceil(math.log2(2 * TAIL_SIGMAS * max(share_sigma, 1.0) + 1))
    cells = min(max(CELLS_PER_COLUMN * columns, LEAST_CELLS), MOST_CELLS)
    return KEPT_BYTES * columns + 4 * cells + TABLE_BYTES, COLUMN_BYTES * columns + CELL_BYTES * cells


def expect_affordable(plan: Plan, n_categories: int) -> None:
    """Refusal (COSTLY) if some request under a plan would take more than `MOST`, or a number of steps in it is above
    `MOST_STEPS`. It depends on the plan and on the catalogue alone, never on what is in the history."""
    if max(_steps_in(plan)) > MOST_STEPS:
        raise Refusal(RefusalCode.COSTLY)
    cost = cost_of(plan, n_categories)
    if cost.row_steps > MOST.row_steps or cost.size_bytes > MOST.size_bytes:
        raise Refusal(RefusalCode.COSTLY)


def _steps_in(part: Any) -> list[int]:
    """Every number of steps in a plan, by the names of its fields."""
    found: list[int] = []
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if dataclasses.is_dataclass(value):
            found += _steps_in(value)
        elif field.name.endswith("_steps"):
            found += value if isinstance(value, tuple) else [value]
    return found
