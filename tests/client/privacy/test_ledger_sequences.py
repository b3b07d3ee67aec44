"""Whatever happens to a device, its ledger never counts less than what it handed out, and never exceeds a cap.

A sequence is a life: releases, crashes at every moment of one, restarts, clocks that jump, databases put back. Beside the
ledger lives a bookkeeper who sees only what was really handed out, and when. Store, keys and anchor are the device's own.
"""

import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, NeighboringRelation
from dp_accounting.rdp import RdpAccountant

from client.privacy.caps import DAY_S, DEFAULT_LINES, OF_A_PLAN, Cap, Caps, LedgerLine
from client.privacy.ledger import ALLOWED, LIFETIME, PERIOD, ROWS, TOTAL, UNSET, Ledger, Spent, advance_all, charge_all
from client.vault.anchor import Anchor
from client.vault.keys import FileKeys
from client.vault.store import Durability, Store
from server.privacy.accounting import epsilon_unamplified
from shared import rdp
from shared.errors import Refusal, RefusalCode, VaultRolledBack
from shared.rdp import ORDERS
from tests.world.basics import SOAK, charged, make_plan

SEQUENCES = 10_000 if SOAK else 150
START_S = 1_800_000_000
PERIOD_S = 30 * DAY_S
CAPS = Caps(
    {
        **DEFAULT_LINES,
        LedgerLine.UPDATE: Cap(2.0, 4.0),
        LedgerLine.PHI: Cap(0.7, 1.2),
        LedgerLine.ALERT_BIT: Cap(1.0, 3.0),
    },
    Cap(2.8, 5.5),
    participations_per_plan=4,
    period_s=PERIOD_S,
)
COSTS = {
    LedgerLine.UPDATE: [rdp.gaussian(s) for s in (3.0, 4.0, 9.0)],
    LedgerLine.PHI: [rdp.gaussian(s) for s in (9.0, 20.0)],
    LedgerLine.ALERT_BIT: [rdp.coin(e) for e in (0.1, 0.5, 0.9)],
}
PLANS = [bytes([i]) * 32 for i in range(4)]


class Crash(Exception):
    """The process died."""


class DyingKeys(FileKeys):
    """The device's own keys, in a process that may die after the database was written and before the anchor was."""

    def __init__(self, folder: Path, dies: Callable[[], None]) -> None:
        super().__init__(folder, b"passphrase", n=2, r=1, waits_for_disk=False)
        self._dies = dies

    def advance(self, anchor: Anchor) -> None:
        if anchor != self.anchor():
            self._dies()
        super().advance(anchor)


class Disk:
    """The real sealed store with one ledger in it, and every copy of its files that a thief may have made. The key file
    and its anchor nobody puts back."""

    FILES = (Store.FILE, Store.FILE + "-wal")

    def __init__(self, folder: Path, dies: Callable[[], None]) -> None:
        self.folder, self.dies = folder, dies
        self.store: Store | None = None
        self.open()
        self.copies = [self.copy()]

    def copy(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in self.FILES if (self.folder / name).exists()}

    def put_back(self, copy: dict[str, bytes]) -> None:
        self.kill()
        for name in self.FILES:
            (self.folder / name).unlink(missing_ok=True)
        for name, data in copy.items():
            (self.folder / name).write_bytes(data)

    def kill(self) -> None:
        if self.store is not None:
            self.store.close()
        self.store = None

    def keep(self, ledger: Ledger) -> None:
        """What the gate does: bytes first, anchor second; whoever calls hands out last."""
        self.dies()
        try:
            with self.store.transaction(Durability.POWER):
                self.store.put("ledger", 1, ledger.to_bytes())
        finally:
            self.copies.append(self.copy())
        self.dies()

    def open(self) -> Ledger | None:
        """The ledger on disk, in a new process; None if the database was put back."""
        self.kill()
        while True:
            try:
                self.store = Store(self.folder, ("ledger",), DyingKeys(self.folder, self.dies), waits_for_disk=False)
                return Ledger.from_bytes(self.store.row("ledger", 1), CAPS)
            except VaultRolledBack:
                return None
            except Crash:
                continue  # while it opened: once more


class Life:
    """One device, the world around it, and the bookkeeper."""

    def __init__(self, seed: object, folder: Path) -> None:
        self.random = np.random.default_rng(seed)
        self.disk = Disk(folder, self.dies)
        self.ledger = self.disk.open()
        self.true_s = float(START_S)
        self.local_ahead_s = 0.0
        self.server_lies = self.random.random() < 0.5  # else the local clock does: one of the two is right
        self.handed = self.noticed = 0
        self.lifetime = rdp.zero(1 + len(LedgerLine))  # what was really handed out: the total, then every line
        self.periods: dict[int, np.ndarray] = defaultdict(lambda: rdp.zero(1 + len(LedgerLine)))
        self.plans: Counter[tuple[LedgerLine, bytes]] = Counter()
        self.rounds: dict[tuple[LedgerLine, bytes], int] = defaultdict(lambda: -1)  # the last one that was handed out
        self.began = {UNSET: (0, math.nan)}  # by a period's start: its number, and when it truly began

    def dies(self) -> None:
        if self.random.random() < 0.06:
            raise Crash

    def step(self) -> None:
        happenings = [self.release] * 12 + [
            self.restart,
            self.put_back,
            self.wait,
            self.wait,
            self.meet,
            self.meet,
            self.jump,
        ]
        happening = happenings[self.random.integers(len(happenings))]
        try:
            happening()
        except Crash:
            self.restart()

    def release(self) -> None:
        line = list(LedgerLine)[self.random.choice(3, p=[0.6, 0.15, 0.25])]
        cost = COSTS[line][self.random.integers(len(COSTS[line]))]
        plan = PLANS[self.random.integers(4)] if line in OF_A_PLAN else None
        part = line, plan or b""
        at = max(0, int(self.rounds[part] + self.random.integers(-1, 4)))
        try:
            after = self.ledger.charge(line, cost, plan, at)
        except Refusal as refusal:
            assert refusal.code is RefusalCode.STALE or at > self.rounds[part]
            return
        assert at > self.rounds[part], "one round answered twice"
        self.disk.keep(after)
        self.rounds[part] = at
        self.ledger = after
        self.handed += 1
        for sums in (self.lifetime, self.periods[self.period]):
            sums[[TOTAL, ROWS[line]]] += cost
        if plan:
            self.plans[line, plan] += 1

    @property
    def period(self) -> int:
        """The number of the ledger's period: how many times it began to count anew."""
        return self.began[int(self.ledger.spent.period_start_s)][0]

    def restart(self) -> None:
        self.ledger = self.disk.open()
        assert self.ledger is not None, "what was written last always opens"

    def put_back(self) -> None:
        """An older copy of the database. Either it is noticed, or nothing was handed out since it was made."""
        good, copies = self.disk.copy(), self.disk.copies
        self.disk.put_back(copies[-1 - self.random.integers(min(len(copies), 6))])
        ledger = self.disk.open()
        if ledger is None:
            self.noticed += 1
            self.disk.put_back(good)
            ledger = self.disk.open()
            assert ledger is not None
        self.ledger = ledger
        self.check_never_less()

    def wait(self) -> None:
        self.true_s += float(self.random.choice([3600, DAY_S, 8 * DAY_S, 45 * DAY_S], p=[0.3, 0.3, 0.3, 0.1]))

    def jump(self) -> None:
        self.local_ahead_s = float(
            self.random.choice([0.0, 0.0, 5.0, -5.0, 0.9 * DAY_S, -0.9 * DAY_S, 31 * DAY_S, -31 * DAY_S, 4e8, -4e8])
        )

    def meet(self) -> None:
        """A signed time arrives. One clock is right; the other may show anything."""
        wrong = self.true_s + self.local_ahead_s
        if self.random.random() < 0.2:
            wrong = float(self.random.choice([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e300]))
        now_s, signed_s = (self.true_s, wrong) if self.server_lies else (wrong, self.true_s)
        after = self.ledger.advance(now_s, signed_s)
        if after is self.ledger:
            return
        number, began_s = self.began[int(self.ledger.spent.period_start_s)]
        if math.isfinite(began_s):
            assert self.true_s - began_s >= PERIOD_S, "a period that is shorter than the caps say"
            number += 1
        self.began[int(after.spent.period_start_s)] = number, self.true_s
        self.disk.keep(after)
        self.ledger = after

    def check_never_less(self) -> None:
        curves = self.ledger.spent.curves
        assert (curves[LIFETIME] >= self.lifetime * (1 - 1e-12)).all(), "the lifetime counts less than was handed out"
        assert (curves[PERIOD] >= self.periods[self.period] * (1 - 1e-12)).all(), "so does the period"
        assert all(self.ledger.plans[part] >= count for part, count in self.plans.items())

    def check_caps(self) -> None:
        scopes = [("lifetime", self.lifetime), *(("period", sums) for sums in self.periods.values())]
        for scope, sums in scopes:
            for line, cap in [(None, CAPS.total), *CAPS.lines.items()]:
                row = sums[TOTAL if line is None else ROWS[line]]
                assert rdp.epsilon(row, CAPS.delta) <= getattr(cap, scope) * (1 + 1e-12), (scope, line)
        assert max(self.plans.values(), default=0) <= CAPS.participations_per_plan


def test_lives_of_releases_crashes_restarts_clocks_and_databases_put_back(tmp_path):
    handed = resets = spent_up = noticed = 0
    for seed in range(SEQUENCES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        life = Life(seed, folder)
        try:
            for _ in range(40):
                life.step()
                life.check_never_less()
            life.check_caps()
        except AssertionError as error:
            raise AssertionError(f"sequence {seed}: {error}") from error
        life.disk.kill()
        shutil.rmtree(folder)
        handed += life.handed
        noticed += life.noticed
        resets += life.period
        spent_up += life.ledger.epsilon(PERIOD, LedgerLine.UPDATE) > 0.8 * CAPS.lines[LedgerLine.UPDATE].period
    assert handed > 5 * SEQUENCES and resets > 0.1 * SEQUENCES and spent_up > 0.1 * SEQUENCES, "much happens"
    assert noticed > 0.3 * SEQUENCES, "and databases are put back"


# ---- the server's account


@pytest.mark.parametrize(("sigma", "survivors", "colluders"), [(4.0, 30, 0), (4.0, 30, 10), (13.0, 100, 20)])
def test_the_server_s_unamplified_account_of_a_device_is_never_below_the_device_s(sigma, survivors, colluders):
    """The server counts what it asked for; the device what it charged: crashes after a charge count on both sides,
    refusals on the server's only. Both as exact Gaussians; and as bounds, order by order."""
    plan = make_plan(
        privacy={
            "noise_multiplier": sigma,
            "population": 2 * survivors,
            "min_survivors": survivors,
            "max_colluders": colluders,
            "steps_per_clip": 4096,
            "delta": 1e-5,
        }
    )
    cost = rdp.update_cost(plan.privacy, 1441)
    random = np.random.default_rng(7)
    ledger = Ledger.from_bytes(None)
    theirs = RdpAccountant(ORDERS, NeighboringRelation.REPLACE_SPECIAL)
    for asked in range(1, 21):
        theirs.compose(GaussianDpEvent(sigma))
        if random.random() < 0.8:
            try:
                ledger = ledger.charge("update", cost, PLANS[0])
            except Refusal as refusal:
                assert refusal.code is RefusalCode.PARTICIPATIONS
        assert epsilon_unamplified(charged(plan, asked), 1e-5) >= ledger.gaussian_epsilon(LIFETIME, LedgerLine.UPDATE)
        assert theirs.get_epsilon(1e-5) >= ledger.epsilon(LIFETIME, LedgerLine.UPDATE) * (1 - 1e-9)
    assert ledger.releases[LedgerLine.UPDATE] == 14


@pytest.mark.parametrize("times", range(1, 15))
def test_nor_is_it_when_every_request_was_served(times):
    plan = make_plan(
        privacy={
            "noise_multiplier": 4.0,
            "population": 64,
            "min_survivors": 30,
            "steps_per_clip": 4096,
            "delta": 1e-5,
        }
    )
    ledger = Ledger.from_bytes(None)
    for _ in range(times):
        ledger = ledger.charge("update", rdp.update_cost(plan.privacy, 1441), PLANS[0])
    device = ledger.gaussian_epsilon(LIFETIME, LedgerLine.UPDATE)
    server = epsilon_unamplified(charged(plan, times), 1e-5)
    assert device <= server <= device * (1 + 1e-5)
    assert device <= ledger.epsilon(LIFETIME, LedgerLine.UPDATE) <= 1.13 * device, (
        "caps compare a bound, a little above"
    )


# ---- hosts


@pytest.mark.parametrize("seed", range(3))
def test_a_host_s_devices_are_charged_and_refused_as_50_devices_are(seed):
    random = np.random.default_rng(seed)
    devices = [Ledger.from_bytes(None, CAPS) for _ in range(50)]
    host = Spent.nothing(50)
    counts = {(line, plan): np.zeros(50, np.int64) for line in OF_A_PLAN for plan in PLANS}
    true_s, seen = float(START_S), set()
    for _ in range(120):
        line = list(LedgerLine)[random.choice(3, p=[0.6, 0.15, 0.25])]
        cost = COSTS[line][random.integers(len(COSTS[line]))] if random.random() > 0.05 else -COSTS[line][0]
        plan = PLANS[random.integers(4)] if line in OF_A_PLAN else None
        asked = random.random(50) < 0.4
        count = counts.get((line, plan), np.zeros(50, np.int64))
        host, code = charge_all(host, count, line, cost, CAPS, asked)
        if line in OF_A_PLAN:
            counts[line, plan] = count + (asked & (code == ALLOWED))
        for k in np.flatnonzero(asked):
            try:
                devices[k] = devices[k].charge(line, cost, plan)
                said = ALLOWED
            except Refusal as refusal:
                said = int(refusal.code)
            assert said == code[k]
            seen.add(said)
        if random.random() < 0.3:
            true_s += random.choice([DAY_S, 20 * DAY_S, 40 * DAY_S])
            now_s = true_s + random.choice([0.0, 60.0, -60.0, 40.0 * DAY_S, math.nan], size=50)
            host = advance_all(host, now_s, true_s, CAPS)
            devices = [device.advance(now_s[k], true_s) for k, device in enumerate(devices)]
        np.testing.assert_array_equal(host.curves, [device.spent.curves for device in devices])
        np.testing.assert_array_equal(host.period_start_s, [device.spent.period_start_s for device in devices])
    for (line, plan), count in counts.items():
        assert list(count) == [device.plans.get((line, plan), 0) for device in devices]
    assert {
        ALLOWED,
        RefusalCode.PARTICIPATIONS,
        RefusalCode.PERIOD_BUDGET,
        RefusalCode.LIFETIME_BUDGET,
        RefusalCode.COST,
    } == seen


def test_leading_axes_are_any():
    host = Spent.nothing(2, 3)
    asked = np.array([[True, False, True], [False, False, True]])
    after, code = charge_all(
        host, np.zeros((2, 3), np.int64), LedgerLine.UPDATE, COSTS[LedgerLine.UPDATE][0], CAPS, asked
    )
    assert code.shape == (2, 3) and not code.any() and not host.curves.any()
    np.testing.assert_array_equal(after.curves.any(axis=(2, 3, 4)), asked)
