"""The rule of evolution itself: how a later app adds tables, fields and lines."""

from contextlib import closing

import pytest

from client.detection.policy import POLICY
from client.privacy.caps import LedgerLine
from client.vault import migrations
from client.vault.consent import Consent
from client.vault.keys import FileKeys
from client.vault.migrations import MIGRATIONS, Migration, with_default
from client.vault.store import Durability, Store
from client.vault.vault import TABLES, Limits, Vault
from shared.errors import RefusalCode, VaultNewer
from shared.rdp import coin
from tests.world.basics import cheap_keys, make_plan, make_profile, open_device, ready, view
from tests.world.old_vault import opened

FORMAT = 1 + len(MIGRATIONS)

#: The lines that a ledger has in a vault of each format from the second on.
LINES_OF = {number: {"update", "risk_update", "alert_bit"} for number in (2, 3, 4)}
LINES_OF[5] = LINES_OF[6] = LINES_OF[7] = {*LINES_OF[4], "evaluation", "alert_counts"}
LINES_OF[8] = LINES_OF[9] = {*LINES_OF[7], "crowd", "curvature", "head_update"}


def test_a_line_more_in_the_ledger_is_a_format_more():
    """An app that does not know the line refuses the vault by its number, unchanged."""
    assert set(LedgerLine) == LINES_OF[FORMAT] and max(LINES_OF) == FORMAT


def test_steps_run_in_order_and_add_and_drop_tables(tmp_path):
    def moved(rows):
        rows.put("new", 1, rows.row("old", 1) + b" moved")

    def marked(rows):
        rows.put("new", 2, rows.row("new", 1) + b", then marked")

    with closing(Store(tmp_path, ("old", "kept"), cheap_keys(tmp_path))) as store, store.transaction(Durability.POWER):
        store.put("old", 1, b"a row")
        store.put("kept", 7, b"as it was")
    steps = (Migration(("old", "kept"), moved), Migration(("new", "kept"), marked))
    with closing(Store(tmp_path, ("new", "kept"), cheap_keys(tmp_path), migrations=steps[:1])) as store:
        assert store.format == 2 and dict(store.rows("new")) == {1: b"a row moved"}
    for _ in range(2):
        with closing(Store(tmp_path, ("new", "kept"), cheap_keys(tmp_path), migrations=steps)) as store:
            assert store.format == 3 and dict(store.rows("kept")) == {7: b"as it was"}
            assert dict(store.rows("new")) == {1: b"a row moved", 2: b"a row moved, then marked"}


def test_a_vault_that_missed_several_steps_takes_them_all_in_one_transaction(tmp_path):
    with closing(Store(tmp_path, ("old",), cheap_keys(tmp_path))) as store, store.transaction(Durability.POWER):
        store.put("old", 1, b"a row")
    keys = cheap_keys(tmp_path)
    steps = (
        Migration(("old",), lambda rows: rows.put("new", 1, rows.row("old", 1))),
        Migration(("new",), lambda rows: rows.put("newest", 1, rows.row("new", 1))),
    )
    with closing(Store(tmp_path, ("newest",), keys, migrations=steps)) as store:
        assert store.tables == ("newest",) and store.row("newest", 1) == b"a row"
        assert keys.anchor().number == 2, "one write more"


def test_a_field_that_came_later_has_its_default_in_older_rows(tmp_path, monkeypatch):
    open_device(tmp_path, make_profile()).close()
    before = migrations.ROWS["profile"]
    with monkeypatch.context() as later:
        later.setattr(migrations, "ROWS", {**migrations.ROWS, "profile": (*before, with_default("arm", 3))})
        with closing(Vault(tmp_path, cheap_keys(tmp_path), Limits())) as vault:
            assert vault.get("profile")["arm"] == 3 and vault.get("profile")["n_categories"] == 4
            with vault.writing("profile"):
                vault.put("profile", {**vault.get("profile"), "arm": 5})
        with closing(Vault(tmp_path, cheap_keys(tmp_path), Limits())) as vault:
            assert vault.get("profile")["arm"] == 5, "what was written is not defaulted"
    with pytest.raises(VaultNewer, match="row of profile of version 3 at most, got 4"):
        opened(tmp_path)


def test_the_register_of_rows_is_that_of_tables_with_one_row(tmp_path):
    """Every row of such a table has a version, and those of others have none: the format stands for them."""
    placed = FileKeys(tmp_path, b"correct horse", n=2, r=1, p=1)
    with open_device(tmp_path, make_profile(Consent.RANDOMISED), policy=POLICY, keys=placed) as device:
        ready(device, make_plan())
        device.gate.refuse(RefusalCode.SIGNATURE)
        for step in range(8):
            device.record(view(step))
        device.gate.release(bytes(32), "alert_bit", {"step": 7, "epsilon_micro": 10**5, "bit": 0}, coin(0.1))
        device.record(view(0, category=99))
        device.take_alerts(3)
        device._keep_alerts([])
        assert device.close_until(12)
    with closing(Vault(tmp_path, cheap_keys(tmp_path), Limits())) as vault:
        for table in migrations.ROWS:
            assert vault.store.ids(table) == [migrations.ONLY], table
        assert set(migrations.ROWS) == set(TABLES) - {"consent", "journal", "outbox", "events", "counters"}
