"""Many threads of several processes on one device: nothing that was acknowledged is lost, nothing is raised, the vault opens.

python -m tests.promises.test_crowd FOLDER SECONDS     one of the processes; prints what was acknowledged
"""

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from client.answers import answer
from client.vault.consent import Consent
from shared.clock import ReplayClock
from shared.codec import decode, encode
from shared.events import ENGAGEMENT, BehaviourEvent, EventKind, Step
from shared.messages import REGISTER, REQUESTS
from shared.register.bounds import KEEP_ALERTS_STEPS
from tests.world.basics import N_CATEGORIES, SOAK, make_plan, make_profile, open_device, ready
from tests.world.signing import signed

ROOT = Path(__file__).parents[2]
N_THREADS, N_PROCESSES = 8, 3
TRIALS, SECONDS = (50, 60.0) if SOAK else (1, 10.0)
#: How long a process holds the device before it lets another one.
TURN_S = 0.3
#: A clock that never refuses an event, and counts that float32 adds up exactly.
CLOCK, KIND = ReplayClock(4000 * 86_400), EventKind.PURCHASE


def work(device, until_s: float, taken: list[int], seed: object) -> None:
    """Record, and now and then do something else, as any part of an app might."""
    draw = random.Random(str(seed))
    others = [
        lambda: device.close_until(device.n_closed_steps + 1),
        lambda: [device.explain(alert) for alert in device.alerts()[-1:]],
        lambda: (device.interests(), device.bursts(), device.what_left(), device.refused(), device.advice()),
        lambda: (device.pause(), device.pause(False)),
        lambda: device.consent(draw.choice(list(Consent))),
        lambda: decode(
            REGISTER,
            answer(device, signed(encode(REQUESTS, "alerts_query", {"audience": "", "step": draw.randrange(9)}))),
        ),
    ]
    while time.monotonic() < until_s:
        if draw.random() < 0.02:
            draw.choice(others)()
        category, step = draw.randrange(N_CATEGORIES), max(0, device.n_closed_steps - draw.choice((0, 0, 0, 1)))
        taken[category] += device.record(BehaviourEvent(KIND, category, (step + draw.random()) * Step.DAY.seconds, 1.0))


def crowd(folder: Path, seconds: float) -> dict[str, list]:
    """What one process had acknowledged, by category, and what was raised in it."""
    until_s, told, raised = time.monotonic() + seconds, list[int](), list[str]()
    threading.excepthook = lambda hook: raised.append(repr(hook.exc_value))
    taken = [[0] * N_CATEGORIES for _ in range(N_THREADS)]
    turn = 0
    while time.monotonic() < until_s:
        turn += 1
        with open_device(
            folder, clock=CLOCK, wait_s=60.0, on_step=lambda step, p, alerts: told.extend([step] if alerts else [])
        ) as device:
            end_s = time.monotonic() + TURN_S
            threads = [
                threading.Thread(target=work, args=(device, end_s, mine, (turn, i))) for i, mine in enumerate(taken)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            raised += [name for name in device.problems if name != "late_event"]
        time.sleep(random.random() * 0.05)
    return {"taken": np.sum(taken, axis=0).tolist(), "raised": raised, "told": told, "turns": [turn]}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("trial", range(TRIALS))
def test_a_crowd_on_one_device_loses_nothing(tmp_path, trial):
    folder = tmp_path / "device"
    with open_device(folder, make_profile(), clock=CLOCK) as device:
        ready(device, make_plan(detection={"detector": "rate", "rate_threshold": 0.1, "quiet_steps": 0}))
    command = [sys.executable, "-m", "tests.promises.test_crowd", str(folder), str(SECONDS)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(N_PROCESSES)
    ]
    said = [process.communicate(timeout=SECONDS + 120) for process in processes]
    assert [process.returncode for process in processes] == [0] * N_PROCESSES, said
    found = [json.loads(out.splitlines()[-1]) for out, _ in said]
    assert [each["raised"] for each in found] == [[]] * N_PROCESSES
    assert all("Traceback" not in error for _, error in said)
    assert all(each["turns"][0] > 1 for each in found), "each had its turns"
    with open_device(folder, clock=CLOCK) as device:
        state = device._state
        kept = (state.history.count.sum(axis=1) + state.open_count) / ENGAGEMENT[KIND]
        np.testing.assert_allclose(kept, np.sum([each["taken"] for each in found], axis=0), rtol=1e-5)
        told = sorted(step for each in found for step in each["told"])
        oldest = device.n_closed_steps - KEEP_ALERTS_STEPS  # older ones are gone, told or not
        there = {alert.step for alert in device.alerts()}
        assert len(told) == len(set(told)) and {step for step in told if step > oldest} == there, "each alert once"
        assert told and not state.untold


if __name__ == "__main__":
    print(json.dumps(crowd(Path(sys.argv[1]), float(sys.argv[2]))), flush=True)
