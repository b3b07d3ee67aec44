"""What a device keeps, for how long, and that an event is in the vault before `record` says so."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.policy import POLICY
from client.device import Device
from client.privacy.caps import Caps
from client.vault.keys import FileKeys
from client.vault.store import Durability, Store
from client.vault.vault import TABLES, Limits, Vault
from shared.clock import ReplayClock
from shared.errors import RefusalCode, VaultFull
from shared.events import ENGAGEMENT, BehaviourEvent, EventKind, Step
from shared.register.bounds import KEEP_ALERTS_STEPS
from tests.client.test_device import raise_alerts
from tests.client.test_gate import COST, PLAN, update
from tests.world.basics import (
    N_CATEGORIES,
    Diary,
    cheap_keys,
    event_stream,
    examples,
    make_plan,
    make_profile,
    open_device,
    ready,
    view,
)

DAY_S = Step.DAY.seconds


def killed(device: Device) -> None:
    """What is left when the process ends here: the connection closes, `Device.close` never runs."""
    device._vault.store.close()


def counters(device: Device) -> tuple[np.ndarray, ...]:
    return device._state.history.counters(), device._state.open_counters()


@examples(25)
@given(st.integers(0, 2**32), st.integers(1, 40), st.booleans(), st.randoms(use_true_random=False))
def test_every_event_that_was_taken_is_there_after_a_kill_however_it_was_folded(
    tmp_path_factory, seed, raw_events, late, shuffled
):
    folder = tmp_path_factory.mktemp("device")
    limits = Limits(raw_events=raw_events, raw_seconds=DAY_S / 4)
    events = event_stream(np.random.default_rng(seed), 6)
    if late:
        shuffled.shuffle(events)
    whole = open_device(folder / "whole", make_profile())
    for i, event in enumerate(events):
        with_fold = open_device(folder / "killed", make_profile(), limits=limits)
        assert with_fold.record(event) and whole.record(event)
        if i % 3:
            killed(with_fold)
        else:
            with_fold.close()
    again = open_device(folder / "killed")
    for a, b in zip(counters(again), counters(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    total = sum(float(ENGAGEMENT[event.kind]) for event in events)
    assert again._state.history.count.sum() + again._state.open_count.sum() == pytest.approx(total, rel=1e-5)


def test_raw_events_fold_at_the_close_of_their_step_after_a_day_and_when_there_are_many(tmp_path):
    limits = Limits(raw_events=10, raw_seconds=DAY_S / 2)
    with open_device(tmp_path, make_profile(), limits=limits) as device:
        raw = device._vault.events
        for i in range(10):
            device.record(BehaviourEvent(EventKind.VIEW, 0, 60.0 * i))
        assert len(raw()) == 10 and raw()[3] == BehaviourEvent(EventKind.VIEW, 0, 180.0)
        device.record(BehaviourEvent(EventKind.VIEW, 0, 700.0))
        assert len(raw()) == 1, "ten folded into counters"
        device.record(BehaviourEvent(EventKind.VIEW, 1, 700.0 + 0.51 * DAY_S))
        assert len(raw()) == 1, "half a day passed"
        device.record(view(1))
        assert len(raw()) == 1, "the step closed"
        assert device._state.history.count[0, 0] == pytest.approx(11 * ENGAGEMENT[EventKind.VIEW])


def test_raw_events_fold_when_the_device_wakes_a_day_later_though_no_event_comes(tmp_path):
    clock = ReplayClock(0.0)
    week = replace(make_profile(), step=Step.WEEK)
    with open_device(tmp_path, week, clock=clock) as device:
        device.record(BehaviourEvent(EventKind.VIEW, 0, 60.0))
        for time_s, raw in ((DAY_S, 1), (DAY_S + 59.0, 1), (DAY_S + 61.0, 0)):
            clock.wait_until(time_s)
            assert device.close_until(0) and len(device._vault.events()) == raw
        assert device.n_closed_steps == 0 and device._state.open_count[0] == ENGAGEMENT[EventKind.VIEW]


def test_a_closed_step_its_scores_and_its_alerts_are_there_together_or_not_at_all(tmp_path, monkeypatch):
    plan = make_plan(detection={"detector": "rate", "rate_threshold": 0.3, "quiet_steps": 1})
    device = ready(open_device(tmp_path, make_profile()), plan)
    for step in range(3):
        device.record(view(step))
    before = [a.copy() for a in counters(device)]
    n_alerts, n_closed, memory = len(device.alerts()), device.n_closed_steps, device._state.watch.memory.copy()

    def full(*_, **__):
        raise VaultFull("expected room")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_write_heads", full)
        assert device.record(view(9)) is False and device.close_until(9) is False
    assert device.problems == {"VaultFull": 2} and device.n_closed_steps == n_closed
    for a, b in zip(counters(device), before, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(device._state.watch.memory, memory)
    assert len(device.alerts()) == n_alerts
    assert device.record(view(9)) and device.n_closed_steps == 9 and len(device.alerts()) > n_alerts
    alerts = device.alerts()
    killed(device)
    with open_device(tmp_path) as again:
        assert again.alerts() == alerts and again.n_closed_steps == 9


def test_an_alert_stays_for_its_user_for_a_year_of_steps(new_device):
    device = new_device()
    first = raise_alerts(device, make_plan())
    raised_at = max(alert.step for alert in first)
    device.close_until(raised_at + KEEP_ALERTS_STEPS)
    assert set(first) & set(device.alerts())
    device.close_until(raised_at + KEEP_ALERTS_STEPS + 1)
    assert not set(first) & set(device.alerts())


@examples(15)
@given(st.integers(0, 2**32), st.integers(0, 30))
def test_catching_up_in_one_write_is_the_same_as_event_by_event(tmp_path_factory, seed, cut):
    folder, diaries = tmp_path_factory.mktemp("device"), [Diary(), Diary()]
    plan = make_plan(detection={"detector": "rate", "rate_threshold": 0.3, "quiet_steps": 1})
    one, other = (
        ready(open_device(folder / name, make_profile(), on_step=diary.write, limits=Limits(raw_events=5)), plan)
        for name, diary in zip("ab", diaries, strict=True)
    )
    events = [*event_stream(np.random.default_rng(seed), 8), view(0, category=N_CATEGORIES), view(9)]
    for event in events:
        one.record(event)
    assert one.close_until(11)
    assert other.catch_up(events[:cut], 0) and other.catch_up(iter(events[cut:]), 11)
    for device in (one, other):
        killed(device)
    again = [open_device(folder / name) for name in "ab"]
    for a, b in zip(*(counters(device) for device in again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again[0].alerts() == again[1].alerts() and one.problems == other.problems
    assert diaries[0].steps == diaries[1].steps and diaries[0].alerts == diaries[1].alerts
    np.testing.assert_array_equal(diaries[0].p, diaries[1].p)


def test_catching_up_that_fails_leaves_the_device_as_it_was(tmp_path, monkeypatch):
    diary = Diary()
    device = ready(open_device(tmp_path, make_profile(), on_step=diary.write), make_plan())
    device.catch_up([view(0), view(2, category=1)], 3)
    before, told = [a.copy() for a in counters(device)], list(diary.steps)
    calls = iter(range(100))
    put = Store.put

    def full_in_the_end(*arguments):
        if next(calls) > 12:
            raise VaultFull("expected room")
        put(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", full_in_the_end)
        assert device.catch_up([view(step) for step in range(3, 20)], 30) is False
    for a, b in zip(counters(device), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert diary.steps == told and device.n_closed_steps == 3 and device.problems == {"VaultFull": 1}
    assert device.catch_up([view(step) for step in range(3, 20)], 30) and diary.steps == list(range(30))


def test_problems_are_kept_by_name_over_a_restart(tmp_path):
    with open_device(tmp_path, make_profile()) as device:
        device.record(view(0, category=N_CATEGORIES))
    with open_device(tmp_path) as device:
        assert device.problems == {"event_out_of_range": 1}


def test_at_the_cap_the_outbox_and_old_counters_go_first_and_the_ledger_never(tmp_path):
    """Then new events are refused, and what must not be lost still goes in."""
    limits = Limits(max_bytes=300_000, raw_events=10**9)
    plan = make_plan(privacy={"noise_multiplier": 4.0, "min_survivors": 8})
    device = ready(open_device(tmp_path, make_profile(), limits=limits, caps=Caps()), plan)
    device.close_until(400)
    for i in range(10):
        fields = {"step": i, "alerts": []}
        device.gate.release(bytes([i]) * 32, "alerts", fields)
    outbox, steps = device._vault.store.count("outbox"), device._vault.store.count("counters")
    taken = 0
    while device.record(view(400)):
        taken += 1
        assert taken < 20_000
    assert taken > 500 and device.problems["VaultFull"] == 1
    assert device._vault.store.used_bytes < 320_000
    assert device._vault.store.count("outbox") == 4 < outbox
    assert device._vault.store.count("counters") < steps
    assert min(device._vault.store.ids("counters")) > 100, "the oldest went"
    left = len(device._vault.journal.entries())
    device.gate.refuse(RefusalCode.INTERNAL)
    assert len(device._vault.journal.entries()) == left + 1 and device.problems["VaultFull"] == 1
    killed(device)
    with open_device(tmp_path, limits=limits) as again:
        assert again.n_closed_steps == 400 and again._state.open_count[0] == pytest.approx(taken * 0.2, rel=1e-3)
        assert again.record(view(401)), "the step closed, its events folded: there is room"


CANARY_AMOUNT, CANARY_TIME_S = 31337.171875, 5.123456789 * DAY_S


def test_no_event_amount_category_or_alert_is_in_a_file_that_a_thief_holds(tmp_path):
    plan = make_plan(detection={"detector": "rate", "rate_threshold": 0.3, "quiet_steps": 1})
    device = ready(open_device(tmp_path, make_profile()), plan)
    for step in range(5):
        device.record(BehaviourEvent(EventKind.PURCHASE, 2, step * DAY_S + 3.0, CANARY_AMOUNT))
    device.record(BehaviourEvent(EventKind.PURCHASE, 2, CANARY_TIME_S, CANARY_AMOUNT))
    assert device.alerts()
    spelled = [struct.pack(order + form, value) for order in "<>" for form in "df" for value in
               (CANARY_AMOUNT, CANARY_TIME_S)] + [repr(CANARY_AMOUNT).encode(), b"purchase", b"PURCHASE"]  # fmt: skip
    payloads = [payload for table in TABLES for _, payload in device._vault.store.rows(table)]
    assert any(canary in payload for canary in spelled for payload in payloads), "they are in there, sealed"
    for _ in range(2):
        for file in tmp_path.iterdir():
            content = file.read_bytes()
            assert not [canary for canary in spelled if canary in content], file.name
            assert not [payload for payload in payloads if len(payload) > 12 and payload in content], file.name
        device.close()


def test_each_table_is_written_in_its_own_durability_class(tmp_path, monkeypatch):
    """`events` and history NORMAL, everything that counts or that a user decided FULL: asked of SQLite at every write."""
    seen: dict[str, set[int]] = {table: set() for table in TABLES}
    put = Store.put

    def watched(store, table, row, payload):
        seen[table].add(store._db.execute("PRAGMA synchronous").fetchone()[0])
        put(store, table, row, payload)

    monkeypatch.setattr(Store, "put", watched)
    plan = make_plan(detection={"detector": "rate", "rate_threshold": 0.3, "quiet_steps": 1})
    keys = FileKeys(tmp_path, b"correct horse", n=2, r=1, p=1)
    with ready(open_device(tmp_path, make_profile(), policy=POLICY, keys=keys), plan) as device:
        for step in (*range(5), 9):
            device.record(view(step))
        for _ in range(3):
            device.gate.refuse(RefusalCode.SIGNATURE)
        device.record(view(4, category=N_CATEGORIES))
        device.gate.release(bytes(32), "alerts", {"step": 1, "alerts": []})
        device.gate.release(bytes(32), "update", update(), COST, PLAN.sha256)
    for table, about in TABLES.items():
        least = 2 if about.durability is Durability.POWER else 1
        # Written together with what counts, too: some refusals with their entry, an offer with what was heard.
        more = {2} if table in ("refusals", "watch") else set()
        assert least in seen[table] and seen[table] <= {least} | more, table
    assert {table for table, about in TABLES.items() if about.durability is Durability.POWER} == {
        "place",
        "profile", "consent", "caps", "policy", "ledger", "heard", "members", "journal", "outbox", "model"}  # fmt: skip


def test_a_vault_opens_with_the_tables_it_declares_and_no_others(tmp_path):
    vault = Vault(tmp_path, cheap_keys(tmp_path), Limits())
    names = {name for (name,) in vault.store._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == {"header", "heads", *TABLES}
    vault.close()
