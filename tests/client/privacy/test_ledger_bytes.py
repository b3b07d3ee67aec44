"""A ledger's bytes: they come back as they went, those of format 1 too; what no account has, or only a later app, is not one."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.privacy.caps import OF_A_PLAN, LedgerLine
from client.privacy.ledger import LIFETIME, PERIOD, ROWS, TOTAL, Ledger
from shared import rdp
from shared.errors import DataError, VaultNewer
from shared.rdp import ORDERS
from tests.client.privacy.test_ledger import COST, PLAN, START_S, new, plan_of, roomy
from tests.world.basics import examples
from tests.world.hostile import HOSTILE
from tests.world.spellings import spelled, value_of
from tests.world.work import work_of

VECTORS = Path(__file__).parents[2] / "vectors"


@examples(30)
@given(st.lists(st.tuples(st.sampled_from(list(LedgerLine)), st.floats(3, 100), st.integers(0, 5)), max_size=12))
def test_bytes_are_the_ledger_and_equal_ledgers_have_equal_bytes(releases):
    ledger = new(roomy()).advance(START_S, START_S)
    for line, sigma, plan in releases:
        sha256 = plan_of(plan) if line in OF_A_PLAN else None
        ledger = ledger.charge(line, rdp.gaussian(sigma), sha256, ledger.latest.get((line, sha256 or b""), -1) + 1)
    again = Ledger.from_bytes(ledger.to_bytes(), ledger.caps)
    assert again.to_bytes() == ledger.to_bytes()
    np.testing.assert_array_equal(again.spent.curves, ledger.spent.curves)
    assert (again.plans, again.latest, again.releases) == (ledger.plans, ledger.latest, ledger.releases)
    assert again.spent.period_start_s == ledger.spent.period_start_s


def damaged(**changes) -> bytes:
    ledger = new().charge("update", COST, PLAN, 7).charge("alert_bit", rdp.coin(0.5), at=90).advance(START_S, START_S)
    fields = value_of(ledger.to_bytes())
    for name, change in changes.items():
        fields[name] = change(fields[name])
    return spelled(fields)


def bent(scope: int, order: int, factor: float):
    """A change of the curves of one line or of the total."""

    def change(data: bytes) -> bytes:
        curves = np.frombuffer(data, "<f8").reshape(2, ORDERS.size).copy()
        curves[scope, order] *= factor
        return curves.tobytes()

    return change


def in_line(line: str, **changes):
    """A change of one line's map."""
    return lambda lines: {
        **lines,
        line: {**lines[line], **{k: change(lines[line][k]) for k, change in changes.items()}},
    }


def test_the_bytes_that_are_damaged_below_are_a_ledger_before():
    Ledger.from_bytes(damaged())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xa0",
        b"\xf6",
        damaged() + b"\0",
        damaged()[:-1],
        damaged(format=lambda _: 1),
        damaged(format=lambda _: 0),
        damaged(orders=lambda _: bytes(32)),
        damaged(latest=lambda _: [["update", bytes(32), 1]]),
        damaged(latest=lambda rows: [[*rows[0][:2], -1], rows[1]]),
        damaged(latest=lambda rows: [[*rows[0][:2], 1.0], rows[1]]),
        damaged(latest=lambda rows: rows[::-1]),
        damaged(period_start_s=lambda _: -2),
        damaged(period_start_s=lambda s: float(s)),
        damaged(period_start_s=lambda _: 2**64 - 1),
        damaged(total=lambda c: c[:-8]),
        damaged(total=bent(LIFETIME, 3, 0.5)),
        damaged(total=bent(PERIOD, 3, 1.5)),
        damaged(total=bent(LIFETIME, 3, 2.0)),
        damaged(lines=in_line("update", curves=lambda c: c[:-8])),
        damaged(lines=in_line("update", curves=bent(LIFETIME, 3, -1.0))),
        damaged(lines=in_line("update", curves=bent(LIFETIME, 3, math.nan))),
        damaged(lines=in_line("update", curves=bent(PERIOD, 3, 1.01))),
        damaged(plans=lambda _: []),
        damaged(plans=lambda p: [[p[0][0], p[0][1], 2]]),
        damaged(plans=lambda p: [["alert_bit", p[0][1], 1]]),
        damaged(plans=lambda p: [[p[0][0], bytes(31), 1]]),
        damaged(plans=lambda p: p + p),
        damaged(lines=in_line("update", releases=lambda _: 2)),
        damaged(lines=in_line("alert_bit", releases=lambda _: -1)),
        damaged(lines=lambda lines: {**lines, "risk_update": {**lines["risk_update"], "more": 0}}),
        damaged(lines=lambda lines: {k: v for k, v in lines.items() if k != "update"}),
        damaged(lines=lambda lines: {k: v for k, v in lines.items() if k != "alert_bit"}),
    ],
)
def test_bytes_that_no_account_has_are_refused(data):
    with pytest.raises(DataError, match="expected a ledger's bytes"):
        Ledger.from_bytes(data)


@given(st.binary(max_size=64), st.integers(0, 3000), st.integers(0, 255))
def test_any_other_bytes_are_a_ledger_or_a_named_error(noise, at, value):
    whole = bytearray(damaged())
    whole[at % len(whole)] = value
    for data in (noise, bytes(whole)):
        try:
            assert Ledger.from_bytes(data).to_bytes() == data
        except DataError as error:
            assert str(error).startswith("expected a ledger's bytes")
        except VaultNewer as error:
            assert str(error).startswith("expected a ledger ")


@pytest.mark.parametrize("shape", HOSTILE)
def test_a_ledger_that_is_made_to_cost_is_refused_and_the_work_is_linear(shape):
    def read(data):
        with pytest.raises(DataError, match="expected a ledger's bytes"):
            Ledger.from_bytes(data)

    for n in (300, 30_000):
        data = HOSTILE[shape](n)
        assert work_of(read, data).calls <= 12 * len(data) + 500


# ---- bytes of other apps


def of_format_1() -> dict:
    return value_of((VECTORS / "ledger_format_1.cbor").read_bytes())


def test_bytes_of_format_1_are_read_exactly_and_written_anew():
    data = (VECTORS / "ledger_format_1.cbor").read_bytes()
    said = json.loads((VECTORS / "vault_format_1.json").read_text())
    ledger = Ledger.from_bytes(data)
    curves = np.frombuffer(of_format_1()["curves"], "<f8").reshape(2, 5, ORDERS.size)[:, [0, 1, 2, 4]]
    for at, line in enumerate([None, LedgerLine.UPDATE, LedgerLine.PHI, LedgerLine.ALERT_BIT]):
        np.testing.assert_array_equal(ledger.spent.curves[:, ROWS[line] if line else TOTAL], curves[:, at])
        assert [ledger.epsilon(scope, line) for scope in (PERIOD, LIFETIME)] == said["epsilon"][str(line)]
    later = dict.fromkeys(set(LedgerLine) - set(said["releases"]), 0)
    assert {**ledger.releases, "metrics": 0} == {**said["releases"], **later}
    assert int(ledger.spent.period_start_s) == said["period_start_s"]
    assert sorted([line, plan.hex(), n] for (line, plan), n in ledger.plans.items()) == said["plans"]
    assert sorted([line, plan.hex(), at] for (line, plan), at in ledger.latest.items()) == said["latest"]
    again = Ledger.from_bytes(ledger.to_bytes())
    assert value_of(again.to_bytes())["format"] == 2 and again.to_bytes() == ledger.to_bytes()
    np.testing.assert_array_equal(again.spent.curves, ledger.spent.curves)


@pytest.mark.parametrize(
    "changes",
    [
        {"curves": lambda c: c[:-8]},
        {"curves": lambda c: c[ORDERS.size * 8 :] + c[: ORDERS.size * 8]},
        {"releases": lambda r: {**r, "update": r["update"] + 1}},
        {"releases": lambda r: {**r, "more": 0}},
        {"releases": lambda r: {line: n for line, n in r.items() if line != "metrics"}},
        {"releases": lambda r: {**r, "metrics": 1}},
        {"period_start_s": float},
        {"plans": lambda rows: rows[::-1]},
        {"lines": lambda _: {}},
    ],
)
def test_damaged_bytes_of_format_1_are_refused(changes):
    fields = of_format_1()
    for name, change in changes.items():
        fields[name] = change(fields.get(name))
    with pytest.raises(DataError, match="expected a ledger's bytes"):
        Ledger.from_bytes(spelled(fields))


@pytest.mark.parametrize("line", ["risk_update"])
def test_a_line_that_the_bytes_do_not_know_yet_starts_at_nothing_spent(line):
    """A device that upgrades keeps all it spent, and can spend on the new line."""
    data = damaged(lines=lambda lines: {name: fields for name, fields in lines.items() if name != line})
    ledger, before = Ledger.from_bytes(data, roomy()), Ledger.from_bytes(damaged())
    assert ledger.releases[line] == 0 and ledger.epsilon(LIFETIME, LedgerLine(line)) == 0
    np.testing.assert_array_equal(ledger.spent.curves, before.spent.curves)
    assert ledger.to_bytes() == before.to_bytes()
    after = ledger.charge(line, COST, PLAN, 1)
    assert after.epsilon(LIFETIME) > ledger.epsilon(LIFETIME), "totals go on from what was spent"
    assert Ledger.from_bytes(after.to_bytes()).to_bytes() == after.to_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lines": lambda lines: {**lines, "sums": lines["risk_update"]}}, "with no line but .* got 1 more"),
        ({"format": lambda _: 3}, "of format 2 at most, got format 3"),
    ],
)
def test_what_a_later_app_spent_is_never_forgotten(changes, message):
    with pytest.raises(VaultNewer, match=message):
        Ledger.from_bytes(damaged(**changes))
