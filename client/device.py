"""The device: records behaviour, closes steps, scores and detects, trains, and answers; raw behaviour stays inside.

    device.record(event)   -> counters of the open step
    the step closes        -> History -> extract -> Scorer -> p -> detector -> risk -> policy -> Alert -> the app
    a round asks           -> own rows -> LocalTrainer -> raw delta -> protect -> (gate) -> bytes

Everything it knows lies in its vault (`client/vault/vault.py`), sealed. An event is there before `record` returns True; a
closed step, its scores and its alerts are there as one, or not at all.

Once open, nothing here raises into the app that holds it: what goes wrong is counted in `problems`, by a name without
any value. The methods that answer the server (`install`, `work`, `take_alerts`) raise, into `client.gate`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from shared.arrays import Bools, Floats, Ints
from shared.clock import Clock, WallClock
from shared.errors import InputError, Refusal, RefusalCode
from shared.events import ENGAGEMENT, BehaviourEvent
from shared.features import History, extract, seen
from shared.mechanisms import Entropy
from shared.plan import Plan

from . import state as kept
from .detection.alerts import SENT, Alert, AlertLog, mark_sent, raised_alerts, with_raised
from .detection.bursts import held_by_burst
from .detection.explain import Explanation, explain
from .detection.policy import POLICY, Policy
from .detection.risk_levels import p_and_risk, recent_rows
from .detection.watch import Watch, observed, past_steps
from .gate import Gate
from .model.installed import Installed
from .model.runtime import pinned_model
from .model.updates import Work
from .owner import OwnerControls
from .privacy.caps import Caps
from .profile import Profile
from .vault.consent import Consent
from .vault.keys import KeyProvider
from .vault.vault import Limits, Vault

__all__ = ["Alert", "Device", "Installed", "Profile"]


#: A clock that jumps further ahead than this is a broken clock: the event is not recorded. Nor is one that is dated
#: further ahead of the device's own clock than `AHEAD_S`.
MAX_JUMP_STEPS, AHEAD_S = 1000, 86_400.0
#: An event that comes so many steps after its own has closed is told among the problems: a clock was wrong, then or now.
LATE_STEPS = 7

#: Told at the close of a step: the step, p (C,) (NaN where there is no score), the alerts it raised.
OnStep = Callable[[int, Floats, list[Alert]], None]


class Device(OwnerControls):
    """One user's device. Open it with `Device.open`, close it with `close` or `with`; it is not safe for two threads."""

    def __init__(
        self, vault: Vault, profile: Profile, on_step: OnStep | None, entropy: Entropy, gate: Gate, policy: Policy
    ) -> None:
        super().__init__(vault, gate, profile.server_key)
        self.profile = profile
        self._on_step, self._entropy, self._policy = on_step, entropy, policy
        self._told_later: list[tuple[int, Floats, list[Alert]]] | None = None  # while catching up
        self._history = History.empty(profile.n_categories)
        self._open_count = np.zeros(profile.n_categories, np.float32)
        self._open_amount = np.zeros(profile.n_categories, np.float32)
        self._installed: Installed | None = None
        self._watch: Watch | None = None
        self._p = np.full(profile.n_categories, np.nan, np.float32)
        self._alerts: AlertLog = []

    @classmethod
    def open(
        cls,
        folder: Path,
        profile: Profile | None = None,
        *,
        keys: KeyProvider,
        on_step: OnStep | None = None,
        entropy: Entropy = os.urandom,
        clock: Clock | None = None,
        caps: Caps | None = None,
        limits: Limits | None = None,
        policy: Policy = POLICY,
        wait_s: float = 0.0,
    ) -> Device:
        """The device that lives in `folder`; a new one with `profile` if there is none yet (then it is required).

        `keys` open its vault. `caps` are the app's own on what may be spent (`client/privacy/caps.py`), `clock` dates the
        journal, `policy` chooses what a new alert tells the app to do (`client/detection/policy.py`). `wait_s`: how long to wait for
        a process that holds the vault. A VaultError by name if the vault does not open: see `client/vault/store.py`; Forgotten
        if it was forgotten.
        """
        if profile is None and not Vault.exists(folder, keys):
            raise InputError("expected a profile for a new device")
        vault = Vault(folder, keys, limits or Limits(), wait_s)
        try:
            clock = clock or WallClock()
            profile = kept.profile_of(vault, profile, clock.now_s())
            gate = Gate(vault, caps, clock, Counter(vault.get("problems") or {}))
            device = cls(vault, profile, on_step, entropy, gate, policy)
            device._restore()
        except BaseException:
            vault.close()
            raise
        return device

    # ---- events in

    @property
    def n_closed_steps(self) -> int:
        return self._history.n_steps

    def record(self, event: BehaviourEvent) -> bool:
        """Count one event; whether it was taken. A step that lies behind it closes first, in the same call.

        True means that it is in the vault, and survives a killed process. A late event counts in its own, closed step
        (nothing is detected again). One that is out of range, dated ahead of the clock, further ahead than
        `MAX_JUMP_STEPS`, or that the vault could not take is not counted. The clock itself is believed: while one is
        wrong and ahead, steps close empty, which may look like a lapse, and until the calendar has caught up with them
        events are late ones.
        """
        with self._quietly():
            return self._take(event)
        return False

    def catch_up(self, events: Iterable[BehaviourEvent], step: int) -> bool:
        """Take many past events, and close every step before `step`, in one write: much cheaper than one by one. True
        means that all of it is in the vault, False that none of it is. The app is told of the closed steps afterwards."""
        self._told_later = []
        with self._quietly():
            try:
                self._vault.expect_room()
                with self._vault.writing("events", "counters", "watch", "alerts"):
                    for event in events:
                        self._take(event, step)
                    self._close_steps(step)
                    self._keep_watch()
                    self._keep_alerts(self._alerts)
            except BaseException:
                self._told_later = None
                self._restore()
                raise
            told, self._told_later = self._told_later, None
            for one in told:
                self._tell(*one)
            return True
        return False

    def _take(self, event: BehaviourEvent, closing: int = 0) -> bool:
        """`record`, with an error where the vault did not take it. An event of a step before `closing` is only counted:
        the same write closes its step."""
        try:
            event.check(self.profile.n_categories)
        except InputError:
            self.problems["event_out_of_range"] += 1
            return False
        if self.gate.closed:
            self.problems["Forgotten"] += 1
            return False
        step = self.profile.step.at(event.time_s)
        if step > self.n_closed_steps + MAX_JUMP_STEPS or event.time_s > self._now_s() + AHEAD_S:
            self.problems["clock_jump"] += 1
            return False
        self._close_steps(step)
        if step < self.n_closed_steps:
            self._amend(step, event)
            if self.n_closed_steps - step > LATE_STEPS:
                self.problems["late_event"] += 1
            return True
        if step >= closing:
            self._fold_old(event.time_s)
            self._vault.add_event(event)
        self._count(event)
        return True

    def _now_s(self) -> float:
        """The time by this device's clock, on its own calendar."""
        return self.gate.clock.now_s() - self.profile.origin_s

    def _fold_old(self, time_s: float) -> None:
        """Fold the open step's raw events into its counters if that is due at a time on the device's calendar."""
        if self._vault.fold_is_due(time_s):
            with self._vault.writing("counters", "events"):
                self._vault.fold(self.n_closed_steps, self._open_count, self._open_amount)

    def _count(self, event: BehaviourEvent) -> None:
        self._open_count[event.category] += ENGAGEMENT[event.kind]
        self._open_amount[event.category] += np.float32(event.amount)

    def _amend(self, step: int, event: BehaviourEvent) -> None:
        """Count an event in a step that has closed."""
        count, amount = self._history.count[:, step].copy(), self._history.amount[:, step].copy()
        count[event.category] += ENGAGEMENT[event.kind]
        amount[event.category] += np.float32(event.amount)
        with self._vault.writing("counters"):
            self._vault.put_counters(step, count, amount)
        self._history.count[:, step], self._history.amount[:, step] = count, amount
        self._history.active[event.category, step] = True

    def close_until(self, step: int) -> bool:
        """Close every step before `step`: count, score, detect; and fold what is raw for longer than it may be. False if
        the vault did not take it."""
        with self._quietly():
            self._close_steps(step)
            self._fold_old(self._now_s())
            return True
        return False

    def _close_steps(self, step: int) -> None:
        while self.n_closed_steps < step:
            self._close_step()

    def _close_step(self) -> None:
        """Close the open step; the vault has all of it, or this device is as it was and the error is raised."""
        before = self._history, self._open_count, self._open_amount, self._p, self._alerts
        alone = self._told_later is None  # while catching up, what failed is taken up from the vault again
        watch = self._watch.copy() if alone and self._watch else None
        closed, told = self.n_closed_steps, None
        self._history = self._history.then(self._open_count, self._open_amount)
        self._open_count = np.zeros_like(self._open_count)
        self._open_amount = np.zeros_like(self._open_amount)
        try:
            told = self._score_closed_step()
        except Exception:
            self.problems["scoring"] += 1
        try:
            with self._vault.writing("counters", "events", "watch", "alerts"):
                self._vault.fold(closed, before[1], before[2])
                if alone:
                    self._keep_watch()
                if alone and self._alerts is not before[4]:
                    self._keep_alerts(self._alerts)
        except BaseException:
            self._history, self._open_count, self._open_amount, self._p, self._alerts = before
            self._watch = watch
            raise
        if told is not None and self._told_later is not None:
            self._told_later.append(told)
        elif told is not None:
            self._tell(*told)

    def _tell(self, step: int, p: Floats, alerts: list[Alert]) -> None:
        """Tell the app of a closed step; its errors are its own."""
        if self._on_step is None:
            return
        try:
            self._on_step(step, p, alerts)
        except Exception:
            self.problems["scoring"] += 1

    def _score_closed_step(self) -> tuple[int, Floats, list[Alert]] | None:
        """What the app is told of the step that closed last; None without a model."""
        if self._installed is None:
            return None
        step = self.n_closed_steps - 1
        p, risk = self._read(self._installed, step)
        alerts = self._detect(self._installed, step, p, risk)
        self._p = p
        return step, p, alerts

    def _scores(self, installed: Installed, steps: Ints) -> Floats:
        """p (S, C) as of each closed step; NaN for a category that the user never touched (cold start)."""
        if not steps.size:
            return np.empty((0, self.profile.n_categories), np.float32)
        rows = extract(self._history, installed.plan.features, steps)
        p = installed.scorer.score(rows)
        return np.where(seen(self._history, steps), p, np.float32(np.nan))

    def _read(self, installed: Installed, step: int) -> tuple[Floats, Floats]:
        """p and phi (C,) as of the close of a step."""
        x, known = recent_rows(self._history, installed.plan, step)
        p = installed.scorer.score(x)
        return p_and_risk(installed.plan, installed.risk, x, p, known)

    def _detect(self, installed: Installed, step: int, p: Floats, risk: Floats) -> list[Alert]:
        assert self._watch is not None
        fired, levels = self._watch.see(installed.plan, self._history, step, p, risk)
        raised = raised_alerts(fired, levels, self._history, installed.plan, self._policy, installed.round_number)
        self._alerts = with_raised(self._alerts, raised, step)
        return raised

    # ---- what the server asks

    def install(self, plan: Plan, model: bytes, theta: Floats, risk: Floats, round_number: int) -> None:
        """Take a model, its plan and weights, and phi's (R,; empty: none yet). Detectors start again on the recent past,
        scored by the new weights: a jump between two models is not a turn of interest; quiet time and budget go on.
        Refusal if the file is not the pinned one, or the plan is for others, or for more than the caps allow."""
        if not model:
            model = self._installed.model if self._installed else pinned_model()
        offered = Installed(plan, model, theta, risk, round_number)
        installed = offered.checked(self.profile.catalogue_sha256, self.gate.ledger.caps)
        past = np.arange(max(0, self.n_closed_steps - past_steps(plan)), self.n_closed_steps)
        scores = self._scores(installed, past)
        begin = self._watch.restart if self._watch else Watch.start
        watch = begin(plan, observed(plan, self._history, past, scores), self.n_closed_steps - 1)
        p = scores[-1] if past.size else np.full(self.profile.n_categories, np.nan, np.float32)
        with self._vault.writing("model", "watch"):
            self._vault.put("model", kept.plain_model(installed))
            self._vault.put("watch", kept.plain_watch(self.n_closed_steps, watch, p))
        self._installed, self._watch, self._p = installed, watch, p

    def work(self, plan_sha256: bytes, theta: Floats) -> Work:
        """What a round of the installed plan is answered with; Refusal, for what the server can know, if another plan is
        asked for, the weights do not fit, or the plan asks for more than the caps allow."""
        installed = self._installed
        if installed is None:
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        installed.expect_asked(plan_sha256, theta, self.gate.ledger.caps)
        return Work(installed, self._history, self.profile.number, self._entropy, self.problems)

    def take_alerts(self, step: int) -> list[Alert]:
        """Alerts that no earlier query took; asking again for the same step gives the same answer."""
        alerts = mark_sent(self._alerts, step)
        if alerts != self._alerts:
            self._keep_alerts(alerts)
        return [alert for alert, taken in self._alerts if taken == step]

    def consent(self, choice: Consent | None = None) -> Consent:
        """See `OwnerControls.consent`. Consent to identified alerts tells alerts from now on, not those of the past."""
        with self._quietly():
            if choice is Consent.IDENTIFIED and super().consent() is not choice:
                self._keep_alerts([(alert, SENT) for alert, _ in self._alerts])
            return super().consent(choice)
        return super().consent()

    # ---- what the app sees

    def interests(self) -> Floats:
        """p (C,) as of the last closed step; NaN where there is no score."""
        return self._p.copy()

    def bursts(self) -> Bools:
        """Where p follows a burst of events (`client/detection/bursts.py`) and not interest, as of the last closed step: (C,)."""
        out = np.zeros(self.profile.n_categories, bool)
        with self._quietly():
            if self._installed and self.n_closed_steps:
                out |= held_by_burst(self._history, self._installed.plan.features, [self.n_closed_steps - 1])[0]
        return out

    def alerts(self) -> list[Alert]:
        """Alerts that are still here, the oldest first, each with the segment and the intervention of its moment."""
        return [alert for alert, _ in self._alerts]

    def forget(self) -> bool:
        """Destroy the key, then everything in the folder, and what is in memory; whether it is done. See `OwnerControls`."""
        self._installed = self._watch = None
        self._history = History.empty(self.profile.n_categories)
        self._alerts, self._p = [], np.full_like(self._p, np.nan)
        self._open_count, self._open_amount = np.zeros_like(self._open_count), np.zeros_like(self._open_amount)
        return super().forget()

    def explain(self, alert: Alert) -> Explanation | None:
        """Why this device raised `alert`; None once another model has come, or if it cannot say. It never leaves."""
        installed, watch = self._installed, self._watch
        with self._quietly():
            if installed is None or watch is None or alert.model_round != installed.round_number:
                return None
            model = installed.plan, installed.scorer, installed.risk
            return explain(*model, self._history, watch, alert.category, alert.step, alert.direction, self.profile.step)
        return None

    # ---- kept between two calls

    def _keep_watch(self) -> None:
        self._vault.put("watch", kept.plain_watch(self.n_closed_steps, self._watch, self._p))

    def _keep_alerts(self, alerts: AlertLog) -> None:
        with self._vault.writing("alerts"):
            self._vault.put("alerts", kept.plain_alerts(alerts))
        self._alerts = alerts

    def _restore(self) -> None:
        """Take up what the vault holds."""
        vault, n_categories = self._vault, self.profile.n_categories
        model, watch = vault.get("model"), vault.get("watch")
        self._installed = kept.model(model) if model else None
        nothing = 0, None, np.full(n_categories, np.nan, np.float32)
        closed, self._watch, self._p = kept.watch(watch) if watch else nothing
        count, amount = vault.counters(n_categories, closed + 1)
        self._history = History(count[:, :closed] > 0, count[:, :closed].copy(), amount[:, :closed].copy())
        self._open_count, self._open_amount = count[:, closed].copy(), amount[:, closed].copy()
        for event in vault.events():
            self._count(event)
        self._alerts = kept.alerts(vault.get("alerts") or [])
