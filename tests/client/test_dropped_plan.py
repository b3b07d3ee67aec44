"""A stored plan that this app cannot read any more is dropped, with its model, and nothing else is lost."""

from pathlib import Path

import numpy as np
import pytest

from client.model.installed import Installed
from client.vault.store import Store
from shared.errors import VaultError
from shared.plan import Plan
from tests.world.basics import NO_RISK, Diary, make_plan, ready, view
from tests.world.old_vault import SAID, held, old_vault, opened
from tests.world.spellings import spelled, value_of

#: Stands in where a device has no model to compare.
ANOTHER = Installed(make_plan(), b"", NO_RISK, NO_RISK, 0)


@pytest.fixture
def old(tmp_path) -> Path:
    return old_vault(tmp_path / "old")


def unreadable(plan: Plan, **changes) -> bytes:
    fields = value_of(plan.canonical)
    for name, value in changes.items():
        inner = fields if name == "more" else fields["detection"]
        inner[name] = value
    return spelled(fields)


@pytest.mark.parametrize("changes", [{"detector": "oracle"}, {"more": 1}, {"later_setting": 0.5}])
def test_a_plan_that_this_app_cannot_read_is_dropped_and_the_device_waits_for_the_next_offer(old, changes):
    with opened(old) as device:
        plan = device._state.installed.plan
        row = device._vault.get("model")
        with device._vault.writing("model"):
            device._vault.put("model", {**row, "plan": unreadable(plan, **changes)})
        memory = device._state.watch.copy()
    diary = Diary()
    with opened(old, on_step=diary.write) as device:
        assert device.problems == {**SAID["problems"], "plan_dropped": 1}
        assert device._state.installed is None and np.isnan(device.interests()).all()
        found = held(device, installed=ANOTHER)
        assert all(
            found[name] == SAID[name] for name in ("count", "amount", "open", "alerts", "epsilon", "left", "latest")
        )
        assert device.record(view(36)) and not diary.steps, "events count, and nothing is scored"
    with opened(old, on_step=diary.write) as device:
        assert device.problems["plan_dropped"] == 1, "once"
        np.testing.assert_array_equal(device._state.watch.quiet_until, memory.quiet_until)
        ready(device, plan)
        assert device.record(view(37)) and diary.steps == [36] and not np.isnan(device.interests()).all()
    with opened(old) as device:
        assert device._state.installed.plan == plan


def test_a_plan_is_dropped_also_where_the_disk_is_full(old, monkeypatch):
    with opened(old) as device, device._vault.writing("model"):
        plan = device._state.installed.plan
        device._vault.put("model", {**device._vault.get("model"), "plan": unreadable(plan, detector="oracle")})

    def full(*_):
        raise VaultError("expected room")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "_write_heads", full)
        with opened(old) as device:
            assert device._state.installed is None and device.problems["VaultError"] >= 1
    with opened(old) as device:
        assert device._state.installed is None and device.problems["plan_dropped"] == 1
