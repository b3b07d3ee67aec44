"""A device and its heads: it takes those that its plan names, answers what they are learned from, and warns by them."""

from dataclasses import replace

import numpy as np
import pytest

from client.answers import answer
from client.detection.risk_levels import Direction
from client.model.training_rows import draw, generator, head_rows
from client.privacy.caps import Caps, LedgerLine
from client.privacy.ledger import LIFETIME
from client.vault.consent import Consent
from shared.codec import decode, pack_floats
from shared.errors import RefusalCode
from shared.features import History, established, extract, labels, quiet, seen, taken_up
from shared.heads import TASKS, HeadRows, Heads, curvature_vectors, pair_shares, update_vectors
from shared.heads.inputs import input_names
from shared.messages import REGISTER
from tests.world.basics import N_CATEGORIES, event_stream, make_plan, make_profile, make_risk, open_device, ready, view
from tests.world.enrolled import opened_update
from tests.world.heads import heads_plan, make_heads, make_start
from tests.world.signing import RUN, signed_request

STEPS = 40
START = make_start(heads_plan().network)
HEADS = make_heads(START, privacy={"noise_multiplier": 0.0, "steps_per_clip": 1 << 16})
PLAN = heads_plan(heads=HEADS)
POPULARITY = np.linspace(-1, 1, N_CATEGORIES).astype(np.float32)
BASIS = np.random.default_rng(1).normal(0, 0.2, (2, 28, 28)).astype(np.float32)
AT = np.random.default_rng(2).normal(0, 0.2, (2, 28)).astype(np.float32)


@pytest.fixture
def living(tmp_path):
    def live(plan=PLAN, **arguments):
        device = open_device(tmp_path / "device", make_profile(Consent.IDENTIFIED), **arguments)
        assert device.catch_up(event_stream(np.random.default_rng(3), STEPS), STEPS)
        return ready(device, plan)

    return live


def offer(plan=PLAN, start=START, number=0, time_s=None, **changed):
    fields = {
        "step": STEPS,
        "round": number,
        "plan_sha256": plan.sha256,
        "start": start.to_bytes(),
        "popularity": pack_floats(POPULARITY),
        "weights": pack_floats(start.weights.ravel()),
        **changed,
    }
    return signed_request("heads_offer", fields, **({} if time_s is None else {"time_s": time_s}))


def ask(name, plan=PLAN, **changed):
    part = [kind.request for kind in plan.updates].index(name)
    number = plan.first_round(part) + 1
    return signed_request(name, {"step": STEPS, "round": number, "plan_sha256": plan.sha256, **changed})


def asked_for_an_update():
    return ask("head_request", basis=pack_floats(BASIS.ravel()), coefficients=pack_floats(AT.ravel()))


def refusal(reply):
    name, fields = decode(REGISTER, reply)
    return RefusalCode(fields["code"]) if name == "refusal" else None


def told(device, request, privacy):
    return opened_update(device, request, answer(device, request)) * privacy.grid_step


def rows_of(device, number):
    """Each head's rows of a round, from the whole history."""
    heads, history, spec = device._state.installed.heads, device._state.history, PLAN.heads.features
    last, out = history.n_steps - 1 - 8, []
    for task, head in zip(TASKS, HEADS.heads, strict=True):
        steps = np.arange(last - head.history_steps + 1, last + 1)
        watched = established(history, steps, window_steps=spec.window_steps, min_active=3, lapse_steps=8)
        chosen = watched if task == "lapse" else quiet(history, steps, spec.window_steps)
        turn = ~labels(history, steps, 8) if task == "lapse" else taken_up(history, steps, 8)
        x, category = extract(history, spec, steps)[chosen], np.nonzero(chosen)[-1]
        rows = head_rows(history, PLAN, head, task)
        np.testing.assert_array_equal(rows.x, x)
        np.testing.assert_array_equal(rows.y, turn[chosen])
        picks = draw(len(x), 1, head.rows, generator(PLAN.training.seed, number, device.profile.number))[0]
        picks = picks[picks >= 0]
        z = heads.inputs(spec, device._state.installed.score, x[picks], POPULARITY[category[picks]])
        out.append(HeadRows(z, turn[chosen][picks].astype(np.float32), np.ones(len(picks), np.float32)))
    return out


def test_what_heads_are_learned_from_is_what_its_rows_say_and_is_charged(living):
    device = living()
    shares = told(device, ask("crowd_request"), HEADS.crowd)
    np.testing.assert_allclose(shares, pair_shares(device._state.history.active, N_CATEGORIES), atol=1e-4)
    assert refusal(answer(device, offer())) is None
    number = PLAN.first_round(2) + 1
    rows = rows_of(device, number)
    assert all(len(part.y) == head.rows for part, head in zip(rows, HEADS.heads, strict=True)), "a draw of them"
    shown = told(device, ask("curvature_request"), HEADS.curvature)
    np.testing.assert_allclose(shown, curvature_vectors(HEADS, rows, START.weights), atol=1e-3)
    rows = rows_of(device, PLAN.first_round(3) + 1)
    learned = told(device, asked_for_an_update(), HEADS.updates)
    np.testing.assert_allclose(learned, update_vectors(HEADS, rows, START.weights, BASIS, AT), atol=1e-3)
    assert 0.1 < np.linalg.norm(learned) <= 1.001 and not device.problems
    assert [device.gate.ledger.releases[LedgerLine(kind.reply)] for kind in PLAN.updates] == [0, 1, 1, 1]


def test_each_answer_is_paid_for_on_a_line_of_its_own(living):
    noise = {"noise_multiplier": 8.0, "steps_per_clip": 1024}
    noisy = heads_plan(heads=make_heads(START, privacy=noise), privacy=noise)
    device = living(noisy, caps=Caps())
    for request in (ask("crowd_request", noisy), offer(noisy), ask("curvature_request", noisy)):
        assert refusal(answer(device, request)) is None
    for line in ("crowd", "curvature"):
        assert 0 < device.gate.ledger.epsilon(LIFETIME, LedgerLine(line)) < 1
    assert device.gate.ledger.epsilon(LIFETIME, LedgerLine("head_update")) == 0
    assert refusal(answer(device, ask("curvature_request", noisy, run=RUN, step=STEPS))) is None, (
        "asked again: the same bytes"
    )
    assert device.gate.ledger.releases[LedgerLine.CURVATURE] == 1


def test_only_the_heads_that_the_plan_names_are_taken(living, tmp_path):
    device, other = living(), make_start(PLAN.network, 9)
    nan = pack_floats(np.full(56, 1, np.float32))
    wrong = [
        offer(start=other),
        offer(start=START, popularity=pack_floats(POPULARITY[:-1])),
        offer(weights=pack_floats(np.zeros(55, np.float32))),
        offer(plan=heads_plan(training={"rows": 17})),
        signed_request(
            "heads_offer",
            {
                "step": STEPS,
                "round": 0,
                "plan_sha256": PLAN.sha256,
                "start": START.to_bytes()[:-4],
                "popularity": pack_floats(POPULARITY),
                "weights": nan,
            },
        ),
    ]
    for request in wrong:
        assert refusal(answer(device, request)) is RefusalCode.PLAN_MISMATCH
    assert device._state.installed.heads is None
    for request in (ask("curvature_request"), asked_for_an_update()):
        assert refusal(answer(device, request)) is RefusalCode.PLAN_MISMATCH, "no heads, no work on them"
    assert device.gate.ledger.releases[LedgerLine.CURVATURE] == 0, "and nothing is charged"
    assert refusal(answer(device, offer(run=RUN + 1))) is RefusalCode.PLAN_MISMATCH
    plain = ready(open_device(tmp_path / "plain", make_profile()), make_plan(risk=make_risk()))
    for request in (offer(make_plan(risk=make_risk())), signed_request("crowd_request", {
        "step": STEPS, "round": 1, "plan_sha256": make_plan(risk=make_risk()).sha256})):  # fmt: skip
        assert refusal(answer(plain, request)) is RefusalCode.PLAN_MISMATCH


@pytest.mark.parametrize("form", [(BASIS[:1], AT), (BASIS, AT[:1]), (BASIS.ravel()[:-1], AT)])
def test_a_basis_of_another_form_is_refused_before_it_costs(living, form):
    device = living()
    assert refusal(answer(device, offer())) is None
    basis, at = (pack_floats(np.ravel(part)) for part in form)
    reply = answer(device, ask("head_request", basis=basis, coefficients=at))
    assert refusal(reply) is RefusalCode.PLAN_MISMATCH
    assert device.gate.ledger.releases[LedgerLine.HEADS] == 0


def test_heads_stay_over_a_restart_and_a_newer_theta_and_go_with_the_plan(living, tmp_path):
    device = living()
    assert refusal(answer(device, offer())) is None
    expected = device._state.read(device._state.installed, STEPS - 1)
    device.close()
    device = open_device(tmp_path / "device", make_profile(Consent.IDENTIFIED))
    kept = device._state.installed
    np.testing.assert_array_equal(kept.heads.weights, START.weights)
    np.testing.assert_array_equal(device._state.read(kept, STEPS - 1), expected)
    device.install(PLAN, b"", kept.theta * np.float32(0.5), kept.risk, 1)
    assert device._state.installed.heads is not None
    device.install(heads_plan(training={"rows": 17}), b"", kept.theta, kept.risk, 2)
    assert device._state.installed.heads is None


def test_heads_only_move_forward(living):
    device = living()
    later = offer(time_s=1_000_000, weights=pack_floats(AT.ravel()))
    assert refusal(answer(device, offer(time_s=10))) is None and refusal(answer(device, later)) is None
    assert refusal(answer(device, offer(time_s=10))) is RefusalCode.STALE
    np.testing.assert_array_equal(device._state.installed.heads.weights, AT)
    assert refusal(answer(device, later)) is None, "the very same one is there already"


def test_that_heads_were_offered_is_known_as_soon_as_they_are_there(living, tmp_path, monkeypatch):
    """A device that was killed before it could answer takes no earlier offer afterwards."""
    device = living()
    assert refusal(answer(device, offer(time_s=10))) is None

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(device.gate), "release", killed)
        answer(device, offer(time_s=1_000_000, weights=pack_floats(AT.ravel())))
    device.close()
    with open_device(tmp_path / "device", make_profile(Consent.IDENTIFIED)) as again:
        np.testing.assert_array_equal(again._state.installed.heads.weights, AT)
        assert refusal(answer(again, offer(time_s=10))) is RefusalCode.STALE


def telling(names, lapse, takeoff, constant):
    weights = np.zeros((2, 28), np.float32)
    for task, parts in enumerate((lapse, takeoff)):
        for name, weight in parts.items():
            weights[task, names.index(name)] = weight
    weights[:, -1] = constant
    return weights


@pytest.mark.parametrize("line", [0.25, 1.0, None])
def test_falls_and_rises_are_called_by_the_chances_at_their_lines(tmp_path, line):
    """An interest that stops, and one that is taken up; at a line of 1 no rise is shown, and without one p does not stand in."""
    names = input_names(PLAN.heads.features)
    weights = telling(names, {"log_recency": 8}, {"average_4": 20}, (0, -3))
    start = replace(START, weights=weights)
    plan = heads_plan(start, detection={"takeoff_line": line, "rise_level": 1.0})
    device = open_device(tmp_path / "device", make_profile(Consent.IDENTIFIED))
    ready(device, plan)
    assert refusal(answer(device, offer(plan, start))) is None
    raised = []
    for step in range(60):
        if step < 30:
            device.record(view(step, 0))
        if step in (2, 48, 49):
            device.record(view(step, 1))
        device.close_until(step + 1)
    raised = {(alert.direction, alert.category) for alert in device.alerts()}
    assert (Direction.FALL, 0) in raised and (Direction.FALL, 1) not in raised
    assert ((Direction.RISE, 1) in raised) == (line == 0.25)
    late_rises = {alert.category for alert in device.alerts() if alert.direction is Direction.RISE and alert.step > 10}
    assert late_rises <= {1}, "the other one is not quiet until it has stopped"


def test_chances_are_those_of_the_interests_they_are_for(living):
    device = living()
    assert refusal(answer(device, offer())) is None
    history, step = device._state.history, STEPS - 1
    p, lapse, takeoff = device._state.read(device._state.installed, step)
    known = seen(history, [step])[0]
    np.testing.assert_array_equal(np.isnan(lapse), ~known)
    np.testing.assert_array_equal(np.isnan(takeoff), ~quiet(history, [step], PLAN.features.window_steps)[0])
    x = extract(history, PLAN.heads.features, [step])[0]
    expected = Heads(START, POPULARITY, START.weights).read(PLAN.heads.features, device._state.installed.score, x)
    np.testing.assert_allclose(lapse[known], expected[0][known], atol=1e-6)
    assert np.isfinite(p[known]).all()


def test_what_is_answered_has_the_same_form_for_who_did_nothing(living, tmp_path):
    device = living()
    empty = ready(open_device(tmp_path / "empty", make_profile(Consent.IDENTIFIED)), PLAN)
    assert History.empty(N_CATEGORIES).n_steps == empty._state.history.n_steps
    for request in (ask("crowd_request"), offer(), ask("curvature_request"), asked_for_an_update()):
        ours, theirs = (decode(REGISTER, answer(one, request)) for one in (device, empty))
        assert ours[0] == theirs[0] != "refusal"
        assert {name: len(value) for name, value in ours[1].items() if isinstance(value, bytes)} == {
            name: len(value) for name, value in theirs[1].items() if isinstance(value, bytes)
        }
    assert not empty.problems


def test_devices_of_both_kinds_of_plan_live_side_by_side(living, tmp_path):
    """A server that has not moved on yet and one that has: each device is whole under its own, and takes the other's over."""
    old = ready(open_device(tmp_path / "old", make_profile(Consent.IDENTIFIED)), make_plan(risk=make_risk()))
    new = living()
    assert refusal(answer(new, offer())) is None
    for step in range(STEPS, STEPS + 5):
        for device in (old, new):
            assert device.record(view(step, step % N_CATEGORIES))
            assert device.close_until(step + 1)
    for device in (old, new):
        assert np.isfinite(device._state.p).any() and not device.problems
    old.install(PLAN, b"", new._state.installed.theta, new._state.installed.risk, 1)
    assert refusal(answer(old, offer())) is None and old._state.installed.heads is not None
    new.install(make_plan(risk=make_risk()), b"", make_plan().network.initial_theta(0), np.empty(0, np.float32), 1)
    assert new._state.installed.heads is None and not new.problems
