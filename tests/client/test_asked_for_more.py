"""A server that asks for more than was agreed, or that is not the server: refused, each with its own code, in the
journal, and nothing is spent. Through bytes, on a real device with the default caps."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from client.answers import open_and_answer
from client.device import Device
from client.model.installed import expect_bounds
from client.privacy.alert_bit import own_schedule
from client.privacy.caps import DEFAULT_LINES, Cap, Caps, LedgerLine
from client.vault.consent import Consent
from shared.codec import decode, encode, pack_floats
from shared.envelope import wrap
from shared.errors import ConfigError, Refusal, RefusalCode
from shared.events import Catalogue, Step
from shared.features import FeatureSpec
from shared.lapse_risk import N_COEFFICIENTS
from shared.messages import REGISTER, SIGNED
from shared.plan import Plan
from shared.rdp import epsilon, update_cost
from simulations.scenarios.config import PLANTED_PROTOCOL, load_scenario
from tests.world.basics import activity_theta, make_plan, make_profile, make_risk, open_device, ready, view
from tests.world.client_requests import COEFFICIENTS
from tests.world.enrolled import OTHER_ENROLLER, others, signed_epoch
from tests.world.signing import ASKED_AT_S, OTHER_PRIVATE_KEY, PRIVATE_KEY, RUN, SEATED, body_of, signed
from tests.world.spellings import spelled, value_of

CAPS = Caps()
SAFE = {"noise_multiplier": 4.0, "population": 64, "min_survivors": 32}
PHI = {"noise_multiplier": 6.0, "population": 64, "min_survivors": 32}
PLAN = make_plan(privacy=SAFE, risk=make_risk(privacy=PHI))
THETA = pack_floats(activity_theta())
OWN = own_schedule(CAPS, Step.DAY.seconds)
STEP = OWN.every_steps - 1
ROUND = {"audience": "", "run": RUN, "step": 3, "round": 1, "plan_sha256": PLAN.sha256, "theta": THETA, **SEATED}
BIT = {"audience": "", "step": STEP, "epsilon_micro": OWN.epsilon_micro, "every_steps": OWN.every_steps}
QUERY = body_of("alerts_query", {"step": 3})


def offer(plan: Plan, /, **changes) -> bytes:
    fields = {"step": 3, "round": 1, "plan": plan.canonical, "model": b"", "theta": THETA, "risk": b""}
    return signed(body_of("model_offer", {**fields, **changes}))


def counting_on(plan: Plan, **privacy: int) -> bytes:
    """The bytes of a plan whose protection of p says something that no plan of ours can."""
    fields = value_of(plan.canonical)
    fields["privacy"].update(privacy)
    return spelled(fields)


def asking(name: str, fields: dict, **changes) -> bytes:
    """Signed by the right server, whether the register allows it or not."""
    return signed(spelled([name, 1, {**fields, **changes}]))


def forged(**changes) -> bytes:
    """A right envelope of the query, with a field changed after it was signed."""
    return encode(SIGNED, "signed", {**decode(SIGNED, signed(QUERY))[1], **changes})


#: What is asked, of which endpoint, and what the device says.
MORE = {
    "a larger norm": (
        offer(make_plan(privacy={**SAFE, "clip_norm": 1.01}, risk=make_risk(privacy=PHI))),
        "model_offer",
        RefusalCode.CLIP_NORM,
    ),
    "a larger norm of phi": (
        offer(make_plan(privacy=SAFE, risk=make_risk(privacy={**PHI, "clip_norm": 1.01}))),
        "model_offer",
        RefusalCode.CLIP_NORM,
    ),
    "a larger epsilon of an update": (
        offer(make_plan(privacy={**SAFE, "noise_multiplier": 1.0}, risk=make_risk(privacy=PHI))),
        "model_offer",
        RefusalCode.EPSILON,
    ),
    "a larger epsilon of an update of phi": (
        offer(make_plan(privacy=SAFE, risk=make_risk(privacy={**PHI, "noise_multiplier": 2.0}))),
        "model_offer",
        RefusalCode.EPSILON,
    ),
    "more survivors than the cohort has": (
        offer(PLAN, plan=counting_on(PLAN, min_survivors=65)),
        "model_offer",
        RefusalCode.SURVIVORS,
    ),
    "a billion survivors": (
        offer(PLAN, plan=counting_on(PLAN, min_survivors=10**9, max_colluders=10**9 - 32)),
        "model_offer",
        RefusalCode.SURVIVORS,
    ),
    "more survivors than an owner believes in": (
        offer(make_plan(privacy={**SAFE, "population": 200_000, "min_survivors": 100_001, "delta": 1e-6})),
        "model_offer",
        RefusalCode.SURVIVORS,
    ),
    "more survivors of phi than an owner believes in": (
        offer(
            make_plan(
                privacy=SAFE,
                risk=make_risk(privacy={**PHI, "population": 200_000, "min_survivors": 100_001, "delta": 1e-6}),
            )
        ),
        "model_offer",
        RefusalCode.SURVIVORS,
    ),
    "four million row-steps": (
        offer(make_plan(privacy=SAFE, training={"local_steps": 1000, "rows": 4096})),
        "model_offer",
        RefusalCode.COSTLY,
    ),
    "a window of a thousand years": (
        offer(make_plan(privacy=SAFE, features=FeatureSpec(400_000))),
        "model_offer",
        RefusalCode.COSTLY,
    ),
    "a round for others": (asking("train_request", ROUND, audience="others"), "train_request", RefusalCode.AUDIENCE),
    "an offer for others": (offer(PLAN, audience="others"), "model_offer", RefusalCode.AUDIENCE),
    "an offer of an earlier run": (offer(PLAN, run=RUN - 1), "model_offer", RefusalCode.STALE),
    "a round of an earlier run": (asking("train_request", ROUND, run=RUN - 1), "train_request", RefusalCode.STALE),
    "a round of a run that nobody offered": (
        asking("train_request", ROUND, run=RUN + 1),
        "train_request",
        RefusalCode.PLAN_MISMATCH,
    ),
    "a larger epsilon of a bit": (
        asking("bits_query", BIT, epsilon_micro=OWN.epsilon_micro + 1),
        "bits_query",
        RefusalCode.BIT_EPSILON,
    ),
    "a shorter period of bits": (
        asking("bits_query", BIT, step=STEP - 1, every_steps=OWN.every_steps - 1),
        "bits_query",
        RefusalCode.SCHEDULE,
    ),
    "a bit at another step": (asking("bits_query", BIT, step=STEP - 1), "bits_query", RefusalCode.SCHEDULE),
    "another plan": (asking("train_request", ROUND, plan_sha256=bytes(32)), "train_request", RefusalCode.PLAN_MISMATCH),
    "another plan of phi": (
        asking("risk_request", {**ROUND, **COEFFICIENTS}, plan_sha256=bytes(32)),
        "risk_request",
        RefusalCode.PLAN_MISMATCH,
    ),
    "another catalogue": (
        offer(make_plan(privacy=SAFE, catalogue_sha256=bytes(32))),
        "model_offer",
        RefusalCode.PLAN_REFUSED,
    ),
    "a round of an epoch that it is not in": (
        asking("train_request", ROUND, epoch=2),
        "train_request",
        RefusalCode.EPOCH,
    ),
    "an epoch that somebody else signed": (
        signed(body_of("epoch_offer", {"signed": signed_epoch([], 1e6, key=OTHER_ENROLLER)})),
        "epoch_offer",
        RefusalCode.EPOCH,
    ),
    "a round whose seats others hold": (
        asking("train_request", ROUND, seats=others(1)[0].leaf),
        "train_request",
        RefusalCode.SEATS,
    ),
    "a sum of no list": (
        signed(body_of("sum_request", {"header": b"\0", "entries": b"", "proof": b"", "boxes": b""})),
        "sum_request",
        RefusalCode.LIST,
    ),
    "an undeclared kind": (asking("diagnostics_request", {}), "alerts_query", RefusalCode.UNDECLARED),
    "another endpoint's kind": (signed(QUERY), "train_request", RefusalCode.UNDECLARED),
    "an unknown field": (asking("alerts_query", {"step": 3}, why="canary"), "alerts_query", RefusalCode.MALFORMED),
    "another spelling": (signed(QUERY + b"\0"), "alerts_query", RefusalCode.MALFORMED),
    "no signature": (QUERY, "alerts_query", RefusalCode.SIGNATURE),
    "a wrong signature": (forged(signature=bytes(64)), "alerts_query", RefusalCode.SIGNATURE),
    "a wrong key": (signed(QUERY, key=OTHER_PRIVATE_KEY), "alerts_query", RefusalCode.SIGNATURE),
    "a changed time": (forged(time_s=ASKED_AT_S + 1), "alerts_query", RefusalCode.SIGNATURE),
    "a changed body": (
        forged(body=body_of("alerts_query", {"step": 4})),
        "alerts_query",
        RefusalCode.SIGNATURE,
    ),
    "a signature of the body alone": (
        wrap(QUERY, ASKED_AT_S, lambda _: PRIVATE_KEY.sign(QUERY)),
        "alerts_query",
        RefusalCode.SIGNATURE,
    ),
    "nothing": (b"", "alerts_query", RefusalCode.SIGNATURE),
}


@pytest.fixture
def device(tmp_path):
    with open_device(tmp_path, make_profile(Consent.RANDOMISED), caps=CAPS) as device:
        device.record(view(0))
        device.close_until(STEP + 1)
        yield ready(device, PLAN)


class Kept:
    """Lends a device that stays open."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def __enter__(self) -> Device:
        return self._device

    def __exit__(self, *_: object) -> None:
        return


def ask(device: Device, data: bytes, endpoint: str) -> tuple[str, dict]:
    return decode(REGISTER, open_and_answer(data, endpoint, lambda: Kept(device)))


@pytest.mark.parametrize("what", MORE)
def test_more_than_was_agreed_is_refused_with_its_own_code_journalled_and_costs_nothing(device, what):
    data, endpoint, code = MORE[what]
    assert ask(device, data, endpoint) == ("refusal", {"code": int(code)})
    (entry,) = device.what_left()
    assert (entry.kind, entry.content, entry.epsilon) == ("refusal", {"code": int(code)}, 0.0)
    ledger = device.gate.ledger
    assert not any(ledger.releases.values()) and not ledger.plans and not ledger.spent.curves.any()
    assert device._state.installed.plan == PLAN, "what was there stays"
    assert not device.problems


def test_what_was_agreed_is_answered_by_the_same_device(device):
    """The table above is not about a device that refuses everything."""
    right = {
        "model_offer": (offer(PLAN), "receipt"),
        "train_request": (asking("train_request", ROUND), "update"),
        "risk_request": (asking("risk_request", {**ROUND, **COEFFICIENTS}), "risk_update"),
        "bits_query": (asking("bits_query", BIT), "alert_bit"),
        "alerts_query": (signed(QUERY), "alerts"),
    }
    for endpoint, (data, reply) in right.items():
        assert ask(device, data, endpoint)[0] == reply
    assert [
        device.gate.ledger.releases[line] for line in (LedgerLine.UPDATE, LedgerLine.PHI, LedgerLine.ALERT_BIT)
    ] == [1, 1, 1]


def test_a_norm_that_the_owner_lowers_later_holds_at_once(device, tmp_path):
    device.close()
    with open_device(tmp_path, caps=replace(CAPS, clip_norm=0.4)) as again:
        for name, fields in (("train_request", ROUND), ("risk_request", {**ROUND, **COEFFICIENTS})):
            assert ask(again, asking(name, fields), name) == ("refusal", {"code": int(RefusalCode.CLIP_NORM)})
        assert not again.gate.ledger.spent.curves.any()


ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "simulations" / "scenarios" / "shipped"
PAGE = (ROOT / "docs" / "data-on-device.md").read_text(encoding="utf-8")


def test_the_page_names_every_one_of_these_refusals_and_the_defaults():
    section = PAGE.split("## Who may ask, and for how much\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    named = {RefusalCode[code] for row in rows for code in re.findall(r"`(\w+)`", row.split("|")[3])}
    budgets = {RefusalCode.PARTICIPATIONS, RefusalCode.PERIOD_BUDGET, RefusalCode.LIFETIME_BUDGET}
    own = budgets | {RefusalCode.SECOND_LIST}
    assert named == {code for _, _, code in MORE.values()} | own, "budgets and second lists have tests of their own"
    defaults = [re.findall(r"\d+(?:\.\d+)?", row.split("|")[2]) for row in rows]
    assert defaults[:4] == [
        [str(CAPS.clip_norm)],
        [str(CAPS.lines[LedgerLine.UPDATE].period), str(CAPS.lines[LedgerLine.PHI].period)],
        [str(CAPS.participations_per_plan)],
        [str(CAPS.total.period), f"{CAPS.total.lifetime:g}"],
    ]
    assert f"a period of {CAPS.period_s // 86_400} days" in rows[3]


# ---- the bounds themselves


def refused_by(caps: Caps, plan: Plan) -> RefusalCode | None:
    try:
        expect_bounds(plan, caps)
    except Refusal as refusal:
        return refusal.code
    return None


def test_a_bound_is_the_last_norm_that_is_taken_and_one_participation_the_first_that_is_paid():
    at_bound = make_plan(privacy={**SAFE, "clip_norm": 1.0}, risk=make_risk(privacy=PHI))
    assert refused_by(CAPS, at_bound) is None
    assert refused_by(Caps.none(), make_plan(privacy={"noise_multiplier": 0.0})) is None
    for caps in (
        Caps({**DEFAULT_LINES, LedgerLine.UPDATE: Cap(0.9, 10.0)}),
        Caps({**DEFAULT_LINES, LedgerLine.PHI: Cap(0.0, 0.0)}),
        Caps(total=Cap(0.9, 20.0)),
    ):
        assert refused_by(caps, PLAN) is RefusalCode.EPSILON
    with pytest.raises(ConfigError, match=r"clip_norm > 0, got 0"):
        Caps(clip_norm=0.0)
    with pytest.raises(ConfigError):
        Caps(clip_norm=float("nan"))


@pytest.mark.parametrize("name", sorted(file.stem for file in SCENARIOS.glob("*.toml")))
def test_default_caps_take_a_shipped_plan_whose_rounds_they_pay_for_and_no_caps_take_them_all(name):
    """Where it does not, a scenario lifts its owners' caps."""
    plan = load_scenario(name, []).plan(PLANTED_PROTOCOL, Catalogue(tuple("abcdefghijkl")), 2500, bytes(32))
    assert refused_by(Caps.none(), plan) is None
    costs = [(epsilon(update_cost(plan.privacy, plan.network.n_parameters), CAPS.delta), CAPS.lines[LedgerLine.UPDATE])]
    if plan.risk:
        costs.append((epsilon(update_cost(plan.risk.privacy, N_COEFFICIENTS), CAPS.delta), CAPS.lines[LedgerLine.PHI]))
    paid = all(cost <= cap.period for cost, cap in costs)
    assert refused_by(CAPS, plan) is (None if paid else RefusalCode.EPSILON)
    assert paid or "eps1" not in name, "what runs at epsilon 1 runs on a device as it comes"
