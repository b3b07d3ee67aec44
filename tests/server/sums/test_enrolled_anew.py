"""An epoch ends while a run goes on: everybody draws other keys, another list is signed, and sums go on."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from server.channel import Channel, Traffic
from server.enrolment import Enrolment
from server.settings import RunSettings
from server.state import ServerFolder
from server.sums.enrolling import enrolled, enrolled_anew
from shared.clock import ReplayClock
from shared.errors import RunError
from shared.files import replace_content
from shared.secure_sum.epoch import Epoch, read_list, sign, unverified
from tests.server.test_app import run_config
from tests.world.basics import make_plan
from tests.world.fake_grid import SIGNER, FakeGrid
from tests.world.seats import ENROLMENT_PRIVATE, Party, helpers_of, node_of

DAY_S, N = 86_400, 5
BEGUN_S = 1000 * DAY_S
PLAN = make_plan()
HELPERS = helpers_of(3)


class Enrolled(Party):
    """One who draws other keys for every epoch; a helper's identity stays."""

    def __init__(self, name: str, helps: bool = False) -> None:
        super().__init__(name)
        self.name, self.helps, self.numbers = name, helps, []

    def serve(self, name, request):
        if name == "enrolment_query":
            self.numbers.append(request["epoch"])
            fresh = Party(f"{self.name} {request['epoch']}")
            identity = self.leaf[:32] if self.helps else fresh.leaf[:32]
            return {"epoch": request["epoch"], "identity": identity, "seat": fresh.leaf[32:]}
        self.epoch = unverified(request["signed"])
        return {"epoch": self.epoch.number}


@contextmanager
def signing(server: ServerFolder, clock: ReplayClock, helping):
    """Sign every list of a folder, to hold for 30 days from a day before now."""
    done = threading.Event()

    def wait() -> None:
        while not done.is_set():
            if server.enrolment_list.exists():
                listed = read_list(server.enrolment_list)
                if not (
                    server.signed_epoch.exists()
                    and unverified(server.signed_epoch.read_bytes()).number == listed.number
                ):
                    begins_s = int(clock.now_s()) - DAY_S
                    leaves = helping(listed.number)
                    window = begins_s, begins_s + 30 * DAY_S
                    epoch = Epoch.close(listed.audience, listed.number, *window, listed.leaves, leaves, 10)
                    replace_content(server.signed_epoch, sign(epoch, ENROLMENT_PRIVATE))
            done.wait(0.01)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class World:
    def __init__(self, folder) -> None:
        self.helpers = {1001 + i: Enrolled(f"helper {i}", helps=True) for i in range(3)}
        self.devices = {node: Enrolled(f"device {node}") for node in range(1, N + 1)}
        self.grid = FakeGrid({node: node_of(party) for node, party in {**self.devices, **self.helpers}.items()})
        config = run_config(folder, PLAN)
        config["server.helpers"] = ",".join(party.leaf[:32].hex() for party in self.helpers.values())
        self.settings = replace(RunSettings.read(config), run=BEGUN_S)
        self.server, self.clock = ServerFolder(self.settings.folder), ReplayClock(BEGUN_S)

    def channel(self) -> Channel:
        return Channel(self.grid, Traffic(), SIGNER, Enrolment(self.server.enrolment_file))

    def leaves_of_helpers(self, number: int) -> list[bytes]:
        return [party.leaf[:32] + Party(f"{party.name} {number}").leaf[32:] for party in self.helpers.values()]

    def signing(self):
        return signing(self.server, self.clock, self.leaves_of_helpers)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_the_next_epoch_has_the_same_devices_other_keys_and_a_higher_number(world):
    channel = world.channel()
    with world.signing():
        before = enrolled(channel, world.grid.get_node_ids(), world.settings, world.server, world.clock)
        world.clock.wait_until(BEGUN_S + 40 * DAY_S)
        after = enrolled_anew(channel, world.settings, world.server, world.clock)
    assert before.epoch.number == BEGUN_S < after.epoch.number == BEGUN_S + 40 * DAY_S
    assert before.epoch.ends_s <= world.clock.now_s() < after.epoch.ends_s
    assert not set(before.leaves) & set(after.leaves) and before.epoch.seed != after.epoch.seed
    assert [{roll.node_at(i) for i in range(N)} for roll in (before, after)] == [set(world.devices)] * 2
    assert all(party.epoch == after.epoch for party in (*world.devices.values(), *world.helpers.values()))
    assert {tuple(party.numbers) for party in world.devices.values()} == {(before.epoch.number, after.epoch.number)}


def test_a_process_that_goes_on_has_the_last_epoch_or_another_where_that_is_over(world):
    with world.signing():
        first = enrolled(world.channel(), world.grid.get_node_ids(), world.settings, world.server, world.clock)
        world.clock.wait_until(BEGUN_S + 10 * DAY_S)
        again = enrolled(world.channel(), [], world.settings, world.server, world.clock)
        assert again.epoch == first.epoch and again.leaves == first.leaves
        world.clock.wait_until(BEGUN_S + 40 * DAY_S)
        later = enrolled(world.channel(), [], world.settings, world.server, world.clock)
        assert later.epoch.number > first.epoch.number and len(later.leaves) == N
        assert enrolled(world.channel(), [], world.settings, world.server, world.clock).epoch == later.epoch


def test_who_is_not_there_is_not_in_the_next_epoch_but_in_the_run(world):
    channel = world.channel()
    with world.signing():
        enrolled(channel, world.grid.get_node_ids(), world.settings, world.server, world.clock)
        world.grid.nodes[3] = lambda message: None
        world.clock.wait_until(BEGUN_S + 40 * DAY_S)
        after = enrolled_anew(channel, world.settings, world.server, world.clock)
        assert {after.node_at(i) for i in range(N - 1)} == {1, 2, 4, 5} and after.index_of(3) is None
        assert channel.enrolment.nodes == [1, 2, 3, 4, 5]
        world.grid.nodes[3] = node_of(world.devices[3])
        world.clock.wait_until(BEGUN_S + 80 * DAY_S)
        assert len(enrolled_anew(world.channel(), world.settings, world.server, world.clock).leaves) == N


def test_a_process_killed_between_keys_and_list_asks_for_keys_again(world):
    with world.signing():
        enrolled(world.channel(), world.grid.get_node_ids(), world.settings, world.server, world.clock)
        other = {node: Party(f"lost {node}").leaf for node in world.devices}
        helping = dict(zip(world.helpers, world.leaves_of_helpers(7), strict=True))
        world.channel().enrolment.renew(other, helping)  # and the list was never written
        roll = enrolled(world.channel(), [], world.settings, world.server, world.clock)
    assert roll.epoch.number > BEGUN_S and not set(roll.leaves) & set(other.values())


def test_nobody_who_is_not_of_the_run_gets_in_with_new_keys(world):
    enrolment = Enrolment()
    enrolment.enrol({1: bytes(64)}, 1, {2: bytes(63) + b"\1"})
    with pytest.raises(RunError):
        enrolment.renew({9: bytes(64)}, {})
    with pytest.raises(RunError):
        enrolment.renew({1: bytes(64)}, {9: bytes(64)})
    assert np.array_equal(enrolment.nodes, [1])
