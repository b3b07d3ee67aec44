"""What a device answers a round with: work on rows of its own, protected. Raw deltas do not leave this file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Doubles, Floats, Words
from shared.errors import Refusal, RefusalCode
from shared.features import History
from shared.lapse_risk import N_COEFFICIENTS, READINGS, gradient, readings
from shared.mechanisms import Entropy, protect
from shared.plan import PrivacyPlan, RiskPlan
from shared.register.queries import QueryPlan

from .installed import Installed
from .recipes import VECTORS, Seen
from .runtime import open_model
from .scorer import Scorer
from .trainer import LocalTrainer
from .training_rows import batches, draw, generator, labelled_rows, lapse_rows


@dataclass(frozen=True)
class Work:
    """One device's work under its installed plan, on its history as of now.

    Guarantees. A device without rows, or whose work fails, gives zero plus noise: the form tells nothing. What failed is
    counted in `problems`.
    """

    installed: Installed
    history: History
    device: int
    entropy: Entropy
    problems: Counter[str]

    def __repr__(self) -> str:
        return "Work(<raw>)"

    def update(self, theta: Floats, round_number: int) -> Words:
        """The share of a round that learns theta (P,): uint32 (P,)."""
        return self._protected(self.installed.plan.privacy, len(theta), lambda: self._raw_delta(theta, round_number))

    def _raw_delta(self, theta: Floats, round_number: int) -> Doubles:
        plan = self.installed.plan
        x, y = labelled_rows(self.history, plan.features, plan.horizon_steps, plan.training.history_steps)
        work = batches(x, y, plan, round_number, self.device)
        return LocalTrainer(open_model(self.installed.model), plan.training).raw_delta(theta, work)

    def risk_plan(self, basis: Floats, coefficients: Floats) -> RiskPlan:
        """What the plan says of phi; Refusal if it learns none, or if the weights have another form."""
        risk = self.installed.plan.risk
        if risk is None or len(coefficients) != N_COEFFICIENTS or len(basis) != len(READINGS) * N_COEFFICIENTS:
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        return risk

    def risk_update(self, theta: Floats, basis: Floats, coefficients: Floats, round_number: int) -> Words:
        """The share of a round that learns phi's coefficients (2,), with p under theta: uint32 (2,). basis (R * 2,) row
        by row. Refusal as `risk_plan`."""
        risk = self.risk_plan(basis, coefficients)
        matrix = basis.reshape(-1, N_COEFFICIENTS)
        return self._protected(
            risk.privacy,
            N_COEFFICIENTS,
            lambda: self._raw_risk_delta(risk, theta, matrix, coefficients, round_number),
        )

    def _raw_risk_delta(
        self, risk: RiskPlan, theta: Floats, basis: Floats, coefficients: Floats, round_number: int
    ) -> Floats:
        plan = self.installed.plan
        rows = lapse_rows(self.history, plan, risk)
        picks = draw(len(rows.y), 1, risk.rows, generator(plan.training.seed, round_number, self.device))[0]
        picks = picks[picks >= 0]
        scorer = Scorer(open_model(self.installed.model), theta)
        x, before = rows.x[picks], rows.x_before[picks]
        read = readings(plan.features, x, scorer.score(x), scorer.score(before))
        weight = np.full(len(picks), 1 / risk.rows, np.float32)
        return -gradient(basis, coefficients, read, rows.y[picks], weight)

    def vector(self, query: QueryPlan, alerts: Iterable[Sequence[int]], round_number: int, step: int) -> Words:
        """The share of a sum that a query asks for at a step, of what this device knew when it closed: uint32 (n_values,).
        `alerts`: direction, category, level and step of those that are still here."""
        table = np.array([(0, *alert) for alert in alerts], np.int64).reshape(-1, 5)
        history, installed = self.history.until(step)[None], self.installed
        number = np.array([self.device])

        def raw() -> Doubles:
            about = Seen(installed.plan, query, history, installed.scorer.score, table, number, round_number, step)
            own: Doubles = VECTORS[query.recipe](about)[0]
            return own

        return self._protected(query.privacy, query.n_values, raw)

    def _protected(self, privacy: PrivacyPlan, n: int, work: Callable[[], NDArray[np.floating]]) -> Words:
        try:
            raw = work()
        except Exception:
            self.problems["training"] += 1
            raw = np.zeros(n)
        return protect(
            raw,
            clip_norm=privacy.clip_norm,
            steps_per_clip=privacy.steps_per_clip,
            share_sigma=privacy.share_sigma,
            entropy=self.entropy,
        )
