"""What hosted devices add to the sums that heads are learned by, all at once: by the code of `shared.heads` with a leading axis.

Rows of heads lie where those of p do, standardised, in a folder for each head.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from client.model.training_rows import head_rows
from shared.arrays import Bools, Doubles, Floats, Ints, Words, as_declared, hold_declared
from shared.codec import unpack_floats
from shared.errors import Refusal, RefusalCode
from shared.features import History
from shared.files import private_folder, replace_content, text_of
from shared.heads import TASKS, HeadRows, Heads, curvature_vectors, pair_shares, update_vectors
from shared.mechanisms import Entropy
from shared.network import forward
from shared.plan import Plan
from shared.register.heads_plan import N_HEADS, N_INPUTS, HeadPlan, HeadsPlan

from ..host_training import Look, protected_sum, row_draws
from .counters import Counters
from .training_rows import Made, Maker, Rows, features_for, rows_in, write_rows

#: Names what the rows in a folder were made of.
MADE_OF = "made_of"


@dataclass(frozen=True)
class HostedRows:
    """Of hosted users, as of the step of training: their `counters`, whose interest `as_of` gives, who teaches (K,); the rows of each
    head and the weights (2, 28) that they start with, which are there once heads were offered."""

    counters: Counters
    as_of: Callable[[History], History]
    teaches: Bools
    heads: Mapping[str, Rows]
    start: Floats | None

    def __post_init__(self) -> None:
        hold_declared(self)

    def can_answer(self, name: str) -> bool:
        """Whether devices have what a request of `RAW` asks for: heads, but for the crowd's."""
        return bool(self.heads) or RAW[name] is _crowd

    @as_declared
    def drawn(self, plan: Plan, devices: Ints, numbers: Ints, round_number: int) -> list[HeadRows]:
        """The rows of each head that some devices work on in a round, as `Work` draws them: positions `devices`, whose own numbers
        are `numbers`."""
        out = []
        for task, head in zip(TASKS, asked_in(plan).heads, strict=True):
            rows = self.heads[task]
            n_rows = rows.offsets[devices + 1] - rows.offsets[devices]
            picks = row_draws(n_rows, numbers, (1, head.rows), plan.training.seed, round_number)[:, 0]
            out.append(HeadRows(*rows.drawn(devices, picks), (picks >= 0).astype(np.float32)))
        return out


def asked_in(plan: Plan) -> HeadsPlan:
    """What a plan says of heads; Refusal if it learns none."""
    if plan.heads is None:
        raise Refusal(RefusalCode.PLAN_MISMATCH)
    return plan.heads


def makers_of(plan: Plan, heads: Heads) -> dict[str, Maker]:
    """What makes the rows of each head, as the crowd's popularity has them."""

    def score(theta: Floats, x: Floats) -> Floats:
        return forward(plan.network, theta, x)

    features = features_for(asked_in(plan).updates.noise_multiplier)

    def of(task: str, head: HeadPlan) -> Maker:
        def make(part: History) -> Made:
            rows = head_rows(part, plan, head, task, features)
            z = heads.inputs(plan.read_features, score, rows.x, heads.popularity[rows.category])
            return z, rows.y, rows.chosen

        return make

    return {task: of(task, head) for task, head in zip(TASKS, asked_in(plan).heads, strict=True)}


@as_declared
def write_head_rows(
    folder: Path,
    parts: Callable[[], Iterable[History]],
    plan: Plan,
    heads: Heads,
    held_out: Bools | None = None,
    most_bytes: int | None = None,
) -> None:
    """Rows of each head, of hosted users who come in `parts` (K, C, T) as of now, as `write_rows`; those that lie there already, of the
    same plan, start and popularity, stay. Users in `held_out` (of all parts together) get none."""
    made_of = hashlib.sha256(plan.sha256 + heads.start.sha256 + heads.popularity.tobytes()).hexdigest()
    marker = private_folder(folder) / MADE_OF
    if marker.exists() and text_of(marker) == made_of:
        return
    for task, make in makers_of(plan, heads).items():
        write_rows(private_folder(folder / task), parts(), N_INPUTS, make, held_out, most_bytes)
    replace_content(marker, made_of)


def load_head_rows(
    folder: Path, plan: Plan, heads: Heads, counters: Counters, as_of: Callable[[History], History]
) -> dict[str, Rows]:
    """The rows of `write_head_rows`, by head."""
    return {task: rows_in(folder / task, counters, as_of, make) for task, make in makers_of(plan, heads).items()}


#: What each of some devices adds, before the noise: of rows, positions, own numbers, a plan and the request.
Raw = Callable[[HostedRows, Ints, Ints, Plan, Mapping[str, Any]], Doubles]


@as_declared
def _crowd(rows: HostedRows, devices: Ints, numbers: Ints, plan: Plan, request: Mapping[str, Any]) -> Doubles:
    active = rows.as_of(rows.counters.of(devices)).active
    shares = pair_shares(active, asked_in(plan).n_categories)
    out: Doubles = shares * rows.teaches[devices, None]
    return out


def _curvature(rows: HostedRows, devices: Ints, numbers: Ints, plan: Plan, request: Mapping[str, Any]) -> Doubles:
    drawn = rows.drawn(plan, devices, numbers, request["round"])
    assert rows.start is not None
    return curvature_vectors(asked_in(plan), drawn, rows.start)


def _update(rows: HostedRows, devices: Ints, numbers: Ints, plan: Plan, request: Mapping[str, Any]) -> Doubles:
    basis, coefficients = (unpack_floats(request[name]) for name in ("basis", "coefficients"))
    form = basis.reshape(N_HEADS, N_INPUTS, N_INPUTS), coefficients.reshape(N_HEADS, N_INPUTS)
    drawn = rows.drawn(plan, devices, numbers, request["round"])
    assert rows.start is not None
    return update_vectors(asked_in(plan), drawn, rows.start, *form)


#: By the request that asks for it.
RAW: Mapping[str, Raw] = {"crowd_request": _crowd, "curvature_request": _curvature, "head_request": _update}


@as_declared
def head_sum(
    name: str,
    rows: HostedRows,
    devices: Ints,
    numbers: Ints,
    plan: Plan,
    request: Mapping[str, Any],
    entropy: Entropy,
    look: Look | None = None,
) -> Words:
    """Sum modulo 2^32 of what some hosted devices, positions `devices` in `rows`, hand out to a request of `RAW`: uint32 (n_values,).

    Guarantees. Each device's vector is clipped and noised on its own, as `Work` does, before it is added.
    """
    kind = plan.kind_of(name)

    def raw(chunk: slice) -> Doubles:
        return RAW[name](rows, devices[chunk], numbers[chunk], plan, request)

    return protected_sum(len(devices), raw, kind.n_values, kind.privacy, entropy, look)
