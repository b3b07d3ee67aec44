"""What a server installed here: a model, its plan and its weights, checked before any of it is used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from shared.arrays import Floats
from shared.errors import ConfigError, ModelError, Refusal, RefusalCode
from shared.heads import Heads, HeadsStart
from shared.lapse_risk import READINGS
from shared.plan import Plan
from shared.rdp import charge, update_cost, zero

from ..privacy.caps import Caps, LedgerLine
from .costs import expect_affordable
from .runtime import open_model, verified
from .scorer import Scorer


@dataclass(frozen=True)
class Installed:
    """A model, its plan, its weights and phi's (R,; empty: none yet), and its heads (None: none yet), as of one round."""

    plan: Plan
    model: bytes
    theta: Floats
    risk: Floats
    round_number: int
    heads: Heads | None = None

    @property
    def scorer(self) -> Scorer:
        """What makes p."""
        return Scorer(open_model(self.model), self.theta)

    def score(self, theta: Floats, x: Floats) -> Floats:
        """p (...,) of rows x (..., F) by this model under any weights theta (P,)."""
        return Scorer(open_model(self.model), theta).score(x)

    def is_as(self, other: Installed) -> bool:
        """Whether the other says the very same: to be offered it again is no news."""
        return (self.plan, self.model, self.round_number) == (other.plan, other.model, other.round_number) and all(
            np.array_equal(mine, others) for mine, others in zip(self._weights(), other._weights(), strict=True)
        )

    def _weights(self) -> tuple[Floats, Floats, Floats, Floats]:
        """All weights; nothing where there are no heads yet."""
        nothing = np.empty(0, np.float32)
        heads = (self.heads.popularity, self.heads.weights) if self.heads else (nothing, nothing)
        return self.theta, self.risk, *heads

    def with_heads(self, start: bytes, popularity: Floats, weights: Floats) -> Installed:
        """This model with heads, of which the plan names the start; Refusal (PLAN_MISMATCH) where it learns none or others, or
        where they have another form."""
        wanted = self.plan.heads
        if wanted is None or hashlib.sha256(start).digest() != wanted.start_sha256:
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        try:
            begun = HeadsStart.from_bytes(start, self.plan.network)
            heads = Heads(begun, popularity, weights.reshape(begun.weights.shape))
        except (ConfigError, ValueError):
            raise Refusal(RefusalCode.PLAN_MISMATCH) from None
        if len(popularity) != wanted.n_categories:
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        return replace(self, heads=heads)

    def checked(self, catalogue_sha256: bytes, caps: Caps, n_categories: int) -> Installed:
        """This same object, if the file is the pinned one, plan and weights are for this catalogue and this network, and
        the plan asks for no more than the owner's caps and than a device of so many categories can do; Refusal
        otherwise."""
        network = self.plan.network
        fits = len(self.theta) == network.n_parameters and len(self.risk) in (0, len(READINGS))
        heads = self.plan.heads
        if self.plan.catalogue_sha256 != catalogue_sha256 or not fits:
            raise Refusal(RefusalCode.PLAN_REFUSED)
        if heads is not None and heads.n_categories != n_categories:
            raise Refusal(RefusalCode.PLAN_REFUSED)
        try:
            verified(self.model)
        except ModelError:
            raise Refusal(RefusalCode.MODEL_REFUSED) from None
        if open_model(self.model).sizes != (network.n_features, network.n_parameters, network.n_hidden):
            raise Refusal(RefusalCode.PLAN_REFUSED)
        expect_affordable(self.plan, n_categories)
        expect_bounds(self.plan, caps)
        return self

    def expect_asked(self, plan_sha256: bytes, theta: Floats, caps: Caps) -> None:
        """Refusal unless a sum means this plan, its weights fit, and the plan's norm and survivors are within the caps as
        they are now. What it costs is the ledger's to refuse."""
        if self.plan.sha256 != plan_sha256 or len(theta) != len(self.theta):
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        expect_norms(self.plan, caps)
        expect_survivors(self.plan, caps)


def expect_norms(plan: Plan, caps: Caps) -> None:
    """Refusal (CLIP_NORM) if a part of the plan clips at more than the owner allows."""
    if any(kind.privacy.clip_norm > caps.clip_norm for kind in plan.updates):
        raise Refusal(RefusalCode.CLIP_NORM)


def expect_survivors(plan: Plan, caps: Caps) -> None:
    """Refusal (SURVIVORS) if a part of the plan counts on the noise of more devices than the owner believes in. A plan that
    counts on more than its own expected cohort is none: `shared.plan` does not read it.

    Every device adds the planned noise over the honest devices that there are to be at least, and its ledger counts the
    noise of all of them. A server that invents devices has each real one add next to nothing, while every ledger says that
    the update was well hidden.
    """
    if any(kind.privacy.min_survivors > caps.survivors for kind in plan.sums):
        raise Refusal(RefusalCode.SURVIVORS)


def expect_bounds(plan: Plan, caps: Caps) -> None:
    """Refusal if a plan asks for more than the owner's table: CLIP_NORM, SURVIVORS, or EPSILON if a device that spent
    nothing yet could not take part in training even once. Its coins and its queries are declined one by one: an owner who pays
    for none may still train."""
    expect_norms(plan, caps)
    expect_survivors(plan, caps)
    for kind in plan.updates:
        cost = update_cost(kind.privacy, kind.n_values)
        _, fits = charge(zero(2, 2), cost, caps.epsilons(LedgerLine(kind.reply)), caps.delta)
        if not fits.all():
            raise Refusal(RefusalCode.EPSILON)
