"""Whatever an app hands over that is not what it has to be is counted by name, or refused by name before anything is made; it
is neither raised into the app nor taken for something else."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.device import Device
from client.privacy.caps import Cap, Caps
from client.vault.consent import Consent
from client.vault.keys import FileKeys
from client.vault.vault import Limits
from shared.clock import ReplayClock
from shared.errors import InputError
from shared.events import BehaviourEvent, EventKind
from tests.world.basics import cheap_keys, examples, make_profile, open_device, view


class Raises:
    """An object all of whose methods raise."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __index__(self):
        raise RuntimeError("index")

    __float__ = __iter__ = __len__ = __fspath__ = __str__ = __index__

    def __eq__(self, other):
        raise RuntimeError("equal")

    __hash__ = None


#: Nothing of this is a step, a category, a time, a consent, True or False, a folder or a part of a profile.
JUNK = st.one_of(
    st.none(),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 10**400, -(10**400), 1e308, -1, -1.5, 2**63, 2.5]),
    st.sampled_from([datetime(2026, 1, 1, tzinfo=UTC), Decimal(1), 1j, object(), object, len, Raises(), [], {}, (1,)]),
    st.sampled_from([np.array([1, 2]), np.float32("nan"), np.bool_(True), np.array(3.5), np.datetime64("2026-01-01")]),
    st.builds(bytearray, st.binary(max_size=3)),
)


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    with open_device(tmp_path_factory.mktemp("device") / "phone", make_profile()) as device:
        device.catch_up([view(step) for step in range(9)], 9)
        yield device


def held(device: Device) -> tuple:
    state = device._state
    return device.n_closed_steps, state.history.count.sum(), state.open_count.sum(), device._vault.decisions.all()


@examples(500)
@given(JUNK, JUNK)
def test_nothing_wrong_is_raised_into_the_app_or_taken(device, wrong, other):
    before, n = held(device), sum(device.problems.values())
    fields = {"kind": EventKind.VIEW, "category": 0, "time_s": 9.5 * 86_400, "amount": 0.0}
    events = [BehaviourEvent(**{**fields, name: wrong}) for name in ("kind", "category", "time_s")]
    for event in (wrong, *events, BehaviourEvent(wrong, other, wrong, other)):
        assert (event is events[2] and type(wrong) is float and wrong == 2.5) or device.record(event) is False
    assert device.record(BehaviourEvent(EventKind.VIEW, 0, 9.5 * 86_400, other)) is False
    for step in (wrong, other):
        if not isinstance(step, int) or step > 0:
            assert device.close_until(step) is False and device.catch_up([], step) is False
    assert device.catch_up([wrong, other, *events[:2]], 9) is True, "what is none is left out, and counted"
    assert device.explain(wrong) is None and device.explain(other) is None
    assert device.consent(wrong) is Consent.LOCAL or wrong is None
    assert device.pause(wrong) is False
    assert held(device) == before and sum(device.problems.values()) > n


@examples(60)
@given(JUNK)
def test_what_is_wrong_at_set_up_is_refused_by_name_and_leaves_nothing(tmp_path_factory, wrong):
    folder = tmp_path_factory.getbasetemp() / "nobody"
    right = {"keys": cheap_keys(folder), "clock": ReplayClock(9.0)}
    for name in ("keys", "clock", "caps", "limits", "policy", "on_step", "wait_s"):
        a_number = isinstance(wrong, int | float | np.ndarray) and name == "wait_s"  # some of them are seconds to wait
        if a_number or (wrong is None and name not in ("keys", "wait_s")) or (name == "on_step" and callable(wrong)):
            continue
        with pytest.raises(InputError):
            Device.open(folder, make_profile(), **{**right, name: wrong})
    with pytest.raises(InputError):
        Device.open(folder, wrong, **right)
    if not isinstance(wrong, str) or not wrong or "\0" in wrong:
        with pytest.raises(InputError):
            Device.open(wrong, make_profile(), **right)
    assert not folder.exists()
    for name in ("step", "n_categories", "catalogue_sha256", "server_key", "enrolment_key", "origin_s"):
        a_number = isinstance(wrong, float | int | np.ndarray) and name == "origin_s"
        none = isinstance(wrong, bytes | bytearray) and not wrong and name == "enrolment_key"
        if not a_number and not none:
            with pytest.raises(InputError):
                replace(make_profile(), **{name: wrong})
    for name in ("max_bytes", "raw_events", "journal_entries", "outbox_entries", "waits_for_disk"):
        if not (type(wrong) is int and 0 < wrong <= 1 << 48):
            with pytest.raises(InputError):
                Limits(**{name: wrong})
    for name in ("lines", "total", "delta", "participations_per_plan", "period_s", "survivors"):
        with pytest.raises(InputError):
            Caps(**{name: wrong})
    if not isinstance(wrong, int | float | np.ndarray):
        with pytest.raises(InputError):
            Cap(wrong, wrong)


@pytest.mark.parametrize("phrase", ["", b"", None, 5, ["a"], "\ud800", np.array([1]), bytearray()])
def test_a_passphrase_that_is_none_is_refused_before_anything_is_made(tmp_path, phrase):
    with pytest.raises(InputError, match="passphrase"):
        FileKeys(tmp_path / "phone", phrase)
    assert not (tmp_path / "phone").exists()


@pytest.mark.parametrize("phrase", ["correct hörse", "correct hörse".encode(), bytearray("correct hörse".encode())])
def test_a_passphrase_is_bytes_and_a_text_stands_for_its_utf_8(tmp_path, phrase):
    for now in (phrase, "correct hörse"):
        keys = FileKeys(str(tmp_path / "phone"), now, n=2, r=1, p=1)
        Device.open(str(tmp_path / "phone"), make_profile(), keys=keys, clock=ReplayClock(9.0)).close()
