"""A disk that takes no more, at any write: what was acknowledged is there, the problem has a name, and the device goes on once there
is room. A limit on the size of files stands for the full disk: SQLite and the keys meet it in a write."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from client import gaps
from client.device import Device
from client.vault.consent import Consent
from client.vault.store import Store
from shared.errors import VaultError
from shared.events import ENGAGEMENT, BehaviourEvent, EventKind
from tests.world.basics import SOAK, make_plan, make_profile, open_device, ready

DAY_S = 86_400.0
NAMES = {"VaultFull", "VaultUnwritable", "VaultReadOnly"}
#: Bytes that the files may grow by until the disk is full.
ROOM = range(0, 1 << 16, 509 if SOAK else 6007)


@contextmanager
def full_disk(folder, room: int) -> Iterator[None]:
    """No file grows beyond the largest one of the folder, and `room`."""
    size = max(file.stat().st_size for file in folder.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def record(device: Device, steps: range) -> int:
    """How many of twenty events a step were taken."""
    times = [step * DAY_S + i for step in steps for i in range(20)]
    return sum(device.record(BehaviourEvent(EventKind.PURCHASE, 1, time_s, 5.0)) for time_s in times)


def kept(device: Device) -> float:
    state = device._state
    return (state.history.count.sum() + state.open_count.sum()) / ENGAGEMENT[EventKind.PURCHASE]


@pytest.mark.parametrize("room", ROOM)
def test_what_was_acknowledged_is_there_and_it_goes_on_once_there_is_room(tmp_path, room):
    folder = tmp_path / "phone"
    device = ready(open_device(folder, make_profile()), make_plan())
    taken = record(device, range(3))
    with full_disk(folder, room):
        taken += record(device, range(3, 12))
        decided = device.consent(Consent.IDENTIFIED), device.pause()
        device.close_until(14)
        assert set(device.problems) <= NAMES
        closed = device.n_closed_steps
        assert kept(device) == pytest.approx(taken)
        device.close()
        try:
            device = open_device(folder)
            assert kept(device) == pytest.approx(taken) and device.n_closed_steps == closed
        except VaultError as error:
            assert type(error).__name__ in NAMES
    device.close()
    with open_device(folder) as device:
        assert device.consent() == decided[0] and device.pause.__self__.gate.decision.paused == decided[1]
        assert kept(device) == pytest.approx(taken) and device.n_closed_steps == closed
        assert record(device, range(14, 16)) == 40 and device.n_closed_steps == 15
        assert device.consent(Consent.RANDOMISED) is Consent.RANDOMISED


@pytest.mark.parametrize("room", range(0, 1 << 13, 509 if SOAK else 2048))
def test_it_goes_on_without_being_opened_again_and_a_refused_event_costs_no_scores(tmp_path, monkeypatch, room):
    closings = []
    monkeypatch.setattr(gaps, "closed_until", lambda *given, _by=gaps.closed_until: closings.append(1) or _by(*given))
    with ready(open_device(tmp_path / "phone", make_profile()), make_plan()) as device:
        taken = record(device, range(3))
        with full_disk(tmp_path / "phone", room):
            before, closed = len(closings), device.n_closed_steps
            taken += record(device, range(30, 60))
            n_refused = device.problems.total()
            closed = device.n_closed_steps - max(closed, 29)
            assert len(closings) - before <= closed + 20 and n_refused > (300 if room < 4096 else -1)
        assert record(device, range(60, 62)) == 40
        assert device.n_closed_steps == 61 and kept(device) == pytest.approx(taken + 40)


def test_a_first_opening_that_finds_no_room_leaves_nothing_in_the_way(tmp_path):
    for room in range(0, 1 << 15, 509 if SOAK else 4001):
        folder = tmp_path / str(room)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            open_device(folder, make_profile()).close()
        except VaultError as error:
            assert type(error).__name__ in NAMES
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with open_device(folder, make_profile()) as device:
            assert record(device, range(2)) == 40 and (folder / Store.FILE).exists()
