"""Light, empty, zero, huge and not-finite contributions: the round goes on, and the reply's form is everybody's."""

import numpy as np
import pytest

from client.answers import answer
from client.device import Device
from client.model import updates
from client.model.trainer import LocalTrainer
from server.channel import Traffic
from server.rounds import open_sum
from shared.codec import decode, pack_floats
from shared.events import Step
from shared.messages import REGISTER
from shared.network import NetworkSpec
from shared.secure_sum.assembly import sent_bytes
from shared.secure_sum.epoch import unverified
from tests.world.basics import (
    NOW_STEP,
    event_stream,
    make_plan,
    make_profile,
    open_device,
    ready,
    replayed_entropy,
    view,
)
from tests.world.enrolled import ENROLMENT_KEY, keep, opened_sum, opened_update, signed_epoch
from tests.world.signing import RUN, SEATED, signed_request

PLAN = make_plan(privacy={"noise_multiplier": 0.5})
THETA = NetworkSpec(27).initial_theta(1)
P = THETA.size
NOW_S = float(NOW_STEP * Step.DAY.seconds)


def overflowing(trainer, theta, work):
    raise FloatingPointError("canary")


#: What local training gives instead of a delta.
TRAININGS = {
    "not a number": lambda *_: np.full(P, np.nan),
    "one not a number": lambda *_: np.where(np.arange(P) == 3, np.nan, 0.1),
    "infinite": lambda *_: np.full(P, np.inf),
    "huge": lambda *_: np.full(P, 1e308),
    "all zero": lambda *_: np.zeros(P),
    "all on one weight": lambda *_: np.where(np.arange(P) == 7, 1e6, 0.0),
    "failing": overflowing,
}
#: How long a device lived, and what happened.
LIVES = {
    "no event ever": (0, []),
    "one step": (1, [view(0)]),
    "no label yet": (2, [view(0), view(1)]),
    "light": (20, [view(8)]),
    "busy": (20, event_stream(np.random.default_rng(2), 20, 0.9)),
}


@pytest.fixture
def population(tmp_path, monkeypatch) -> dict[int, Device]:
    """One device per kind of contribution; node i holds device i."""
    train = LocalTrainer.raw_delta
    by_theta: dict[int, object] = {}
    devices = []
    for n_steps, events in LIVES.values():
        device = open_device(tmp_path / str(len(devices)), make_profile(number=len(devices)))
        for event in events:
            device.record(event)
        device.close_until(n_steps)
        devices.append(ready(device, PLAN))
    for instead in TRAININGS.values():
        device = open_device(tmp_path / str(len(devices)), make_profile(number=len(devices)))
        by_theta[device.profile.number] = instead
        device.record(view(0))
        device.close_until(10)
        devices.append(ready(device, PLAN))

    current = {}
    batches = updates.batches

    def whose(x, y, plan, round_number, number):
        current["number"] = number
        return batches(x, y, plan, round_number, number)

    def raw_delta(trainer, theta, work):
        return by_theta.get(current["number"], train)(*(trainer, theta, work))

    monkeypatch.setattr(updates, "batches", whose)
    monkeypatch.setattr(LocalTrainer, "raw_delta", raw_delta)
    return {node: device for node, device in enumerate(devices, start=1)}


REQUEST = {
    "audience": "",
    "run": RUN,
    "step": 30,
    "round": 4,
    "plan_sha256": PLAN.sha256,
    "theta": pack_floats(THETA),
} | SEATED


def test_every_contribution_leaves_in_the_same_form(population):
    data = signed_request("train_request", REQUEST)
    names = [*LIVES, *TRAININGS]
    lengths = set()
    for name, device in zip(names, population.values(), strict=True):
        out = answer(device, data, "train_request")
        kind, fields = decode(REGISTER, out)
        assert kind == "update", name
        assert (fields["round"], fields["plan_sha256"]) == (4, PLAN.sha256), name
        assert len(fields["sealed"]) == sent_bytes(PLAN.sum, PLAN.updates[0]), name
        values = opened_update(device, data, out)
        assert values.size == P and np.count_nonzero(values) > 0.9 * P, f"{name}: noise on every coordinate"
        lengths.add(len(out))
    assert len(lengths) == 1


def test_the_null_contributions_are_noise_alone(population):
    """With the same entropy, no rows, zero, NaN, infinity and a failure give the very same words."""
    null = [
        "no event ever",
        "one step",
        "no label yet",
        "not a number",
        "one not a number",
        "infinite",
        "all zero",
        "failing",
    ]
    words = {}
    for name, device in zip([*LIVES, *TRAININGS], population.values(), strict=True):
        device._entropy = replayed_entropy("same")
        words[name] = device.work(PLAN.sha256, THETA).update(THETA, 4)
    for name in null[1:]:
        np.testing.assert_array_equal(words[name], words[null[0]], err_msg=name)
    for name in ("light", "busy", "huge", "all on one weight"):
        assert (words[name] != words[null[0]]).any(), name


def test_a_round_of_such_contributions_is_a_round(population):
    traffic, data = Traffic(), signed_request("train_request", {**REQUEST, "epoch": 2})
    drawn = {node: device.gate.members.drawn(2) for node, device in population.items()}
    own = [members.members[-1] for members in drawn.values()]
    signed = signed_epoch([member.leaf for member in own], NOW_S, 2)
    sent = {}
    for (node, device), member in zip(population.items(), own, strict=True):
        keep(device, drawn[node].joined(signed, ENROLMENT_KEY, "", NOW_S)[0])
        name, sent[member.leaf] = decode(REGISTER, answer(device, data))
        assert name == "update"
    words = opened_sum(PLAN, data, unverified(signed), sent)
    mean = open_sum((words & 0xFFFFFFFF).astype(np.uint32), len(sent), PLAN.privacy, traffic)
    assert mean is not None and np.isfinite(mean).all() and not traffic.dropped
    noise = PLAN.privacy.share_sigma * PLAN.privacy.grid_step * np.sqrt(len(population) * P)
    bound = (len(population) * PLAN.privacy.clip_norm + 1.5 * noise) / PLAN.privacy.expected_cohort
    assert np.linalg.norm(mean) <= bound
