"""What left: append-only, chained, foldable; bodies as hashes; and the outbox beside it."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.vault.journal import CHECKPOINT, START, TABLE, Journal, Total, without_bodies
from client.vault.outbox import Outbox
from client.vault.store import Durability, Store
from shared.errors import VaultDamaged
from tests.world.basics import cheap_keys
from tests.world.spellings import spelled, value_of


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path, ("journal", "outbox"), cheap_keys(tmp_path))
    yield store
    store.close()


def write(store: Store, journal: Journal, n: int, kind: str = "update") -> None:
    for i in range(n):
        with store.transaction(Durability.POWER):
            journal.add(float(i), kind, bytes(10), 0.25, "for a test", {"round": i})


def test_an_entry_says_everything_and_holds_the_hash_before(store):
    journal = Journal(store)
    data = b"left" * 50
    with store.transaction(Durability.POWER):
        journal.add(12.5, "update", data, 0.5, "training", {"round": 3, "values": bytes(6400), "plan": bytes(32)})
        journal.add(13.5, "alerts", b"", None, "telling", {"alerts": [{"category": 1}]})
    first, second = journal.entries()
    assert (first.number, first.time_s, first.kind, first.size_bytes) == (1, 12.5, "update", 200)
    assert first.sha256 == hashlib.sha256(data).digest() and first.epsilon == 0.5 and first.purpose == "training"
    body = {"size_bytes": 6400, "sha256": hashlib.sha256(bytes(6400)).digest()}
    assert first.content == {"round": 3, "values": body, "plan": bytes(32)}
    assert first.previous == START and second.previous == first.hash and second.epsilon is None
    assert hashlib.sha256(store.row(TABLE, 1)).digest() == first.hash
    assert "category" not in repr(second) and "private" in repr(second)


def test_long_bodies_are_hashes_wherever_they_are():
    deep = {"a": [{"b": bytes(33)}, bytes(32)], "c": "text", "d": bytearray(b"x")}
    out = without_bodies(deep)
    assert out["a"][0]["b"]["size_bytes"] == 33 and out["a"][1] == bytes(32) and out["c"] == "text"


@given(st.lists(st.tuples(st.sampled_from(["update", "alerts", "decision"]), st.integers(1, 9)), max_size=6),
       st.integers(1, 12))  # fmt: skip
def test_folded_entries_are_summed_and_the_chain_goes_on(tmp_path_factory, parts, most):
    folder = tmp_path_factory.mktemp("journal")
    store = Store(folder, ("journal",), cheap_keys(folder))
    whole, journal = [], Journal(store, most)
    previous = START
    for kind, n in parts:
        for _ in range(n):
            with store.transaction(Durability.POWER):
                journal.add(1.0, kind, bytes(7), 0.5, "x", {})
            newest = journal.entries()[-1]
            assert newest.previous == previous and newest.number == len(whole) + 1
            previous = newest.hash
            whole.append(newest)
    left = journal.entries()
    assert left == whole[len(whole) - len(left) :] and len(left) <= most + max(1, most // 10)
    checkpoint = journal.checkpoint()
    folded = whole[: len(whole) - len(left)]
    assert checkpoint.number == len(folded)
    for kind in {entry.kind for entry in folded}:
        n = sum(entry.kind == kind for entry in folded)
        assert checkpoint.totals[kind] == (n, 7 * n, 0.5 * n, 0)
    assert sum(total.n for total in checkpoint.totals.values()) == len(folded)
    store.close()
    again = Journal(Store(folder, ("journal",), cheap_keys(folder)), most)
    assert again.entries() == left


def test_what_lay_outside_epsilon_is_counted_apart_when_it_is_folded(store):
    journal = Journal(store, 1)
    for epsilon in (None, 0.0, None, 0.0, 0.0):
        with store.transaction(Durability.POWER):
            journal.add(1.0, "alerts", bytes(9), epsilon, "x", {})
    assert journal.checkpoint().totals == {"alerts": Total(4, 36, 0.0, n_outside=2)}


def test_a_broken_chain_is_damage(store):
    journal = Journal(store)
    write(store, journal, 5)
    other = value_of(store.row(TABLE, 3))
    for change in (
        lambda: store.put(TABLE, 3, spelled([*other[:6], {"round": 99}, other[7]])),
        lambda: store.delete(TABLE, 3),
        lambda: store.delete(TABLE, 1),
        lambda: store.put(TABLE, CHECKPOINT, spelled([0, bytes(31) + b"x", {}])),
    ):
        with pytest.raises(KeyError), store.transaction(Durability.POWER):
            change()
            with pytest.raises(VaultDamaged, match="journal"):
                journal.entries()
            raise KeyError
    assert len(journal.entries()) == 5


def test_an_outbox_finds_by_request_keeps_the_newest_and_drops_by_kind(store):
    outbox = Outbox(store, most=3)
    asked = [bytes([i]) * 32 for i in range(5)]
    for i, request in enumerate(asked):
        with store.transaction(Durability.POWER):
            outbox.keep(request, "alerts" if i == 4 else "update", b"reply %d" % i)
    assert [outbox.find(request) for request in asked] == [
        None,
        None,
        ("update", b"reply 2"),
        ("update", b"reply 3"),
        ("alerts", b"reply 4"),
    ]
    with store.transaction(Durability.POWER):
        outbox.drop("alerts")
    assert outbox.find(asked[4]) is None and outbox.find(asked[3]) == ("update", b"reply 3")
    with store.transaction(Durability.POWER):
        outbox.keep(asked[3], "update", b"again")
    assert outbox.find(asked[3]) == ("update", b"again") and store.count("outbox") == 2
    assert outbox.find(b"") is None
