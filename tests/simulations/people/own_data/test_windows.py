"""Protocols that follow from a log: they always pass the check that runs make, and say why they are what they are."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.events import Catalogue, Step
from simulations.people.own_data.rhythm import Rhythm
from simulations.people.own_data.windows import FEWEST_DAYS, check_length, propose_protocol
from simulations.people.setup import Crowd, Setup
from simulations.scenarios.calendar import check_calendar
from simulations.scenarios.config import DataSection, Scenario
from simulations.scenarios.own_data import FileSection
from tests.world.basics import examples

SCENARIO = Scenario(name="any", data=DataSection(name="file", users=300, file=FileSection(step="day")))


def rhythm_of(n_days: int, *gaps: float) -> Rhythm:
    return Rhythm(n_days, date(2026, 1, 5), 9.0, gaps, 900, 300, (80.0, 100.0, 120.0), 20_000)  # type: ignore[arg-type]


@given(
    st.integers(1, 4000),
    st.lists(st.floats(0, 2000), min_size=4, max_size=4).map(sorted),
    st.sampled_from(["auto", "day", "week"]),
)
@examples(200)
def test_whatever_the_log_its_protocol_passes_or_the_refusal_says_how_many_weeks(
    n_days: int, gaps: list[float], step: str
) -> None:
    rhythm = rhythm_of(n_days, *gaps)
    try:
        found = propose_protocol(rhythm, step)  # type: ignore[arg-type]
    except ConfigError as refused:
        assert "weeks or more" in str(refused)
        return
    protocol = found.protocol
    check_calendar(SCENARIO, protocol)
    check_length(protocol, n_days, found.step)
    Setup.of(SCENARIO, Crowd(300, Catalogue(("any",))), protocol)  # what a plan says of windows, too
    assert step in ("auto", found.step.value)
    assert protocol.train_steps[1] + protocol.horizon_steps < protocol.test_steps[0]
    assert protocol.lapse_train_steps[1] + protocol.lapse_steps <= protocol.train_at
    assert protocol.alert_steps == protocol.lapse_test_steps
    assert protocol.lapse_steps >= 2 * protocol.horizon_steps <= protocol.window_steps
    end = found.first_day + timedelta(days=protocol.n_steps * found.step.seconds // 86_400)
    assert end == rhythm.first_day + timedelta(days=n_days), "whole steps to the end of the log"
    assert len(found.reasons) == 5 and all(found.reasons)


@given(st.floats(1, 60), st.floats(1, 3), st.sampled_from(["day", "week"]))
@examples(40)
def test_as_many_weeks_as_a_refusal_asks_for_are_enough(gap: float, wider: float, step: str) -> None:
    gaps = (gap, gap * wider, gap * wider**2, gap * wider**3)
    with pytest.raises(ConfigError) as refused:
        propose_protocol(rhythm_of(FEWEST_DAYS - 1, *gaps), step)  # type: ignore[arg-type]
    weeks = 4
    for _ in range(2):  # the shortest log of all is asked for first, then what its rhythm needs
        weeks = int(str(refused.value).split("log of ")[1].split()[0])
        try:
            propose_protocol(rhythm_of(7 * weeks, *gaps), step)  # type: ignore[arg-type]
            return
        except ConfigError as again:
            refused.value.args = again.args
    pytest.fail(f"{weeks} weeks were not enough")


def test_windows_of_known_rhythms_are_near_to_those_of_the_built_in_sets() -> None:
    planted = propose_protocol(rhythm_of(182, 1, 3, 8, 20))
    assert planted.step is Step.DAY
    assert (planted.protocol.horizon_steps, planted.protocol.lapse_steps, planted.protocol.window_steps) == (7, 14, 21)
    journey = propose_protocol(rhythm_of(53 * 7, 8, 21, 45, 90))
    assert journey.step is Step.WEEK
    assert (journey.protocol.horizon_steps, journey.protocol.lapse_steps, journey.protocol.window_steps) == (3, 9, 14)
    ta_feng = propose_protocol(rhythm_of(17 * 7, 6, 13, 25, 45))
    assert ta_feng.step is Step.WEEK
    assert (ta_feng.protocol.horizon_steps, ta_feng.protocol.lapse_steps, ta_feng.protocol.window_steps) == (2, 4, 6)
    assert "half of all returns to a category come within 13 days" in ta_feng.reasons[1]


def test_refusals_say_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="a log of 4 weeks or more, got 20 days"):
        propose_protocol(rhythm_of(20, 1, 2, 3, 4))
    with pytest.raises(ConfigError, match="people who come back.*30 weeks or more"):
        propose_protocol(rhythm_of(100, 0, 0, 0, 0))
    with pytest.raises(ConfigError, match="a log of 29 weeks or more .* got 100 days"):
        propose_protocol(rhythm_of(100, 60, 70, 80, 90))


def test_a_given_protocol_that_goes_beyond_the_log_is_refused() -> None:
    protocol = propose_protocol(rhythm_of(182, 1, 3, 8, 20)).protocol
    check_length(protocol, 182, Step.DAY)
    with pytest.raises(ConfigError, match="protocol.n_steps <= 181, the days of your data, got 182"):
        check_length(protocol, 181, Step.DAY)
