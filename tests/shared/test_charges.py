"""The table of what a plan charges: every line of the ledger that a plan asks for, and nothing else."""

import numpy as np
import pytest

from client.privacy.caps import LedgerLine
from shared import rdp
from shared.charges import Charge, charges_of
from shared.errors import ConfigError
from shared.messages import REGISTER, REQUESTS
from shared.plan import BitsPlan
from tests.world.basics import make_plan, make_risk
from tests.world.heads import heads_plan
from tests.world.queries import counts, evaluation

BITS = BitsPlan(1_500_000, 28, 2)


def test_the_table_has_a_row_for_each_part_that_is_asked_for():
    plan = make_plan(risk=make_risk(), bits=BITS)
    rows = [(row.line, row.times, row.holds_against_server) for row in charges_of(plan)]
    assert rows == [("update", 3, False), ("risk_update", 2, False), ("alert_bit", 2, True)]
    assert [row.line for row in charges_of(make_plan())] == ["update"]
    assert [row.privacy for row in charges_of(plan)] == [plan.privacy, plan.risk.privacy, None]


def test_a_plan_that_asks_for_everything_has_a_row_for_every_line_of_the_ledger():
    """phi is learned on top of p, or by heads: no plan does both."""
    rows = charges_of(make_plan(risk=make_risk(), bits=BITS, queries=(evaluation(), counts())))
    rows += charges_of(heads_plan())
    assert {row.line for row in rows} == set(LedgerLine), "a new kind of message that is charged needs a row"
    asked = {kind.reply for kind in REQUESTS.values() if REGISTER[kind.reply].charged}
    assert {row.line for row in rows} == asked


def test_a_row_costs_what_a_device_s_ledger_is_charged():
    plan = make_plan(risk=make_risk(), bits=BITS)
    update, phi, bit = charges_of(plan)
    np.testing.assert_array_equal(update.cost, rdp.update_cost(plan.privacy, 1441))
    np.testing.assert_array_equal(phi.cost, rdp.update_cost(plan.risk.privacy, 2))
    np.testing.assert_array_equal(bit.cost, rdp.coin(1.5))


def test_only_a_row_of_rounds_can_be_without_noise():
    quiet = make_plan(privacy={"noise_multiplier": 0.0}, bits=BITS)
    assert [row.noisy for row in charges_of(quiet)] == [False, True]
    assert np.isinf(charges_of(quiet)[0].cost).all()
    assert Charge(BITS, 2).noisy


@pytest.mark.parametrize("wrong", [(0, 28, 2), (20_000_001, 28, 2), (1, 0, 2), (1, 28, 0)])
def test_bits_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="expected (epsilon|every_steps|coins)"):
        BitsPlan(*wrong)
