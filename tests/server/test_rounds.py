"""One round on the server: who is asked, what is dropped and counted, and what is added up."""

import math

import numpy as np
import pytest
from flwr.app import Message
from scipy import stats

from server.channel import Channel, Traffic
from server.device_nodes import DeviceNodes
from server.rounds import check_update, poisson_cohort
from server.training import run_round
from shared.codec import encode, pack_floats, pack_words
from shared.mechanisms import clip_to_grid
from shared.messages import REGISTER
from shared.network import NetworkSpec
from tests.world.basics import event_stream, full, make_plan, make_profile, open_device, ready, replayed_entropy
from tests.world.fake_grid import SIGNER, FakeGrid, device_node, fails, says, silent, talks_otherwise, wire, with_wire
from tests.world.signing import RUN

THETA = NetworkSpec(27).initial_theta(1)
P = THETA.size
QUIET = make_plan(privacy={"noise_multiplier": 0.0, "population": 40, "sampling_rate": 0.25})
ROUND = 6


def update_bytes(vector: np.ndarray, *, round_number: int = ROUND, sha256: bytes = QUIET.sha256) -> bytes:
    words = (np.asarray(vector, np.int64) & 0xFFFFFFFF).astype(np.uint32)
    fields = {"round": round_number, "plan_sha256": sha256, "values": pack_words(words)}
    return encode(REGISTER, "update", fields)


def contribution(seed: int) -> np.ndarray:
    delta = np.random.default_rng(seed).normal(size=P)
    return clip_to_grid(delta, QUIET.privacy.clip_norm, QUIET.privacy.steps_per_clip)


GOOD = {node: says(update_bytes(contribution(node))) for node in (1, 2, 3)}
BAD = {
    "error": fails,
    "shape": talks_otherwise,
    "undecodable": says(b"\x83"),
    "refusal_2": says(encode(REGISTER, "refusal", {"code": 2})),
    "other_message": says(encode(REGISTER, "alerts", {"step": 20, "alerts": []})),
    "round": says(update_bytes(contribution(9), round_number=ROUND - 1)),
    "plan": says(update_bytes(contribution(9), sha256=bytes(32))),
    "length": says(update_bytes(contribution(9)[:-1])),
    "too_long": says(update_bytes(2 * contribution(9))),
}


class Everybody(DeviceNodes):
    """A cohort without chance."""

    def sample(self, sampling_rate):
        return self._nodes


def ask(nodes, plan=QUIET):
    traffic, grid = Traffic(), FakeGrid(nodes)
    request = {
        "audience": "",
        "run": RUN,
        "step": 20,
        "round": ROUND,
        "plan_sha256": plan.sha256,
        "theta": pack_floats(THETA),
    }
    federation = Everybody(Channel(grid, traffic, SIGNER), list(nodes))
    return run_round(federation, plan, request, plan.updates[0]), traffic, grid


def expected_mean(nodes) -> np.ndarray:
    privacy = QUIET.privacy
    return sum(contribution(n) for n in nodes) * privacy.grid_step / (privacy.sampling_rate * privacy.population)


def test_the_sum_is_divided_by_the_expected_cohort_and_never_by_the_realised_one():
    for nodes in ((1, 2), (1, 2, 3)):
        mean, _, _ = ask({node: GOOD[node] for node in nodes})
        np.testing.assert_allclose(mean, expected_mean(nodes), rtol=1e-12)


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_reply_is_dropped_and_counted_and_the_others_are_summed(reason):
    mean, traffic, _ = ask({**GOOD, 4: BAD[reason]})
    assert traffic.dropped == {reason: 1}
    np.testing.assert_allclose(mean, expected_mean((1, 2, 3)), rtol=1e-12)


def test_all_bad_replies_at_once_change_nothing():
    nodes = {**GOOD, **dict(enumerate(BAD.values(), start=10)), 50: silent}
    mean, traffic, _ = ask(nodes)
    assert traffic.dropped == dict.fromkeys(BAD, 1)
    np.testing.assert_allclose(mean, expected_mean((1, 2, 3)), rtol=1e-12)


def test_a_reply_twice_counts_once():
    def twice(message: Message) -> list[Message]:
        return [GOOD[2](message), says(update_bytes(contribution(8)))(message)]

    mean, traffic, _ = ask({**GOOD, 2: twice})
    assert traffic.dropped == {"twice": 1}
    np.testing.assert_allclose(mean, expected_mean((1, 2, 3)), rtol=1e-12)


def test_what_a_dropped_reply_said_is_kept_nowhere():
    _, traffic, _ = ask({**GOOD, 4: fails, 5: says(b"canary-reply")})
    assert "canary" not in repr(traffic) and "canary" not in str(traffic.to_map())


def test_too_few_survivors_are_not_opened():
    """Their sum would carry less noise than the plan promises."""
    plan = make_plan(privacy={"noise_multiplier": 0.0, "min_survivors": 4, "population": 40, "sampling_rate": 0.25})
    nodes = {n: says(update_bytes(contribution(n), sha256=plan.sha256)) for n in (1, 2, 3)}
    mean, traffic, _ = ask({**nodes, 4: says(update_bytes(contribution(4), sha256=plan.sha256))}, plan)
    assert mean is not None and not traffic.dropped
    for fourth, dropped in ((silent, {}), (fails, {"error": 1}), (says(update_bytes(contribution(4))), {"plan": 1})):
        mean, traffic, _ = ask({**nodes, 4: fourth}, plan)
        assert mean is None
        assert traffic.dropped == {**dropped, "round_few_survivors": 1}


def test_a_cohort_below_min_survivors_is_not_even_asked():
    mean, traffic, grid = ask({1: GOOD[1]})
    assert mean is None and grid.asked == []
    assert traffic.dropped == {"round_small_cohort": 1} and not traffic.sent
    mean, _, grid = ask({})
    assert mean is None and grid.asked == []


def test_negative_sums_and_sums_that_wrap_come_back_right():
    nodes = {n: says(update_bytes(sign * np.full(P, 60))) for n, sign in enumerate((-1, -1, 1, -1))}
    mean, _, _ = ask(nodes)
    privacy = QUIET.privacy
    np.testing.assert_allclose(mean, -120 * privacy.grid_step / privacy.expected_cohort, rtol=1e-12)


def test_check_update_names_the_first_thing_that_does_not_fit():
    (kind,) = QUIET.updates
    vector = np.arange(P, dtype=np.uint32) % 50
    good = {"round": ROUND, "plan_sha256": QUIET.sha256, "values": pack_words(vector)}
    np.testing.assert_array_equal(check_update(good, kind, QUIET, ROUND), vector)
    assert check_update({**good, "round": ROUND + 1}, kind, QUIET, ROUND) == "round"
    assert check_update({**good, "plan_sha256": bytes(32)}, kind, QUIET, ROUND) == "plan"
    for n in (0, 4, 4 * P - 4, 4 * P + 4):
        assert check_update({**good, "values": bytes(n)}, kind, QUIET, ROUND) == "length"
    assert check_update({**good, "values": pack_words(100 * vector)}, kind, QUIET, ROUND) == "too_long"


def test_traffic_counts_messages_and_bytes_of_both_directions():
    mean, traffic, grid = ask({**GOOD, 4: BAD["refusal_2"], 5: fails})
    assert mean is not None
    sizes = [len(data) for _, _, data in grid.asked]
    assert traffic.sent == {"train_request": 5} and traffic.sent_bytes == {"train_request": sum(sizes)}
    assert traffic.received == {"update": 3, "refusal": 1}
    assert traffic.received_bytes["update"] == sum(len(update_bytes(contribution(n))) for n in (1, 2, 3))
    assert {route for _, route, _ in grid.asked} == {"train"}
    assert traffic.to_map()["dropped"] == {"refusal_2": 1, "error": 1}


def test_real_devices_are_summed(tmp_path):
    """Through the ClientApp as shipped: the noiseless mean is the sum of what each device's update says on its own."""
    devices = {}
    for node in (11, 12, 13):
        device = ready(open_device(tmp_path / str(node), make_profile(number=node)), QUIET)
        for event in event_stream(np.random.default_rng(node), 16):
            device.record(event)
        device.close_until(16)
        devices[node] = device
    alone = [d.work(QUIET.sha256, THETA).update(THETA, ROUND).view(np.int32).astype(np.int64) for d in devices.values()]
    mean, traffic, _ = ask({node: device_node(node, device) for node, device in devices.items()})
    np.testing.assert_allclose(mean, sum(alone) * QUIET.privacy.grid_step / QUIET.privacy.expected_cohort, rtol=1e-12)
    assert np.linalg.norm(mean) > 0 and traffic.received == {"update": 3}


def test_one_bad_device_among_real_ones_cannot_stop_the_round(tmp_path):
    def corrupt(node: int):
        device = ready(open_device(tmp_path / str(node), make_profile(number=node)), QUIET)
        honest = device_node(node, device)

        def damaged(message: Message) -> Message:
            data = bytearray(wire(honest(message)))
            data[node % len(data)] ^= 0xFF
            return Message(with_wire(bytes(data)), reply_to=message)

        return damaged

    mean, traffic, _ = ask({**GOOD, **{node: corrupt(node) for node in range(10, 20)}})
    assert mean is not None and np.isfinite(mean).all()
    assert sum(traffic.dropped.values()) == 10


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
