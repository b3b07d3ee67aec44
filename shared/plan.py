"""One frozen, hashed object that drives training, clipping, noise, accounting and detection on every device.

The server announces a plan before the first round; a device trains only under the plan it was given (the hash in a
`train_request` must match). All of it is public.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from . import cbor
from .cbor import Limits
from .errors import ConfigError, SurvivorsError, WireError
from .features import FeatureSpec, Richer
from .lapse_risk import N_COEFFICIENTS
from .messages import REQUESTS
from .network import NetworkSpec
from .register.bounds import MAX_BIT_EPSILON_MICRO, MAX_PLAN_BYTES, MAX_STEP
from .register.heads_plan import HeadPlan, HeadsPlan
from .register.parts import LATER, plain, revived
from .register.queries import QueryPlan, in_order
from .register.recipes import LEARNED
from .register.rule_plan import RulePlan
from .register.sum_plan import SumPlan as SumPlan
from .register.sum_plan import expect as _expect

MODULUS_BITS, MIN_SHARE_SIGMA = 32, 2.0
#: A coarser grid is no Gaussian any more: one round at 16 steps and noise multiplier 1 adds 6e-8 to delta, at 256 2e-10.
MIN_STEPS_PER_CLIP = 256
MICRO = 1_000_000
MAX_COINS = 4096  #: a weekly one for a life; the exact account of more would take minutes
DETECTORS = ("rate", "level", "own_level", "cusum", "risk", "slow_average")
MAX_SHARE_SIGMA = 2.0**14
MAX_DEVICES = 1 << 40  #: no plan counts more

#: A plan with heads and two queries has some 300 items, and parts inside its parts.
_LIMITS = Limits(MAX_PLAN_BYTES, most_items=512, most_depth=5, floats=True, simple=True)


def _expect_steps(name: str, steps: int) -> None:
    _expect(1 <= steps <= MAX_STEP, f"{name} in 1..{MAX_STEP}", steps)


def _expect_believable(privacy: PrivacyPlan) -> None:
    """SurvivorsError if a plan counts on more shares of noise than its expected cohort can give: every device would add
    too little, and nobody the rest. A device can always count on its own."""
    most = max(privacy.expected_cohort, 1.0)
    if privacy.min_survivors > most * (1 + 1e-9):  # a product of floats
        raise SurvivorsError(f"expected min_survivors <= the expected cohort {most:g}, got {privacy.min_survivors}")


@dataclass(frozen=True)
class LocalTraining:
    """What one device does in one round: `local_steps` SGD steps of `rows` of its own rows each.

    The loss is summed and divided by the constant `rows`, however few rows a device has: a light user weighs less,
    and nobody drifts (docs/learning.md). Rows come from the last `history_steps` steps whose labels are known.
    """

    learning_rate: float = 0.3
    local_steps: int = 1
    rows: int = 64
    l2: float = 0.0
    dropout: float = 0.0
    history_steps: int = 19
    seed: int = 0

    def __post_init__(self) -> None:
        _expect(0 <= self.learning_rate <= 10, "learning_rate in 0..10", self.learning_rate)
        _expect(1 <= self.local_steps <= 1000, "local_steps in 1..1000", self.local_steps)
        _expect(1 <= self.rows <= 4096, "rows in 1..4096", self.rows)
        _expect(0 <= self.l2 <= 1, "l2 in 0..1", self.l2)
        _expect(0 <= self.dropout < 1, "dropout in [0, 1)", self.dropout)
        _expect_steps("history_steps", self.history_steps)
        _expect(0 <= self.seed < 2**64, "a seed in 0..2^64-1", self.seed)


@dataclass(frozen=True)
class PrivacyPlan:
    """What protects one round's sum, and how often it is spent.

    Guarantees. A device's contribution to a round is an integer vector of L2 norm <= `steps_per_clip` (that is,
    `clip_norm` in grid steps); the sum over a cohort of at least `min_survivors - max_colluders` honest devices carries
    noise of variance >= (`noise_multiplier` * `steps_per_clip`)^2 per coordinate. Neighbours: one device's contribution
    replaced by zero while it still takes part. `noise_multiplier` 0 means no privacy: epsilon is infinite, and
    `max_epsilon` must say so.

    `population` is the number of devices the server expects to be enrolled, `sampling_rate` the Poisson probability of
    each in a round: their product is the expected cohort, the constant that sums are divided by.
    """

    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    rounds: int
    population: int
    min_survivors: int
    max_colluders: int = 0
    steps_per_clip: int = 4096
    delta: float = 1e-5
    max_epsilon: float = math.inf

    def __post_init__(self) -> None:
        _expect(self.clip_norm > 0 and math.isfinite(self.clip_norm), "clip_norm > 0", self.clip_norm)
        _expect(0 <= self.noise_multiplier < 1e4, "noise_multiplier in 0..10000", self.noise_multiplier)
        _expect(0 < self.sampling_rate <= 1, "sampling_rate in (0, 1]", self.sampling_rate)
        _expect(1 <= self.rounds <= 100_000, "rounds in 1..100000", self.rounds)
        _expect(1 <= self.population <= MAX_DEVICES, f"population in 1..{MAX_DEVICES}", self.population)
        _expect(0 < self.delta < 1, "delta in (0, 1)", self.delta)
        _expect(self.max_epsilon > 0, "max_epsilon > 0", self.max_epsilon)
        _expect(self.max_colluders >= 0, "max_colluders >= 0", self.max_colluders)
        _expect(
            self.max_colluders < self.min_survivors <= MAX_DEVICES,
            f"min_survivors > max_colluders = {self.max_colluders}, up to {MAX_DEVICES}",
            self.min_survivors,
        )
        _expect_believable(self)
        _expect(
            self.delta * self.population < 1,
            f"delta below 1 / population = {1 / self.population:.3g}, or it protects nobody in particular",
            f"{self.delta:g}",
        )
        _expect(
            MIN_STEPS_PER_CLIP <= self.steps_per_clip <= 2**24,
            f"steps_per_clip in {MIN_STEPS_PER_CLIP}..2^24",
            self.steps_per_clip,
        )
        if self.noise_multiplier:
            _expect(
                self.share_sigma >= MIN_SHARE_SIGMA,
                f"a device's noise share >= {MIN_SHARE_SIGMA} grid steps (raise steps_per_clip)",
                round(self.share_sigma, 3),
            )
            _expect(
                self.share_sigma <= MAX_SHARE_SIGMA,
                f"a device's noise share <= {MAX_SHARE_SIGMA:.0f} grid steps (lower steps_per_clip)",
                round(self.share_sigma, 3),
            )
        room = self.largest_sum
        _expect(room < 2 ** (MODULUS_BITS - 1), f"a sum below 2^{MODULUS_BITS - 1} (lower steps_per_clip)", room)

    @property
    def expected_cohort(self) -> float:
        return self.sampling_rate * self.population

    @property
    def grid_step(self) -> float:
        """The model units of one integer."""
        return self.clip_norm / self.steps_per_clip

    @property
    def honest(self) -> int:
        """The fewest devices in a sum whose noise counts."""
        return self.min_survivors - self.max_colluders

    @property
    def share_sigma(self) -> float:
        """Standard deviation, in grid steps, of the noise that every device adds on its own."""
        return self.noise_multiplier * self.steps_per_clip / math.sqrt(self.honest)

    @property
    def largest_sum(self) -> int:
        """A bound on any coordinate of an honest round's sum, in grid steps: all devices at the clip, noise at 12 sigma."""
        most = self.expected_cohort + 6 * math.sqrt(self.expected_cohort) + 6
        return math.ceil(most * self.steps_per_clip + 12 * self.share_sigma * math.sqrt(most))


@dataclass(frozen=True)
class Detection:
    """When a device calls a turn of interest. Rates are per step, levels are interest probabilities, margins logits.

    A device shows at most `false_alerts` alerts in any `budget_steps` steps, over all categories and both directions,
    whichever detector calls them (client/detection/alert_budget.py); 0: as many as are called. The cusum has to have a budget, for its
    thresholds follow from it; it calls a stream of which `warm_steps` steps were seen. A season of `season_steps` steps
    is taken out first: 7 for daily steps, 1 for none. Under a plan with heads the risk detector calls a rise where the chance of a
    take-off reaches `takeoff_line`. At a line of 1 no rise is shown, whatever the detector: where too few of them would be right.
    """

    detector: str = "level"
    rate_window_steps: int = 1
    rate_threshold: float = 0.2
    fall_level: float = 0.15
    rise_level: float = 0.85
    risk_line: float = 0.25
    own_span_steps: int = 42
    fall_margin: float = 1.5
    rise_margin: float = 2.0
    min_active_steps: int = 4
    lapse_steps: int = 8
    quiet_steps: int = 8
    false_alerts: int = 3
    budget_steps: int = 182
    warm_steps: int = 28
    season_steps: int = 1
    takeoff_line: float | None = dataclasses.field(default=None, metadata={LATER: True})

    def __post_init__(self) -> None:
        _expect(self.detector in DETECTORS, f"a detector of {', '.join(DETECTORS)}", repr(self.detector)[:40])
        for name in ("rate_window_steps", "own_span_steps", "min_active_steps", "lapse_steps"):
            _expect_steps(name, getattr(self, name))
        _expect(0 < self.rate_threshold <= 1, "rate_threshold in (0, 1]", self.rate_threshold)
        _expect(
            0 <= self.fall_level < self.rise_level <= 1,
            "0 <= fall_level < rise_level <= 1",
            (self.fall_level, self.rise_level),
        )
        _expect(0 < self.risk_line < 1, "risk_line in (0, 1)", self.risk_line)
        for margin in (self.fall_margin, self.rise_margin):
            _expect(margin > 0, "margins > 0", margin)
        _expect(0 <= self.quiet_steps <= MAX_STEP, f"quiet_steps in 0..{MAX_STEP}", self.quiet_steps)
        least = int(self.detector == "cusum")
        _expect(least <= self.false_alerts <= 100, f"false_alerts in {least}..100", self.false_alerts)
        _expect(1 <= self.budget_steps <= 10_000, "budget_steps in 1..10000", self.budget_steps)
        _expect(8 <= self.warm_steps <= 1000, "warm_steps in 8..1000", self.warm_steps)
        _expect(1 <= self.season_steps <= 15, "season_steps in 1..15", self.season_steps)
        _expect(self.takeoff_line is None or 0 < self.takeoff_line <= 1, "takeoff_line in (0, 1]", self.takeoff_line)


@dataclass(frozen=True)
class RiskPlan:
    """How phi is learned, after p: `shared.lapse_risk`'s two coefficients, in private rounds of their own.

    A device learns from at most `rows` of its watched interests in a round, of the last `history_steps` steps of which
    it is known whether a lapse followed; its summed loss is divided by the constant `rows`. `rate_steps` is what the
    reading "rate" spans.
    """

    rows: int
    history_steps: int
    rate_steps: int
    privacy: PrivacyPlan

    def __post_init__(self) -> None:
        _expect(1 <= self.rows <= 4096, "rows in 1..4096", self.rows)
        _expect_steps("history_steps", self.history_steps)
        _expect_steps("rate_steps", self.rate_steps)


@dataclass(frozen=True)
class BitsPlan:
    """Randomised bits: a coin with odds e^epsilon to 1 for the truth, epsilon in millionths, at the close of every
    `every_steps`-th step; `coins` of them are asked for in all."""

    epsilon_micro: int
    every_steps: int
    coins: int

    def __post_init__(self) -> None:
        _expect(
            1 <= self.epsilon_micro <= MAX_BIT_EPSILON_MICRO,
            f"epsilon in 1..{MAX_BIT_EPSILON_MICRO} millionths",
            self.epsilon_micro,
        )
        _expect_steps("every_steps", self.every_steps)
        _expect(1 <= self.coins <= MAX_COINS, f"coins in 1..{MAX_COINS}", self.coins)

    @property
    def epsilon(self) -> float:
        return self.epsilon_micro / MICRO


@dataclass(frozen=True)
class UpdateKind:
    """One kind of sum that a plan asks for, whether it is learned in rounds or a query: the request that asks a device for its
    vector (the register says what answers it), what protects a sum of it, and how many values a vector has."""

    request: str
    privacy: PrivacyPlan
    n_values: int

    @property
    def reply(self) -> str:
        """The message that carries a vector, and the ledger line that it is charged to."""
        return REQUESTS[self.request].reply


@dataclass(frozen=True)
class Plan:
    """Everything that devices and server must agree on for one training. Without `risk`, no phi is learned on top of p; with `heads`
    phi is one of them; without `bits`, none is asked for; without `sum`, as in plans of before there were any, no device answers
    a round; `queries`, in the order of their table, are sums besides training. What all of it costs: `shared.charges`."""

    network: NetworkSpec
    features: FeatureSpec
    horizon_steps: int
    catalogue_sha256: bytes
    model_sha256: bytes
    training: LocalTraining
    privacy: PrivacyPlan
    detection: Detection
    risk: RiskPlan | None = None
    bits: BitsPlan | None = dataclasses.field(default=None, metadata={LATER: True})
    sum: SumPlan | None = dataclasses.field(default=None, metadata={LATER: True})
    queries: tuple[QueryPlan, ...] = dataclasses.field(default=(), metadata={LATER: True})
    heads: HeadsPlan | None = dataclasses.field(default=None, metadata={LATER: True})
    rule: RulePlan | None = dataclasses.field(default=None, metadata={LATER: True})

    def __post_init__(self) -> None:
        _expect_steps("horizon_steps", self.horizon_steps)
        _expect(
            self.network.n_features == self.features.n_features,
            f"a network of {self.features.n_features} features",
            self.network.n_features,
        )
        for name in ("catalogue_sha256", "model_sha256"):
            _expect(len(getattr(self, name)) == 32, f"{name} of 32 bytes", f"{len(getattr(self, name))} bytes")
        _expect(self.rule is not None or self.detection.detector != "slow_average", "a rule for slow_average", None)
        _expect(in_order(self.queries), "each query once, in the order of the recipes", len(self.queries))
        if self.heads is not None:
            _expect(self.risk is None, "either risk or heads", "both")
            same = dataclasses.replace(self.heads.features, more=None) == self.features
            _expect(same, "a p of version 1's features in the same windows as those of the heads", "others")

    @cached_property
    def canonical(self) -> bytes:
        """Canonical bytes: equal plans, equal bytes, whether a number was given as 1 or as 1.0."""
        return cbor.encode(plain(self), _LIMITS)

    @classmethod
    def from_bytes(cls, data: bytes) -> Plan:
        """The plan of `canonical`; ConfigError for anything else, whoever made it."""
        return _plan_of(bytes(data))

    @cached_property
    def sha256(self) -> bytes:
        """32 bytes that change with any number in the plan."""
        return hashlib.sha256(self.canonical).digest()

    @property
    def read_features(self) -> FeatureSpec:
        """What a device makes of its history at the close of a step: the heads' features, which begin with p's, or p's."""
        return self.heads.features if self.heads is not None else self.features

    @property
    def updates(self) -> tuple[UpdateKind, ...]:
        """Every part that is learned in rounds, and costs epsilon, in the order in which it is learned: p, then phi or the heads."""
        requests = {recipe.name: recipe.request for recipe in LEARNED}
        parts = [("update", self.privacy, self.network.n_parameters)]
        if self.risk is not None:
            parts.append(("risk_update", self.risk.privacy, N_COEFFICIENTS))
        if self.heads is not None:
            privacies = self.heads.crowd, self.heads.curvature, self.heads.updates
            parts += zip(("crowd", "curvature", "head_update"), privacies, self.heads.lengths, strict=True)
        return tuple(UpdateKind(requests[name], privacy, n) for name, privacy, n in parts)

    @property
    def sums(self) -> tuple[UpdateKind, ...]:
        """Every kind of sum that devices are asked into, in the order in which rounds are numbered: what is learned, then the
        queries."""
        asked = (UpdateKind(query.row.request, query.privacy, query.n_values) for query in self.queries)
        return (*self.updates, *asked)

    def kind_of(self, request: str) -> UpdateKind:
        """The kind of sum that a request asks devices into; KeyError if this plan has no such sum."""
        return {kind.request: kind for kind in self.sums}[request]

    def query(self, recipe: str) -> QueryPlan | None:
        """What the plan says of a recipe that trains nothing; None if it is not asked for."""
        return next((query for query in self.queries if query.recipe == recipe), None)

    def first_round(self, part: int) -> int:
        """How many rounds are numbered before those of `sums[part]`: a number means one sum of a plan."""
        return sum(kind.privacy.rounds for kind in self.sums[:part])


#: The parts of a plan, by name.
_PARTS: Mapping[str, type] = {
    part.__name__: part
    for part in (
        NetworkSpec,
        FeatureSpec,
        Richer,
        LocalTraining,
        PrivacyPlan,
        Detection,
        RiskPlan,
        BitsPlan,
        SumPlan,
        QueryPlan,
        HeadsPlan,
        HeadPlan,
        RulePlan,
    )
}


@lru_cache(maxsize=8)
def _plan_of(data: bytes) -> Plan:
    """See `Plan.from_bytes`; the last few are remembered, for a device that is opened reads its own."""
    try:
        fields = cbor.decode(data, _LIMITS)
    except WireError:
        raise ConfigError("expected the canonical bytes of a plan") from None
    plan: Plan = revived(Plan, fields, _PARTS)
    return plan
