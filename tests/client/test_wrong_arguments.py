"""Whatever an app hands over that is not what it has to be is counted by name, or refused by name before anything is made; it
is neither raised into the app nor taken for something else."""

import inspect
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import client
from client.detection.alerts import Alert
from client.device import Device
from client.privacy.caps import Cap, Caps
from client.vault.consent import Consent
from client.vault.keys import FileKeys
from client.vault.vault import Limits
from shared.clock import ReplayClock
from shared.errors import InputError, Refusal
from shared.events import BehaviourEvent, EventKind, Step
from tests.world.basics import activity_theta, cheap_keys, examples, make_plan, make_profile, open_device, ready, view


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
    st.text(max_size=4).filter(
        lambda text: text not in {one.value for one in (*Step, *Consent)}
    ),  # a word stands for what it names
    st.binary(max_size=4),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 10**400, -(10**400), 1e308, -1, -1.5, 2**63, 2.5]),
    st.sampled_from([datetime(2026, 1, 1, tzinfo=UTC), Decimal(1), 1j, object(), object, len, Raises(), [], {}, (1,)]),
    st.sampled_from([np.array([1, 2]), np.float32("nan"), np.bool_(True), np.array(3.5), np.datetime64("2026-01-01")]),
    st.builds(bytearray, st.binary(max_size=3)),
)


PLAN, NOTHING = make_plan(), np.empty(0, np.float32)
DAY_S = 86_400.0


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    home = tmp_path_factory.mktemp("device") / "phone"
    with open_device(home, make_profile()) as device:
        ready(device, PLAN).catch_up([view(step) for step in range(9)], 9)
        yield device


def held(device: Device) -> tuple:
    state = device._state
    return (
        *(device.n_closed_steps, state.history.count.sum(), state.open_count.sum(), state.installed.round_number),
        *(device._vault.decisions.all(), device.alerts(), device.gate.ledger.epsilon(1), device._vault.folder.exists()),
    )


def record(device: Device, wrong, other) -> None:
    fields = {"kind": EventKind.VIEW, "category": 0, "time_s": 9.5 * DAY_S, "amount": 0.0}
    events = [BehaviourEvent(**{**fields, name: wrong}) for name in ("kind", "category", "time_s")]
    for event in (wrong, *events, BehaviourEvent(wrong, other, wrong, other)):
        assert (event is events[2] and type(wrong) is float and wrong == 2.5) or device.record(event) is False
    assert device.record(BehaviourEvent(EventKind.VIEW, 0, 9.5 * DAY_S, other)) is False


def catch_up(device: Device, wrong, other) -> None:
    events = [BehaviourEvent(wrong, 0, 9.5 * DAY_S), BehaviourEvent(EventKind.VIEW, wrong, 9.5 * DAY_S)]
    assert device.catch_up([wrong, other, *events], 9) is True, "what is none is left out, and counted"
    assert device.catch_up(wrong, 9) in (True, False), "of what can be gone through, nothing is an event"
    assert is_past(wrong) or device.catch_up([], wrong) is False


def is_past(step) -> bool:
    """A number of a step that closed long ago: nothing is to be done."""
    return isinstance(step, int) and step <= 0


def close_until(device: Device, wrong, _) -> None:
    assert is_past(wrong) or device.close_until(wrong) is False


def explain(device: Device, wrong, other) -> None:
    assert device.explain(wrong) is None
    assert device.explain(Alert(wrong, other, wrong, other, wrong, other)) is None


def consent(device: Device, wrong, _) -> None:
    assert device.consent(wrong) is Consent.LOCAL


def pause(device: Device, wrong, _) -> None:
    assert device.pause(wrong) is False


def has(device: Device, wrong, other) -> None:
    here = device._state.installed
    assert device.has(wrong, other, wrong, other) is False
    assert device.has(PLAN, wrong, other, 0) is device.has(PLAN, here.theta, here.risk, wrong) is False


def install(device: Device, wrong, _) -> None:
    right = {"plan": PLAN, "model": b"", "theta": activity_theta(), "risk": NOTHING, "round_number": 1, "said": None}
    for name in right:
        is_right = (
            wrong is None if name == "said" else name == "model" and isinstance(wrong, bytes | bytearray) and not wrong
        )
        if not is_right:
            with pytest.raises((InputError, Refusal)):
                device.install(**{**right, name: wrong})


def install_heads(device: Device, wrong, other) -> None:
    """Its plan learns none: whatever is right is refused as well."""
    right = {"plan_sha256": PLAN.sha256, "start": bytes(4), "popularity": NOTHING, "weights": NOTHING}
    for name in right:
        with pytest.raises((InputError, Refusal)):
            device.install_heads(**{**right, name: wrong})


def work(device: Device, wrong, _) -> None:
    for arguments in ((wrong, activity_theta()), *(() if wrong is None else ((PLAN.sha256, wrong),))):
        with pytest.raises((InputError, Refusal)):
            device.work(*arguments)


def take_alerts(device: Device, wrong, _) -> None:
    if not isinstance(wrong, int):
        with pytest.raises(InputError):
            device.take_alerts(wrong)


def forget_at(device: Device, wrong, other) -> None:
    folder = device._vault.folder
    assert Device.forget_at(folder, wrong, bytes(32)) is False
    assert Device.forget_at(folder, cheap_keys(folder), wrong) is False
    if not is_a_path(wrong):
        assert Device.forget_at(wrong, cheap_keys(folder), bytes(32)) is False


def is_a_path(place) -> bool:
    return isinstance(place, str) and bool(place) and "\0" not in place


#: How each method that takes something meets what it cannot use. What opens a device is below.
WRONG = (
    record,
    catch_up,
    close_until,
    explain,
    consent,
    pause,
    has,
    install,
    install_heads,
    work,
    take_alerts,
    forget_at,
)
OPENS = {"open", "start_anew"}
#: Besides the device, what an app calls or makes, and where it is handed something wrong.
FACE = {
    "here": {"Device", "BehaviourEvent", "Alert", "FileKeys", "Limits", "Caps", "Cap", "Profile"}
    | {"answer", "origin_of", "what_to_do", "Catalogue", "Policy"},
    "made by the device or by Python": {"Anchor", "Checkpoint", "Entry", "Explanation", "KeyProvider", "POLICY"},
}


def test_every_public_method_and_name_is_among_them():
    takes = set()
    for name in dir(Device):
        member = getattr(Device, name)
        if not name.startswith("_") and callable(member):
            parameters = list(inspect.signature(member).parameters.values())
            if [one for one in parameters if one.name != "self"]:
                takes.add(name)
    assert takes == {method.__name__ for method in WRONG} | OPENS
    enums_and_errors = {name for name in client.__all__ if issubclass(kind_of(name), Enum | Exception)}
    assert set(client.__all__) == set.union(enums_and_errors, *FACE.values())


def kind_of(name: str) -> type:
    found = getattr(client, name)
    return found if isinstance(found, type) else type(found)


@examples(500)
@given(JUNK, JUNK)
def test_nothing_wrong_is_raised_into_the_app_or_taken(device, wrong, other):
    before, n = held(device), sum(device.problems.values())
    for method in WRONG:
        if not (wrong is None and method is consent):
            method(device, wrong, other)
    for request in (wrong, b"", bytes(99)):
        assert isinstance(client.answer(device, request, wrong), bytes)
    assert isinstance(client.answer(wrong, b"request"), bytes)
    assert held(device) == before and sum(device.problems.values()) > n
    known = {"event_out_of_range", "InputError", "ConfigError", "ClockError", "clock_jump"}
    assert set(device.problems) <= known, "by a name that says what to do"
    assert all(isinstance(client.what_to_do(name), str) for name in (wrong, other))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where a device lives that is not open."""
    home = tmp_path_factory.mktemp("home") / "phone"
    with open_device(home, make_profile()) as device:
        device.record(view(9))
    return home


@examples(500)
@given(JUNK)
def test_what_is_wrong_at_set_up_is_refused_by_name_and_leaves_what_was_there(tmp_path_factory, home, wrong):
    keys, clock = cheap_keys(home), ReplayClock(4000 * DAY_S)
    for begin in (Device.open, Device.start_anew):
        for name in ("keys", "clock", "caps", "limits", "policy", "on_step", "wait_s", "profile"):
            if is_one(wrong, name) and not (begin == Device.start_anew and name == "profile"):
                continue
            with pytest.raises(InputError):
                begin(**{"folder": home, "profile": make_profile(), "keys": keys, "clock": clock, name: wrong})
    with open_device(home) as device:
        assert device.profile.number == 7 and device._state.open_count.sum() > 0


def is_one(wrong, name: str) -> bool:
    """Whether this may be such an argument: some numbers are seconds to wait."""
    if name == "wait_s":
        return isinstance(wrong, int | float | np.ndarray)
    return (wrong is None and name != "keys") or (name == "on_step" and callable(wrong))


@examples(500)
@given(JUNK)
def test_what_is_wrong_at_set_up_is_refused_by_name_and_leaves_nothing(tmp_path_factory, wrong):
    folder = tmp_path_factory.getbasetemp() / "nobody"
    right = {"keys": cheap_keys(folder), "clock": ReplayClock(9.0)}
    for name in ("keys", "clock", "caps", "limits", "policy", "on_step", "wait_s"):
        if is_one(wrong, name):
            continue
        with pytest.raises(InputError):
            Device.open(folder, make_profile(), **{**right, name: wrong})
    with pytest.raises(InputError):
        Device.open(folder, wrong, **right)
    if not is_a_path(wrong):
        with pytest.raises(InputError):
            Device.open(wrong, make_profile(), **right)
    assert not folder.exists()
    for name in ("step", "n_categories", "catalogue_sha256", "server_key", "enrolment_key", "origin_s"):
        a_number = isinstance(wrong, float | int | np.ndarray) and name == "origin_s"
        none = isinstance(wrong, bytes | bytearray | memoryview) and not len(wrong) and name == "enrolment_key"
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
    with pytest.raises(InputError):
        client.Policy([[[wrong] * 3] * 2] * 3)
    for make in (client.origin_of, client.Policy, client.Catalogue):
        with pytest.raises(InputError):
            make(wrong)
    if not isinstance(wrong, datetime):
        with pytest.raises(InputError):
            make_profile().seconds_at(wrong)


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
