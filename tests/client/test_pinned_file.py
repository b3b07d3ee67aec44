"""Only the pinned file runs, also where another one was pinned when it came."""

import numpy as np
import pytest

from client.model import runtime
from client.model.runtime import open_model, pinned_model
from client.vault.store import Store
from shared.errors import ModelError, VaultError
from tests.client.test_only_forward import T, offer, say, train
from tests.world.basics import Diary, make_profile, open_device, view
from tests.world.enrolled import enrolled


@pytest.fixture
def home(tmp_path):
    """A device with a model, whose interpreter is open, and an app that pins another file from now on."""
    with enrolled(open_device(tmp_path, make_profile())) as device:
        assert say(device, offer(T)) == "receipt"
        device.record(view(0))
        device.close_until(5)
        assert not np.isnan(device.interests()).all()
    return tmp_path


def test_a_file_that_is_not_pinned_any_more_is_dropped_with_its_plan_and_the_next_offer_mends_it(home, monkeypatch):
    diary = Diary()
    with monkeypatch.context() as update:
        update.setattr(runtime, "PINNED_SHA256", "0" * 64)
        for _ in range(2):
            with open_device(home, on_step=diary.write) as device:
                assert device._state.installed is None and np.isnan(device.interests()).all()
                assert device.problems["model_dropped"] == 1 and device._vault.get("model") is None
                assert device.record(view(device.n_closed_steps + 1)) and not diary.steps
                assert say(device, train(T, 1), "train_request") == "PLAN_MISMATCH"
                assert say(device, offer(T)) == "INTERNAL", "this app has no file of its own that fits its pin"
    with open_device(home) as device:
        assert say(device, offer(T)) == "receipt" and not np.isnan(device.interests()).all(), "the very offer, again"
        assert say(device, train(T, 1), "train_request") == "update"


def test_it_is_dropped_also_where_the_disk_is_full(home, monkeypatch):
    def full(*_):
        raise VaultError("expected room")

    monkeypatch.setattr(runtime, "PINNED_SHA256", "0" * 64)
    monkeypatch.setattr(Store, "_write_heads", full)
    with open_device(home) as device:
        assert device._state.installed is None and device.problems["VaultError"] >= 1


def test_an_interpreter_that_is_open_is_not_used_under_another_pin(home, monkeypatch):
    with open_device(home) as device:
        before = device._state.p.copy()
        monkeypatch.setattr(runtime, "PINNED_SHA256", "0" * 64)
        with pytest.raises(ModelError):
            open_model(device._state.installed.model)
        device.close_until(9)
        assert device.problems["scoring"] == 4
        np.testing.assert_array_equal(device.interests(), before), "no new score"
    with pytest.raises(ModelError):
        pinned_model()
