"""What this device has spent: every release in one ledger, under caps that no server can raise.

`charge_all` and `advance_all` hold the rules, over arrays with leading axes: one device, or the K of a host. `Ledger` is
one device's state around them, without I/O: a value with bytes of its own. Who keeps it (`client.gate`, in the vault)
writes the new bytes durably, the vault's anchor moves on, and only then anything is handed out.

A period ends only when the local clock and a signed time agree that it is over: a clock that jumps, either way, frees
nothing.

The bytes name every line. A line that they do not name starts at nothing spent; one that they name and this app does not
know is VaultNewer: what was spent is never forgotten. Bytes of format 1, which had the lines in a fixed order, are read
as they are, and written anew with the next charge (the rule of evolution: `client/vault/migrations.py`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared import cbor, rdp
from shared.arrays import Bools, Doubles, Ints
from shared.cbor import Limits
from shared.errors import DataError, InputError, Refusal, RefusalCode, VaultNewer
from shared.messages import REGISTER
from shared.rdp import ORDERS, Curve

from .caps import DAY_S, OF_A_PLAN, Caps, LedgerLine

PERIOD, LIFETIME = 0, 1  #: scopes, first axis of `Spent.curves` behind the leading ones
TOTAL = 0  #: row of everything together; line i is row 1 + i
ROWS = {line: 1 + i for i, line in enumerate(LedgerLine)}
ALLOWED = 0  #: what `charge_all` says instead of a refusal's code
UNSET = -1

#: Two clocks further apart than this do not agree.
AGREEMENT_S = DAY_S
#: No clock shows more.
LATEST_S = 2**53
#: Plans that one device remembers; then it serves no new one.
MAX_PLANS = 256
FORMAT = 2
#: Many times what a ledger of `MAX_PLANS` has: a later app's may have more lines, and has to be known for one.
_LIMITS = Limits(1 << 20, most_items=1 << 15, most_depth=8)
ORDERS_SHA256 = hashlib.sha256(ORDERS.astype("<f8").tobytes()).digest()
#: The lines of format 1, in the order of their rows in its curves, and the one of them that no message could spend.
_LINES_1, _NEVER_SPENT_1 = ("update", "risk_update", "metrics", "alert_bit"), "metrics"


@dataclass(frozen=True)
class Spent:
    """Any number of devices' spendings: `curves` (..., 2 scopes, 1 + lines, O), `period_start_s` (...): seconds since
    the Unix epoch, `UNSET` before two clocks ever agreed."""

    curves: Curve
    period_start_s: Ints

    @classmethod
    def nothing(cls, *leading: int) -> Spent:
        return cls(rdp.zero(*leading, 2, 1 + len(LedgerLine)), np.full(leading, UNSET, np.int64))


def charge_all(
    spent: Spent,
    participations: Ints,
    line: LedgerLine,
    cost: Curve,
    caps: Caps,
    asked: Bools | bool = True,
    *,
    n_plans: Ints | int = 0,
) -> tuple[Spent, NDArray[np.uint8]]:
    """Spendings after one release on `line` of every device that was `asked` (...), and what each says: `ALLOWED` or a
    RefusalCode, uint8 (...).

    `participations` (...): how often each took part on this line under this plan so far; 0 for lines without a plan.
    `n_plans` (...): how many plans, line by line, each remembers. `cost` (O,).

    Guarantees. Where the code is `ALLOWED` and the device was asked, the cost is in all of its four sums; elsewhere
    nothing changed. No sum ever exceeds its cap. A cost with NaN or a negative value is refused to everybody.
    """
    rows = [TOTAL, ROWS[line]]
    before = spent.curves[..., rows, :]
    after, fits = rdp.charge(before, cost, caps.epsilons(line), caps.delta)
    code = np.zeros(spent.period_start_s.shape, np.uint8)
    code[~fits[..., PERIOD, :].all(axis=-1)] = RefusalCode.PERIOD_BUDGET
    code[~fits[..., LIFETIME, :].all(axis=-1)] = RefusalCode.LIFETIME_BUDGET
    if line in OF_A_PLAN:
        unknown = (participations == 0) & (np.asarray(n_plans) >= MAX_PLANS)
        code[(participations >= caps.participations_per_plan) | unknown] = RefusalCode.PARTICIPATIONS
    if not (cost >= 0).all():
        code[...] = RefusalCode.COST
    taken = (code == ALLOWED) & asked
    curves = spent.curves.copy()
    curves[..., rows, :] = np.where(taken[..., None, None, None], after, before)
    return replace(spent, curves=curves), code


def advance_all(spent: Spent, now_s: Doubles, signed_time_s: float, caps: Caps) -> Spent:
    """Spendings once each local clock `now_s` (...) was compared with a signed time; a new period begins empty.

    Nothing moves unless both clocks agree to `AGREEMENT_S`. Then the earlier of the two must lie a whole period after
    the last start; a start is the later of the two. So two starts are never less than `period_s` apart as long as one
    of the clocks is right, whatever the other shows; and a clock that is far off can only make a period last longer.
    """
    now = np.asarray(now_s, dtype=np.float64)
    if not 0 <= signed_time_s < LATEST_S:
        return spent
    known = (now >= 0) & (now < LATEST_S)
    now = np.where(known, now, 0.0)
    agree = known & (np.abs(now - signed_time_s) <= AGREEMENT_S)
    start = spent.period_start_s
    first = agree & (start < 0)
    over = agree & (start >= 0) & (np.minimum(now, signed_time_s) >= start + caps.period_s)
    later = np.ceil(np.where(agree, np.maximum(now, signed_time_s), 0.0)).astype(np.int64)
    curves = spent.curves
    if over.any():
        curves = curves.copy()
        curves[..., PERIOD, :, :] = np.where(over[..., None, None], 0.0, curves[..., PERIOD, :, :])
    return Spent(curves, np.where(first | over, later, start))


@dataclass(frozen=True, repr=False)
class Ledger:
    """One device's account. A value: `charge` and `advance` return the next one, and leave this one as it was.

    `plans`: how often this device took part, by (line, plan hash). `latest`: the last round or step that it answered in the
    server's present run, by (line, plan hash or nothing): an earlier one is answered no more. `releases`: how many were
    charged, by line, for the app to show.
    """

    caps: Caps
    spent: Spent
    plans: Mapping[tuple[LedgerLine, bytes], int]
    latest: Mapping[tuple[LedgerLine, bytes], int]
    releases: Mapping[LedgerLine, int]

    def __post_init__(self) -> None:
        self.spent.curves.flags.writeable = False

    @classmethod
    def from_bytes(cls, data: bytes | None, caps: Caps | None = None) -> Ledger:
        """The ledger of `to_bytes`, an empty one for None; VaultNewer for bytes of a later app, DataError for anything
        else. `caps` are the app's own, by default the default table: lower ones than before refuse at once, whatever was
        allowed."""
        caps = caps or Caps()
        if data is None:
            none: Mapping[Any, int] = MappingProxyType({})
            return cls(caps, Spent.nothing(), none, none, MappingProxyType(dict.fromkeys(LedgerLine, 0)))
        try:
            fields = cbor.decode(data, _LIMITS)
            if type(fields) is dict and fields.get("format") == 1:
                fields = _of_format_1(fields)
            ledger = _revive(fields, caps)
            same = cbor.encode(fields, _LIMITS) == ledger._spelled(fields["lines"])
        except (DataError, VaultNewer):
            raise
        except Exception:
            raise DataError("expected a ledger's bytes") from None
        if not same:
            raise DataError("expected a ledger's bytes, got another spelling of them")
        return ledger

    def to_bytes(self) -> bytes:
        """Canonical CBOR: equal ledgers, equal bytes."""
        return self._spelled(LedgerLine)

    def _spelled(self, lines: Iterable[str]) -> bytes:
        """The bytes that name these lines."""
        named = map(LedgerLine, lines)
        return cbor.encode(
            {
                "format": FORMAT,
                "orders": ORDERS_SHA256,
                "total": _packed(self.spent.curves[:, TOTAL]),
                "lines": {
                    str(line): {"curves": _packed(self.spent.curves[:, ROWS[line]]), "releases": self.releases[line]}
                    for line in named
                },
                "period_start_s": int(self.spent.period_start_s),
                "plans": _rows(self.plans),
                "latest": _rows(self.latest),
            },
            _LIMITS,
        )

    def charge(self, kind: str, cost: Curve, plan_sha256: bytes | None = None, at: int | None = None) -> Ledger:
        """The ledger after one release of message `kind`; Refusal, and nothing changed, if it may not be.

        `cost` (O,): `rdp.update_cost(plan.privacy, n)`, `rdp.coin(epsilon)`, ... . `plan_sha256`: 32 bytes for kinds that
        belong to a plan, None for the others. `at`: the round or step that the release is for; without one, any may be.
        Codes: COST for a kind that has no line here, for what is not a cost and for a plan that is missing or has none to
        be; STALE for a round or step that is not after every one that was charged; PARTICIPATIONS, LIFETIME_BUDGET,
        PERIOD_BUDGET.
        """
        line = _line(kind)
        if np.shape(cost) != ORDERS.shape or not _is_plan_of(line, plan_sha256):
            raise Refusal(RefusalCode.COST)
        part = (line, plan_sha256 or b"")
        if at is not None and at <= self.latest.get(part, -1):
            raise Refusal(RefusalCode.STALE)
        count = self.plans.get(part, 0)
        spent, code = charge_all(
            self.spent,
            np.array(count, np.int64),
            line,
            np.asarray(cost, np.float64),
            self.caps,
            n_plans=len(self.plans),
        )
        if code != ALLOWED:
            raise Refusal(RefusalCode(int(code)))
        plans = {**self.plans, part: count + 1} if line in OF_A_PLAN else self.plans
        latest = self.latest if at is None else {**self.latest, part: at}
        return replace(
            self,
            spent=spent,
            plans=MappingProxyType(dict(plans)),
            latest=MappingProxyType(dict(latest)),
            releases=MappingProxyType({**self.releases, line: self.releases[line] + 1}),
        )

    def begun_anew(self) -> Ledger:
        """The ledger once the server began another run: rounds of any plan are counted from 1 again. What was spent, and how
        often this device took part in a plan, stays."""
        return replace(self, latest=MappingProxyType({part: at for part, at in self.latest.items() if not part[1]}))

    def advance(self, now_s: float, signed_time_s: float) -> Ledger:
        """The ledger once the local clock met a time that the server signed; this same object if nothing changed."""
        spent = advance_all(self.spent, np.array(now_s, np.float64), signed_time_s, self.caps)
        if spent.period_start_s == self.spent.period_start_s:
            return self
        return replace(self, spent=spent)

    def condition(self, line: LedgerLine | None = None) -> str:
        """What `epsilon` of a line, or in total, holds under, in words, for an app to show beside it; "" if under nothing. Of
        the total: what any line that was spent on holds under."""
        spent = [line] if line else [one for one in LedgerLine if self.releases[one]]
        return next(filter(None, (REGISTER[one].condition for one in spent)), "")

    def epsilon(self, scope: int, line: LedgerLine | None = None) -> float:
        """Epsilon spent so far in a scope, on one line or in total, at the caps' delta: what caps are compared with. It
        holds under `condition`."""
        return float(rdp.epsilon(self._curve(scope, line), self.caps.delta))

    def gaussian_epsilon(self, scope: int, line: LedgerLine) -> float:
        """Epsilon of one Gaussian line alone, exactly: below `epsilon`, which is a bound, and comparable with the
        server's unamplified account. Like that one it reads the lattice's Gaussian as the continuous one."""
        if line not in OF_A_PLAN:
            raise InputError(f"expected a line of Gaussian releases, got {line}")
        slope = float((self._curve(scope, line) / ORDERS).max())
        return rdp.gaussian_epsilon(math.sqrt(2 * slope), self.caps.delta)

    def _curve(self, scope: int, line: LedgerLine | None) -> Curve:
        curve: Curve = self.spent.curves[scope, TOTAL if line is None else ROWS[line]]
        return curve

    def __repr__(self) -> str:
        return "Ledger(<private>)"


def _line(kind: str) -> LedgerLine:
    try:
        return LedgerLine(kind)
    except ValueError:
        raise Refusal(RefusalCode.COST) from None


def _is_plan_of(line: LedgerLine, plan_sha256: bytes | None) -> bool:
    if line in OF_A_PLAN:
        return type(plan_sha256) is bytes and len(plan_sha256) == 32
    return plan_sha256 is None


def _rows(counts: Mapping[tuple[LedgerLine, bytes], int]) -> list[list[Any]]:
    return sorted([str(line), plan, count] for (line, plan), count in counts.items())


def _expect(condition: bool) -> None:
    if not condition:
        raise DataError("expected a ledger's bytes: they contradict themselves")


def _packed(curves: Curve) -> bytes:
    return curves.astype("<f8").tobytes()


def _unpacked(data: bytes) -> Curve:
    """Both scopes of a line or of the total: (2, O)."""
    return np.frombuffer(data, dtype="<f8").astype(np.float64).reshape(2, ORDERS.size)


def _of_format_1(fields: dict[str, Any]) -> dict[str, Any]:
    """The map of format 2 that says what one of format 1 did."""
    names = {"format", "orders", "curves", "period_start_s", "plans", "latest", "releases"}
    _expect(set(fields) == names and set(fields["releases"]) == set(_LINES_1))
    curves = np.frombuffer(fields["curves"], dtype="<f8").reshape(2, 1 + len(_LINES_1), ORDERS.size)
    lines = {
        line: {"curves": _packed(curves[:, 1 + at]), "releases": fields["releases"][line]}
        for at, line in enumerate(_LINES_1)
    }
    unspent = lines.pop(_NEVER_SPENT_1)
    _expect(not any(unspent["curves"]) and unspent["releases"] == 0)
    carried = {name: fields[name] for name in ("orders", "period_start_s", "plans", "latest")}
    return {**carried, "format": FORMAT, "total": _packed(curves[:, 0]), "lines": lines}


def _expect_known(fields: Any) -> None:
    """VaultNewer for a format or a line that only a later app knows."""
    _expect(type(fields) is dict and type(fields.get("format")) is int)
    if fields["format"] > FORMAT:
        raise VaultNewer(f"expected a ledger of format {FORMAT} at most, got format {fields['format']}")
    if unknown := set(fields["lines"]) - set(LedgerLine):
        raise VaultNewer(f"expected a ledger with no line but {', '.join(LedgerLine)}, got {len(unknown)} more")


def _revive(fields: Any, caps: Caps) -> Ledger:
    """A ledger from its map. Whatever no sequence of charges can have made is refused."""
    _expect_known(fields)
    _expect(fields["format"] == FORMAT and fields.get("orders") == ORDERS_SHA256)
    curves = Spent.nothing().curves
    curves[:, TOTAL] = _unpacked(fields["total"])
    releases = dict.fromkeys(LedgerLine, 0)
    for name, line in fields["lines"].items():
        curves[:, ROWS[LedgerLine(name)]] = _unpacked(line["curves"])
        releases[LedgerLine(name)] = line["releases"]
    _expect(bool((curves >= 0).all() and (curves[PERIOD] <= curves[LIFETIME]).all()))
    lines = curves[:, 1 + TOTAL :]
    total = curves[:, TOTAL]
    _expect(bool((lines <= total[:, None]).all() and (total <= lines.sum(axis=1) * (1 + 1e-9)).all()))
    start_s = np.array(fields["period_start_s"], np.int64)
    plans, latest = ({(LedgerLine(line), plan): n for line, plan, n in fields[name]} for name in ("plans", "latest"))
    _expect(all(_is_plan_of(line, plan) and line in OF_A_PLAN for line, plan in plans) and len(plans) <= MAX_PLANS)
    _expect(all(type(n) is int and n > 0 for n in plans.values()))
    _expect(all(type(n) is int and n >= 0 and (part in plans or part == (part[0], b"")) for part, n in latest.items()))
    _expect(all(type(n) is int and n >= 0 for n in releases.values()))
    _expect(all(releases[line] == sum(n for (of, _), n in plans.items() if of == line) for line in OF_A_PLAN))
    _expect(bool(start_s >= UNSET))
    counts = MappingProxyType(plans), MappingProxyType(latest), MappingProxyType(releases)
    return Ledger(caps, Spent(curves, start_s), *counts)
