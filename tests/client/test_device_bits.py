"""What a device answers about its alerts, and when: the calendar decides when, the coin what."""

from fractions import Fraction

import pytest

from client.privacy.alert_bit import alert_bit, own_schedule
from client.privacy.caps import DEFAULT_LINES, Cap, Caps, LedgerLine
from client.privacy.ledger import Ledger
from shared import rdp
from shared.codec import decode, encode
from shared.errors import Refusal, RefusalCode
from shared.events import Step
from shared.messages import REGISTER
from shared.randomised_response import BitSchedule, truth_weight

DRAWS = 2**62
STEPS = 300


def draw_of(value: int):
    """A source whose every 8 bytes are the draw `value`."""
    return lambda n: (value << 2).to_bytes(8, "little") * (n // 8)


def e_to_the(epsilon_micro: int) -> Fraction:
    """A rational just below e^epsilon, epsilon in millionths."""
    term = total = Fraction(1)
    for k in range(1, 121):
        term *= Fraction(epsilon_micro, 10**6 * k)
        total += term
    return total


def life(alert_steps: list[int], asked: BitSchedule, caps: Caps, draw: int) -> list[int | None]:
    """A whole device's answers to a query at every step: 0, 1, or None for a refusal; every coin shows `draw`."""
    own = own_schedule(caps, Step.WEEK.seconds)
    ledger, said = Ledger.from_bytes(None, caps), []
    for step in range(STEPS):
        try:
            fields = alert_bit([s for s in alert_steps if s <= step], own, asked, step, draw_of(draw))
            ledger = ledger.charge("alert_bit", rdp.coin(asked.epsilon))
            said.append(decode(REGISTER, encode(REGISTER, "alert_bit", fields))[1]["bit"])
        except Refusal:
            said.append(None)
    return said


HISTORIES = [[], [7], [12], [13], list(range(STEPS)), [0, 40, 41, 200]]


@pytest.mark.parametrize("asked", [BitSchedule(1_000_007, 13), BitSchedule(400_000, 13), BitSchedule(1_000_000, 20)])
def test_what_leaves_stays_within_e_to_the_epsilon_silence_included(asked):
    """Over any two histories of alerts: the same silences; and each bit's two probabilities, counted exactly out of 2^62
    draws, within e^epsilon of each other."""
    weight = truth_weight(asked.epsilon_micro)
    edges = [0, weight - 1, weight, DRAWS - 1]
    lives = [[life(history, asked, Caps(), draw) for draw in edges] for history in HISTORIES]
    silences = {tuple(said is None for said in one) for lots in lives for one in lots}
    assert len(silences) == 1
    spoken = [step for step in range(STEPS) if lives[0][0][step] is not None]
    assert spoken and spoken == [asked.every_steps * (i + 1) - 1 for i in range(len(spoken))]
    bound = e_to_the(asked.epsilon_micro)
    for step in spoken:
        ones = []
        for truthful, last_truthful, first_lie, last_lie in lives:
            assert truthful[step] == last_truthful[step] != first_lie[step] == last_lie[step]
            ones.append(Fraction(weight if truthful[step] else DRAWS - weight, DRAWS))
        for p in ones:
            for q in ones:
                assert p <= bound * q and 1 - p <= bound * (1 - q)


def test_a_bit_tells_of_the_steps_it_covers_and_of_no_other():
    asked, truth = BitSchedule(1_000_000, 13), 0
    for alert, step, bit in [(0, 12, 1), (12, 12, 1), (13, 12, 0), (12, 25, 0), (13, 25, 1), (25, 25, 1)]:
        assert alert_bit([alert], asked, asked, step, draw_of(truth))["bit"] == bit
    assert alert_bit([], asked, asked, 12, draw_of(truth))["bit"] == 0


@pytest.mark.parametrize("alerts", [[], [12]])
def test_a_server_that_asks_for_more_is_refused_whatever_was_detected(alerts):
    own = BitSchedule(1_000_000, 13)
    for asked, step, code in [
        (BitSchedule(1_000_001, 13), 12, RefusalCode.BIT_EPSILON),
        (BitSchedule(1_000_000, 12), 11, RefusalCode.SCHEDULE),
        (own, 11, RefusalCode.SCHEDULE),
        (own, 13, RefusalCode.SCHEDULE),
    ]:
        with pytest.raises(Refusal) as refusal:
            alert_bit(alerts, own, asked, step)
        assert refusal.value.code is code
    with pytest.raises(Refusal):
        alert_bit(alerts, None, own, 12)


def test_a_device_s_schedule_follows_from_its_caps():
    own = own_schedule(Caps(), Step.WEEK.seconds)
    assert own.every_steps == 13 and own.epsilon == pytest.approx(1.0, abs=1e-4)
    assert own_schedule(Caps(), Step.DAY.seconds).every_steps == 91
    quieter = Caps({**DEFAULT_LINES, LedgerLine.ALERT_BIT: Cap(0.5, 0.5)})
    assert own_schedule(quieter, Step.WEEK.seconds).epsilon == pytest.approx(0.5, abs=1e-4)
    assert own_schedule(Caps(total=Cap(0.5, 0.5)), Step.WEEK.seconds) == own_schedule(quieter, Step.WEEK.seconds)
    assert own_schedule(Caps({**DEFAULT_LINES, LedgerLine.ALERT_BIT: Cap(0, 0)}), Step.WEEK.seconds) is None
    assert own_schedule(Caps.none(), Step.WEEK.seconds).every_steps == 1
