"""What a server installed here: a model, its plan and its weights, checked before any of it is used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelError, Refusal, RefusalCode
from shared.plan import Plan
from shared.risk import READINGS

from .runtime import open_model, verified
from .scorer import Scorer

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Installed:
    """A model, its plan, its weights and phi's (R,; empty: none yet), as of one round."""

    plan: Plan
    model: bytes
    theta: Floats
    risk: Floats
    round_number: int

    @property
    def scorer(self) -> Scorer:
        """What makes p."""
        return Scorer(open_model(self.model), self.theta)

    def checked(self, catalogue_sha256: bytes) -> Installed:
        """This same object, if the file is the pinned one, and plan and weights are for this catalogue and this network;
        Refusal otherwise."""
        network = self.plan.network
        fits = len(self.theta) == network.n_parameters and len(self.risk) in (0, len(READINGS))
        if self.plan.catalogue_sha256 != catalogue_sha256 or not fits:
            raise Refusal(RefusalCode.PLAN_REFUSED)
        try:
            verified(self.model)
        except ModelError:
            raise Refusal(RefusalCode.MODEL_REFUSED) from None
        if open_model(self.model).sizes != (network.n_features, network.n_parameters, network.n_hidden):
            raise Refusal(RefusalCode.PLAN_REFUSED)
        return self
