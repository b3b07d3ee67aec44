"""What tables of a scenario file are made of, and those that say who adds rounds up, and which sums are asked for besides."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from client.privacy.caps import Cap, Caps, LedgerLine
from shared.features import FeatureSpec
from shared.plan import Detection, PrivacyPlan, SumPlan
from shared.rdp import gaussian_epsilon
from shared.register.bounds import MAX_STEP
from shared.register.heads_plan import INPUTS_VERSION, HeadPlan, HeadsPlan
from shared.register.queries import QueryPlan, due_steps
from shared.register.recipes import RECIPES
from shared.register.sum_plan import MAX_HELPERS
from shared.secure_sum.field import Field as PrimeField
from shared.secure_sum.sizes import Assumed, max_colluders, min_survivors, seats

Whole = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
#: A number that draws depend on; it goes through Flower as 64 bits.
Seed = Annotated[int, Field(ge=0, lt=2**63)]
#: More people are a mistake, on one machine.
MOST_USERS = 10_000_000
Rate = Annotated[float, Field(gt=0, le=1000)]
Clip = Annotated[float, Field(le=1e6)]
#: Of what a device adds for one head.
HeadClip = Annotated[float, Field(gt=0, le=1e6)]
Margin = Annotated[float, Field(le=1000)]


class Section(BaseModel):
    """A table of a scenario file: unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, ser_json_inf_nan="constants")


class FeaturesSection(Section):
    """Which features describe an interest, as shared.features has them: 1, activity and money; 2, each kind of event as well, long
    averages, rates and what BG/NBD reads of them. `interest`: whether all kinds of events are interest, or purchases alone, where
    there are others (docs/detectors.md says what that is worth against bots)."""

    version: Literal[1, 2] = 1
    interest: Literal["all", "purchases"] = "all"


class WarmStartSection(Section):
    """A first model from planted (public) people, before any private round; `users` 0 starts from random weights."""

    users: Annotated[int, Field(ge=0, le=MOST_USERS)] = 0
    seed: Seed = 100
    epochs: Annotated[int, Field(ge=1, le=1000)] = 2
    learning_rate: Rate = 2e-3
    l2: Share = 1e-3


class DetectionSection(Section):
    """When a device calls a turn, as shared.plan.Detection says and defaults to; of `takeoff_line`, 0 is none."""

    detector: Literal["rate", "level", "own_level", "cusum", "risk", "slow_average"] = "level"
    rate_window_steps: Whole = Detection.rate_window_steps
    rate_threshold: float = Detection.rate_threshold
    fall_level: float = Detection.fall_level
    rise_level: float = Detection.rise_level
    risk_line: float = Detection.risk_line
    own_span_steps: Whole = Detection.own_span_steps
    fall_margin: Margin = Detection.fall_margin
    rise_margin: Margin = Detection.rise_margin
    min_active_steps: Whole = Detection.min_active_steps
    quiet_steps: Annotated[int, Field(ge=0)] = Detection.quiet_steps
    false_alerts: Annotated[int, Field(ge=0)] = Detection.false_alerts
    budget_steps: Whole = Detection.budget_steps
    warm_steps: Whole = Detection.warm_steps
    season_steps: Whole = Detection.season_steps
    takeoff_line: Annotated[float, Field(ge=0, le=1)] = 0.0

    def plan(self, lapse_steps: int) -> Detection:
        """What the plan says of it."""
        return Detection(**{**self.model_dump(), "takeoff_line": self.takeoff_line or None}, lapse_steps=lapse_steps)


class SumSection(Section):
    """Who adds a round up, so that the server learns the sum alone: `helpers` servers of other organisations, `devices` drawn
    from the enrolled ones, or devices under a pad of the helpers (`both`). Of device seats, `corrupt_share` may be hostile and
    `seat_loss` of the others give no answer: how many there are follows (`shared/secure_sum/sizes.py`)."""

    seats: Literal["helpers", "devices", "both"] = "helpers"
    helpers: Annotated[int, Field(ge=1, le=MAX_HELPERS)] = SumPlan.helpers
    corrupt_share: Annotated[float, Field(ge=0, lt=0.5)] = Assumed.corrupt_share
    seat_loss: Annotated[float, Field(ge=0, lt=0.5)] = Assumed.seat_loss

    def plan(self, privacy: PrivacyPlan, n_values: int, n_draws: int) -> SumPlan:
        """What the plan says of it; ConfigError where so few devices have no sound seats."""
        if self.seats == "helpers":
            return SumPlan(self.helpers)
        word_bytes = PrimeField.holding(privacy.largest_sum).word_bytes
        assumed = Assumed(corrupt_share=self.corrupt_share, seat_loss=self.seat_loss, draws=max(n_draws, Assumed.draws))
        found = seats(privacy.population, n_values, word_bytes, assumed)
        helpers = self.helpers if self.seats == "both" else 0
        return SumPlan(helpers, found.n_seats, found.n_drawn, found.t_priv, found.t_rec)


class HeadsSection(Section):
    """How heads of lapses and take-offs are learned after p, in place of phi; see shared.register.heads_plan. `rounds` 0: none. Who
    takes part, delta and grid are those of the section privacy; where heads start, the warm start's planted people say.

    Steps of history 0: every one that is known when training runs, from two thirds of a window on. Of each sum, lapses count
    `lapse_share` of the contribution's square, take-offs the rest. A round moves a head by its rate times a Newton step, in directions
    that count no less than `damping` mean eigenvalues; `tail` of the latest rounds are averaged. `calibrate_lapses`: the slope
    and the intercept of that head are planted people's, whatever rounds made of them. `epochs`: of the networks that planted people
    teach.
    """

    rounds: Annotated[int, Field(ge=0, le=100_000)] = 0
    rows: Annotated[int, Field(ge=1, le=4096)] = 128
    lapse_history_steps: Annotated[int, Field(ge=0, le=MAX_STEP)] = 0
    takeoff_history_steps: Annotated[int, Field(ge=0, le=MAX_STEP)] = 0
    lapse_per: Annotated[float, Field(ge=1, le=65_536)] = 128.0
    takeoff_per: Annotated[float, Field(ge=1, le=65_536)] = 64.0
    lapse_curvature_clip: HeadClip = 1.0
    takeoff_curvature_clip: HeadClip = 1.0
    lapse_clip: HeadClip = 2.0
    takeoff_clip: HeadClip = 1.0
    lapse_share: Annotated[float, Field(gt=0, lt=1)] = 0.62
    crowd_noise_multiplier: Annotated[float, Field(ge=0, lt=1e4)] = 1.0
    curvature_noise_multiplier: Annotated[float, Field(ge=0, lt=1e4)] = 1.0
    noise_multiplier: Annotated[float, Field(ge=0, lt=1e4)] = 1.0
    rates: tuple[Rate, Rate] = (0.15, 0.4)
    damping: Share = 0.1
    tail: Share = 0.5
    calibrate_lapses: bool = True
    epochs: Annotated[int, Field(ge=1, le=1000)] = 4
    crowd_longest_mean: Annotated[float, Field(gt=0, le=1)] = 1.0
    curvature_longest_mean: Annotated[float, Field(gt=0, le=1)] = 1.0
    longest_mean: Annotated[float, Field(gt=0, le=1)] = 1.0

    @property
    def longest_means(self) -> dict[str, float]:
        """By line of the ledger."""
        lines = "crowd", "curvature", "head_update"
        return dict(zip(lines, (self.crowd_longest_mean, self.curvature_longest_mean, self.longest_mean), strict=True))

    def plan(
        self, privacy: PrivacyPlan, features: FeatureSpec, n_categories: int, start_sha256: bytes, last: int
    ) -> HeadsPlan | None:
        """What the plan says of it, of `features` of version 2 and rows up to step `last`; None if nothing is learned."""
        if not self.rounds:
            return None
        every, share = max(1, last - 2 * features.window_steps // 3 + 1), self.lapse_share
        lately = self.lapse_history_steps or every, self.takeoff_history_steps or every
        protection = replace(privacy, clip_norm=1.0)
        return HeadsPlan(
            features,
            INPUTS_VERSION,
            start_sha256,
            n_categories,
            HeadPlan(self.rows, self.lapse_per, lately[0], self.lapse_curvature_clip, self.lapse_clip, share),
            HeadPlan(self.rows, self.takeoff_per, lately[1], self.takeoff_curvature_clip, self.takeoff_clip, 1 - share),
            crowd=replace(protection, noise_multiplier=self.crowd_noise_multiplier, rounds=1),
            curvature=replace(protection, noise_multiplier=self.curvature_noise_multiplier, rounds=1),
            updates=replace(protection, noise_multiplier=self.noise_multiplier, rounds=self.rounds),
        )


class QuerySection(Section):
    """A sum that trains nothing, asked for after training at the close of every `every_steps`-th step; 0: never. It costs a
    device `epsilon` each time, or what follows from `noise_multiplier` where that is given. `answering`: the share of the devices
    that are counted on to agree and to be there; a sum of fewer is not opened. Delta and colluders are those of the section
    privacy."""

    recipe: ClassVar[str]

    every_steps: Annotated[int, Field(ge=0)] = 0
    epsilon: Annotated[float, Field(gt=0, le=1000)] = 0.5
    noise_multiplier: Annotated[float, Field(ge=0)] | None = None
    clip_norm: Clip = 1.0
    steps_per_clip: Whole = 1024
    answering: Annotated[float, Field(gt=0, le=1)] = 0.4

    def numbers(self, n_categories: int) -> dict[str, int]:
        """What the recipe has to be told, by name."""
        raise NotImplementedError

    def plan(self, privacy: PrivacyPlan, n_categories: int, after: int, last: int) -> QueryPlan | None:
        """What the plan says of it, between training at step `after` and the last query; None if it is never due until then."""
        times = len(due_steps(after, last, self.every_steps)) if self.every_steps else 0
        if not times:
            return None
        fewest = min_survivors(privacy.population, 1.0, 1 - self.answering)
        noise = self.noise_multiplier
        row, told = RECIPES[self.recipe], self.numbers(n_categories)
        protection = replace(
            privacy,
            clip_norm=self.clip_norm,
            noise_multiplier=noise_for(self.epsilon, privacy.delta) if noise is None else noise,
            sampling_rate=1.0,
            rounds=times,
            min_survivors=fewest,
            max_colluders=min(privacy.max_colluders, max_colluders(privacy.population, 1.0), fewest - 1),
            steps_per_clip=self.steps_per_clip,
        )
        return QueryPlan(row.name, row.version, self.every_steps, tuple(told[name] for name in row.numbers), protection)


class EvaluationSection(QuerySection):
    """How well p does on the devices: a histogram of scores by label, of at most `rows` rows of each device, of the last
    `history_steps` steps whose labels are known (0: as many as lie between two of them)."""

    recipe = "evaluation"

    clip_norm: Clip = 18.0  # 9 for weekly steps; of planted people: simulations/search/score_cells.py
    rows: Whole = 64
    history_steps: Annotated[int, Field(ge=0)] = 0

    def numbers(self, n_categories: int) -> dict[str, int]:
        return {"rows": self.rows, "history_steps": self.history_steps or self.every_steps}


class CountsSection(QuerySection):
    """How many alerts there were since the last count, by category, direction and level."""

    recipe = "alert_counts"

    clip_norm: Clip = 2.0

    def numbers(self, n_categories: int) -> dict[str, int]:
        return {"categories": n_categories}


def noise_for(epsilon: float, delta: float) -> float:
    """The least noise multiplier, in thousandths and a little more, at which one sum costs at most this epsilon.

    >>> noise_for(0.5, 1e-5)
    7.039
    """
    low, high = 0.0, 1e4
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if gaussian_epsilon(1 / middle, delta) <= epsilon else (middle, high)
    return math.ceil(high * 1.001 * 1000) / 1000


Epsilon = Annotated[float, Field(ge=0)]
#: Most epsilon of one period and of a device's life.
CapPair = tuple[Epsilon, Epsilon]


class OwnersCaps(Section):
    """What the owners of the devices let be spent: the default table of client.privacy.caps, or no cap at all; then single caps in
    place of the table's, named as the ledger lines."""

    table: Literal["default", "none"] = "default"
    participations_per_plan: Annotated[int, Field(ge=0)] | None = None
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    survivors: Annotated[int, Field(ge=1)] | None = None
    total: CapPair | None = None

    def caps(self) -> Caps:
        """The caps of every device; ConfigError if they contradict themselves."""
        base = Caps() if self.table == "default" else Caps.none()
        own = {line: pair for line in LedgerLine if (pair := getattr(self, line.value)) is not None}
        most, norm = self.participations_per_plan, self.clip_norm
        return replace(
            base,
            lines={**base.lines, **{line: Cap(*pair) for line, pair in own.items()}},
            total=base.total if self.total is None else Cap(*self.total),
            participations_per_plan=base.participations_per_plan if most is None else most,
            clip_norm=base.clip_norm if norm is None else norm,
            survivors=base.survivors if self.survivors is None else self.survivors,
        )


if TYPE_CHECKING:
    CapsSection = OwnersCaps
else:  # with a key for every line that the ledger has
    CapsSection = create_model("CapsSection", __base__=OwnersCaps, **dict.fromkeys(LedgerLine, (CapPair | None, None)))
