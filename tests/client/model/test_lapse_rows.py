"""What phi is learned from on a device, and the one protected update that leaves it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.device import Device
from client.model.runtime import open_model, pinned_model
from client.model.scorer import Scorer
from client.model.training_rows import LapseRows, lapse_rows
from shared.errors import Refusal, RefusalCode
from shared.features import History, extract
from shared.lapse_risk import N_COEFFICIENTS, READINGS, gradient, readings
from shared.plan import Plan
from tests.world.basics import (
    FEATURES,
    NETWORK,
    activity_theta,
    event_stream,
    full,
    make_plan,
    make_profile,
    make_risk,
    open_device,
    random_history,
    ready,
    replayed_entropy,
    view,
)

RISK = make_risk(history_steps=6, rate_steps=3)
PLAN = make_plan(risk=RISK, detection={"lapse_steps": 4})
BASIS = np.random.default_rng(7).normal(size=(len(READINGS), N_COEFFICIENTS)).astype(np.float32)
COEFFICIENTS = np.array([-0.5, 1.2], np.float32)


def history_of(*active: list[int], n_steps: int) -> History:
    """Categories that were active in these steps."""
    out = np.zeros((len(active), n_steps), bool)
    for c, steps in enumerate(active):
        out[c, steps] = True
    return History(out, out.astype(np.float32), np.zeros(out.shape, np.float32))


def moment(rows: LapseRows, history: History, plan=PLAN) -> list[tuple[int, int]]:
    """(step, category) of each row."""
    last = history.n_steps - 1 - plan.detection.lapse_steps
    first = max(plan.risk.rate_steps, last - plan.risk.history_steps + 1)
    return [(first + s, c) for s, c in np.argwhere(rows.chosen).tolist()]


# ---- rows


def test_rows_and_labels_of_a_history_made_by_hand():
    """24 steps, lapse after 4 quiet ones, so the last step whose label is known is 19; six steps of history: 14 to 19."""
    history = history_of(
        [2, 4, 6, 8, 10, 12, 14],  # lapses after 14: watched while less than 4 steps quiet, 14 to 17
        [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22],  # goes on: watched always, never a lapse
        [6, 10, 12, 14, 16, 18, 20, 22],  # the same, but known for less than a window (12) until 18
        [2, 14],  # too rarely active to be watched
        [],
        n_steps=24,
    )
    rows = lapse_rows(history, PLAN, RISK)
    assert rows.chosen.shape == (6, 5) and "raw" in repr(rows) and len(repr(rows)) < 40
    found = dict(zip(moment(rows, history), rows.y.tolist(), strict=True))
    expected = {(t, 0): 1.0 for t in range(14, 18)} | {(t, 1): 0.0 for t in range(14, 20)}
    expected |= {(t, 2): 0.0 for t in range(18, 20)}
    assert found == expected
    for i, (step, category) in enumerate(moment(rows, history)):
        np.testing.assert_allclose(rows.x[i], extract(history, FEATURES, [step])[0, category], atol=1e-6)
        np.testing.assert_allclose(rows.x_before[i], extract(history, FEATURES, [step - 3])[0, category], atol=1e-6)


def test_a_return_within_the_lapse_steps_is_no_lapse_and_one_after_them_is():
    for gap, lapsed in ((1, 0.0), (4, 0.0), (5, 1.0), (6, 1.0)):
        history = history_of([2, 8, 10, 12, 14, 14 + gap], n_steps=24)
        rows = lapse_rows(history, PLAN, RISK)
        assert dict(zip(moment(rows, history), rows.y, strict=True))[(14, 0)] == lapsed, gap


@given(st.integers(0, 2**32), st.integers(0, 23))
def test_what_came_after_a_row_s_label_was_known_changes_nothing(seed, cut):
    """Rows as of an early step are rows of a later one, bit for bit, whatever happened in between; and what a row is
    described by ends with its step."""
    random = np.random.default_rng(seed)
    one, other = (random_history(random, (2, 3, 24), 0.4) for _ in range(2))
    spliced = History(
        *(
            np.concatenate([getattr(one, k)[..., :cut], getattr(other, k)[..., cut:]], axis=-1)
            for k in ("active", "count", "amount")
        )
    )
    everything = make_risk(history_steps=24, rate_steps=3)
    plan = make_plan(risk=everything, detection={"lapse_steps": 4})
    rows, others = (lapse_rows(history, plan, everything) for history in (one, spliced))
    known = max(cut - 4 - 3, 0)  # steps 3, 4, ... of which step + 4 < cut
    np.testing.assert_array_equal(rows.chosen[:, :known], others.chosen[:, :known])
    described = max(cut - 3, 0)  # steps 3, 4, ... < cut
    np.testing.assert_array_equal(rows.chosen[:, :described], others.chosen[:, :described])

    def of_steps(part: LapseRows, name: str, n: int) -> np.ndarray:
        step = np.nonzero(part.chosen)[1]
        return getattr(part, name)[step < n]

    np.testing.assert_array_equal(of_steps(rows, "y", known), of_steps(others, "y", known))
    for name in ("x", "x_before"):
        np.testing.assert_array_equal(of_steps(rows, name, described), of_steps(others, name, described))


def test_rows_of_many_devices_are_those_of_each():
    history = random_history(np.random.default_rng(3), (4, 3, 30), 0.4)
    together = lapse_rows(history, PLAN, RISK)
    each = [
        lapse_rows(History(*(getattr(history, k)[u] for k in ("active", "count", "amount"))), PLAN, RISK)
        for u in range(4)
    ]
    assert together.chosen.sum() == len(together.y) > 20
    for name in ("x", "x_before", "y"):
        np.testing.assert_array_equal(getattr(together, name), np.concatenate([getattr(rows, name) for rows in each]))


@pytest.mark.parametrize("n_steps", [0, 1, 4, 7])
def test_a_device_of_which_no_lapse_can_be_known_has_no_rows(n_steps):
    history = random_history(np.random.default_rng(0), (3, n_steps), 0.9) if n_steps else History.empty(3)
    rows = lapse_rows(history, PLAN, RISK)
    assert rows.x.shape == rows.x_before.shape == (0, 27) and rows.y.shape == (0,)
    assert rows.chosen.shape == (0, 3)


# ---- the update


def phi_plan(rows: int = 32, **privacy) -> Plan:
    return make_plan(risk=make_risk(privacy=privacy, rate_steps=3, rows=rows), detection={"lapse_steps": 4})


def ask(device: Device, plan, round_number: int = 4) -> np.ndarray:
    words = device.work(plan.sha256, activity_theta()).risk_update(
        activity_theta(), BASIS.ravel(), COEFFICIENTS, round_number
    )
    assert words.shape == (N_COEFFICIENTS,) and words.dtype == np.uint32
    return words.view(np.int32).astype(np.int64)


def lived(device: Device, plan, events, n_steps: int = 24) -> Device:
    for event in events:
        device.record(event)
    device.close_until(n_steps)
    return ready(device, plan)


def test_an_update_is_a_descent_step_on_the_device_s_own_rows(new_device):
    plan = phi_plan(noise_multiplier=0.0, clip_norm=5.0, steps_per_clip=2**20)
    device = lived(new_device(), plan, event_stream(np.random.default_rng(0), 24, 0.3))
    rows = lapse_rows(device._state.history, plan, plan.risk)
    assert 8 < len(rows.y) <= 32, "fewer than the plan takes: all of them, by the same divisor"
    scorer = Scorer(open_model(pinned_model()), activity_theta())
    read = readings(FEATURES, rows.x, scorer.score(rows.x), scorer.score(rows.x_before))
    slope = gradient(BASIS, COEFFICIENTS, read, rows.y, np.full(len(rows.y), 1 / 32, np.float32))
    np.testing.assert_allclose(ask(device, plan) * plan.risk.privacy.grid_step, -slope, atol=1e-5)
    assert np.abs(slope).max() > 0.01


def test_more_rows_than_the_plan_takes_are_drawn_anew_in_every_round(new_device):
    plan = phi_plan(rows=4, noise_multiplier=0.0, clip_norm=5.0)
    device = lived(new_device(), plan, event_stream(np.random.default_rng(0), 24, 0.5))
    assert len(lapse_rows(device._state.history, plan, plan.risk).y) > 8
    assert (ask(device, plan, 4) == ask(device, plan, 4)).all()
    assert len({tuple(ask(device, plan, r)) for r in range(1, 9)}) > 1


LIVES = {"no event ever": [], "one view": [view(3)], "busy": event_stream(np.random.default_rng(2), 24, 0.5)}


def test_a_device_without_rows_or_whose_work_fails_gives_noise_alone_in_everybody_s_form(new_device, monkeypatch):
    plan = phi_plan(noise_multiplier=0.5)
    devices = {
        name: lived(new_device(entropy=replayed_entropy("same")), plan, events) for name, events in LIVES.items()
    }
    words = {name: ask(device, plan) for name, device in devices.items()}
    np.testing.assert_array_equal(words["no event ever"], words["one view"])
    assert (words["busy"] != words["one view"]).any() and all(w.all() for w in words.values()), "noise everywhere"

    def failing(*_):
        raise FloatingPointError("canary")

    for instead in (failing, lambda *_: np.full(2, np.nan, np.float32), lambda *_: np.full(2, np.inf, np.float32)):
        with monkeypatch.context() as patch:
            patch.setattr("client.model.updates.gradient", instead)
            device = lived(new_device(entropy=replayed_entropy("same")), plan, LIVES["busy"])
            np.testing.assert_array_equal(ask(device, plan), words["one view"])
            assert device.problems["training"] == (instead is failing)


def test_the_noise_share_of_phi_is_its_own_plan_s(new_device):
    quiet, noisy = phi_plan(noise_multiplier=0.0), phi_plan(noise_multiplier=3.0)
    device = lived(new_device(entropy=replayed_entropy("phi")), quiet, LIVES["busy"])
    exact = ask(device, quiet)
    ready(device, noisy)
    n = full(400)
    noise = np.stack([ask(device, noisy) for _ in range(n)]) - exact
    sigma = noisy.risk.privacy.share_sigma
    assert sigma != noisy.privacy.share_sigma
    assert abs(noise.mean()) < 5 * sigma / math.sqrt(noise.size)
    assert abs(noise.var() / sigma**2 - 1) < 5 * math.sqrt(2 / noise.size)


def test_requests_under_another_plan_or_of_another_size_are_refused(new_device):
    plan, without = phi_plan(), make_plan()
    theta, basis = activity_theta(), BASIS.ravel()
    device = new_device()
    with pytest.raises(Refusal) as refused:
        device.work(plan.sha256, theta).risk_update(theta, basis, COEFFICIENTS, 1)
    assert refused.value.code is RefusalCode.PLAN_MISMATCH
    ready(device, plan)
    assert device.work(plan.sha256, theta).risk_update(theta, basis, COEFFICIENTS, 1).shape == (2,)
    for wrong in (
        (without.sha256, theta, basis, COEFFICIENTS),
        (plan.sha256, theta[:-1], basis, COEFFICIENTS),
        (plan.sha256, theta, basis[:-1], COEFFICIENTS),
        (plan.sha256, theta, np.append(basis, basis), COEFFICIENTS),
        (plan.sha256, theta, basis, COEFFICIENTS[:1]),
        (plan.sha256, theta, basis, np.append(COEFFICIENTS, COEFFICIENTS)),
    ):
        with pytest.raises(Refusal) as refused:
            device.work(*wrong[:2]).risk_update(*wrong[1:], 1)
        assert refused.value.code is RefusalCode.PLAN_MISMATCH
    ready(device, without)
    with pytest.raises(Refusal) as refused:
        device.work(without.sha256, theta).risk_update(theta, basis, COEFFICIENTS, 1)
    assert refused.value.code is RefusalCode.PLAN_MISMATCH


@pytest.mark.parametrize("size", [1, len(READINGS) - 1, len(READINGS) + 1])
def test_weights_of_phi_of_another_size_are_refused_and_nothing_changes(new_device, size):
    plan = phi_plan()
    device = ready(new_device(), plan, risk=np.ones(len(READINGS), np.float32))
    with pytest.raises(Refusal) as refused:
        ready(device, plan, NETWORK.initial_theta(1), 5, np.ones(size, np.float32))
    assert refused.value.code is RefusalCode.PLAN_REFUSED
    assert device._state.installed.round_number == 0


def test_weights_of_phi_are_kept(tmp_path):
    weights = np.linspace(-1, 1, len(READINGS)).astype(np.float32)
    ready(open_device(tmp_path, make_profile()), phi_plan(), round_number=3, risk=weights).close()
    with open_device(tmp_path) as device:
        np.testing.assert_array_equal(device._state.installed.risk, weights)
