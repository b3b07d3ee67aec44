"""Which alerts the server believes: all that a device as shipped can tell, and nothing else gets into the inbox."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.alerts import alert_fields
from client.vault.consent import Consent
from server.channel import Channel, Traffic
from server.device_nodes import DeviceNodes
from server.inbox import Inbox
from server.queries import are_possible, ask_for_alerts
from server.settings import Schedule
from server.state import ServerFolder
from shared.clock import ReplayClock
from shared.codec import encode
from shared.messages import REGISTER
from shared.register.bounds import KEEP_ALERTS_STEPS, MAX_ALERTS
from tests.server.test_app import settings_for
from tests.server.test_inbox import rows
from tests.world.basics import N_CATEGORIES, event_stream, examples, make_plan, make_profile, open_device, ready
from tests.world.fake_grid import SIGNER, FakeGrid, device_node, says

#: Calls at the slightest change; the second plan has fewer rounds and a budget.
DETECTION = {"detector": "rate", "rate_threshold": 0.01, "quiet_steps": 0, "min_active_steps": 1}
PLAN = make_plan(privacy={"rounds": 40}, detection=DETECTION)
OTHER = make_plan(privacy={"rounds": 3}, detection={**DETECTION, "false_alerts": 1})
STEP = 400
ALERT = {"direction": 0, "category": N_CATEGORIES - 1, "level": 2, "step": STEP, "model_round": OTHER.privacy.rounds}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return settings_for(tmp_path_factory.mktemp("server"), OTHER)


@pytest.mark.parametrize(
    "alerts",
    [
        [],
        [ALERT],
        [{**ALERT, "step": STEP - KEEP_ALERTS_STEPS + 1}],
        [{**ALERT, "category": c, "direction": d} for c in range(N_CATEGORIES) for d in (0, 1)],
    ],
)
def test_what_a_device_can_tell_is_believed(settings, alerts):
    assert are_possible(alerts, STEP, settings)


WRONG = {
    "category": N_CATEGORIES,
    "step": STEP + 1,
    "older step": STEP - KEEP_ALERTS_STEPS,
    "model_round": OTHER.privacy.rounds + 1,
    "level": 1,
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("beside", [[], [{**ALERT, "direction": 1}]])
def test_one_impossible_alert_makes_the_reply_impossible(settings, what, beside):
    """The last case: one alert twice, of two levels."""
    wrong = {**ALERT, what.split()[-1]: WRONG[what]}
    assert not are_possible([*beside, wrong] if what != "level" else [*beside, ALERT, wrong], STEP, settings)


lives = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(1, 25)),
        st.tuples(st.just("asked"), st.integers(-30, 3)),
        st.tuples(st.just("offered"), st.integers(0, 40)),
        st.tuples(st.just("other plan"), st.integers(0, 3)),
    ),
    min_size=3,
    max_size=14,
)


def test_no_device_as_shipped_ever_breaks_a_rule(tmp_path_factory):
    """Whatever it lived through: queries that come late, early, again or out of order, models and plans that change
    between them. What a plan cannot have, a device under it does not tell."""
    told = []

    @given(lives, st.integers(0, 2**32))
    @examples(40, deadline=None)
    def lived(life, seed):
        folder = tmp_path_factory.mktemp("device")
        with open_device(folder, make_profile(Consent.IDENTIFIED)) as device:
            ready(device, PLAN, round_number=0)
            events = event_stream(np.random.default_rng(seed), 25 * len(life) + 1, 0.3)
            for what, n in life:
                if what == "live":
                    until = device.n_closed_steps + n
                    device.catch_up((e for e in events if device.n_closed_steps <= e.time_s / 86_400 < until), until)
                elif what == "asked":
                    step, plan = max(0, device.n_closed_steps + n), device._state.installed.plan
                    alerts = alert_fields(step, device.take_alerts(step))["alerts"]
                    assert are_possible(alerts, step, settings_for(folder, plan))
                    told.append(len(alerts))
                else:
                    ready(device, PLAN if what == "offered" else OTHER, round_number=n)

    lived()
    assert sum(told) > 50 and max(told) > 5, "there was something to tell"


def test_alerts_that_a_query_is_too_early_for_wait_for_the_next(tmp_path):
    """A run that goes on asks for steps that lie behind: what has happened since is told at its own step, and not lost."""
    with open_device(tmp_path, make_profile(Consent.IDENTIFIED)) as device:
        ready(device, PLAN)
        device.catch_up(event_stream(np.random.default_rng(1), 30, 0.3), 30)
        alerts = device.alerts()
        early, late = device.take_alerts(14), device.take_alerts(29)
        assert {a.step for a in early} <= set(range(15)) and {a.step for a in late} <= set(range(15, 30))
        assert [*early, *late] == alerts and early and late


def test_an_alert_of_a_model_that_the_new_plan_cannot_have_is_not_told(tmp_path):
    with open_device(tmp_path, make_profile(Consent.IDENTIFIED)) as device:
        ready(device, PLAN, round_number=40)
        device.catch_up(event_stream(np.random.default_rng(1), 30, 0.3), 30)
        assert device.alerts()
        ready(device, OTHER)
        assert device.take_alerts(29) == []
        ready(device, PLAN, round_number=40)
        assert device.take_alerts(29) == device.alerts(), "they waited"


# ---- through the channel


def run(tmp_path, nodes, steps=(12, 17)) -> tuple[Inbox, Traffic]:
    settings = replace(settings_for(tmp_path, OTHER), schedule=Schedule(11, *steps))
    federation, folder = DeviceNodes(Channel(FakeGrid(nodes), Traffic(), SIGNER), list(nodes)), ServerFolder(tmp_path)
    inbox = Inbox(folder.inbox_file)
    ask_for_alerts(federation, settings, folder, inbox, ReplayClock())
    return inbox, federation.traffic


def test_a_reply_for_another_step_or_of_impossible_alerts_leaves_nothing_in_the_inbox(tmp_path):
    """Step 15 is asked for once in six."""
    good = {**ALERT, "step": 14}
    flood = [
        {**good, "direction": d, "category": c, "step": s}
        for d in (0, 1)
        for c in range(N_CATEGORIES, N_CATEGORIES + 4)
        for s in range(512)
    ]
    nodes = {
        1: says(encode(REGISTER, "alerts", {"step": 15, "alerts": [good]})),
        2: says(encode(REGISTER, "alerts", {"step": 15, "alerts": [good, {**good, "step": 16}]})),
        3: says(encode(REGISTER, "alerts", {"step": 15, "alerts": flood[:MAX_ALERTS]})),
    }
    inbox, traffic = run(tmp_path, nodes)
    assert inbox.count() == 1 and rows(tmp_path)[0][0] == 1
    assert traffic.dropped == {"step": 3 * 5, "alert_fields": 2}


def test_real_devices_are_believed(tmp_path):
    devices = {}
    for node in (1, 2, 3):
        device = ready(open_device(tmp_path / str(node), make_profile(Consent.IDENTIFIED, node)), OTHER, round_number=3)
        device.catch_up(event_stream(np.random.default_rng(node), 18, 0.3), 18)
        devices[node] = device
    inbox, traffic = run(tmp_path, {node: device_node(node, device) for node, device in devices.items()})
    raised = [alert for device in devices.values() for alert in device.alerts()]
    assert not traffic.dropped and inbox.count() == len(raised) > 0
    for device in devices.values():
        device.close()
