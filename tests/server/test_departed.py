"""A device whose user had it forgotten is asked no more: not in this run, and not when it is resumed."""

import sqlite3
from collections import Counter

import pytest
from flwr.app import Context, RecordDict

from server import app as server_app
from server.channel import Channel, Traffic
from server.departed import Departed
from server.device_nodes import DeviceNodes
from server.state import ServerFolder
from shared.codec import encode, pack_floats
from shared.errors import RefusalCode, RunError
from shared.messages import REGISTER
from tests.server.test_app import PRIVACY, Phones, run_config
from tests.world.basics import activity_theta, make_plan, make_profile, open_device
from tests.world.fake_grid import SIGNER, FakeGrid, device_node, says
from tests.world.signing import RUN

PLAN = make_plan(privacy={"noise_multiplier": 4.0, "population": 4, "min_survivors": 2, "sampling_rate": 1.0})
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
    devices = {node: open_device(tmp_path / str(node), make_profile(number=node)) for node in (1, 2, 3, 4)}
    grid = FakeGrid({node: device_node(node, device) for node, device in devices.items()})
    grid.devices = devices
    yield grid
    for device in devices.values():
        device.close()


def asked(grid: FakeGrid) -> list[int]:
    """Who was asked since this was called last."""
    nodes = [node for node, _, _ in grid.asked]
    grid.asked.clear()
    return nodes


def nodes_of(grid: FakeGrid, departed: Departed) -> DeviceNodes:
    return DeviceNodes(Channel(grid, Traffic(), SIGNER, departed), list(grid.nodes))


def test_whoever_sent_a_deletion_is_asked_and_sampled_no_more_and_counted_once(grid, tmp_path):
    file = tmp_path / "departed.db"
    federation = nodes_of(grid, Departed(file))
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
    again = nodes_of(grid, Departed(file))
    again.offer(OFFER)
    assert asked(grid) == [1, 2, 4] and again.sample(1.0) == [1, 2, 4], "durable"


@pytest.mark.parametrize("code", RefusalCode)
def test_of_all_refusals_only_that_of_a_forgotten_device_says_that_it_is_gone(code):
    grid = FakeGrid({7: says(encode(REGISTER, "refusal", {"code": int(code)}))})
    channel = Channel(grid, Traffic(), SIGNER)
    channel.ask([7], "alerts_query", {"audience": "", "step": 1})
    assert channel.enrolled([7]) == ([] if code is RefusalCode.FORGOTTEN else [7])


def test_the_file_holds_ids_and_nothing_that_tells_of_a_cohort(tmp_path):
    departed = Departed(tmp_path / "departed.db")
    for node in (5, LARGEST, 1 << 63, 5):
        departed.add(node)
    found = Departed(tmp_path / "departed.db")
    assert len(found) == 3 and all(node in found for node in (5, LARGEST, 1 << 63)) and 6 not in found
    with sqlite3.connect(tmp_path / "departed.db") as database:
        (table,) = (name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))
        assert [row[1] for row in database.execute(f"PRAGMA table_info({table})")] == ["node"]


def test_a_whole_run_and_the_one_that_goes_on_do_without_who_left(tmp_path, monkeypatch):
    plan = make_plan(privacy=PRIVACY)
    phones = Phones(tmp_path / "phones", 8, identified=set())
    config = run_config(tmp_path, plan)
    offered = server_app.offer_newest

    def leaving(federation, settings, *arguments, **options):
        offered(federation, settings, *arguments, **options)
        phones.devices[6].forget()

    grid = phones.grid()
    with monkeypatch.context() as patch:
        patch.setattr(server_app, "offer_newest", leaving)
        server_app.app(grid, Context(1, 0, {}, RecordDict(), config))
    traffic = ServerFolder(tmp_path / "server").traffic()
    assert traffic["dropped"] == {"deletion": 1} and traffic["received"]["deletion"] == 1
    times = sum(node == 6 for node, _, _ in grid.asked)
    assert times == 2, "the offer, and the request that it answered with the notice"

    resumed = phones.grid()
    del resumed.nodes[6]  # its user took the app away, too
    server_app.app(resumed, Context(1, 0, {}, RecordDict(), config))
    assert {node for node, _, _ in resumed.asked} == {1, 2, 3, 4, 5, 7, 8}
    both = ServerFolder(tmp_path / "server").traffic()
    routes = Counter(route for _, route, _ in [*grid.asked, *resumed.asked])
    assert both["dropped"] == traffic["dropped"] and both["sent"]["alerts_query"] == routes["query.alerts"]
    del resumed.nodes[7]
    with pytest.raises(RunError, match="expected 7 connected devices"):
        server_app.app(resumed, Context(1, 0, {}, RecordDict(), config))
