"""Who is asked: the devices that a run wrote down at its start, but for those whose users had them forgotten; in this run
and when it is resumed."""

import json
import math
import sqlite3
from collections import Counter

import pytest

from server import app as server_app
from server.channel import Channel, Traffic
from server.device_nodes import DeviceNodes
from server.enrolment import Enrolment
from server.settings import RunSettings, Schedule
from server.state import ServerFolder
from shared.clock import ReplayClock
from shared.codec import encode, pack_floats
from shared.errors import RefusalCode, RunError
from shared.messages import REGISTER
from shared.plan import BitsPlan
from tests.server.test_app import HELPERS, IN_SUMS, PRIVACY, Phones, run_config, serve
from tests.world.basics import activity_theta, full, make_plan, open_device
from tests.world.fake_grid import SIGNER, FakeGrid, device_node, says
from tests.world.seats import Party, enrolled_profile, federation_of, node_of
from tests.world.signing import RUN

PLAN = make_plan(
    privacy={"noise_multiplier": 4.0, "population": 4, "min_survivors": 2, "sampling_rate": 1.0}, sum=IN_SUMS
)
THETA = pack_floats(activity_theta())
OFFER = {
    "audience": "",
    "run": RUN,
    "step": 1,
    "round": 0,
    "plan": PLAN.canonical,
    "model": b"",
    "theta": THETA,
    "risk": b"",
}
ROUND = {"audience": "", "run": RUN, "step": 1, "round": 1, "plan_sha256": PLAN.sha256, "theta": THETA}
#: The largest id that Flower gives: above what SQLite's integers hold.
LARGEST = 2**64 - 1


@pytest.fixture
def grid(tmp_path):
    devices = {node: open_device(tmp_path / str(node), enrolled_profile(number=node)) for node in (1, 2, 3, 4)}
    grid = FakeGrid({node: device_node(node, device) for node, device in devices.items()})
    grid.devices = devices
    yield grid
    for device in devices.values():
        device.close()


def asked(grid: FakeGrid) -> list[int]:
    """Which devices were asked since this was called last."""
    nodes = [node for node, _, _ in grid.asked if node not in HELPERS]
    grid.asked.clear()
    return nodes


def nodes_of(grid: FakeGrid, enrolment: Enrolment) -> DeviceNodes:
    return DeviceNodes(Channel(grid, Traffic(), SIGNER, enrolment), enrolment.nodes)


def test_whoever_sent_a_deletion_is_asked_and_sampled_no_more_and_counted_once(grid, tmp_path):
    federation = federation_of(grid, PLAN, tmp_path / "server", HELPERS)
    file = tmp_path / "server" / "enrolment.db"
    grid.asked.clear()
    federation.offer(OFFER)
    assert asked(grid) == [1, 2, 3, 4]
    grid.devices[3].forget()
    _, survivors = federation.collect(federation.sample(1.0), PLAN, ROUND, PLAN.updates[0])
    assert survivors == 3 and asked(grid) == [1, 2, 3, 4]
    assert federation.traffic.dropped == {"deletion": 1} and federation.traffic.received["deletion"] == 1
    assert federation.sample(1.0) == [1, 2, 4]
    for ask in (
        lambda: federation.offer(OFFER),
        lambda: list(federation.ask("alerts_query", {"audience": "", "step": 2})),
    ):
        ask()
        assert asked(grid) == [1, 2, 4]
    federation.collect([1, 2, 3], PLAN, {**ROUND, "round": 2}, PLAN.updates[0])
    assert asked(grid) == [1, 2], "a cohort that was sampled before"
    assert federation.traffic.dropped == {"deletion": 1}
    again = nodes_of(grid, Enrolment(file))
    again.offer(OFFER)
    assert asked(grid) == [1, 2, 4] and again.sample(1.0) == [1, 2, 4], "durable"


@pytest.mark.parametrize("code", RefusalCode)
def test_of_all_refusals_only_that_of_a_forgotten_device_says_that_it_is_gone(code):
    grid = FakeGrid({7: says(encode(REGISTER, "refusal", {"code": int(code)}))})
    channel = Channel(grid, Traffic(), SIGNER)
    channel.ask([7], "alerts_query", {"audience": "", "step": 1})
    assert channel.still_here([7]) == ([] if code is RefusalCode.FORGOTTEN else [7])


def leaves_of(nodes) -> dict[int, bytes]:
    """What nodes are known by, once they sent their keys."""
    return {node: Party(str(node)).leaf for node in nodes}


def test_the_file_holds_ids_public_keys_and_nothing_that_tells_of_a_cohort(tmp_path):
    enrolment = Enrolment(tmp_path / "enrolment.db")
    keys = leaves_of((5, LARGEST, 1 << 63, 0))
    enrolment.enrol(keys, 4, {7: Party("helper").leaf})
    for node in (5, LARGEST, 5):
        enrolment.leave(node)
    found = Enrolment(tmp_path / "enrolment.db")
    assert found.closed and found.nodes == enrolment.nodes == [0, 1 << 63]
    assert found.has_left(5) and found.has_left(LARGEST) and not found.has_left(0)
    assert found.devices == {leaf: node for node, leaf in keys.items()}, "also those who left: they are in the list"
    assert found.helpers == enrolment.helpers == {Party("helper").leaf: 7} and not found.has_left(7)
    with sqlite3.connect(tmp_path / "enrolment.db") as database:
        (table,) = (name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))
        assert [row[1] for row in database.execute(f"PRAGMA table_info({table})")] == ["node", "leaf", "helps", "gone"]


def test_a_run_has_its_devices_once(tmp_path):
    enrolment = Enrolment(tmp_path / "enrolment.db")
    enrolment.enrol(leaves_of([1, 2]), 2)
    for same in (enrolment, Enrolment(tmp_path / "enrolment.db")):
        with pytest.raises(RunError, match="expected a run without devices, got one of 2"):
            same.enrol(leaves_of([3]), 2)
        assert same.nodes == [1, 2]


def test_who_finds_room_is_chance_and_neither_order_nor_id_helps():
    """12 of 40, drawn again and again, in the order of their coming: everybody has the same share, the first and the last,
    the smallest id and the largest."""
    draws, connected = full(3000), [*range(39, 19, -1), *range(2**64 - 20, 2**64)]
    counts = Counter[int]()
    keys = leaves_of(connected)
    for _ in range(draws):
        enrolment = Enrolment()
        assert enrolment.enrol(keys, 12) == 28
        assert len(enrolment.nodes) == 12
        counts.update(enrolment.nodes)
    share, sigma = 12 / 40, math.sqrt(0.3 * 0.7 / draws)
    assert set(counts) == set(connected)
    assert all(abs(n / draws - share) < 6 * sigma for n in counts.values())


def test_more_than_the_plan_is_for_are_connected_and_only_so_many_are_ever_asked(tmp_path):
    """Offers, rounds, queries and bits go to the enrolled; the others are counted, once. Who goes on enrols nobody new."""
    plan = make_plan(privacy=PRIVACY, sum=IN_SUMS, bits=BitsPlan(1_000_000, 5, 2))
    phones = Phones(tmp_path / "phones", 20, identified=set(range(1, 21)))
    config = run_config(tmp_path, plan)
    grid = phones.grid()
    serve(grid, config)
    enrolled = Enrolment(ServerFolder(tmp_path / "server").enrolment_file).nodes
    assert len(enrolled) == plan.privacy.population == 8
    assert {node for node, route, _ in grid.asked if route == "query.enrolment"} == {*phones.devices, *HELPERS}
    assert {node for node, route, _ in grid.asked if route == "query.epoch"} == {*enrolled, *HELPERS}
    for route in ("query.model", "train", "query.alerts", "query.bits"):
        assert {node for node, asked_at, _ in grid.asked if asked_at == route} == set(enrolled)
    folder = ServerFolder(tmp_path / "server")
    assert folder.traffic()["dropped"]["not_enrolled"] == 12
    devices = json.loads(folder.progress_file.read_text().splitlines()[0])
    assert (devices["phase"], devices["done"], devices["total"]) == ("devices", 8, 8)

    again = phones.grid()
    again.nodes |= {node: says(b"") for node in range(100, 200)}
    serve(again, config)
    assert {node for node, _, _ in again.asked} == {*enrolled, *HELPERS}
    assert "query.enrolment" not in {route for _, route, _ in again.asked}
    assert ServerFolder(tmp_path / "server").traffic()["dropped"]["not_enrolled"] == 12
    del again.nodes[enrolled[0]]
    with pytest.raises(RunError, match="expected 10 connected devices"):
        serve(again, config)


def test_the_devices_are_on_disk_before_any_is_told_that_it_is_enrolled(tmp_path):
    """All that anybody is asked before is his keys."""
    phones, plan = Phones(tmp_path / "phones", 9, identified=set()), make_plan(privacy=PRIVACY, sum=IN_SUMS)
    grid, folder = phones.grid(), ServerFolder(tmp_path / "server")

    class Stopped(Exception):
        pass

    def killed_at_the_epoch(answer):
        def node(message):
            if message.metadata.message_type != "query.enrolment":
                raise Stopped
            return answer(message)

        return node

    grid.nodes = {node: killed_at_the_epoch(answer) for node, answer in grid.nodes.items()}
    with pytest.raises(Stopped):
        serve(grid, run_config(tmp_path, plan))
    written = Enrolment(folder.enrolment_file).nodes
    later = {node for node, route, _ in grid.asked if route != "query.enrolment"}
    assert len(written) == 8 and later and later <= {*written, *HELPERS}
    resumed = phones.grid()
    serve(resumed, run_config(tmp_path, plan))
    assert {node for node, _, _ in resumed.asked} == {*written, *HELPERS}


def test_whoever_comes_before_the_step_of_the_training_closes_has_a_chance(tmp_path, monkeypatch):
    """The early ones were enough; those who came while the server waited for the calendar are drawn from, too."""
    early, everybody = [1, 2, 3, 4], list(range(1, 401))
    connected = early

    class Waiting(ReplayClock):
        def wait_until(self, time_s):
            nonlocal connected
            connected = everybody
            super().wait_until(time_s)

    settings = RunSettings.read(run_config(tmp_path, PLAN))
    monkeypatch.setattr(Schedule, "clock", lambda self: Waiting())
    parties = {**{node: Party(str(node)) for node in everybody}, **HELPERS}
    grid = FakeGrid({node: node_of(party) for node, party in parties.items()})
    grid.get_node_ids = lambda: [*connected, *HELPERS]
    monkeypatch.setattr(server_app, "run", lambda *_: None)
    serve(grid, run_config(tmp_path, PLAN))
    nodes = Enrolment(ServerFolder(settings.folder).enrolment_file).nodes
    assert len(nodes) == 4 and set(nodes) - set(early), "chance would take the four early ones once in 10^9 times"


def test_a_whole_run_and_the_one_that_goes_on_do_without_who_left(tmp_path, monkeypatch):
    plan = make_plan(privacy=PRIVACY, sum=IN_SUMS)
    phones = Phones(tmp_path / "phones", 8, identified=set())
    config = run_config(tmp_path, plan)
    offered = server_app.offer_newest

    def leaving(federation, settings, *arguments, **options):
        taken = offered(federation, settings, *arguments, **options)
        phones.devices[6].forget()
        return taken

    grid = phones.grid()
    with monkeypatch.context() as patch:
        patch.setattr(server_app, "offer_newest", leaving)
        serve(grid, config)
    traffic = ServerFolder(tmp_path / "server").traffic()
    assert traffic["dropped"] == {"deletion": 1} and traffic["received"]["deletion"] == 1
    times = sum(node == 6 for node, _, _ in grid.asked)
    assert times == 4, "its keys, the epoch, the offer, and the request that it answered with the notice"

    resumed = phones.grid()
    del resumed.nodes[6]  # its user took the app away, too
    serve(resumed, config)
    assert {node for node, _, _ in resumed.asked} == {1, 2, 3, 4, 5, 7, 8, *HELPERS}
    both = ServerFolder(tmp_path / "server").traffic()
    routes = Counter(route for _, route, _ in [*grid.asked, *resumed.asked])
    assert both["dropped"] == traffic["dropped"] and both["sent"]["alerts_query"] == routes["query.alerts"]
    del resumed.nodes[7]
    with pytest.raises(RunError, match="expected 9 connected devices"):
        serve(resumed, config)
