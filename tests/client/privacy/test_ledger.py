"""One device's account: every refusal has its code and changes nothing; bytes that no account has are not one."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from client.privacy.caps import DAY_S, DEFAULT_LINES, Cap, Caps, LedgerLine
from client.privacy.ledger import AGREEMENT_S, LIFETIME, MAX_PLANS, PERIOD, UNSET, Ledger
from shared import rdp
from shared.errors import ConfigError, InputError, Refusal, RefusalCode
from shared.messages import REGISTER
from shared.rdp import ORDERS

VECTORS = Path(__file__).parents[2] / "vectors"
PLAN = bytes(range(32))
COST = rdp.gaussian(4.0)
START_S = 1_800_000_000


def plan_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def roomy(**changes) -> Caps:
    """Caps that never stand in the way, but for the changed ones."""
    wide = Cap(1e6, 1e6)
    return Caps(
        **{"lines": dict.fromkeys(LedgerLine, wide), "total": wide, "participations_per_plan": 10**6, **changes}
    )


def capped(line: LedgerLine, cap: Cap) -> Caps:
    return roomy(lines={**dict.fromkeys(LedgerLine, Cap(1e6, 1e6)), line: cap})


def new(caps: Caps | None = None) -> Ledger:
    return Ledger.from_bytes(None, caps)


def refused(ledger: Ledger, *charge) -> RefusalCode:
    """The code of a charge that is refused and leaves the ledger as it was."""
    before = ledger.to_bytes()
    with pytest.raises(Refusal) as refusal:
        ledger.charge(*charge)
    assert ledger.to_bytes() == before
    return refusal.value.code


def test_the_default_table():
    """DESIGN: 14 participations a plan, delta 1e-5. The table's shares pay for what they name."""
    caps = Caps()
    assert (caps.participations_per_plan, caps.delta) == (14, 1e-5)
    assert {line: (cap.period, cap.lifetime) for line, cap in DEFAULT_LINES.items()} == {
        "update": (4.5, 10.0),
        "risk_update": (1.0, 2.0),
        "alert_bit": (2.0, 8.0),
        "crowd": (0.5, 1.0),
        "curvature": (0.75, 1.5),
        "head_update": (1.5, 3.0),
        "evaluation": (1.5, 6.0),
        "alert_counts": (1.5, 6.0),
    }
    assert (caps.total.period, caps.total.lifetime) == (7.5, 20.0)
    ledger = new()
    for _ in range(14):
        ledger = ledger.charge("update", COST, PLAN)
    assert refused(ledger, "update", COST, PLAN) is RefusalCode.PARTICIPATIONS
    assert ledger.epsilon(PERIOD, LedgerLine.UPDATE) == pytest.approx(4.38, abs=0.01)
    assert ledger.gaussian_epsilon(PERIOD, LedgerLine.UPDATE) == pytest.approx(4.05, abs=0.01)
    assert refused(ledger, "update", COST, plan_of(2)) is RefusalCode.PERIOD_BUDGET
    assert LedgerLine.UPDATE in REGISTER and LedgerLine.ALERT_BIT in REGISTER


def test_every_release_is_in_its_line_and_in_the_total_of_both_scopes():
    ledger = new(roomy())
    expected = {line: rdp.zero() for line in LedgerLine}
    for kind, cost in [("update", COST), ("risk_update", rdp.gaussian(8.0))]:
        for _ in range(3):
            ledger = ledger.charge(kind, cost, PLAN)
            expected[LedgerLine(kind)] = expected[LedgerLine(kind)] + cost
    for epsilon in (1.0, 0.5):
        ledger = ledger.charge("alert_bit", rdp.coin(epsilon))
        expected[LedgerLine.ALERT_BIT] = expected[LedgerLine.ALERT_BIT] + rdp.coin(epsilon)
    for scope in (PERIOD, LIFETIME):
        for line in LedgerLine:
            assert ledger.epsilon(scope, line) == float(rdp.epsilon(expected[line], 1e-5))
        total = sum(expected.values())
        assert ledger.epsilon(scope) == pytest.approx(float(rdp.epsilon(total, 1e-5)), rel=1e-12)
    spent_on = {line: n for line, n in ledger.releases.items() if n}
    assert spent_on == {"update": 3, "risk_update": 3, "alert_bit": 2}


def test_each_cap_stands_alone():
    one = rdp.epsilon(COST, 1e-5)
    for caps, code in [
        (capped(LedgerLine.UPDATE, Cap(one * 0.9, 1e6)), RefusalCode.PERIOD_BUDGET),
        (capped(LedgerLine.UPDATE, Cap(one * 0.9, one * 0.9)), RefusalCode.LIFETIME_BUDGET),
        (roomy(total=Cap(one * 0.9, 1e6)), RefusalCode.PERIOD_BUDGET),
        (roomy(total=Cap(one * 0.9, one * 0.9)), RefusalCode.LIFETIME_BUDGET),
        (roomy(participations_per_plan=0), RefusalCode.PARTICIPATIONS),
    ]:
        assert refused(new(caps), "update", COST, PLAN) is code
    assert refused(new(capped(LedgerLine.PHI, Cap(0.0, 0.0))), "risk_update", COST, PLAN) is RefusalCode.LIFETIME_BUDGET
    assert new(capped(LedgerLine.PHI, Cap(0.0, 0.0))).charge("update", COST, PLAN).releases["update"] == 1
    new(capped(LedgerLine.UPDATE, Cap(one, one))).charge("update", COST, PLAN)


def test_a_round_is_answered_once_and_none_before_it():
    ledger = new(roomy()).charge("update", COST, PLAN, 3).charge("alert_bit", rdp.coin(0.5), at=27)
    for kind, cost, plan, at in [
        ("update", COST, PLAN, 3),
        ("update", COST, PLAN, 0),
        ("alert_bit", rdp.coin(0.1), None, 27),
    ]:
        assert refused(ledger, kind, cost, plan, at) is RefusalCode.STALE
    ledger = (
        ledger.charge("risk_update", COST, PLAN, 3)
        .charge("update", COST, plan_of(1), 0)
        .charge("update", COST, PLAN, 9)
    )
    assert refused(ledger, "update", COST, PLAN, 8) is RefusalCode.STALE
    assert ledger.latest == {
        ("update", PLAN): 9,
        ("risk_update", PLAN): 3,
        ("update", plan_of(1)): 0,
        ("alert_bit", b""): 27,
    }


def test_participations_count_by_plan_and_by_line():
    caps = roomy(participations_per_plan=2)
    ledger = new(caps).charge("update", COST, PLAN).charge("update", COST, PLAN)
    assert refused(ledger, "update", COST, PLAN) is RefusalCode.PARTICIPATIONS
    ledger = ledger.charge("risk_update", COST, PLAN).charge("update", COST, plan_of(1))
    assert ledger.plans == {("update", PLAN): 2, ("risk_update", PLAN): 1, ("update", plan_of(1)): 1}


def test_a_device_remembers_so_many_plans_and_then_serves_no_new_one():
    tiny = rdp.gaussian(1e5)
    ledger = new(roomy(participations_per_plan=2))
    for i in range(MAX_PLANS):
        ledger = ledger.charge("update", tiny, plan_of(i))
    assert refused(ledger, "update", tiny, plan_of(MAX_PLANS)) is RefusalCode.PARTICIPATIONS
    ledger = ledger.charge("update", tiny, plan_of(0))
    assert refused(ledger, "update", tiny, plan_of(0)) is RefusalCode.PARTICIPATIONS
    assert Ledger.from_bytes(ledger.to_bytes()).plans == ledger.plans


@pytest.mark.parametrize("kind", ["", "alerts", "refusal", "Update", "total", "diagnostics"])
def test_a_kind_without_a_line_is_refused(kind):
    assert refused(new(Caps.none()), kind, COST, PLAN) is RefusalCode.COST
    assert refused(new(Caps.none()), kind, COST) is RefusalCode.COST


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "cost",
    [
        -COST,
        np.where(np.arange(ORDERS.size) == 5, math.nan, COST),
        np.where(np.arange(ORDERS.size) == 5, -1e-9, COST),
        COST[:-1],
        np.stack([COST, COST]),
        np.float64(0.0),
        -rdp.gaussian(0.0),
    ],
)
@pytest.mark.parametrize("caps", [Caps(), Caps.none()], ids=["default", "none"])
def test_what_is_no_cost_is_refused(cost, caps):
    assert refused(new(caps), "update", cost, PLAN) is RefusalCode.COST


def test_an_infinite_cost_is_above_every_finite_cap():
    infinite = rdp.gaussian(0.0)
    assert refused(new(), "update", infinite, PLAN) is RefusalCode.LIFETIME_BUDGET
    assert refused(new(roomy(total=Cap(math.inf, math.inf))), "update", infinite, PLAN) is RefusalCode.LIFETIME_BUDGET
    ledger = new(Caps.none()).charge("update", infinite, PLAN)
    assert ledger.epsilon(LIFETIME) == ledger.gaussian_epsilon(LIFETIME, LedgerLine.UPDATE) == math.inf
    guarded = Ledger.from_bytes(ledger.to_bytes(), Caps())
    assert refused(guarded, "alert_bit", rdp.coin(1e-6)) is RefusalCode.LIFETIME_BUDGET, "for good"


@pytest.mark.parametrize("plan", [None, b"", bytes(31), bytearray(32), "x" * 32])
def test_a_line_of_a_plan_needs_a_plan(plan):
    assert refused(new(), "update", COST, plan) is RefusalCode.COST
    assert refused(new(), "alert_bit", rdp.coin(0.1), PLAN) is RefusalCode.COST


def test_lower_caps_refuse_at_once_and_higher_ones_are_the_owner_s_to_give():
    ledger = new()
    for _ in range(8):
        ledger = ledger.charge("update", COST, PLAN)
    data = ledger.to_bytes()
    lower = Caps({**DEFAULT_LINES, LedgerLine.UPDATE: Cap(2.0, 2.0)})
    assert refused(Ledger.from_bytes(data, lower), "update", COST, PLAN) is RefusalCode.LIFETIME_BUDGET
    assert Ledger.from_bytes(data, Caps()).charge("update", COST, PLAN).releases["update"] == 9


def test_a_ledger_is_a_value():
    ledger = new()
    after = ledger.charge("update", COST, PLAN)
    assert not ledger.plans and not ledger.latest and ledger.spent.curves.max() == 0
    for change in (
        lambda: setattr(after, "plans", {}),
        lambda: after.latest.__setitem__(("update", PLAN), 0),
        lambda: after.plans.__setitem__(("update", PLAN), 0),
        lambda: after.releases.__setitem__("update", 0),
        lambda: after.spent.curves.fill(0.0),
    ):
        with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, ValueError)):
            change()
    assert "update" not in repr(after) and PLAN.hex() not in repr(after)


def test_the_exact_epsilon_is_for_gaussian_lines():
    assert new().gaussian_epsilon(PERIOD, LedgerLine.UPDATE) == 0
    with pytest.raises(InputError):
        new().gaussian_epsilon(PERIOD, LedgerLine.ALERT_BIT)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cap(2.0, 1.0),
        lambda: Cap(-1.0, 1.0),
        lambda: Cap(math.nan, 1.0),
        lambda: Caps({LedgerLine.UPDATE: Cap(1, 1)}),
        lambda: Caps(delta=0.0),
        lambda: Caps(delta=1.0),
        lambda: Caps(participations_per_plan=-1),
        lambda: Caps(period_s=DAY_S - 1),
    ],
)
def test_caps_that_cap_nothing_are_refused(make):
    with pytest.raises(ConfigError):
        make()


# ---- periods


def test_a_period_ends_when_both_clocks_say_so():
    caps = capped(LedgerLine.UPDATE, Cap(rdp.epsilon(COST, 1e-5), 1e6))
    period = caps.period_s
    ledger = new(caps).charge("update", COST, PLAN).advance(START_S, START_S + 5)
    assert ledger.spent.period_start_s == START_S + 5
    for now, signed in [
        (START_S + period, START_S),  # the local clock alone
        (START_S, START_S + period),  # the server alone
        (START_S + period + 4, START_S + period + 5),  # a second too early
        (START_S + 9 * period, START_S + period + 5),  # both say it is over, and do not agree
        (START_S + period + 6, START_S + 2 * period),
        (math.nan, START_S + period + 6),
        (START_S + period + 6, math.nan),
        (math.inf, math.inf),
        (1e300, 1e300),
        (-math.inf, 0),
        (0, 0),
        (-1, -1),
    ]:
        assert ledger.advance(now, signed) is ledger
        assert refused(ledger, "update", COST, PLAN) is RefusalCode.PERIOD_BUDGET
    over = ledger.advance(START_S + period + 6, START_S + period + 9.5)
    assert over.spent.period_start_s == START_S + period + 10
    assert over.epsilon(PERIOD) == 0 and over.epsilon(LIFETIME) == ledger.epsilon(LIFETIME)
    assert over.plans == ledger.plans, "a plan's participations are the plan's, whatever the period"
    assert over.charge("update", COST, PLAN).epsilon(PERIOD) > 0


def test_what_was_spent_before_the_clocks_ever_agreed_counts_in_the_first_period():
    ledger = new(roomy()).charge("update", COST, PLAN)
    assert ledger.spent.period_start_s == UNSET
    assert ledger.advance(START_S, START_S + AGREEMENT_S + 1) is ledger
    begun = ledger.advance(START_S, START_S + AGREEMENT_S)
    assert begun.spent.period_start_s == START_S + AGREEMENT_S and begun.epsilon(PERIOD) == ledger.epsilon(PERIOD) > 0


def test_a_long_absence_frees_one_period_and_the_next_one_is_whole():
    caps = roomy()
    ledger = new(caps).advance(START_S, START_S).charge("update", COST, PLAN)
    back = START_S + 4 * caps.period_s + 1000
    ledger = ledger.advance(back, back).charge("update", COST, PLAN)
    assert ledger.advance(back + caps.period_s - 1, back + caps.period_s - 1) is ledger
