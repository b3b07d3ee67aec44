"""What lies on the disk may be anything: values of rows are read within limits, and what is none of them is damage."""

import struct
from contextlib import closing

import pytest

from client.vault.journal import CHECKPOINT, Journal
from client.vault.migrations import PADDED_BYTES, framed, unframed, version_of
from client.vault.outbox import Outbox
from client.vault.store import Durability, Store
from client.vault.vault import Limits, Vault
from shared.errors import VaultDamaged, WireError
from tests.world.basics import cheap_keys, make_profile, open_device, view
from tests.world.hostile import HOSTILE
from tests.world.spellings import spelled, value_of
from tests.world.work import work_of

TABLE = "problems"
FRAME = struct.Struct("<HI")
ENTRY = [1.5, "update", 10, bytes(32), 0.5, "for a test", {"round": 1}, bytes(32)]
ASKED = bytes(range(32))


@pytest.fixture
def store(tmp_path):
    with closing(Store(tmp_path, ("journal", "outbox"), cheap_keys(tmp_path))) as store:
        yield store


def put(store: Store, table: str, row: int, payload: bytes) -> None:
    with store.transaction(Durability.POWER):
        store.put(table, row, payload)


def test_a_row_is_written_in_the_one_spelling_and_read_in_any_that_was_written_before():
    value = {"b": 0.5, "a": [1, None]}
    row = framed(TABLE, value)
    data = spelled(value)
    assert row == (FRAME.pack(version_of(TABLE), len(data)) + data).ljust(PADDED_BYTES, b"\0")
    older = b"\xa2\x61b\xfb\x3f\xe0" + bytes(6) + b"\x61a\x82\x01\xf6"  # as they were made, the float in 64 bits
    assert unframed(TABLE, FRAME.pack(1, len(older)) + older) == unframed(TABLE, row) == value


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        bytes(5),
        bytes(6),
        FRAME.pack(0, 1) + b"\0",
        FRAME.pack(1, 0),
        FRAME.pack(1, 2) + b"\0",
        FRAME.pack(1, 2) + b"\0\0",
    ],
)
def test_a_row_that_is_cut_or_has_no_version_is_damage(payload):
    with pytest.raises(VaultDamaged, match=TABLE):
        unframed(TABLE, payload)


@pytest.mark.parametrize("shape", HOSTILE)
def test_a_row_that_is_made_to_cost_is_damage_or_a_value_and_its_work_is_linear(shape):
    def read(payload):
        try:
            unframed(TABLE, payload)
        except VaultDamaged:
            return

    for n in (300, 30_000):
        data = HOSTILE[shape](n)
        done = work_of(read, FRAME.pack(1, len(data)) + data)
        assert done.calls <= 12 * len(data) + 100


STRANGE = [7, None, [], {}, ENTRY[:-1], [*ENTRY, 0], *([*ENTRY[:at], object, *ENTRY[at + 1 :]] for at in range(8))]


def of(strange, other):
    """A list with something else in the place that is held for it."""
    return [other if item is object else item for item in strange] if isinstance(strange, list) else strange


@pytest.mark.parametrize("strange", STRANGE)
def test_an_entry_of_the_journal_with_other_fields_is_damage(store, strange):
    put(store, "journal", 1, spelled(ENTRY))
    assert Journal(store).entries()[0].content == {"round": 1}
    for other in ([True], True, {"a": 1}):
        value = of(strange, other)
        if value == [*ENTRY[:6], {"a": 1}, *ENTRY[7:]]:
            continue  # a content as good as any
        put(store, "journal", 1, spelled(value))
        with pytest.raises(VaultDamaged, match="journal"):
            Journal(store)


@pytest.mark.parametrize(
    "strange",
    [
        0,
        [],
        [0, bytes(32)],
        ["0", bytes(32), {}],
        [0, bytes(32), []],
        [0, bytes(32), {"update": 1}],
        [0, bytes(32), {"a": [1] * 5}],
    ],
)
def test_a_checkpoint_with_other_fields_is_damage(store, strange):
    put(store, "journal", CHECKPOINT, spelled(strange))
    with pytest.raises(VaultDamaged, match="checkpoint"):
        Journal(store)


@pytest.mark.parametrize(
    "strange", [0, [], [ASKED, "update"], [ASKED, b"update", b""], [ASKED, "update", "x"], [1, "a", b""]]
)
def test_a_row_of_the_outbox_with_other_fields_is_damage(store, strange):
    outbox = Outbox(store)
    put(store, "outbox", store.place("outbox", ASKED), spelled(strange))
    for read in (lambda: outbox.find(ASKED), lambda: outbox.drop("update")):
        with pytest.raises(VaultDamaged, match="outbox"), store.transaction(Durability.POWER):
            read()


@pytest.mark.parametrize("shape", HOSTILE)
def test_rows_that_are_made_to_cost_are_damage(store, shape):
    data = HOSTILE[shape](5000)
    put(store, "outbox", store.place("outbox", ASKED), data)
    with pytest.raises(VaultDamaged, match="outbox"):
        Outbox(store).find(ASKED)
    put(store, "journal", 1, data)
    with pytest.raises(VaultDamaged, match="journal"):
        Journal(store)


def test_rows_of_a_device_s_vault_are_canonical(tmp_path):
    with open_device(tmp_path, make_profile()) as device:
        for step in range(3):
            assert device.record(view(step))
        device.problems["for a test"] += 1
    with closing(Vault(tmp_path, cheap_keys(tmp_path), Limits())) as vault:
        for table in ("profile", "watch", "problems"):
            payload = vault.store.row(table, 1)
            size = FRAME.unpack_from(payload)[1]
            data = payload[FRAME.size : FRAME.size + size]
            assert spelled(value_of(data)) == data, table


def test_what_would_not_be_read_is_not_written():
    deep: object = 0
    for _ in range(9):
        deep = [deep]
    with pytest.raises(WireError, match="inside each other"):
        framed(TABLE, deep)
