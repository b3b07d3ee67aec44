"""A device under a plan with features of version 2: what it scores, explains and keeps, step after step."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.chances import chances_of, recent_rows
from client.device import Device
from client.model.runtime import pinned_model
from client.state import weights_of
from shared.clock import ReplayClock
from shared.errors import Refusal, RefusalCode
from shared.events import EventKind, Step
from shared.lapse_risk import READINGS
from shared.plan import Plan
from tests.world.basics import (  # fmt: skip
    N_CATEGORIES,
    NO_RISK,
    activity_theta,
    event_stream,
    examples,
    make_plan,
    make_profile,
    make_risk,
    open_device,
    ready,
    version_2,
    view,
)

RISK = np.linspace(-1, 1, len(READINGS)).astype(np.float32)
PLANS = [make_plan(**version_2()), make_plan(risk=make_risk(), **version_2())]


def expected(device: Device, step: int) -> np.ndarray:
    """p (C,) as of a step, from the whole history."""
    installed = device._state.installed
    x, known = recent_rows(device._state.history.until(step), installed.plan, step)
    return chances_of(installed.plan, weights_of(installed), installed.score, x, known).p


def with_model(device: Device, plan: Plan) -> Device:
    return ready(device, plan, risk=RISK if plan.risk else NO_RISK)


@examples(20)
@given(st.integers(0, 2**32), st.sampled_from(PLANS), st.data())
def test_every_step_is_scored_as_of_the_whole_history_whatever_came_late(tmp_path_factory, seed, plan, data):
    folder = tmp_path_factory.mktemp("device")
    device = with_model(open_device(folder, make_profile()), plan)
    events = event_stream(np.random.default_rng(seed), 30, 0.3)
    late = data.draw(st.sets(st.integers(0, 29), max_size=6))
    for step in range(30):
        here = [event for event in events if int(event.time_s // Step.DAY.seconds) == step]
        if step in late and step > 2:
            here.append(view(step - data.draw(st.integers(1, 2)), 1, EventKind.CART))
        if step not in late or step % 2:
            assert all(device.record(event) for event in here)
        if step == 17:
            device.close()
            device = open_device(folder)
        assert device.close_until(step + 1)
        np.testing.assert_allclose(device.interests(), expected(device, step), atol=1e-5)
    assert not device.problems and device._state.lately is not None
    assert repr(device._state.lately) == "Lately(<raw>)"
    device.close()


@pytest.mark.parametrize("plan", PLANS)
def test_a_clock_that_was_ahead_leaves_nothing_behind(tmp_path, plan):
    clock = ReplayClock(0.0)
    device = with_model(open_device(tmp_path, make_profile(), clock=clock), plan)
    for step in range(12):
        clock.wait_until((step + 0.6) * Step.DAY.seconds)
        assert device.record(view(step, step % N_CATEGORIES, EventKind(step % 5)))
    clock = ReplayClock(400.0 * Step.DAY.seconds)
    device.gate.clock = clock
    assert device.record(view(399, 1))
    device.gate.clock = clock = ReplayClock(12.6 * Step.DAY.seconds)
    for step in range(12, 18):
        clock.wait_until((step + 0.6) * Step.DAY.seconds)
        assert device.record(view(step, 2, EventKind.CART))
        assert device.close_until(step + 1)
        np.testing.assert_allclose(device.interests(), expected(device, step), atol=1e-5)
    assert device.problems == {"clock_was_ahead": 1}
    device.close()


def test_a_device_goes_from_one_version_to_the_other_and_back(tmp_path):
    """The file is that of the plan, also where the server sends none because the device has one."""
    device = ready(open_device(tmp_path, make_profile()), make_plan())
    for step in range(20):
        device.record(view(step, step % N_CATEGORIES, EventKind(step % 5)))
    one, two = make_plan(), PLANS[0]
    for number, plan in enumerate((two, one, two, two), start=1):
        theta = activity_theta() if plan is one else plan.network.initial_theta(3)
        device.install(plan, b"", theta, NO_RISK, number)
        assert device._state.installed.model == pinned_model(plan.features.version)
        device.record(view(20 + number, 1))
        np.testing.assert_allclose(device.interests(), expected(device, device.n_closed_steps - 1), atol=1e-5)
    device.close()
    with open_device(tmp_path) as again:
        assert again._state.installed.plan == two and not again.problems


def test_the_file_of_the_other_version_is_refused(tmp_path):
    device = open_device(tmp_path, make_profile())
    two = PLANS[0]
    for plan, file, theta in ((two, 1, two.network.initial_theta(0)), (make_plan(), 2, activity_theta())):
        with pytest.raises(Refusal) as refused:
            device.install(plan, pinned_model(file), theta, NO_RISK, 0)
        assert refused.value.code is RefusalCode.PLAN_REFUSED and device._state.installed is None
    device.close()


def test_alerts_under_version_2_are_explained(tmp_path):
    plan = make_plan(**version_2(), detection={"detector": "own_level", "fall_margin": 0.01, "rise_margin": 0.01})
    device = ready(open_device(tmp_path, make_profile()), replace(plan))
    for event in event_stream(np.random.default_rng(4), 60, 0.3):
        if event.category or event.time_s < 40 * Step.DAY.seconds:
            device.record(event)
    assert device.close_until(60) and device.alerts()
    found = [device.explain(alert) for alert in device.alerts()]
    assert all(one is not None and one.texts for one in found) and any(one.reasons for one in found)
    assert not device.problems
    device.close()


@pytest.mark.parametrize("plan", [make_plan(), *PLANS])
def test_where_purchases_are_interest_views_make_none(tmp_path, plan):
    """A category that is only looked at has no score, and views beside purchases move none of version 1."""
    plan = replace(plan, features=replace(plan.features, interest=(int(EventKind.PURCHASE),)))
    devices = [with_model(open_device(tmp_path / name, make_profile()), plan) for name in ("alone", "bot")]
    for step in range(20):
        for n_views, device in zip((0, 30), devices, strict=True):
            for _ in range(n_views):
                assert device.record(view(step, 1)) and device.record(view(step, 2))
            if step % 3 == 0:
                assert device.record(view(step, 1, EventKind.PURCHASE, 5.0))
            device.close_until(step + 1)
    alone, bot = (device.interests() for device in devices)
    assert np.isfinite(bot[1]) and np.isnan(np.delete(bot, 1)).all() and not devices[1].problems
    assert devices[1]._state.history.active[2].all(), "what was done is kept as it was"
    np.testing.assert_allclose(bot, expected(devices[1], 19), atol=1e-5)
    assert plan.features.version == 2 or alone[1] == bot[1]
    for device in devices:
        device.close()
