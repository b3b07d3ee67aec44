"""The public rates that features of version 2 are made with."""

import pytest

from shared.events import Step
from simulations.baselines.public_rates import TABLE_FILE, table
from simulations.scenarios.config import load_scenario
from simulations.scenarios.planted_rates import PLANTED_RATES


@pytest.mark.slow
def test_the_table_is_what_its_command_makes():
    assert TABLE_FILE.read_text() == table()


def test_there_are_rates_for_every_unit_of_time_with_and_without_other_kinds():
    assert set(PLANTED_RATES) == {(step.value, only) for step in Step for only in (False, True)}
    assert all(len(rates) == 4 and min(rates) > 0 for rates in PLANTED_RATES.values())


def test_only_planted_people_and_logs_of_ones_own_tell_of_more_than_purchases():
    assert load_scenario("demo").data.has_other_kinds and not load_scenario("complete-journey").data.has_other_kinds
