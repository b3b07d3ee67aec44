"""The device: records behaviour, closes steps, scores and detects, trains, and answers; raw behaviour stays inside.

    device.record(event)   -> counters of the open step
    the step closes        -> History -> extract -> Scorer -> p -> detector -> risk -> policy -> Alert -> the app
    a round asks           -> own rows -> LocalTrainer -> raw delta -> protect -> (gate) -> bytes

Everything it knows lies in its vault (`client/vault/vault.py`), sealed. An event is there before `record` returns True; a
closed step, its scores and its alerts are there as one, or not at all.

Any thread may call anything here at any time (`client/turns.py`). Once open, nothing raises into the app that holds it: what goes
wrong is counted in `problems`, by a name without any value; `advice` says what to do about each. The methods that answer
the server (`client/served.py`) raise, into `client.gate`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from shared.arguments import instance
from shared.arrays import Bools, Floats
from shared.clock import Clock
from shared.errors import ClockError, InputError
from shared.events import BehaviourEvent
from shared.mechanisms import Entropy

from .anew import begin_anew
from .arguments import expect_alert, expect_arguments, several, step_number
from .decided import caps_of, policy_of
from .detection.alerts import SENT, Alert
from .detection.bursts import held_by_burst
from .detection.explain import Explanation, explain
from .detection.policy import Policy
from .detection.risk_levels import Direction
from .gaps import fold_until, taken_back
from .gate import Gate
from .model.installed import Installed
from .place import expect_in_place
from .privacy.caps import Caps
from .problems import Problems
from .profile import AHEAD_S, MAX_JUMP_STEPS, Profile
from .served import Served
from .state import DeviceState, Told, profile_of, weights_of
from .telling import OnStep
from .vault.consent import Consent, choice_of
from .vault.keys import KeyProvider
from .vault.vault import Limits, Vault

__all__ = ["Alert", "Device", "Installed", "Profile"]


#: An event that comes so many steps after its own has closed is told among the problems: a clock was wrong, then or now.
LATE_STEPS = 7

#: Why there is nothing to say of an alert.
GONE = "no reason can be named: the model that raised this alert is here no more"
FAILED = "no reason can be named: the model did not run, see the device's problems"


class Device(Served):
    """One user's device. Open it with `Device.open`, close it with `close` or `with`; any thread may call it."""

    def __init__(
        self, vault: Vault, profile: Profile, on_step: OnStep | None, entropy: Entropy, gate: Gate, policy: Policy
    ) -> None:
        super().__init__(vault, gate, profile, on_step, entropy)
        self._policy = policy
        self._was_refused = False  # whether the vault did not take the last steps that closed
        self._state = DeviceState.kept_in(vault, profile.n_categories, self.problems)

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
        policy: Policy | None = None,
        wait_s: float = 0.0,
    ) -> Device:
        """The device that lives in `folder`; a new one with `profile` if there is none yet (then it is required).

        `keys` open its vault, `clock` dates the journal. `caps`, on what may be spent (`client/privacy/caps.py`), and `policy`,
        which chooses what a new alert tells the app to do (`client/detection/policy.py`), are the app's to set; they stay the
        device's for whoever opens it without any (`client/decided.py`). `on_step` (`client/telling.py`) is told what it was not
        told yet before this returns; where it raises then, as one that needs the device, once more after the first call.
        `wait_s`: how long to wait for whoever holds the vault, a process or another device of this one; VaultBusy after that.
        A VaultError by name if the vault does not open: see `client/vault/store.py`; Forgotten if it was forgotten.
        """
        folder, clock = expect_arguments(folder, profile, keys, on_step, entropy, clock, caps, limits, policy, wait_s)
        if not Vault.exists(folder, keys):
            if profile is None:
                raise InputError("expected a profile for a new device")
            profile.expect_current(clock.now_s())
        vault = Vault(folder, keys, limits or Limits(), wait_s)
        try:
            expect_in_place(vault)
            profile = profile_of(vault, profile, clock.now_s())
            problems = Problems(vault.get("problems") or {})
            gate = Gate(vault, caps_of(vault, caps, clock.now_s(), problems), clock, problems, profile.server_key)
            device = cls(vault, profile, on_step, entropy, gate, policy_of(vault, policy, clock.now_s(), problems))
            device._expect_readable()
            with device._quietly():
                gate.leave_past_epochs()
            device._tell_late()
        except BaseException:
            vault.close()
            raise
        return device

    @classmethod
    def start_anew(cls, folder: Path, profile: Profile, *, keys: KeyProvider, **arguments: Any) -> Device:
        """A new device where one was copied, put back, damaged or forgotten: see `client/anew.py`; else as `open`."""
        return begin_anew(cls.open, folder, profile, keys, arguments)

    # ---- events in

    @property
    def n_closed_steps(self) -> int:
        return self._state.n_closed_steps

    def record(self, event: BehaviourEvent) -> bool:
        """Count one event; whether it was taken. A step that lies behind it closes first, in the same call.

        True means that it is in the vault, and survives a killed process. A late event counts in its own, closed step
        (nothing is detected again). One that is out of range, dated ahead of the clock, further ahead than
        `MAX_JUMP_STEPS`, or that the vault could not take is not counted. The clock itself is believed: while one is
        wrong and ahead, steps close empty, which may look like a lapse; when it comes back, they are taken back
        (`client/gaps.py`).
        """
        with self._quietly():
            self._follow_clock()
            step = self._step_of(event)
            if step is not None:
                self._close_steps(step)
                self._enter(event, step, raw=True)
                return True
        return False

    def catch_up(self, events: Iterable[BehaviourEvent], step: int) -> bool:
        """Take many past events, and close every step before `step`, in one write: much cheaper than one by one. True
        means that all of it is in the vault, False that none of it is. The app is told of the closed steps afterwards."""
        with self._quietly():
            step, events = step_number(step), several(events)
            self._follow_clock()
            self._expect_reached(step)
            before, self._state = self._state, self._state.copy()
            with self._closing(before) as told:
                self._vault.expect_room()
                for event in events:
                    if (at := self._step_of(event)) is not None:
                        told += self._fold_steps(at)
                        self._enter(event, at, raw=at >= step)
                told += self._fold_steps(step)
            return True
        return False

    def _step_of(self, event: BehaviourEvent) -> int | None:
        """The step that an event counts in; None, and counted among the problems, if it counts in none."""
        try:
            instance(event, "an event", BehaviourEvent)
            event.check(self.profile.n_categories)
        except Exception:
            self.problems["event_out_of_range"] += 1
            return None
        if self.gate.closed:
            self.problems["Forgotten"] += 1
            return None
        step = self.profile.step.at(event.time_s)
        if step > self._state.n_closed_steps + MAX_JUMP_STEPS or event.time_s > self._now_s() + AHEAD_S:
            self.problems["clock_jump"] += 1
            return None
        return step

    def _expect_reached(self, step: int) -> None:
        """ClockError if a step begins further ahead of the device's own clock, or behind more closed ones, than is believed."""
        if (
            step > self._state.n_closed_steps + MAX_JUMP_STEPS
            or step * self.profile.step.seconds > self._now_s() + AHEAD_S
        ):
            raise ClockError("expected a step that this device's clock has reached")

    def _follow_clock(self) -> None:
        """Take back what closed while the clock was ahead, if it came back (`client/gaps.py`)."""
        now_s, before, step = self._now_s(), self._state, self.profile.step
        if self._state.n_closed_steps * step.seconds <= now_s + AHEAD_S or not self._vault.store.count("gap"):
            return
        with self._closing(before) as told:
            if taken := taken_back(self._vault, before, step.at(now_s), self._policy, self.problems):
                self._state, news = taken
                told += news
                self.problems["clock_was_ahead"] += 1

    def _enter(self, event: BehaviourEvent, step: int, *, raw: bool) -> None:
        """Count an event in its step, every step before which has closed. In the open step it is kept as it is if `raw`;
        if not, the same write closes that step."""
        if step < self._state.n_closed_steps:
            self._amend(step, event)
            if self._state.n_closed_steps - step > LATE_STEPS:
                self.problems["late_event"] += 1
            return
        if raw:
            self._fold_old(event.time_s)
            self._vault.add_event(event)
        self._state.count(event)

    def _now_s(self) -> float:
        """The time by this device's clock, on its own calendar."""
        return self.gate.clock.now_s() - self.profile.origin_s

    def _fold_old(self, time_s: float) -> None:
        """Fold the open step's raw events into its counters if that is due at a time on the device's calendar."""
        if self._vault.fold_is_due(time_s):
            with self._vault.writing("counters", "events"):
                self._vault.fold(self._state.n_closed_steps, self._state.open_counters())

    def _amend(self, step: int, event: BehaviourEvent) -> None:
        """Count an event in a step that has closed."""
        counters = self._state.amended(step, event)
        with self._vault.writing("counters"):
            self._vault.put_counters(step, counters)
        self._state = self._state.amend(step, counters)

    def close_until(self, step: int) -> bool:
        """Close every step before `step`: count, score, detect; and fold what is raw for longer than it may be. False if
        the vault did not take it."""
        with self._quietly():
            self._follow_clock()
            self._expect_reached(step := step_number(step))
            self._close_steps(step)
            self._fold_old(self._now_s())
            self.gate.leave_past_epochs()
            return True
        return False

    def _close_steps(self, step: int) -> None:
        """Close every step before `step`, in one write, and tell the app of each. The vault has all of it, or this device
        is as it was before and the error is raised."""
        if step <= self._state.n_closed_steps:
            return
        with self._closing(self._state) as told:
            told += self._fold_steps(step)

    @contextmanager
    def _closing(self, before: DeviceState) -> Iterator[list[Told]]:
        """A write in which steps close, with what that changes; the app is told afterwards of those in the list. Where it
        fails, this device is as it was `before`, and the error is raised."""
        told: list[Told] = []
        self._expect_written(before)
        try:
            with self._vault.writing("counters", "events", "watch", "alerts", "gap"):
                yield told
                self._state.put_watch(self._vault)
                if self._state.alerts is not before.alerts:
                    self._state.put_alerts(self._vault)
        except BaseException:
            self._state, self._was_refused = before, True
            raise
        for one in told:
            self._tell(one)

    def _expect_written(self, state: DeviceState) -> None:
        """The vault's error if it did not take the last steps that closed, and does not take as much as it has now either: on
        a full disk an event costs no scores."""
        if self._was_refused:
            with self._vault.writing("watch", "alerts"):
                state.put_watch(self._vault)
                state.put_alerts(self._vault)
            self._was_refused = False

    def _fold_steps(self, step: int) -> list[Told]:
        """Close every step before `step` inside a transaction, which has the rest written at its end; what to tell then."""
        self._state, told = fold_until(self._vault, self._state, step, self._policy, self.problems)
        return told

    # ---- what the user decides, and the app sees

    def consent(self, choice: Consent | None = None) -> Consent:
        """See `OwnerControls.consent`. Consent to identified alerts tells alerts from now on, not those of the past."""
        with self._quietly():
            choice = choice if choice is None else choice_of(choice)
            if choice is Consent.IDENTIFIED and self.gate.decision.consent is not choice:
                self._keep_alerts([(alert, SENT) for alert in self.alerts()])
            return super().consent(choice)
        return super().consent()

    def interests(self) -> Floats:
        """p (C,) as of the last closed step; NaN where there is no score."""
        return self._state.p.copy()

    def bursts(self) -> Bools:
        """Where p follows a burst of events (`client/detection/bursts.py`) and not interest, as of the last closed step: (C,)."""
        out, state = np.zeros(self.profile.n_categories, bool), self._state
        with self._quietly():
            if state.installed and state.n_closed_steps:
                out |= held_by_burst(state.interest, state.installed.plan.features, [state.n_closed_steps - 1])[0]
        return out

    def alerts(self) -> list[Alert]:
        """Alerts that are still here, the oldest first, each with the segment and the intervention of its moment."""
        return [alert for alert, _ in self._state.alerts]

    def withdrawn(self) -> list[Alert]:
        """Alerts that were none: raised while the clock was ahead, and taken back when it last came back."""
        return list(self._state.withdrawn)

    def forget(self) -> bool:
        """Destroy the key, then everything in the folder, and what is in memory; whether it is done. See `OwnerControls`."""
        self._state = DeviceState.empty(self.profile.n_categories)
        return super().forget()

    def explain(self, alert: Alert) -> Explanation | None:
        """Why this device raised `alert`, one of `alerts()`: reasons, or a sentence why there are none, as once another model has
        come. None for what is no alert of this device. It never leaves."""
        installed, watch, said = self._state.installed, self._state.watch, None
        with self._quietly():
            expect_alert(alert, self.profile.n_categories)
            said = Explanation.of_nothing(GONE) if alert in self.alerts() else None
            if installed is None or watch is None or alert.model_round != installed.round_number:
                return said
            said = said and Explanation.of_nothing(FAILED)
            model = installed.plan, weights_of(installed), installed.score
            direction = Direction(alert.direction)
            at, unit = step_number(alert.step), self.profile.step
            return explain(*model, self._state.interest, watch, alert.category, at, direction, unit, alert.began)
        return said

    def _expect_readable(self) -> None:
        """A VaultError unless this app knows all that was spent; a plan that it cannot read is taken out of the vault."""
        _ = self.gate.ledger
        if self._state.installed is None and self._vault.get("model") is not None:
            with self._quietly(), self._vault.writing("model", "watch"):
                self._state.put_model(self._vault)
                self._state.put_watch(self._vault)
