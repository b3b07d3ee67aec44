"""What an app learns: every alert, once, whoever raised it; and nothing that its callback does harms the device."""

import math
import os
import threading
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from client import app
from client.answers import open_and_answer
from client.detection.policy import Intervention, Policy
from client.device import Device
from shared.clock import WallClock
from shared.codec import decode
from shared.events import Step
from shared.messages import REGISTER
from tests.world.basics import Diary, activity_theta, cheap_keys, make_plan, make_profile, open_device, ready, view
from tests.world.signing import signed_request

#: A plan under which a lapse after eight active steps is an alert at step 11, and the first visits are one at step 1.
PLAN = make_plan()
RAISED = [1, 11]
QUIET = Policy([[[Intervention.NOTHING] * 3] * 2] * 3)


def live(device: Device, begin: int = 0, end: int = 20) -> Device:
    """Steps of a life with two alerts."""
    for step in range(begin, min(end, 8)):
        device.record(view(step))
    device.close_until(end)
    return device


def test_alerts_that_another_process_raised_reach_the_app_once(tmp_path):
    """What answers the server opens the device without the app: its policy holds, and the app is told when it is back."""
    first, late, after = Diary(), Diary(), Diary()
    with open_device(tmp_path, make_profile(), on_step=first.write, policy=QUIET) as device:
        live(ready(device, PLAN), end=5)
    if not (child := os.fork()):
        with open_device(tmp_path) as device:
            live(device, 5)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with open_device(tmp_path, on_step=late.write) as device:
        assert late.steps == [11], "before it is opened"
        assert math.isnan(late.p[0][0])
        assert first.alerts + late.alerts == device.alerts() and [a.step for a in device.alerts()] == RAISED
        assert {alert.intervention for alert in device.alerts()} == {Intervention.NOTHING}
        assert all(device.explain(alert).texts for alert in device.alerts())
        device.close_until(21)
        assert late.steps == [11, 20] and not device.problems
    with open_device(tmp_path, on_step=after.write):
        assert not after.steps


def test_alerts_that_a_node_raised_as_it_answered_reach_the_app(tmp_path, monkeypatch):
    """The whole way: `client.app` opens the device by the wall clock, closes its steps, answers, and lets go of it."""
    home, phrase = tmp_path / "device", tmp_path / "phrase"
    phrase.write_bytes(b"correct horse\n")
    monkeypatch.setattr(app, "FileKeys", partial(lambda folder, phrase: cheap_keys(folder, phrase)))
    day_s = Step.DAY.seconds
    profile = replace(make_profile(), origin_s=(WallClock().now_s() // day_s - 20) * day_s)
    first, late = Diary(), Diary()
    with open_device(home, profile, on_step=first.write, policy=QUIET, clock=WallClock()) as device:
        live(ready(device, PLAN), end=8)
    context = SimpleNamespace(node_config={"data-dir": str(home), "passphrase-file": str(phrase)})
    query = signed_request("alerts_query", {"step": 19})
    said = open_and_answer(query, "alerts_query", lambda: app.open_in_data_dir(context, query))
    assert decode(REGISTER, said) == ("alerts", {"step": 19, "alerts": []}), "it may say nothing"
    with open_device(home, on_step=late.write, clock=WallClock()) as device:
        assert device.n_closed_steps >= 20
        assert [alert.step for alert in first.alerts + late.alerts] == RAISED and late.steps == [11]
        assert late.alerts[0].intervention is Intervention.NOTHING and not device.problems


def test_the_last_step_is_told_with_its_scores(tmp_path):
    late = Diary()
    with open_device(tmp_path, make_profile()) as device:
        live(ready(device, PLAN), end=12)
        scores = device.interests()
    with open_device(tmp_path, on_step=late.write):
        assert late.steps == RAISED and math.isnan(late.p[0][0])
        np.testing.assert_array_equal(late.p[1], scores)


def test_a_callback_that_needs_the_device_is_told_again_once_it_has_it(tmp_path):
    with open_device(tmp_path, make_profile()) as device:
        live(ready(device, PLAN))
    reasons, box = [], {}

    def on_step(step, p, alerts):
        reasons.extend(box["device"].explain(alert).texts for alert in alerts)

    box["device"] = open_device(tmp_path, on_step=on_step)
    assert not reasons
    assert box["device"].n_closed_steps == 20 and len(reasons) == 2 and not box["device"].problems
    box["device"].close()
    with open_device(tmp_path, on_step=on_step):
        assert len(reasons) == 2


def test_an_alert_whose_callback_did_not_return_is_told_again(tmp_path):
    """It raised, or the process died in it."""

    def broken(step, p, alerts):
        raise ValueError("a bug of the app")

    with open_device(tmp_path, make_profile(), on_step=broken) as device:
        live(ready(device, PLAN), end=5)
        assert device.problems == {"callback": 5}
        assert "on_step" in device.advice()["callback"]
    if not (child := os.fork()):
        device = open_device(tmp_path, on_step=lambda step, p, alerts: os._exit(9))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    diary = Diary()
    with open_device(tmp_path, on_step=diary.write) as device:
        assert diary.steps == [1] and len(diary.alerts) == 1


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_ends_a_process_passes_and_the_step_is_closed(tmp_path, error):
    def ends(step, p, alerts):
        if alerts:
            raise error

    device = ready(open_device(tmp_path, make_profile(), on_step=ends), PLAN)
    with pytest.raises(type(error)):
        live(device)
    assert device.n_closed_steps == 3 - 1 and not device.problems, "the step of the alert and no other"
    assert device.record(view(2)), "and it goes on"
    device.close()
    with pytest.raises(type(error)):
        open_device(tmp_path, on_step=ends)
    diary = Diary()
    with open_device(tmp_path, on_step=diary.write):
        assert diary.steps == [1]


def apart(work) -> None:
    """Do something in another thread, and wait for it."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


#: What a callback may do with its device; whether it goes on afterwards.
ACTS = {
    "record": (lambda device, step: device.record(view(step + 1, 1)), True),
    "record elsewhere": (lambda device, step: apart(lambda: device.record(view(step + 1, 1))), True),
    "close steps": (lambda device, step: device.close_until(12), True),
    "close steps elsewhere": (lambda device, step: apart(lambda: device.close_until(12)), True),
    "ask": (lambda device, step: apart(lambda: (device.alerts(), device.interests(), device.what_left())), True),
    "close": (lambda device, step: device.close(), False),
    "close elsewhere": (lambda device, step: apart(device.close), False),
    "forget": (lambda device, step: device.forget(), False),
    "forget elsewhere": (lambda device, step: apart(device.forget), False),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_callback_may_do_anything_with_its_device(tmp_path, act):
    work, goes_on = ACTS[act]
    told, box = [], {}

    def on_step(step, p, alerts):
        told.append(step)
        work(box["device"], step)

    device = box["device"] = ready(open_device(tmp_path, make_profile(), on_step=on_step), PLAN)
    for step in range(8):
        assert device.record(view(step)) is (goes_on or step < 2)
    device.close_until(12)
    assert told == (list(range(12)) if goes_on else [0])
    if "forget" in act:
        assert not (tmp_path / "vault.db").exists()
        return
    device.close()
    with open_device(tmp_path) as again:
        assert again.n_closed_steps == (12 if goes_on else 1) and again._state.history.active[0, 0]


def test_who_closes_the_device_when_told_has_been_told(tmp_path):
    with open_device(tmp_path, make_profile()) as device:
        live(ready(device, PLAN))
    told, box = [], {}

    def on_step(step, p, alerts):
        told.append(step)
        if "device" in box:
            box["device"].close()

    device = open_device(tmp_path, make_profile(), on_step=on_step)
    device.close()
    assert told == RAISED
    with open_device(tmp_path / "other", make_profile(), on_step=on_step) as box["device"]:
        device = ready(box["device"], PLAN)
        live(device)
    device = box.pop("device")
    with open_device(tmp_path / "other", on_step=on_step):
        assert told == [*RAISED, 0], "step 0 had no alert, and is not told again"


def test_a_callback_that_blocks_blocks_no_other_thread(tmp_path):
    blocks, goes_on, told = threading.Event(), threading.Event(), []

    def on_step(step, p, alerts):
        told.append(step)
        if step == 0:
            blocks.set()
            goes_on.wait()

    device = ready(open_device(tmp_path, make_profile(), on_step=on_step), PLAN)
    thread = threading.Thread(target=lambda: device.record(view(1)))
    thread.start()
    blocks.wait()
    assert device.record(view(4)) and device.n_closed_steps == 4 and told == [0], "the rest is told in its order"
    goes_on.set()
    thread.join()
    assert told == [0, 1, 2, 3] and not device.problems
    device.close()


def test_an_app_without_a_callback_is_told_when_it_has_one(tmp_path):
    for _ in range(2):
        with open_device(tmp_path, make_profile()) as device:
            live(ready(device, PLAN, activity_theta()) if not device.n_closed_steps else device)
    diary = Diary()
    with open_device(tmp_path, on_step=diary.write) as device:
        assert diary.steps == RAISED
        device.forget()
        assert not device._state.untold
