"""The calendar: stated, checked when a device is set up, and blind to time zones."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.profile import MAX_JUMP_STEPS, Profile, origin_of
from shared.clock import ReplayClock, WallClock
from shared.errors import ClockError, InputError
from shared.events import BehaviourEvent, Catalogue, EventKind, Step
from tests.world.basics import CATALOGUE, SERVER_KEY, examples, make_plan, make_profile, open_device, ready, view

DAY_S = 86_400
NEW_YEAR = origin_of(date(2026, 1, 1))
PROFILE = Profile.of(CATALOGUE, Step.DAY, SERVER_KEY, NEW_YEAR)


def test_a_profile_without_a_calendar_is_refused_by_name():
    with pytest.raises(InputError, match="origin_s"):
        Profile(Step.DAY, 4, bytes(32), bytes(32))


@pytest.mark.parametrize("wrong", [datetime(2026, 1, 1), "2026-01-01", None, 20454, 0.0])
def test_a_calendar_begins_with_a_date_and_nothing_else(wrong):
    assert origin_of(date(1970, 1, 2)) == DAY_S
    with pytest.raises(InputError):
        origin_of(wrong)


@pytest.mark.parametrize("off_s", [-2 * DAY_S, -1e9, (MAX_JUMP_STEPS + 1) * DAY_S, 1e9])
def test_a_calendar_that_the_clock_contradicts_is_refused_and_leaves_nothing(tmp_path, off_s):
    with pytest.raises(ClockError, match="set origin_s to"):
        open_device(tmp_path / "phone", PROFILE, clock=ReplayClock(NEW_YEAR + off_s))
    assert not (tmp_path / "phone").exists()


def test_the_default_clock_refuses_a_calendar_of_1970_out_loud_and_takes_one_of_today(tmp_path):
    with pytest.raises(ClockError):
        open_device(tmp_path / "phone", make_profile(), clock=WallClock())
    now = datetime.now(UTC)
    today = replace(PROFILE, origin_s=origin_of(now.date()))
    with open_device(tmp_path / "phone", today, clock=WallClock()) as device:
        assert device.record(BehaviourEvent(EventKind.VIEW, 0, today.seconds_at(now)))


def test_a_moment_without_a_time_zone_is_no_moment():
    assert PROFILE.seconds_at(datetime(2026, 1, 2, tzinfo=UTC)) == DAY_S
    for wrong in (datetime(2026, 1, 2), date(2026, 1, 2), 5.0, None):
        with pytest.raises(InputError):
            PROFILE.seconds_at(wrong)


def counted(folder, moments) -> np.ndarray:
    """What a device counts in each step of events at these moments, one after another as they happen: (T,)."""
    clock = ReplayClock(NEW_YEAR)
    with open_device(folder, PROFILE, clock=clock) as device:
        for moment in sorted(moments, key=lambda at: at.timestamp()):
            clock.wait_until(moment.timestamp())
            assert device.record(BehaviourEvent(EventKind.PURCHASE, 0, PROFILE.seconds_at(moment)))
        n = Step.DAY.at(PROFILE.seconds_at(max(moments, key=lambda at: at.timestamp()))) + 1
        assert device.close_until(n) and not device.problems
        return device._state.history.count[0]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("month", [3, 10])
def test_an_hour_that_summer_begins_or_ends_with_neither_loses_nor_doubles_an_event(tmp_path, zone, month):
    """Every hour of two months, as the wall shows it in a zone where clocks change: 24 events in every step."""
    begin = datetime(2026, month, 1, tzinfo=UTC)
    hours = [(begin + timedelta(hours=n)).astimezone(ZoneInfo(zone)) for n in range(24 * 61)]
    assert len({hour.utcoffset() for hour in hours}) == 2, "the clocks change"
    found = counted(tmp_path, hours)
    first = round((begin.timestamp() - NEW_YEAR) / DAY_S)
    assert (found[first:] == 24).all() and found.sum() == 24 * 61


@pytest.mark.parametrize("to", ["Pacific/Kiritimati", "Pacific/Niue"])
def test_a_flight_over_the_date_line_neither_loses_nor_doubles_an_event(tmp_path, to):
    begin, home, there = datetime(2026, 3, 1, tzinfo=UTC), timezone(timedelta(hours=1)), ZoneInfo(to)
    hours = [(begin + timedelta(hours=n)).astimezone(home if n < 99 or n > 200 else there) for n in range(24 * 14)]
    found = counted(tmp_path, hours)
    assert (found[59:] == 24).all() and found.sum() == 24 * 14


# ---- what is given at the next opening

OTHER = Catalogue(tuple("vwxyz"))
GROWN = Catalogue((*CATALOGUE.names, "plants", "pens"))


def test_a_catalogue_that_grew_behind_is_taken_and_the_past_stays(tmp_path):
    first = replace(make_profile(), names=CATALOGUE.names)
    with open_device(tmp_path, first) as device:
        device.catch_up([view(step, category) for step in range(9) for category in range(4)], 9)
        assert device.record(view(9, 3)) and not device.record(view(9, 4))
    grown = replace(first, n_categories=6, catalogue_sha256=GROWN.sha256, names=GROWN.names)
    for given_profile in (grown, None, grown):
        with open_device(tmp_path, given_profile) as device:
            assert device.profile.n_categories == 6 and device.profile.catalogue_sha256 == GROWN.sha256
            assert device._state.history.active[:4].all() and not device._state.history.active[4:].any()
            assert device.interests().shape == (6,) and device._state.open_count[3] > 0
            assert device.record(view(9, 5))
    with open_device(tmp_path) as device:
        assert device.close_until(12) and device._state.history.count[5, 9] > 0


def test_a_plan_for_the_old_catalogue_goes_and_quiet_times_stay(tmp_path):
    detection = {"detector": "level", "quiet_steps": 50, "min_active_steps": 3, "false_alerts": 6, "budget_steps": 90}
    first = replace(make_profile(), names=CATALOGUE.names)
    with ready(open_device(tmp_path, first), make_plan(detection=detection)) as device:
        device.catch_up([view(step, category) for step in range(14) for category in range(4)], 24)
        alerts, watch = device.alerts(), device._state.watch
        assert {alert.direction for alert in alerts} >= {0}
    grown = replace(first, n_categories=6, catalogue_sha256=GROWN.sha256, names=GROWN.names)
    with open_device(tmp_path, grown) as device:
        assert device._state.installed is None and device.alerts() == alerts
        assert device.record(view(25, 5)) and device.n_closed_steps == 25
        plan = make_plan(detection=detection, catalogue_sha256=GROWN.sha256)
        after = ready(device, plan)._state.watch
        np.testing.assert_array_equal(after.quiet_until[:, :4], watch.quiet_until)
        np.testing.assert_array_equal(after.spending.spent, watch.spending.spent)
        assert device.close_until(30) and device.interests().shape == (6,) and not np.isnan(device.interests()[5])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"step": Step.WEEK}, "step"),
        ({"origin_s": 1.0}, "origin_s"),
        ({"server_key": bytes(32)}, "server_key"),
        ({"n_categories": 6, "catalogue_sha256": GROWN.sha256, "names": None}, "names"),
        ({"n_categories": 3, "catalogue_sha256": Catalogue(("a", "b", "c")).sha256, "names": None}, "begins with"),
        ({"n_categories": 4, "catalogue_sha256": bytes(32), "names": None}, "begins with"),
        ({"n_categories": 5, "catalogue_sha256": OTHER.sha256, "names": OTHER.names}, "first 4"),
    ],
)
def test_another_calendar_server_or_catalogue_is_refused_by_name_and_changes_nothing(tmp_path, wrong, said):
    first = make_profile()
    open_device(tmp_path, first).close()
    with pytest.raises(InputError, match=said):
        open_device(tmp_path, replace(first, **wrong))
    with open_device(tmp_path) as device:
        assert device.profile == first


# ---- events


@pytest.mark.parametrize("kind", [kind for kind in EventKind if kind is not EventKind.PURCHASE])
def test_money_comes_with_a_purchase_alone(tmp_path, kind):
    with open_device(tmp_path, make_profile()) as device:
        assert not device.record(BehaviourEvent(kind, 0, 1.0, 3.0)) and device.record(BehaviourEvent(kind, 0, 1.0, 0))
        assert device.problems == {"event_out_of_range": 1}


@examples(20)
@given(st.floats(0, 4000 * DAY_S - 1), st.sampled_from([np.float32, np.float64, float, int]))
def test_numpy_s_numbers_are_numbers(tmp_path_factory, time_s, kind):
    with open_device(tmp_path_factory.mktemp("device") / "phone", make_profile()) as device:
        assert device.record(BehaviourEvent(np.int64(4), np.int8(1), kind(time_s), np.float32(2)))
