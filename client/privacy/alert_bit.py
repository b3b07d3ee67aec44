"""The randomised bit on the device: its own schedule, from its own caps, and its answer to a server that asks."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

from shared.errors import Refusal, RefusalCode
from shared.mechanisms import Entropy
from shared.randomised_response import BitSchedule, bit_schedule, randomised_response

from .caps import Caps, LedgerLine


def own_schedule(caps: Caps, step_s: float) -> BitSchedule | None:
    """The loudest and densest schedule that this device keeps, for steps of `step_s` seconds: what the caps of one
    period pay for. None if they pay for no bit."""
    cap = min(caps.lines[LedgerLine.ALERT_BIT].period, caps.total.period)
    if not cap > 0:
        return None
    return bit_schedule(cap, caps.delta, max(1, math.floor(caps.period_s / step_s)))


def expect_granted(own: BitSchedule | None, asked: BitSchedule, step: int) -> None:
    """Refusal unless a device with this schedule answers a server that asks for another at a step: BIT_EPSILON for a
    louder coin, SCHEDULE for more bits or another step."""
    if own is not None and asked.epsilon_micro > own.epsilon_micro:
        raise Refusal(RefusalCode.BIT_EPSILON)
    if own is None or not own.grants(asked, step):
        raise Refusal(RefusalCode.SCHEDULE)


def alert_bit(
    alert_steps: Iterable[int],
    own: BitSchedule | None,
    asked: BitSchedule,
    step: int,
    entropy: Entropy = os.urandom,
) -> dict[str, int]:
    """Fields of the `alert_bit` message for a due step: whether any of this device's alerts fell into the steps that
    the bit covers, through the coin. Refusal if the server asks for more than this device's own schedule: BIT_EPSILON
    for a louder coin, SCHEDULE for more bits or another step.

    Guarantees. Whether it refuses depends on the calendar and on the two schedules only. The caller charges
    `rdp.coin(asked.epsilon)` and keeps the bytes: a second coin for the same step would be a second release.
    """
    expect_granted(own, asked, step)
    covered = asked.covered(step)
    alerted = any([at in covered for at in alert_steps])
    bit = int(randomised_response(alerted, asked.epsilon_micro, entropy))
    return {"step": step, "epsilon_micro": asked.epsilon_micro, "bit": bit}
