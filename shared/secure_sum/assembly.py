"""From a signed request to the header of its sum: the same one on every device, at the server, and in what seats are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError, SumError, WireError
from ..plan import Plan, SumPlan, UpdateKind
from .draw import drawn, kept
from .epoch import Epoch
from .field import Field
from .header import Header
from .keys import TAG_BYTES
from .leaves import LEAF_BYTES
from .merkle import expect_members
from .packed_shamir import Code
from .sizes import COLLUDING_SHARE, DEFAULTS, Seats, expect_sound, members_of


def sizes_of(planned: SumPlan) -> Seats:
    """The device seats of a plan, which allow for as many corrupt ones as their thresholds do."""
    corrupt = 2 * planned.t_priv - planned.seats
    return Seats(planned.seats, planned.drawn, corrupt, planned.t_priv, planned.t_rec)


def code_of(planned: SumPlan, kind: UpdateKind) -> Code:
    """How the vectors of one kind are shared out."""
    n_seats = planned.seats or planned.helpers
    return Code(Field.holding(kind.privacy.largest_sum), n_seats, planned.private, planned.opening)


def sent_bytes(planned: SumPlan, kind: UpdateKind) -> int:
    """How long the boxes of one device are."""
    code = code_of(planned, kind)
    return (code.n_seats - code.t_priv) * (code.field.word_bytes * code.n_words(kind.n_values) + TAG_BYTES)


def seats_drawn(plan: Plan, kind: UpdateKind, round_number: int, epoch: Epoch) -> tuple[int, ...]:
    """The enrolled devices that chance seats in one round, by index, in their order; none where helpers hold all seats."""
    if plan.sum is None or not plan.sum.seats:
        return ()
    return tuple(drawn(epoch, kind.reply, round_number, plan.sum.drawn))


def header_of(plan: Plan, kind: UpdateKind, request: Mapping[str, Any], body_sha256: bytes, epoch: Epoch) -> Header:
    """The header of the sum that a request asks for.

    Guarantees. Device seats are those that the epoch's seed draws for this kind and round, but for at most as many named
    absent as were drawn in surplus, and their keys are enrolled; helper seats are those that the epoch names. Thresholds are
    the plan's, and no looser than `sizes.expect_sound` allows; and no more hostile devices are enrolled than the
    plan allows for in one sum. SumError by name otherwise: "plan", "helpers", "cohort", "seats", "sizes".
    """
    shared_out = expect_summable(plan, kind, epoch)
    absent = tuple(np.frombuffer(request["absent"], ">u4").tolist())
    if shared_out.seats:
        seats = tuple(_expected_seats(plan, kind, request, absent, epoch))
    elif absent or request["seats"] or request["seats_proof"]:
        raise SumError("seats", "expected no device seats where helpers hold them")
    else:
        seats = epoch.helpers
    return Header(
        kind.reply,
        plan.sha256,
        request["round"],
        epoch.sha256,
        seats,
        absent,
        epoch.helpers if shared_out.seats else (),
        Field.holding(kind.privacy.largest_sum).prime,
        shared_out.private,
        shared_out.opening,
        kind.n_values,
        kind.privacy.min_survivors,
        body_sha256,
    )


def expect_summable(plan: Plan, kind: UpdateKind, epoch: Epoch) -> SumPlan:
    """Who adds up, in a plan whose sums of a kind this epoch can carry; SumError by name for any other: "plan", "helpers",
    "cohort", "sizes"."""
    planned = plan.sum
    if planned is None:
        raise SumError("plan", "expected a plan whose rounds are sums")
    if planned.helpers != len(epoch.helpers):
        raise SumError("helpers", f"expected {planned.helpers} helpers in the epoch, got {len(epoch.helpers)}")
    _expect_counted_on(kind, epoch)
    if planned.seats:
        try:
            expect_sound(sizes_of(planned), epoch.n_devices, replace(DEFAULTS, draws=epoch.draws * len(plan.sums)))
        except InputError as error:
            raise SumError("sizes", str(error)) from None
    return planned


def _expect_counted_on(kind: UpdateKind, epoch: Epoch) -> None:
    """SumError("cohort") where so many are enrolled that more could collude in one sum than the plan allows for. `max_colluders` is of
    its population, with everybody in every round. Where more are enrolled, or a cohort is sampled, the server says who is asked,
    and could ask all hostile ones: it has to allow for all of them. A plan that allows for none counts on there being none."""
    privacy, most = kind.privacy, members_of(COLLUDING_SHARE, epoch.n_devices)
    chosen = privacy.sampling_rate < 1 or epoch.n_devices > privacy.population
    if chosen and 0 < privacy.max_colluders < most:
        raise SumError(
            "cohort", f"expected {most} colluders of {epoch.n_devices} devices allowed for, got {privacy.max_colluders}"
        )


def _expected_seats(
    plan: Plan, kind: UpdateKind, request: Mapping[str, Any], absent: Sequence[int], epoch: Epoch
) -> list[bytes]:
    assert plan.sum is not None
    data = request["seats"]
    leaves = [data[i : i + LEAF_BYTES] for i in range(0, len(data), LEAF_BYTES)]
    try:
        indices = kept(seats_drawn(plan, kind, request["round"], epoch), absent, plan.sum.seats, epoch.n_devices)
        if len(leaves) != len(indices):
            raise SumError("seats", f"expected the keys of {len(indices)} seats, got {len(leaves)}")
        expect_members(epoch.root, epoch.n_devices, dict(zip(indices, leaves, strict=True)), request["seats_proof"])
    except (InputError, WireError) as error:
        if isinstance(error, SumError):
            raise
        raise SumError("seats", "expected the seats that the epoch draws for this round") from None
    return leaves
