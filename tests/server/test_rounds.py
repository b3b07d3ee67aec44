"""One round on the server: who is asked, what is dropped and counted, and what is added up."""

import math

import numpy as np
import pytest
from flwr.app import Message
from scipy import stats

from server.device_nodes import DeviceNodes
from server.rounds import poisson_cohort, run_round
from shared.codec import encode, pack_floats
from shared.mechanisms import clip_to_grid
from shared.messages import REGISTER
from shared.network import NetworkSpec
from shared.plan import SumPlan
from tests.server.sums.parts import bad_boxes
from tests.world.basics import event_stream, full, make_plan, open_device, ready, replayed_entropy
from tests.world.fake_grid import FakeGrid, device_node, fails, says, silent, talks_otherwise, wire, with_wire
from tests.world.seats import World, enrolled_profile, federation_of, helpers_of
from tests.world.signing import RUN

THETA = NetworkSpec(27).initial_theta(1)
P = THETA.size
PRIVACY = {"noise_multiplier": 0.0, "population": 40, "sampling_rate": 0.25}
QUIET = make_plan(privacy=PRIVACY, sum=SumPlan(2))
ROUND = 6
REQUEST = {
    "audience": "",
    "run": RUN,
    "step": 20,
    "round": ROUND,
    "plan_sha256": QUIET.sha256,
    "theta": pack_floats(THETA),
}


def contribution(seed: int) -> np.ndarray:
    delta = np.random.default_rng(seed).normal(size=P)
    return clip_to_grid(delta, QUIET.privacy.clip_norm, QUIET.privacy.steps_per_clip)


class Everybody(DeviceNodes):
    """A cohort without chance."""

    def sample(self, sampling_rate):
        return self._nodes


def world_of(n: int, plan=QUIET) -> World:
    """So many devices, each of which sends its contribution into the sum."""
    world = World(plan, n)
    world.vectors = {node: contribution(node) for node in world.devices}
    return world


def ask(world: World):
    """The mean update of a round of everybody; what was dropped is in the world's traffic."""
    federation = Everybody(world.channel, world.cohort, world.sums)
    return run_round(federation, world.plan, {**REQUEST, "plan_sha256": world.plan.sha256}, world.kind)


def expected_mean(nodes) -> np.ndarray:
    privacy = QUIET.privacy
    return sum(contribution(n) for n in nodes) * privacy.grid_step / (privacy.sampling_rate * privacy.population)


def sends(**changes):
    """A device that says something else than is right of its update."""
    return lambda name, fields: {**fields, **changes} if name == "train_request" else fields


#: A node that misbehaves, or what a device makes of its right reply.
BAD_NODES = {
    "error": fails,
    "shape": talks_otherwise,
    "undecodable": says(b"\x83"),
    "refusal_2": says(encode(REGISTER, "refusal", {"code": 2})),
    "other_message": says(encode(REGISTER, "alerts", {"step": 20, "alerts": []})),
}
BAD_FIELDS = {
    "round": sends(round=ROUND - 1),
    "plan": sends(plan_sha256=bytes(32)),
    "sum_length": sends(sealed=bytes(100)),
    "sum_signature": sends(signature=bytes(64)),
    "sum_bad_shares": None,
}
BAD = {**BAD_NODES, **BAD_FIELDS}


def spoil(world: World, node: int, reason: str) -> None:
    if reason in BAD_NODES:
        world.grid.nodes[node] = BAD_NODES[reason]
    elif reason == "sum_bad_shares":
        world.sends[node] = bad_boxes
    else:
        world.bends[node] = BAD_FIELDS[reason]


def test_the_sum_is_divided_by_the_expected_cohort_and_never_by_the_realised_one():
    for n in (2, 3):
        np.testing.assert_allclose(ask(world_of(n)), expected_mean(range(1, n + 1)), rtol=1e-12)


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_reply_is_dropped_and_counted_and_the_others_are_summed(reason):
    world = world_of(4)
    spoil(world, 4, reason)
    np.testing.assert_allclose(ask(world), expected_mean((1, 2, 3)), rtol=1e-12)
    assert world.traffic.dropped == {reason: 1}


def test_all_bad_replies_at_once_change_nothing():
    world = world_of(4 + len(BAD))
    for node, reason in enumerate(BAD, start=4):
        spoil(world, node, reason)
    world.grid.nodes[4 + len(BAD)] = silent
    np.testing.assert_allclose(ask(world), expected_mean((1, 2, 3)), rtol=1e-12)
    assert world.traffic.dropped == dict.fromkeys(BAD, 1)


def test_a_reply_twice_counts_once():
    world = world_of(3)
    once = world.grid.nodes[2]
    world.grid.nodes[2] = lambda message: [once(message), once(message)]
    np.testing.assert_allclose(ask(world), expected_mean((1, 2, 3)), rtol=1e-12)
    assert world.traffic.dropped == {"twice": 1}


def test_what_a_dropped_reply_said_is_kept_nowhere():
    world = world_of(5)
    world.grid.nodes |= {4: fails, 5: says(b"canary-reply")}
    ask(world)
    assert "canary" not in repr(world.traffic) and "canary" not in str(world.traffic.to_map())


def test_too_few_survivors_are_not_opened():
    """Their sum would carry less noise than the plan promises."""
    plan = make_plan(privacy={**PRIVACY, "min_survivors": 4}, sum=SumPlan(2))
    world = world_of(4, plan)
    assert ask(world) is not None and not world.traffic.dropped
    for reason, dropped in (
        (None, {}),
        ("error", {"error": 1}),
        ("plan", {"plan": 1}),
        ("sum_length", {"sum_length": 1}),
    ):
        world = world_of(4, plan)
        if reason is None:
            world.gone = {4}
        else:
            spoil(world, 4, reason)
        assert ask(world) is None
        assert world.traffic.dropped == {**dropped, "round_few_survivors": 1}
        assert not world.asked_for("sum_request"), "and no seat is asked to add them up"


def test_a_cohort_below_min_survivors_is_not_even_asked():
    world = world_of(1)
    assert ask(world) is None and world.grid.asked == []
    assert world.traffic.dropped == {"round_small_cohort": 1} and not world.traffic.sent
    world.cohort = []
    assert ask(world) is None and world.grid.asked == []


def test_negative_sums_and_sums_that_wrap_come_back_right():
    world = world_of(4)
    world.vectors = {n: sign * np.full(P, 60) for n, sign in enumerate((-1, -1, 1, -1), start=1)}
    privacy = QUIET.privacy
    np.testing.assert_allclose(ask(world), -120 * privacy.grid_step / privacy.expected_cohort, rtol=1e-12)


def test_a_vector_that_is_far_too_long_spoils_the_sum_which_is_not_used():
    """No single vector can be read: the bound is on the sum (server/bounds.py)."""
    world = world_of(4)
    world.vectors[4] = 100 * contribution(4)
    assert ask(world) is None and world.traffic.dropped == {"round_too_long": 1}


def test_traffic_counts_messages_and_bytes_of_both_directions():
    world = world_of(5)
    spoil(world, 4, "refusal_2")
    spoil(world, 5, "error")
    traffic, asked = world.traffic, world.grid.asked
    assert ask(world) is not None
    assert traffic.sent == {"train_request": 5, "opinion_request": 2, "sum_request": 2}
    for name, route in (
        ("train_request", "train"),
        ("opinion_request", "query.opinion"),
        ("sum_request", "query.total"),
    ):
        assert traffic.sent_bytes[name] == sum(len(data) for _, at, data in asked if at == route)
    assert traffic.received == {"update": 3, "refusal": 1, "opinion": 2, "seat_sum": 2}
    assert {node for node, route, _ in asked if route == "train"} == {1, 2, 3, 4, 5}
    assert traffic.to_map()["dropped"] == {"refusal_2": 1, "error": 1}


def devices_of(folder, nodes):
    """Real devices who lived 16 days, by node."""
    devices = {}
    for node in nodes:
        device = ready(open_device(folder / str(node), enrolled_profile(number=node)), QUIET)
        for event in event_stream(np.random.default_rng(node), 16):
            device.record(event)
        device.close_until(16)
        devices[node] = device
    return devices


def round_of_devices(folder, nodes):
    """A round over nodes of real devices and two helpers: the mean, and what was counted."""
    federation = federation_of(FakeGrid(nodes), QUIET, folder, helpers_of(2))
    federation.sample = lambda sampling_rate: list(nodes)
    mean = run_round(federation, QUIET, REQUEST, QUIET.updates[0])
    return mean, federation.traffic


def test_real_devices_are_summed(tmp_path):
    """Through the ClientApp as shipped: the noiseless mean is the sum of what each device's update says on its own."""
    devices = devices_of(tmp_path, (11, 12, 13))
    alone = [d.work(QUIET.sha256, THETA).update(THETA, ROUND).view(np.int32).astype(np.int64) for d in devices.values()]
    nodes = {node: device_node(node, device) for node, device in devices.items()}
    mean, traffic = round_of_devices(tmp_path / "server", nodes)
    np.testing.assert_allclose(mean, sum(alone) * QUIET.privacy.grid_step / QUIET.privacy.expected_cohort, rtol=1e-12)
    assert np.linalg.norm(mean) > 0 and traffic.received["update"] == 3 and not traffic.dropped


def test_bad_devices_among_real_ones_cannot_stop_the_round(tmp_path):
    devices = devices_of(tmp_path, range(11, 20))

    def corrupt(node: int):
        honest = device_node(node, devices[node])

        def damaged(message: Message) -> Message:
            reply = honest(message)
            if message.metadata.message_type != "train":
                return reply
            data = bytearray(wire(reply))
            data[node * 97 % len(data)] ^= 0xFF
            return Message(with_wire(bytes(data)), reply_to=message)

        return damaged

    nodes = {node: device_node(node, devices[node]) if node < 14 else corrupt(node) for node in devices}
    mean, traffic = round_of_devices(tmp_path / "server", nodes)
    assert mean is not None and np.isfinite(mean).all()
    assert sum(traffic.dropped.values()) == 6


# ---- the cohort


def cohorts(n_nodes: int, rate: float, n_draws: int) -> np.ndarray:
    """Membership (draws, nodes) over many rounds, from a replayed stream."""
    nodes, entropy = list(range(100, 100 + n_nodes)), replayed_entropy((n_nodes, rate))
    out = np.zeros((n_draws, n_nodes), bool)
    for row in out:
        row[np.array(poisson_cohort(nodes, rate, entropy), int) - 100] = True
    return out


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_each_node_takes_part_on_its_own_with_the_planned_probability(rate):
    n, nodes = full(4000), 30
    drawn = cohorts(nodes, rate, n)
    sigma = math.sqrt(rate * (1 - rate) / n)
    assert (np.abs(drawn.mean(axis=0) - rate) < 5 * sigma).all()
    sizes = np.bincount(drawn.sum(axis=1), minlength=nodes + 1)
    expected = stats.binom.pmf(np.arange(nodes + 1), nodes, rate) * n
    rare = expected < 10
    observed, wanted = (np.append(a[~rare], a[rare].sum()) for a in (sizes, expected))
    assert stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-4
    assert sizes.std() > 0, "the size is random: a fixed-size cohort would not be what is accounted for"
    together = (drawn[:, :-1] & drawn[:, 1:]).mean(axis=0)
    assert (np.abs(together - rate**2) < 5 * math.sqrt(rate**2 * (1 - rate**2) / n)).all(), "pairs are independent"
    again = (drawn[:-1] & drawn[1:]).mean()
    assert abs(again - rate**2) < 5 * math.sqrt(rate**2 / drawn.size) + 1e-9, "rounds are independent"


def test_cohorts_at_the_edges():
    nodes = [3, 7, 9]
    assert poisson_cohort(nodes, 1.0) == nodes
    assert poisson_cohort(nodes, 1.0, lambda n: b"\xff" * n) == nodes
    assert poisson_cohort(nodes, 0.5, lambda n: b"\xff" * n) == []
    assert poisson_cohort(nodes, 1e-9, bytes) == nodes, "the smallest draw is below any rate"
    assert poisson_cohort([], 0.5) == []


def test_two_cohorts_from_the_operating_system_differ():
    nodes = list(range(400))
    assert poisson_cohort(nodes, 0.5) != poisson_cohort(nodes, 0.5)
