"""A device and the clocks around it: events dated ahead, late ones, jumps."""

import numpy as np

from client.device import MAX_JUMP_STEPS
from shared.clock import ReplayClock
from shared.events import BehaviourEvent, EventKind, Step
from tests.world.basics import event_stream, make_plan, ready, view


def test_a_clock_that_jumps_too_far_ahead_is_not_believed(new_device):
    clock = ReplayClock()
    device = new_device(clock=clock)
    clock.wait_until(1e12)
    assert device.record(view(MAX_JUMP_STEPS))
    assert not device.record(view(MAX_JUMP_STEPS + MAX_JUMP_STEPS + 1))
    assert not device.record(BehaviourEvent(EventKind.VIEW, 0, 1e300))
    assert device.problems == {"clock_jump": 2}
    assert device.n_closed_steps == MAX_JUMP_STEPS


def test_an_event_that_is_dated_ahead_of_the_device_s_clock_closes_no_step(new_device):
    """Else one wrong date would close a year of empty steps, and look like a lapse of everything."""
    clock = ReplayClock(60 * Step.DAY.seconds)
    device = ready(new_device(clock=clock), make_plan())
    for event in event_stream(np.random.default_rng(1), 60):
        assert device.record(event)
    alerts = len(device.alerts())
    assert not device.record(view(400)) and device.record(view(60))
    assert device.problems == {"clock_jump": 1} and (device.n_closed_steps, len(device.alerts())) == (60, alerts)


def test_a_clock_that_was_ahead_leaves_late_events_that_count_and_are_told(new_device):
    clock = ReplayClock(400 * Step.DAY.seconds)
    device = new_device(clock=clock)
    assert device.record(view(399)) and device.record(view(395)) and device.record(view(60))
    assert device.problems == {"late_event": 1}, "one within a week of steps is nothing special"
    assert device._state.history.active[0, [60, 395]].all()
