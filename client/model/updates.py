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
from shared.heads import (
    TASKS,
    HeadRows,
    Heads,
    curvature_vectors,
    packed_length,
    pair_shares,
    update_vectors,
)
from shared.lapse_risk import N_COEFFICIENTS, READINGS, gradient, readings
from shared.mechanisms import Entropy, protect
from shared.plan import PrivacyPlan, RiskPlan
from shared.register.heads_plan import HeadsPlan
from shared.register.queries import QueryPlan

from .installed import Installed
from .recipes import VECTORS, Seen
from .runtime import open_model
from .scorer import Scorer
from .trainer import LocalTrainer
from .training_rows import batches, draw, generator, head_rows, labelled_rows, lapse_rows


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

    def crowd_share(self) -> Words:
        """The share of the sum of what everybody does: uint32 (C (C + 1) / 2,). Refusal as `heads_plan`."""
        plan = self.heads_plan()
        n = plan.n_categories
        return self._protected(plan.crowd, packed_length(n), lambda: pair_shares(self.history.active, n))

    def heads_plan(self) -> HeadsPlan:
        """What the plan says of heads; Refusal if it learns none."""
        if (plan := self.installed.plan.heads) is None:
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        return plan

    def heads(self) -> Heads:
        """The heads that are installed; Refusal if none are."""
        if (heads := self.installed.heads) is None:
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        return heads

    def curvature_share(self, round_number: int) -> Words:
        """The share of the sum of both heads' curvature where they start: uint32 (812,). Refusal as `heads_plan` and `heads`."""
        plan, heads = self.heads_plan(), self.heads()
        at, length = heads.start.weights, plan.lengths[1]
        return self._protected(
            plan.curvature, length, lambda: curvature_vectors(plan, self._head_rows(heads, round_number), at)
        )

    def whitening(self, basis: Floats, coefficients: Floats) -> tuple[Floats, Floats]:
        """Basis (2, 28, 28) and coefficients (2, 28) of a request, row by row; Refusal as `heads`, or for another form."""
        n_heads, n = self.heads().start.weights.shape
        if basis.size != n_heads * n * n or coefficients.size != n_heads * n:
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        return basis.reshape(n_heads, n, n), coefficients.reshape(n_heads, n)

    def head_update(self, basis: Floats, coefficients: Floats, round_number: int) -> Words:
        """The share of a round that learns both heads' coefficients (2, 28), of which basis (2, 28, 28) makes weights: uint32
        (56,). Refusal as `heads_plan` and `heads`."""
        plan, heads = self.heads_plan(), self.heads()
        start = heads.start.weights
        return self._protected(
            plan.updates,
            start.size,
            lambda: update_vectors(plan, self._head_rows(heads, round_number), start, basis, coefficients),
        )

    def _head_rows(self, heads: Heads, round_number: int) -> list[HeadRows]:
        """Rows of each head, drawn for a round, as heads look at them."""
        plan = self.installed.plan
        out = []
        for task, head in zip(TASKS, self.heads_plan().heads, strict=True):
            rows = head_rows(self.history, plan, head, task)
            picks = draw(len(rows.y), 1, head.rows, generator(plan.training.seed, round_number, self.device))[0]
            picks = picks[picks >= 0]
            popularity = heads.popularity[rows.category[picks]]
            z = heads.inputs(plan.read_features, self.installed.score, rows.x[picks], popularity)
            out.append(HeadRows(z, rows.y[picks], np.ones(len(picks), np.float32)))
        return out

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
