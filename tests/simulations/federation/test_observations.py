"""What simulated apps write down of what they are shown: reasons too, of the first alerts only."""

import numpy as np

from client.detection.risk_levels import Direction
from simulations.federation.observations import REASONS_KEPT, DeviceNotes, read_notes, read_reasons
from simulations.federation.run_folder import RunFolder
from tests.world.basics import N_CATEGORIES, activity_theta, make_plan, make_profile, open_device, ready, view

QUICK = {"detector": "rate", "rate_threshold": 0.05, "quiet_steps": 0, "min_active_steps": 1}


def test_a_device_s_first_alerts_are_written_down_with_the_reasons_it_gives(tmp_path):
    run = RunFolder(tmp_path)
    home = run.device(3)
    home.mkdir(parents=True)
    notes = DeviceNotes(home)
    device = open_device(home, make_profile(), on_step=notes.write)
    notes.explain = device.explain
    ready(device, make_plan(detection=QUICK), activity_theta())
    for step in range(0, 140, 14):
        for visit in range(5):
            device.record(view(step + visit, 0))
    _, alerts = read_notes(run, np.arange(4), N_CATEGORIES, device.n_closed_steps)
    told = read_reasons(run, 3)
    assert len(alerts.step) > REASONS_KEPT == len(told)
    first = np.argsort(alerts.step, kind="stable")[:REASONS_KEPT]
    assert set(told) == {(int(alerts.step[i]), int(alerts.direction[i]), int(alerts.category[i])) for i in first}
    assert all(len(texts) >= 1 for key, texts in told.items() if key[1] == Direction.FALL)
    assert any("visits to this category" in text for texts in told.values() for text in texts)
    assert not device.problems and read_reasons(run, 2) == {}
