"""What the whole mechanism costs in AUC: grid, noise in shares, over-noise for devices that are gone or collude, and the sum,
against one Gaussian that a trusted server would add to the plain sum, in floating point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from secrets import randbits
from typing import Any

import numpy as np
from rich.progress import track

from shared.arrays import Words
from shared.plan import Plan, PrivacyPlan, UpdateKind

from ..federation.host_training import SUMS, fresh_entropy
from ..search.trial_federation import TrainingHost
from ..search.trials import repeated, warmed
from .learning import SEEDS, learning
from .measured import Measured, known

#: Steps in which the trusted server's sum is added up: as good as no grid, and no sum of it wraps around.
_FINE_STEPS = 2**17


class TrustedHost(TrainingHost):
    """Devices that all answer, hand out their clipped vectors as they are, and trust who adds them up with the noise: of
    the plan's `noise_multiplier`, and no more."""

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], kind: UpdateKind
    ) -> tuple[Words, int]:
        devices, privacy = np.array(cohort, np.int64), kind.privacy
        entropy = fresh_entropy(self._folder, request["round"])
        bare = SUMS[kind.request](self._rows[kind.request], devices, devices, _without_noise(plan), request, entropy)
        total = bare.view(np.int32) * (privacy.steps_per_clip / _FINE_STEPS)
        noise = np.random.default_rng(randbits(128)).normal(size=total.shape)
        total += noise * privacy.noise_multiplier * privacy.steps_per_clip
        return np.rint(total).astype(np.int64).astype(np.uint32), len(devices)


def _without_noise(plan: Plan) -> Plan:
    """The plan's work and clips, on a fine grid and without noise."""
    risk = plan.risk and replace(plan.risk, privacy=_bare(plan.risk.privacy))
    return replace(plan, privacy=_bare(plan.privacy), risk=risk)


def _bare(privacy: PrivacyPlan) -> PrivacyPlan:
    return replace(privacy, noise_multiplier=0.0, max_epsilon=math.inf, steps_per_clip=_FINE_STEPS)


def sum_utility_numbers(name: str, overrides: Sequence[str] = (), seeds: int = SEEDS) -> dict[str, Measured]:
    """`sum.utility_loss.<name>`: test AUC of scenario `eps1` with central noise, less ours, over the same seeds."""
    with learning(name, overrides) as of:
        plan, steps = of.setup.plan, of.setup.protocol.test_steps
        losses, central = [], []
        for seed in track(range(seeds), description=f"{name}, central noise"):
            setup = of.trials.setup(repeated(warmed(of.scenario("eps1"), seed), seed))
            ours, theirs = (
                known(of.trials.score(plan, of.trials.train(setup, host=host).theta, steps).auc)
                for host in (TrainingHost, TrustedHost)
            )
            central.append(theirs)
            losses.append(theirs - ours)
    baseline = f"central Gaussian noise, nobody gone, AUC {np.mean(central):.4f}"
    return {f"sum.utility_loss.{name}": Measured.over(losses, "AUC", baseline)}
