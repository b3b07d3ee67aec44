"""A device's part in sums that train nothing: what it sends is what it knows, clipped; who did not agree sends nothing."""

import math

import numpy as np
import pytest

from client.answers import answer
from client.detection.alerts import NOT_TAKEN, Alert
from client.detection.policy import Intervention, Segment
from client.detection.risk_levels import Direction, RiskLevel
from client.model.recipes import bins_of
from client.model.training_rows import draw, generator, labelled_rows
from client.privacy.caps import Caps, LedgerLine
from client.privacy.ledger import LIFETIME
from client.vault.consent import Consent
from shared.codec import decode
from shared.errors import RefusalCode
from shared.messages import REGISTER
from shared.register.recipes import N_BINS, SCORE_WEIGHTS_CENTI
from tests.world.basics import event_stream, make_plan, make_profile, open_device, ready
from tests.world.enrolled import opened_update
from tests.world.queries import counts, evaluation
from tests.world.signing import signed_request

STEP, FIRST = 29, 4
PLAN = make_plan(queries=(evaluation(), counts()))
WEIGHTS = np.array(SCORE_WEIGHTS_CENTI) / 100


@pytest.fixture
def living(tmp_path, rng):
    def live(plan=PLAN, consent=Consent.SUMMED, steps=STEP + 1, **arguments):
        device = open_device(tmp_path / "device", make_profile(consent), **arguments)
        assert device.catch_up(event_stream(rng, steps), steps)
        return ready(device, plan)

    return live


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def ask(name, number, plan=PLAN, **changed):
    fields = {"step": STEP, "round": number, "plan_sha256": plan.sha256, "model_round": 0, **changed}
    return signed_request(f"{name}_request", fields)


def refusal(reply):
    name, fields = decode(REGISTER, reply)
    return RefusalCode(fields["code"]) if name == "refusal" else None


def test_a_private_evaluation_counts_the_rows_that_a_round_would_train_on(living):
    device = living()
    request = ask("evaluation", FIRST)
    told = opened_update(device, request, answer(device, request)) * PLAN.queries[0].privacy.grid_step
    state = device._state
    x, y = labelled_rows(state.history, PLAN.features, PLAN.horizon_steps, 10)
    assert 0 < len(x) <= 64 and 0 < y.mean() < 1
    expected = np.zeros((2, N_BINS))
    np.add.at(expected, (y.astype(int), bins_of(state.installed.scorer.score(x))), 1.0)
    assert told.reshape(2, N_BINS) == pytest.approx(expected * WEIGHTS, abs=0.01)


def test_of_more_rows_than_a_query_takes_it_draws_as_many(living):
    plan = make_plan(queries=(evaluation(rows=5),))
    device = living(plan)
    request = ask("evaluation", FIRST, plan)
    told = opened_update(device, request, answer(device, request)) * plan.queries[0].privacy.grid_step
    rows = told.reshape(2, N_BINS) / WEIGHTS
    assert rows.sum() == pytest.approx(5, abs=0.05)
    x, y = labelled_rows(device._state.history, plan.features, plan.horizon_steps, 10)
    picks = draw(len(x), 1, 5, generator(plan.training.seed, FIRST, device.profile.number))[0]
    assert rows[1].sum() == pytest.approx(y[picks].sum(), abs=0.05)


def test_alerts_are_counted_since_the_last_count_by_category_direction_and_level(living):
    device = living()
    before = device._state.alerts
    seen = Segment(0), Intervention(0)
    raised = [(0, 1, 2, STEP), (0, 1, 2, STEP - 4), (1, 3, 0, STEP - 1), (1, 3, 0, STEP - 5), (0, 0, 0, STEP + 1)]
    device._keep_alerts([(Alert(Direction(d), c, RiskLevel(n), at, 0, *seen), NOT_TAKEN) for d, c, n, at in raised])
    request = ask("alert_counts", FIRST + 4)
    told = opened_update(device, request, answer(device, request)) * PLAN.queries[1].privacy.grid_step
    expected = np.zeros((4, 2, 3))
    expected[1, 0, 2], expected[3, 1, 0] = 2, 1
    assert told.reshape(4, 2, 3) == pytest.approx(expected, abs=0.01)
    assert len(before) == 0 and len(device.alerts()) == len(raised), "a count takes no alert away"


def test_what_is_sent_is_clipped_and_a_device_without_rows_sends_a_vector_like_any_other(living, tmp_path):
    plan = make_plan(queries=(evaluation(clip_norm=1.0, noise_multiplier=1.0, steps_per_clip=4096),))
    device = living(plan)
    request = ask("evaluation", FIRST, plan)
    told = opened_update(device, request, answer(device, request))
    privacy = plan.queries[0].privacy
    most = privacy.steps_per_clip + privacy.share_sigma * (math.sqrt(2 * N_BINS) + 6)
    assert 0 < np.linalg.norm(told) < most
    with ready(open_device(tmp_path / "new", make_profile(Consent.SUMMED)), plan) as new:
        nothing = opened_update(new, request, answer(new, request))
        assert nothing.shape == told.shape and 0 < np.linalg.norm(nothing) < most


def test_each_answer_is_charged_once_and_asked_again_is_the_same(living):
    plan = make_plan(queries=(evaluation(noise_multiplier=2.0, steps_per_clip=4096),))
    device = living(plan)
    first = answer(device, ask("evaluation", FIRST, plan))
    spent = device.gate.ledger.epsilon(LIFETIME, LedgerLine("evaluation"))
    assert refusal(first) is None and 0 < spent < math.inf
    assert answer(device, ask("evaluation", FIRST, plan)) == first
    assert device.gate.ledger.releases[LedgerLine("evaluation")] == 1
    assert device.gate.ledger.epsilon(LIFETIME, LedgerLine("evaluation")) == spent
    assert refusal(answer(device, ask("evaluation", FIRST, plan, step=STEP - 5))) is RefusalCode.STALE
    assert refusal(answer(device, ask("evaluation", FIRST + 1, plan, step=STEP - 5))) is None


@pytest.mark.parametrize("consent", Consent)
def test_only_who_agreed_answers(living, consent):
    device = living(consent=consent)
    assert refusal(answer(device, ask("evaluation", FIRST))) == (
        RefusalCode.CONSENT if consent is Consent.LOCAL else None
    )
    assert device.gate.ledger.releases[LedgerLine("evaluation")] == (consent is not Consent.LOCAL)


def test_who_takes_consent_back_sends_it_no_more(living):
    device = living()
    request = ask("evaluation", FIRST)
    assert refusal(answer(device, request)) is None
    assert device.consent(Consent.LOCAL) is Consent.LOCAL
    assert refusal(answer(device, request)) is RefusalCode.CONSENT


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"step": STEP - 1}, RefusalCode.SCHEDULE),
        ({"model_round": 1}, RefusalCode.PLAN_MISMATCH),
        ({"plan_sha256": bytes(32)}, RefusalCode.PLAN_MISMATCH),
        ({"epoch": 2}, RefusalCode.EPOCH),
    ],
    ids=str,
)
def test_what_the_plan_does_not_say_is_refused_and_costs_nothing(living, changed, code):
    device = living()
    assert refusal(answer(device, ask("evaluation", FIRST, **changed))) is code
    assert device.gate.ledger.releases[LedgerLine("evaluation")] == 0


def test_a_plan_without_the_query_is_asked_in_vain(living):
    plan = make_plan(queries=(counts(),))
    assert refusal(answer(living(plan), ask("evaluation", FIRST, plan))) is RefusalCode.PLAN_MISMATCH


def test_an_owner_who_pays_for_no_query_still_takes_the_plan_and_declines_the_query(living):
    noisy = make_plan(
        queries=(evaluation(noise_multiplier=0.1, steps_per_clip=2**16),),
        privacy={"noise_multiplier": 8.0, "steps_per_clip": 2048},
    )
    device = living(noisy, caps=Caps(clip_norm=1.0))
    assert refusal(answer(device, ask("evaluation", FIRST, noisy))) in (
        RefusalCode.LIFETIME_BUDGET,
        RefusalCode.PERIOD_BUDGET,
    )
