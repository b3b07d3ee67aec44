"""The audit of one run: whether what it released keeps the epsilon that is stated, and what an audit like this would have found.

`audit_run` makes it, `keep_audit` writes it into the run's folder, `recompute.py` works it out again from there. What is in the file:
counts, thresholds, the seed of canaries that were tossed after the run, bounds, and their power; nothing of what anybody did, no cohort,
no size of one. A breach is a bound above what is stated; by chance each comes to one in less than one in 1,000 audits.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

import numpy as np

from server.privacy.accounting import epsilon_unamplified
from shared.arrays import Ints
from shared.charges import Charge, charges_of
from shared.errors import ConfigError, RunError
from shared.files import replace_content
from shared.plan import Plan

from ..federation.run_folder import RunFolder
from ..people.population import Population
from ..people.setup import Setup
from .bounds import CONFIDENCE
from .canaries import LEAST_VALUES, Canaries, canaries_in
from .mechanism import Tried, trials_of, tried, views_of
from .membership import Membership, membership_of
from .noise import Noise, noise_in
from .opened import opened_sums
from .power import Power, power_of_canaries, power_of_trials

FORMAT: Final = 1
NOT_PRIVATE: Final = "the plan promises nothing: it is not private, and there is nothing to audit"
NOBODY_HELD_OUT: Final = "not measured: nobody was held out of the training"
NO_ROUND: Final = "no round moved the model"


@dataclass(frozen=True)
class Audit:
    """All of it. `why`: of what is not there. `stated`: epsilon of a whole run to the server. `power`: of each view of the mechanism, by
    its key; `canaries_find_quarter`: how often canaries would have shown noise four times too small. `breaches`: in words, empty if
    everything is kept."""

    format: int
    plan_sha256: str
    confidence: float
    delta: float
    stated: float | None
    mechanism: tuple[Tried, ...]
    power: Mapping[str, Power]
    canaries: Canaries | None
    canaries_find_quarter: float | None
    noise: Noise | None
    membership: Membership | None
    why: Mapping[str, str]
    breaches: tuple[str, ...]

    @property
    def canonical(self) -> str:
        """The text of the file: the same for the same audit."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n"


def audit_run(
    run: RunFolder, setup: Setup, population: Population, draws: int | None = None, *, whole: bool = False
) -> Audit:
    """The audit of a run that has ended. `draws`: trials of every view of the mechanism, with `whole` also of all sums of a run
    together; without them, what a few seconds allow."""
    plan, out = setup.plan, []
    if stated_of(plan) is not None:
        trials = trials_of(plan)
        for view in views_of(plan, whole=whole):
            out.append(tried(view, draws or trials[view.key], plan.privacy.delta))
    return audit_of(run, setup, population, out, secrets.randbits(48))


def keep_audit(run: RunFolder, audit: Audit) -> None:
    """Write it into the run's folder, in place of what is there."""
    replace_content(run.audit_file, audit.canonical)


def expect_kept(audit: Audit) -> None:
    """RunError, with the numbers, if something that is stated was broken."""
    if audit.breaches:
        raise RunError(f"expected a run that keeps what it states, but its audit found: {'; '.join(audit.breaches)}")


def audit_of(run: RunFolder, setup: Setup, population: Population, out: Sequence[Tried], seed: int) -> Audit:
    """An audit from what came of the mechanism, and a seed for canaries: all else follows."""
    plan, delta = setup.plan, setup.plan.privacy.delta
    why: dict[str, str] = {}
    stated, canaries, finds, noise = stated_of(plan), None, None, None
    if stated is None:
        why |= {"mechanism": NOT_PRIVATE, "canaries": NOT_PRIVATE, "noise": NOT_PRIVATE}
    else:
        kind, of_rounds = plan.updates[0], partial(_epsilon_of, plan)
        sums, none = _sums_of(run, setup)
        if len(sums):
            noise = noise_in(sums, kind.privacy, of_rounds(len(sums)), of_rounds(1), delta)
        else:
            why |= {"noise": none, "canaries": none}
        if len(sums) and kind.n_values >= LEAST_VALUES:
            canaries = canaries_in(sums, kind.privacy, seed, of_rounds(1), delta)
            shape = canaries.rounds, canaries.canaries
            finds = power_of_canaries(*shape, kind.privacy.noise_multiplier, canaries.stated, delta)
    membership = membership_of(run, setup, population)
    if membership is None:
        why["membership"] = NOBODY_HELD_OUT
    views = {view.key: view for view in views_of(plan, whole=True)} if out else {}
    return Audit(
        format=FORMAT,
        plan_sha256=plan.sha256.hex(),
        confidence=CONFIDENCE,
        delta=delta,
        stated=stated,
        mechanism=tuple(out),
        power={
            one.key: power_of_trials(views[one.key].thresholds, views[one.key].mu, one.trials, one.stated, delta)
            for one in out
            if views[one.key].mu
        },
        canaries=canaries,
        canaries_find_quarter=finds,
        noise=noise,
        membership=membership,
        why=why,
        breaches=(*broken_views(out), *_broken_in_run(canaries, noise)),
    )


def _sums_of(run: RunFolder, setup: Setup) -> tuple[Ints, str]:
    """The sums that a run opened for p (R, P), or none, and why."""
    try:
        return opened_sums(run, setup), NO_ROUND
    except ConfigError as error:
        return np.empty((0, 0), np.int64), str(error)


def stated_of(plan: Plan) -> float | None:
    """Epsilon of all that a plan charges, to the server; None if it is infinite."""
    epsilon = epsilon_unamplified(charges_of(plan), plan.privacy.delta)
    return epsilon if math.isfinite(epsilon) else None


def _epsilon_of(plan: Plan, rounds: int) -> float:
    """What is stated of so many rounds of p."""
    return epsilon_unamplified((Charge(plan.updates[0], rounds),), plan.privacy.delta)


def broken_views(out: Sequence[Tried]) -> list[str]:
    """Which views show more than is stated, in words."""
    return [
        f"{one.key}, {one.sees}: epsilon {one.at_least:.3g} at least, {one.stated:.3g} is stated"
        for one in out
        if one.breaks
    ]


def _broken_in_run(canaries: Canaries | None, noise: Noise | None) -> Iterator[str]:
    if canaries is not None and canaries.breaks:
        yield f"canaries in this run: epsilon {canaries.at_least:.3g} of a round at least, {canaries.stated:.3g} is stated"
    if noise is not None and noise.breaks:
        yield f"noise of this run: a multiplier of {noise.at_most:.3g} at most, {noise.planned:.3g} is planned"
    if noise is not None and noise.repeats:
        rounds = " and ".join(str(number) for number in noise.nearest or ())
        yield (
            f"rounds {rounds} of this run share noise: a multiplier of {noise.fresh_at_most:.3g} at most is the later one's own, "
            f"{noise.planned:.3g} is planned"
        )
