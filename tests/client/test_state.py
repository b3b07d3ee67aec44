"""A device between two calls: saved and opened again it goes on as if it had never been away; killed, it is whole."""

from dataclasses import replace

import numpy as np
import pytest

from client.detection.cusum import FALL, RISE
from client.detection.risk_levels import Direction
from client.device import Device, Profile
from client.vault.consent import Consent
from client.vault.store import Store
from shared.errors import InputError, VaultFull
from shared.events import Step
from tests.world.basics import (
    CATALOGUE,
    N_CATEGORIES,
    NETWORK,
    NO_RISK,
    Diary,
    activity_theta,
    event_stream,
    full,
    make_plan,
    make_profile,
    make_risk,
    open_device,
    ready,
    replayed_entropy,
    view,
)
from tests.world.signing import SERVER_KEY

#: A phi that rises as p falls: constant, level, rate, silence, own silence, fading.
FOLLOWS_P = np.array([0, -1, -1, 0, 0, 0], np.float32)


def everything(device: Device) -> list:
    """All that a device knows, comparable bit for bit."""
    arrays = [
        device._state.history.active,
        device._state.history.count,
        device._state.history.amount,
        device._state.open_count,
    ]
    arrays += [device._state.open_amount, device._state.p]
    arrays += device._state.watch.arrays().values() if device._state.watch else []
    installed = device._state.installed
    return [
        [(a.dtype.str, a.shape, a.tobytes()) for a in arrays],
        installed and (installed.plan, installed.model, installed.theta.tobytes(), installed.risk.tobytes()),
        installed and installed.round_number,
        device._state.alerts,
        device.profile,
        dict(device.problems),
    ]


@pytest.mark.parametrize("detector", ["level", "rate", "own_level", "cusum", "risk"])
def test_a_device_reopened_after_every_event_equals_one_kept_open(tmp_path, detector):
    settings = {"rate_threshold": 0.3, "fall_margin": 0.5, "rise_margin": 0.5, "warm_steps": 8, "risk_line": 0.5}
    plan = make_plan(detection={"detector": detector, **settings}, risk=make_risk())
    kept_diary, reopened_diary = Diary(), Diary()
    kept = open_device(tmp_path / "kept", make_profile(), on_step=kept_diary.write)
    open_device(tmp_path / "reopened", make_profile()).close()
    ready(kept, plan, risk=FOLLOWS_P)
    events, bad = event_stream(np.random.default_rng(8), full(25)), view(0, category=N_CATEGORIES)
    for i, event in enumerate(events):
        reopened = open_device(tmp_path / "reopened", on_step=reopened_diary.write)
        if i == 0:
            ready(reopened, plan, risk=FOLLOWS_P)
        if i == len(events) // 2:
            assert kept.take_alerts(3) == reopened.take_alerts(3)
        if i % 10 == 0:
            assert kept.record(bad) == reopened.record(bad)
        assert kept.record(event) == reopened.record(event)
        reopened.close()
    with open_device(tmp_path / "reopened") as reopened:
        assert everything(reopened) == everything(kept)
    assert kept_diary.steps == reopened_diary.steps and kept_diary.alerts == reopened_diary.alerts
    assert np.array(kept_diary.p).tobytes() == np.array(reopened_diary.p).tobytes()
    assert kept_diary.alerts or (detector == "cusum" and kept._state.watch.memory[[FALL, RISE]].any()), (
        "nothing was compared if nothing was detected"
    )
    assert detector != "risk" or any(alert.direction is Direction.FALL for alert in kept_diary.alerts)
    theta = NETWORK.initial_theta(1)
    words = [
        open_device(tmp_path / "reopened", entropy=replayed_entropy(1)).work(plan.sha256, theta).update(theta, 4),
        setattr(kept, "_entropy", replayed_entropy(1)) or kept.work(plan.sha256, theta).update(theta, 4),
    ]
    np.testing.assert_array_equal(*words)


def test_a_new_device_needs_a_profile_and_gets_a_number_of_its_own(tmp_path):
    with pytest.raises(InputError, match="profile"):
        open_device(tmp_path / "none")
    assert not (tmp_path / "none").exists(), "nothing is made for nobody"
    numbers = set()
    for i in range(5):
        with open_device(
            tmp_path / str(i), Profile(Step.DAY, N_CATEGORIES, CATALOGUE.sha256, SERVER_KEY, origin_s=0.0)
        ) as device:
            assert device.consent() is Consent.LOCAL
        with open_device(tmp_path / str(i)) as again:
            assert again.profile == device.profile, "the number is kept"
        numbers.add(device.profile.number)
    assert len(numbers) == 5 and min(numbers) >= 0


@pytest.mark.parametrize("n_categories", [0, 513])
def test_a_catalogue_beyond_the_bounds_is_refused(n_categories):
    with pytest.raises(InputError, match="categories"):
        Profile(Step.DAY, n_categories, bytes(32), SERVER_KEY)


def test_consent_and_calendar_survive_a_restart(tmp_path):
    profile = Profile(Step.WEEK, 3, bytes(range(32)), bytes(range(32, 64)), Consent.IDENTIFIED, 2**63 - 1, 1.5e8)
    open_device(tmp_path, profile).close()
    with open_device(tmp_path, replace(profile, consent=Consent.LOCAL, number=3, audience="north")) as again:
        assert again.profile == profile, "what is in the folder counts, not what is passed"
        assert again.consent() is Consent.IDENTIFIED


def test_an_enrolment_key_is_pinned_once_and_no_other_takes_its_place(tmp_path):
    """An app that brings a secure sum brings its key to devices that are there; nothing but the profile changes."""
    bare, keyed = (replace(make_profile(), enrolment_key=key) for key in (b"", bytes(range(32))))
    with open_device(tmp_path, bare) as device:
        ready(device, make_plan())
        number = device.profile.number
    for given in (keyed, None, keyed):
        with open_device(tmp_path, given) as device:
            assert device.profile == replace(keyed, number=number) and device._state.installed is not None
    for other in (bare, replace(keyed, enrolment_key=bytes(32))):
        with pytest.raises(InputError, match="expected the enrolment_key that this device was set up with"):
            open_device(tmp_path, other)
    with open_device(tmp_path) as device:
        assert device.profile.enrolment_key == bytes(range(32))


@pytest.mark.parametrize("wrong", [bytes(31), bytes(33), "", None, 0, bytes(64)])
def test_an_enrolment_key_is_32_bytes_or_none(wrong):
    with pytest.raises(InputError, match="expected enrolment_key, an Ed25519 public key of 32 bytes, or b"):
        replace(make_profile(), enrolment_key=wrong)
    assert Profile.of(CATALOGUE, Step.DAY, SERVER_KEY, 0.0, enrolment_key=bytearray(32)).enrolment_key == bytes(32)


def test_a_new_model_does_not_end_the_quiet_time(new_device):
    diary = Diary()
    plan = make_plan(detection={"detector": "rate", "rate_threshold": 0.3, "quiet_steps": 12})
    device = ready(new_device(on_step=diary.write), plan)
    for step in range(0, 24, 6):
        device.record(view(step))
        device.install(plan, b"", activity_theta(), NO_RISK, step + 1)
    device.close_until(24)
    assert [a.step for a in diary.alerts if a.direction is Direction.FALL] == [4, 22]


def test_the_same_model_offered_again_sets_no_detector_back(tmp_path):
    """A server that goes on after it was cut off offers what is installed; one that offered it every day would keep the CUSUM at rest."""
    plan = make_plan(detection={"detector": "cusum", "warm_steps": 8, "season_steps": 2})

    def told(offered_again: bool) -> list[tuple[Direction, int, int]]:
        diary = Diary()
        with open_device(tmp_path / f"{offered_again}", make_profile(), on_step=diary.write) as device:
            ready(device, plan)
            for step in range(60):
                if step < 40:
                    device.record(view(step))
                device.close_until(step + 1)
                if offered_again:
                    before = device._state.watch
                    device.install(plan, b"", activity_theta(), NO_RISK, device._state.installed.round_number)
                    assert device._state.watch is before
        return [(alert.direction, alert.category, alert.step) for alert in diary.alerts]

    assert told(False) == told(True) != []


def test_interests_given_to_the_app_are_a_copy(new_device, plan):
    device = ready(new_device(), plan)
    device.record(view(0))
    device.close_until(1)
    device.interests()[:] = 9
    assert (device.interests()[~np.isnan(device.interests())] <= 1).all()


def test_an_install_that_the_vault_does_not_take_changes_nothing(new_device, monkeypatch):
    device = ready(new_device(), make_plan())
    for event in event_stream(np.random.default_rng(1), 20):
        device.record(event)
    before, watch = device._state.installed, device._state.watch.arrays()
    p = device.interests()

    def full(*_, **__):
        raise VaultFull("expected room")

    monkeypatch.setattr(Store, "_write_heads", full)
    with pytest.raises(VaultFull):
        ready(device, make_plan(training={"rows": 17}))
    assert device._state.installed is before
    np.testing.assert_array_equal(device.interests(), p)
    for name, array in device._state.watch.arrays().items():
        np.testing.assert_array_equal(array, watch[name])
