"""The device: records behaviour, closes steps, scores and detects, trains, and answers; raw behaviour stays inside.

    device.record(event)   -> counters of the open step
    the step closes        -> History -> extract -> Scorer -> p -> detector -> risk -> Alert -> the app's callback
    a round asks           -> own rows -> LocalTrainer -> raw delta -> protect -> (gate) -> bytes

Nothing here raises into the app that holds it: what goes wrong is counted in `problems`, by a name without any value.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.codec import pack_floats, unpack_floats
from shared.errors import InputError, ModelError, Refusal, RefusalCode
from shared.events import ENGAGEMENT, MAX_CATEGORIES, BehaviourEvent, Step
from shared.features import History, extract, seen
from shared.mechanisms import Entropy, protect
from shared.messages import MAX_ALERTS
from shared.plan import Plan, RiskPlan
from shared.risk import N_COEFFICIENTS, READINGS, gradient, readings

from .consent import Consent
from .explain import Explanation, explain
from .gate import Gate
from .risk import Direction, RiskLevel, p_and_risk, recent_rows
from .rows import batches, draw, generator, labelled_rows, lapse_rows
from .runtime import open_model, pinned_model, verified
from .scorer import Scorer
from .store import Store, pack, unpack
from .trainer import LocalTrainer
from .watch import Watch, past_steps

Floats = NDArray[np.float32]

#: A clock that jumps further ahead than this is a broken clock: the event is not recorded.
MAX_JUMP_STEPS = 1000


@dataclass(frozen=True)
class Alert:
    """One turn of interest, as the app on the device is told."""

    direction: Direction
    category: int
    level: RiskLevel
    step: int
    model_round: int

    def __repr__(self) -> str:
        return "Alert(<raw>)"


@dataclass(frozen=True)
class Profile:
    """What a device is, from its first day on.

    `number` is its own, random; it seeds the draw of rows. Step 0 begins at `origin_s`, seconds on the device's clock.
    """

    step: Step
    n_categories: int
    catalogue_sha256: bytes
    consent: Consent = Consent.LOCAL
    number: int = -1
    origin_s: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.n_categories <= MAX_CATEGORIES:
            raise InputError(f"expected 1 to {MAX_CATEGORIES} categories, got {self.n_categories}")


@dataclass(frozen=True)
class Installed:
    """A model, its plan, its weights and phi's (R,; empty: none yet), as of one round."""

    plan: Plan
    model: bytes
    theta: Floats
    risk: Floats
    round_number: int


#: Told at the close of a step: the step, p (C,) (NaN where there is no score), the alerts it raised.
OnStep = Callable[[int, Floats, list[Alert]], None]


class Device:
    """One user's device. Open it with `Device.open`, keep it with `save`; it is not safe for two threads."""

    def __init__(self, profile: Profile, store: Store, on_step: OnStep | None, entropy: Entropy) -> None:
        self.profile = profile
        self.gate = Gate(profile.consent)
        self.problems: Counter[str] = Counter()
        self._store, self._on_step, self._entropy = store, on_step, entropy
        self._history = History.empty(profile.n_categories)
        self._open_count = np.zeros(profile.n_categories, np.float32)
        self._open_amount = np.zeros(profile.n_categories, np.float32)
        self._installed: Installed | None = None
        self._watch: Watch | None = None
        self._p = np.full(profile.n_categories, np.nan, np.float32)
        self._alerts: list[tuple[Alert, int]] = []  # with the step of the query that took it, -1: none yet

    @classmethod
    def open(
        cls,
        folder: Path,
        profile: Profile | None = None,
        *,
        on_step: OnStep | None = None,
        entropy: Entropy = os.urandom,
    ) -> Device:
        """The device that lives in `folder`; a new one with `profile` if there is none yet (then it is required)."""
        store = Store(folder)
        if store.exists():
            return cls._restore(store, on_step, entropy)
        if profile is None:
            raise InputError("expected a profile for a new device")
        if profile.number < 0:
            profile = Profile(**{**vars(profile), "number": secrets.randbits(63)})
        return cls(profile, store, on_step, entropy)

    # ---- events in

    @property
    def n_closed_steps(self) -> int:
        return self._history.n_steps

    def record(self, event: BehaviourEvent) -> bool:
        """Count one event; whether it was taken. A step that lies behind it closes first, in the same call.

        A late event counts in its own, closed step (nothing is detected again). One that is out of range or further
        ahead than `MAX_JUMP_STEPS` is not taken.
        """
        try:
            event.check(self.profile.n_categories)
        except InputError:
            self.problems["event_out_of_range"] += 1
            return False
        step = self.profile.step.at(event.time_s)
        if step > self.n_closed_steps + MAX_JUMP_STEPS:
            self.problems["clock_jump"] += 1
            return False
        self.close_until(step)
        weight = ENGAGEMENT[event.kind]
        if step < self.n_closed_steps:
            self._history.count[event.category, step] += weight
            self._history.amount[event.category, step] += np.float32(event.amount)
            self._history.active[event.category, step] = True
        else:
            self._open_count[event.category] += weight
            self._open_amount[event.category] += np.float32(event.amount)
        return True

    def close_until(self, step: int) -> None:
        """Close every step before `step`: count, score, detect."""
        while self.n_closed_steps < step:
            self._history = self._history.then(self._open_count, self._open_amount)
            self._open_count = np.zeros_like(self._open_count)
            self._open_amount = np.zeros_like(self._open_amount)
            try:
                self._score_closed_step()
            except Exception:
                self.problems["scoring"] += 1

    def _score_closed_step(self) -> None:
        if self._installed is None:
            return
        step = self.n_closed_steps - 1
        p, risk = self._read(self._installed, step)
        alerts = self._detect(self._installed, step, p, risk)
        self._p = p
        if self._on_step is not None:
            self._on_step(step, p, alerts)

    def _scores(self, installed: Installed, steps: NDArray[np.int64]) -> Floats:
        """p (S, C) as of each closed step; NaN for a category that the user never touched (cold start)."""
        if not steps.size:
            return np.empty((0, self.profile.n_categories), np.float32)
        rows = extract(self._history, installed.plan.features, steps)
        p = Scorer(open_model(installed.model), installed.theta).score(rows)
        return np.where(seen(self._history, steps), p, np.float32(np.nan))

    def _read(self, installed: Installed, step: int) -> tuple[Floats, Floats]:
        """p and phi (C,) as of the close of a step."""
        x, known = recent_rows(self._history, installed.plan, step)
        p = Scorer(open_model(installed.model), installed.theta).score(x)
        return p_and_risk(installed.plan, installed.risk, x, p, known)

    def _detect(self, installed: Installed, step: int, p: Floats, risk: Floats) -> list[Alert]:
        assert self._watch is not None
        fired, levels = self._watch.see(installed.plan, self._history, step, p, risk)
        raised = [
            Alert(Direction(d), int(c), RiskLevel(int(levels[d, c])), step, installed.round_number)
            for d, c in zip(*np.nonzero(fired), strict=True)
        ]
        self._alerts = [*self._alerts, *((alert, -1) for alert in raised)][-MAX_ALERTS:]
        return raised

    # ---- what the server asks

    def install(self, plan: Plan, model: bytes, theta: Floats, risk: Floats, round_number: int) -> None:
        """Take a model, its plan and weights, and phi's (R,; empty: none yet). Detectors start again on the recent past,
        scored by the new weights: a jump between two models is not a turn of interest; quiet time and budget go on.
        Refusal if the file is not the pinned one, or the plan is for another catalogue or another network."""
        fits = len(theta) == plan.network.n_parameters and len(risk) in (0, len(READINGS))
        if plan.catalogue_sha256 != self.profile.catalogue_sha256 or not fits:
            raise Refusal(RefusalCode.PLAN_REFUSED)
        if not model:
            model = self._installed.model if self._installed else pinned_model()
        try:
            model = verified(model)
        except ModelError:
            raise Refusal(RefusalCode.MODEL_REFUSED) from None
        network = plan.network
        if open_model(model).sizes != (network.n_features, network.n_parameters, network.n_hidden):
            raise Refusal(RefusalCode.PLAN_REFUSED)
        self._installed = Installed(plan, model, theta, risk, round_number)
        past = np.arange(max(0, self.n_closed_steps - past_steps(plan)), self.n_closed_steps)
        scores = self._scores(self._installed, past)
        begin = self._watch.restart if self._watch else Watch.start
        self._watch = begin(plan, scores, self.n_closed_steps - 1)
        self._p = scores[-1] if past.size else np.full(self.profile.n_categories, np.nan, np.float32)

    def update(self, plan_sha256: bytes, theta: Floats, round_number: int) -> NDArray[np.uint32]:
        """This device's share of a round, protected: uint32 (P,).

        A device without rows, or whose training fails, gives zero plus noise: the form tells nothing. Refusal only for
        what the server already knows: a plan that was never installed here.
        """
        installed = self._installed
        if installed is None or installed.plan.sha256 != plan_sha256 or len(theta) != len(installed.theta):
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        plan = installed.plan
        try:
            raw_delta = self._raw_delta(installed, theta, round_number)
        except Exception:
            self.problems["training"] += 1
            raw_delta = np.zeros(plan.network.n_parameters)
        return protect(
            raw_delta,
            clip_norm=plan.privacy.clip_norm,
            steps_per_clip=plan.privacy.steps_per_clip,
            share_sigma=plan.privacy.share_sigma,
            entropy=self._entropy,
        )

    def _raw_delta(self, installed: Installed, theta: Floats, round_number: int) -> NDArray[np.float64]:
        plan = installed.plan
        x, y = labelled_rows(self._history, plan.features, plan.horizon_steps, plan.training.history_steps)
        work = batches(x, y, plan, round_number, self.profile.number)
        return LocalTrainer(open_model(installed.model), plan.training).raw_delta(theta, work)

    def risk_update(
        self, plan_sha256: bytes, theta: Floats, basis: Floats, coefficients: Floats, round_number: int
    ) -> NDArray[np.uint32]:
        """This device's share of a round that learns phi, protected: uint32 (2,). basis (R * 2,) row by row.

        As `update`: a device without rows, or whose work fails, gives zero plus noise. Refusal for a plan that is not
        the installed one or learns no phi, and for weights of another form.
        """
        installed = self._installed
        if installed is None or installed.plan.sha256 != plan_sha256 or len(theta) != len(installed.theta):
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        risk = installed.plan.risk
        if risk is None or len(coefficients) != N_COEFFICIENTS or len(basis) != len(READINGS) * N_COEFFICIENTS:
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        try:
            raw_delta = self._raw_risk_delta(installed, risk, theta, basis, coefficients, round_number)
        except Exception:
            self.problems["training"] += 1
            raw_delta = np.zeros(N_COEFFICIENTS, np.float32)
        return protect(
            raw_delta,
            clip_norm=risk.privacy.clip_norm,
            steps_per_clip=risk.privacy.steps_per_clip,
            share_sigma=risk.privacy.share_sigma,
            entropy=self._entropy,
        )

    def _raw_risk_delta(
        self,
        installed: Installed,
        risk: RiskPlan,
        theta: Floats,
        basis: Floats,
        coefficients: Floats,
        round_number: int,
    ) -> Floats:
        plan = installed.plan
        rows = lapse_rows(self._history, plan, risk)
        picks = draw(len(rows.y), 1, risk.rows, generator(plan.training.seed, round_number, self.profile.number))[0]
        picks = picks[picks >= 0]
        scorer = Scorer(open_model(installed.model), theta)
        x, before = rows.x[picks], rows.x_before[picks]
        read = readings(plan.features, x, scorer.score(x), scorer.score(before))
        weight = np.full(len(picks), 1 / risk.rows, np.float32)
        return -gradient(basis.reshape(-1, N_COEFFICIENTS), coefficients, read, rows.y[picks], weight)

    def take_alerts(self, step: int) -> list[Alert]:
        """Alerts that no earlier query took; asking again for the same step gives the same answer."""
        self._alerts = [
            (alert, step if taken < 0 else taken) for alert, taken in self._alerts if taken < 0 or taken >= step
        ]
        return [alert for alert, taken in self._alerts if taken == step]

    # ---- what the app sees

    def interests(self) -> Floats:
        """p (C,) as of the last closed step; NaN where there is no score."""
        return self._p.copy()

    def explain(self, alert: Alert) -> Explanation | None:
        """Why this device raised `alert`; None once another model has come, or if it cannot say. It never leaves."""
        installed, watch = self._installed, self._watch
        if installed is None or watch is None or alert.model_round != installed.round_number:
            return None
        scorer, turn = (
            Scorer(open_model(installed.model), installed.theta),
            (alert.category, alert.step, alert.direction),
        )
        try:
            return explain(installed.plan, scorer, installed.risk, self._history, watch, *turn, self.profile.step)
        except Exception:
            self.problems["explaining"] += 1
            return None

    # ---- kept between two calls

    def save(self) -> None:
        """Write the state to the device's folder."""
        installed = self._installed
        self._store.save(
            {
                "profile": {
                    **vars(self.profile),
                    "step": self.profile.step.value,
                    "consent": str(self.profile.consent),
                },
                "history": [pack(a) for a in (self._history.active, self._history.count, self._history.amount)],
                "open": [pack(self._open_count), pack(self._open_amount)],
                "installed": installed
                and [
                    installed.plan.canonical,
                    installed.model,
                    pack_floats(installed.theta),
                    pack_floats(installed.risk),
                    installed.round_number,
                ],
                "watch": self._watch and {name: pack(array) for name, array in self._watch.arrays().items()},
                "p": pack(self._p),
                "alerts": [[*vars(alert).values(), taken] for alert, taken in self._alerts],
                "problems": dict(self.problems),
            }
        )

    @classmethod
    def _restore(cls, store: Store, on_step: OnStep | None, entropy: Entropy) -> Device:
        state: dict[str, Any] = store.load()
        fields = state["profile"]
        profile = Profile(**{**fields, "step": Step(fields["step"]), "consent": Consent(fields["consent"])})
        device = cls(profile, store, on_step, entropy)
        device._history = History(*(unpack(a) for a in state["history"]))
        device._open_count, device._open_amount = (unpack(a) for a in state["open"])
        device._watch = None
        if state["watch"]:
            device._watch = Watch.of({name: unpack(a) for name, a in state["watch"].items()})
        device._p = unpack(state["p"])
        device.problems.update(state["problems"])
        if state["installed"]:
            plan, model, theta, risk, round_number = state["installed"]
            weights = unpack_floats(theta), unpack_floats(risk)
            device._installed = Installed(Plan.from_bytes(plan), model, *weights, round_number)
        device._alerts = [
            (Alert(Direction(direction), category, RiskLevel(level), step, round_number), taken)
            for direction, category, level, step, round_number, taken in state["alerts"]
        ]
        return device
