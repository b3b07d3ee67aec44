"""How a run comes by its list: keys are asked for, somebody else signs, everybody hears of it; and what goes wrong on the way."""

import pytest

from server.channel import Channel, Traffic
from server.enrolment import Enrolment
from server.state import ServerFolder
from server.sums.enrolling import enrolled, right_keys
from server.sums.roll import Roll
from shared.errors import RunError
from shared.files import replace_content
from shared.plan import SumPlan
from shared.secure_sum.epoch import read_list, sign
from shared.secure_sum.leaves import members
from shared.secure_sum.merkle import expect_members
from tests.server.test_app import settings_for
from tests.world.basics import make_plan
from tests.world.fake_grid import SIGNER, FakeGrid
from tests.world.seats import ENROLMENT_PRIVATE, FIRST_HELPER, Party, closed, helpers_of, node_of, signing

N = 5
PLAN = make_plan(privacy={"population": N, "min_survivors": 2}, sum=SumPlan(2))


class Place:
    """A server's folder, devices and helpers around it; each `enrol` is one process of the server."""

    def __init__(self, folder, n_devices: int = N, wait_s: float = 10.0) -> None:
        self.folder, self.devices, self.helpers = (
            folder,
            {n: Party(str(n)) for n in range(1, n_devices + 1)},
            helpers_of(2),
        )
        self.bends = {}
        self.wait_s, self.traffic = wait_s, Traffic()

    @property
    def parties(self) -> dict[int, Party]:
        return {**self.devices, **self.helpers}

    def enrol(self) -> Roll:
        self.grid = FakeGrid({node: node_of(party, self.bends.get(node)) for node, party in self.parties.items()})
        self.enrolment = Enrolment(self.folder / "enrolment.db")
        channel = Channel(self.grid, self.traffic, SIGNER, self.enrolment)
        identities = tuple(party.leaf[:32] for party in self.helpers.values())
        settings = settings_for(self.folder, PLAN, helpers=identities, epoch_wait_s=self.wait_s, run=77)
        return enrolled(channel, list(self.grid.nodes), settings, ServerFolder(self.folder))

    def enrol_signed(self) -> Roll:
        with signing(self.folder, self.helpers):
            return self.enrol()

    def asked_for(self, route: str) -> set[int]:
        return {node for node, at, _ in self.grid.asked if at == route}


def test_everybody_s_keys_are_in_the_list_that_is_signed_and_everybody_hears_of_it(tmp_path):
    place = Place(tmp_path)
    roll = place.enrol_signed()
    listed = read_list(ServerFolder(tmp_path).enrolment_list)
    assert (listed.number, sorted(listed.leaves)) == (77, sorted(party.leaf for party in place.devices.values()))
    assert roll.epoch.helpers == tuple(sorted(party.leaf for party in place.helpers.values()))
    assert {party.epoch for party in place.parties.values()} == {roll.epoch}
    assert place.asked_for("query.enrolment") == place.asked_for("query.epoch") == set(place.parties)
    for node, party in place.devices.items():
        assert roll.node_of(party.leaf) == node == roll.node_at(roll.index_of(node))
    assert [roll.index_of(node) for node in (*place.helpers, 9999)] == [None] * 3
    indices = [roll.index_of(1), roll.index_of(3)]
    found = {index: roll.leaves[index] for index in indices}
    expect_members(roll.epoch.root, N, found, roll.proof(sorted(indices)))


def test_whoever_goes_on_has_the_epoch_that_the_run_began_with(tmp_path):
    first = Place(tmp_path).enrol_signed()
    again = Place(tmp_path)
    roll = again.enrol()  # nobody signs a second time
    assert roll.epoch == first.epoch and roll.leaves == first.leaves
    assert not again.asked_for("query.enrolment") and again.asked_for("query.epoch") == set(again.parties)


def test_if_nobody_signs_in_time_the_run_ends_with_what_to_do_and_goes_on_once_it_is_signed(tmp_path):
    place = Place(tmp_path, wait_s=0.1)
    with pytest.raises(RunError, match=r"expected epoch\.signed beside enrolment\.list within 0 s.*ebbtide enrol sign"):
        place.enrol()
    assert not place.asked_for("query.epoch")
    written = ServerFolder(tmp_path).enrolment_list.read_bytes()
    again = Place(tmp_path)
    roll = again.enrol_signed()
    assert roll.epoch.n_devices == N and not again.asked_for("query.enrolment")
    assert ServerFolder(tmp_path).enrolment_list.read_bytes() == written


def leave_signed(place: Place, leaves, helpers) -> None:
    replace_content(
        ServerFolder(place.folder).signed_epoch, sign(closed(leaves, helpers, number=77), ENROLMENT_PRIVATE)
    )


@pytest.mark.parametrize("change", ["fewer", "more", "another"])
def test_an_epoch_of_another_list_is_not_gone_on_with(tmp_path, change):
    place = Place(tmp_path)
    leaves = [party.leaf for party in place.devices.values()]
    changed = {"fewer": leaves[1:], "more": [*leaves, Party("more").leaf], "another": [*leaves[1:], Party("more").leaf]}
    leave_signed(place, changed[change], [party.leaf for party in place.helpers.values()])
    with pytest.raises(RunError, match="expected the list of devices that the epoch was signed over"):
        place.enrol()


def test_what_is_no_epoch_is_said_to_be_none(tmp_path):
    place = Place(tmp_path)
    replace_content(ServerFolder(tmp_path).signed_epoch, b"canary")
    with pytest.raises(RunError, match="expected a signed epoch"):
        place.enrol()


def test_a_helper_that_sent_no_keys_is_missed_before_anybody_hears_of_the_epoch(tmp_path):
    place = Place(tmp_path)
    place.bends[FIRST_HELPER] = lambda name, fields: None
    with pytest.raises(RunError, match="expected a node of each of 2 helpers, got 1 without one"):
        place.enrol_signed()
    assert not place.asked_for("query.epoch")


def test_a_helper_that_does_not_take_the_epoch_ends_the_run_and_a_device_that_does_not_is_missed_by_nobody(tmp_path):
    place = Place(tmp_path / "helper")
    place.bends[FIRST_HELPER] = lambda name, fields: None if name == "epoch_offer" else fields
    with pytest.raises(RunError, match="expected every helper to take the epoch, got 1 that did not"):
        place.enrol_signed()
    place = Place(tmp_path / "device")
    place.bends[2] = lambda name, fields: None if name == "epoch_offer" else fields
    assert place.enrol_signed().epoch.n_devices == N


def test_whoever_claims_to_be_a_helper_is_none_if_the_epoch_does_not_say_so(tmp_path):
    """Its identity is public; that the seat key is the helper's own, the signer knows."""
    place = Place(tmp_path)
    place.devices[66] = Party("impostor")
    identity = place.helpers[FIRST_HELPER].leaf[:32]

    def claims(name, fields):
        return {**fields, "identity": identity} if name == "enrolment_query" else None

    place.bends[66] = claims
    roll = place.enrol_signed()
    assert roll.epoch.n_devices == N
    assert {roll.node_of(leaf) for leaf in roll.epoch.helpers} == set(place.helpers)


def test_keys_that_no_list_takes_are_left_out_and_counted_and_stop_nobody(tmp_path):
    place = Place(tmp_path, n_devices=N + 3)
    place.bends[6] = lambda name, fields: {**fields, "seat": bytes(32)} if name == "enrolment_query" else fields
    one = place.devices[7].leaf
    place.bends[8] = lambda name, fields: {**fields, "identity": one[:32]} if name == "enrolment_query" else fields
    roll = place.enrol_signed()
    assert {roll.node_at(index) for index in range(roll.epoch.n_devices)} == {1, 2, 3, 4, 5}
    assert place.traffic.dropped == {"enrolment_keys": 3}


def test_of_those_who_share_a_key_none_is_right():
    one, other, third = (Party(name).leaf for name in "abc")
    assert right_keys({1: one, 2: other, 3: third}) == {1: one, 2: other, 3: third}
    assert right_keys({1: one, 2: one, 3: third}) == {3: third}
    assert right_keys({1: one, 2: other[:32] + one[32:], 3: third}) == {3: third}
    assert right_keys({1: one, 2: bytes(64), 3: b""}) == {1: one}
    assert members(right_keys({1: one, 2: other[:32] + one[32:], 3: third}).values()) == [third]


def test_a_device_that_left_is_in_the_list_and_hears_nothing_more(tmp_path):
    place = Place(tmp_path)
    place.enrol_signed()
    place.enrolment.leave(3)
    again = Place(tmp_path)
    roll = again.enrol()
    assert roll.node_of(again.devices[3].leaf) == 3 and 3 not in again.asked_for("query.epoch")


def test_nodes_that_are_silent_are_not_enrolled(tmp_path):
    place = Place(tmp_path)
    place.bends[4] = lambda name, fields: None
    assert place.enrol_signed().epoch.n_devices == N - 1
    assert 4 not in place.asked_for("query.epoch")
