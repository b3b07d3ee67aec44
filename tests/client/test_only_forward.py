"""What somebody kept and delivers again, late or to another device: through bytes, on a real device and its vault."""

import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from client.answers import open_and_answer
from client.device import Device
from client.privacy.caps import Caps, LedgerLine
from client.privacy.ledger import LIFETIME
from client.vault.consent import Consent
from client.vault.store import Store
from client.vault.vault import Limits
from shared.clock import ReplayClock
from shared.codec import decode, pack_floats
from shared.errors import RefusalCode, VaultError
from shared.messages import REGISTER
from shared.plan import Plan
from tests.world.basics import NETWORK, activity_theta, make_plan, make_profile, open_device, view
from tests.world.enrolled import enrolled
from tests.world.signing import RUN, signed_request

PRIVATE = {"noise_multiplier": 16.0, "population": 64, "min_survivors": 32}
PLAN, OTHER = (make_plan(privacy=PRIVATE, training={"rows": rows}) for rows in (16, 17))
THETA, OTHER_THETA = activity_theta(), NETWORK.initial_theta(1)
T = 1_000_000


def offer(time_s: int, number: int = 0, plan: Plan = PLAN, theta: np.ndarray = THETA, run: int = RUN, **more) -> bytes:
    fields = {
        "step": 3,
        "round": number,
        "plan": plan.canonical,
        "model": b"",
        "risk": b"",
        "theta": pack_floats(theta),
    }
    return signed_request("model_offer", {**fields, "run": run, **more}, time_s)


def train(time_s: int, number: int, plan: Plan = PLAN, run: int = RUN, **more) -> bytes:
    fields = {"step": 3, "round": number, "plan_sha256": plan.sha256, "theta": pack_floats(THETA), "run": run}
    return signed_request("train_request", {**fields, **more}, time_s)


def query(time_s: int, step: int, **more) -> bytes:
    return signed_request("alerts_query", {"step": step, **more}, time_s)


def bit(time_s: int, step: int) -> bytes:
    return signed_request("bits_query", {"step": step, "epsilon_micro": 1_000_000, "every_steps": 7}, time_s)


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def device(home):
    limits = Limits(outbox_entries=1)
    with open_device(home, make_profile(Consent.RANDOMISED), clock=ReplayClock(T + 500.0), limits=limits) as device:
        device.record(view(0))
        device.close_until(20)
        yield enrolled(device)


def say(device: Device, data: bytes, endpoint: str = "model_offer") -> str:
    name, fields = decode(REGISTER, open_and_answer(data, endpoint, lambda: nullcontext(device)))
    return RefusalCode(fields["code"]).name if name == "refusal" else name


def epsilon_of(device: Device) -> float:
    return device.gate.ledger.epsilon(LIFETIME)


def test_an_old_offer_that_is_played_again_brings_no_old_model_back(device):
    old, new = offer(T), offer(T + 10, 40, OTHER, OTHER_THETA)
    assert [say(device, data) for data in (old, new)] == ["receipt", "receipt"]
    state, p = device._state.installed, device.interests()
    assert say(device, old) == "STALE" and device._state.installed is state
    np.testing.assert_array_equal(device.interests(), p)
    assert say(device, train(T + 20, 41, OTHER), "train_request") == "update", "and the next honest round goes on"
    rolled_back = offer(T + 30)
    assert say(device, rolled_back) == "receipt" and device._state.installed.plan == PLAN, (
        "a newer one with old content"
    )
    assert say(device, new) == "STALE"


def test_the_very_offer_gets_its_receipt_again_and_changes_nothing(device):
    data = offer(T)
    said = [open_and_answer(data, "model_offer", lambda: nullcontext(device))]
    installed, watch = device._state.installed, device._state.watch
    writes, entries = device._vault.keys.anchor(), len(device.what_left())
    for _ in range(40):
        said.append(open_and_answer(data, "model_offer", lambda: nullcontext(device)))
    assert len({*said}) == 1 and device._state.installed is installed and device._state.watch is watch
    assert device._vault.keys.anchor() == writes and len(device.what_left()) == entries, "one release, and no write"
    assert say(device, offer(T + 50)) == "receipt" and device._state.installed is installed, "said anew by the server"
    assert say(device, offer(T + 49, 0, OTHER)) == "STALE", "it holds as of then"


def test_a_round_is_of_the_run_that_is_installed_and_not_before_its_offer(device):
    assert say(device, train(T, 1), "train_request") == "PLAN_MISMATCH"
    say(device, offer(T))
    wrong = {
        "STALE": [train(T - 1, 1), train(T + 5, 1, run=RUN - 1)],
        "PLAN_MISMATCH": [train(T, 1, run=RUN + 1), train(T, 1, OTHER)],
    }
    for code, requests in wrong.items():
        assert {say(device, data, "train_request") for data in requests} == {code}
    assert not device.gate.ledger.spent.curves.any()
    assert say(device, train(T, 1), "train_request") == "update"


def test_a_round_that_comes_late_is_not_answered_and_one_of_the_same_second_is(device):
    say(device, offer(T))
    assert say(device, train(T + 5, 5), "train_request") == "update"
    assert say(device, train(T + 3, 3), "train_request") == "STALE", "an earlier round, delivered late"
    assert say(device, train(T + 4, 6), "train_request") == "STALE", "nor a later one that was signed before"
    assert say(device, train(T + 5, 6), "train_request") == "update"
    assert device.gate.ledger.releases[LedgerLine.UPDATE] == 2


def test_a_server_that_lost_its_folder_counts_from_one_again_and_gives_nothing_back(tmp_path):
    caps = replace(Caps(), participations_per_plan=5)
    with enrolled(open_device(tmp_path, make_profile(), caps=caps, clock=ReplayClock(T + 500.0))) as device:
        captured = [offer(T), *(train(T + n, n) for n in (1, 2, 3))]
        assert say(device, captured[0]) == "receipt"
        assert [say(device, data, "train_request") for data in captured[1:]] == ["update"] * 3
        spent = epsilon_of(device)
        assert say(device, train(T + 100, 1, run=T + 90), "train_request") == "PLAN_MISMATCH", "before its offer"
        assert say(device, offer(T + 100, run=T + 90)) == "receipt"
        assert epsilon_of(device) == spent and device.gate.ledger.plans == {(LedgerLine.UPDATE, PLAN.sha256): 3}
        assert [say(device, train(T + 100 + n, n, run=T + 90), "train_request") for n in (1, 2, 3)] == [
            "update",
            "update",
            "PARTICIPATIONS",
        ]
        assert epsilon_of(device) > spent
        assert say(device, captured[0]) == "STALE", "its earlier run is over"
        assert say(device, train(T + 103, 4, run=RUN), "train_request") == "STALE"
    with open_device(tmp_path, clock=ReplayClock(T + 500.0)) as again:
        assert say(again, captured[0]) == "STALE" and again.gate.ledger.plans == {(LedgerLine.UPDATE, PLAN.sha256): 5}


@pytest.mark.parametrize(("ask", "endpoint"), [(query, "alerts_query"), (bit, "bits_query")])
def test_a_query_that_was_overtaken_is_not_answered_and_the_last_one_is_free(device, ask, endpoint):
    first, last = ask(T, 6), ask(T + 7, 13)
    assert say(device, first, endpoint) == say(device, last, endpoint) != "STALE"
    spent = epsilon_of(device)
    assert say(device, first, endpoint) == "STALE" and say(device, ask(T + 6, 20), endpoint) == "STALE"
    assert say(device, last, endpoint) == {"alerts_query": "alerts", "bits_query": "alert_bit"}[endpoint]
    assert epsilon_of(device) == spent


@pytest.mark.parametrize("consent", Consent)
def test_a_query_that_is_played_again_writes_nothing_whatever_its_user_agreed_to(tmp_path, consent):
    with open_device(tmp_path, make_profile(consent), clock=ReplayClock(T + 500.0)) as device:
        for step in (6, 13):
            assert say(device, query(T + step, step), "alerts_query") == "alerts"
        writes, left = device._vault.keys.anchor(), len(device.what_left())
        for _ in range(20):
            assert say(device, query(T + 6, 6), "alerts_query") == "alerts", "the form does not tell the consent"
        assert device._vault.keys.anchor() == writes and len(device.what_left()) == left


def test_what_is_for_others_is_answered_by_them_alone(tmp_path):
    everybody = {name: replace(make_profile(), audience=name) for name in ("", "north", "nörd", "x" * 64)}
    for i, (name, profile) in enumerate(everybody.items()):
        with enrolled(open_device(tmp_path / str(i), profile, clock=ReplayClock(T))) as device:
            for other in everybody:
                data = {"audience": other}
                wanted = "receipt" if other == name else "AUDIENCE"
                assert say(device, offer(T, **data)) == wanted
                assert say(device, train(T, 1 + i, **data), "train_request") in ("update", "AUDIENCE")
                assert (say(device, query(T, 3, **data), "alerts_query") == "alerts") == (other == name)
            assert device.gate.ledger.releases[LedgerLine.UPDATE] == 1
        with open_device(tmp_path / str(i)) as again:
            assert again.profile.audience == name


@pytest.mark.parametrize("where", ["model", "watch", "heard", "ledger", "commit", "anchor"])
def test_killed_on_the_way_of_an_offer_there_is_all_of_it_or_nothing(home, device, monkeypatch, where):
    """The model, that it was taken, and that rounds are counted anew."""
    say(device, offer(T))
    assert say(device, train(T, 7), "train_request") == "update"

    class Killed(BaseException):
        pass

    put, heads, advance = Store.put, Store._write_heads, type(device._vault.keys).advance

    def killed_at(name, real):
        def go(first, *rest):
            if name == where:
                raise Killed
            return real(first, *rest)

        return go

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", lambda s, t, *r: (_ for _ in ()).throw(Killed) if t == where else put(s, t, *r))
        patch.setattr(Store, "_write_heads", killed_at("commit", heads))
        patch.setattr(type(device._vault.keys), "advance", killed_at("anchor", advance))
        with pytest.raises(Killed):
            say(device, offer(T + 9, 0, OTHER, OTHER_THETA, run=RUN + 1))
    shutil.copytree(home, home.parent / "copy")
    with open_device(home.parent / "copy", clock=ReplayClock(T + 500.0)) as again:
        is_there = again._state.installed.plan == OTHER
        assert is_there == (again.gate.heard.offer.run == RUN + 1) == (not again.gate.ledger.latest)
        assert is_there == (where == "anchor")
        assert say(again, offer(T + 9, 0, OTHER, OTHER_THETA, run=RUN + 1)) == "receipt"
        assert say(again, train(T + 9, 1, OTHER, run=RUN + 1), "train_request") == "update"


def test_where_an_offer_could_not_be_written_the_device_stays_with_the_one_before(device, monkeypatch):
    def full(*_):
        raise VaultError("expected room")

    say(device, offer(T))
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_write_heads", full)
        assert say(device, offer(T + 9, 0, OTHER)) == "INTERNAL"
    assert device._state.installed.plan == PLAN and device.gate.heard.offer.time_s == T
    assert say(device, train(T + 1, 1), "train_request") == "update"
    assert say(device, offer(T + 9, 0, OTHER)) == "receipt" and device._state.installed.plan == OTHER
