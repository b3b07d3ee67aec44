"""The tables of a run's results: how good p is, how early turns are seen, what the alerts were worth.

A name here is the name in results.json. `beside` holds baselines: what the run's own row is compared with.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

#: The two directions of a turn, as results name them.
Way = Literal["fall", "rise"]


class Part(BaseModel):
    """A part of results: no key is missing, none is unknown, every number is finite. None stands for what could not be
    computed (no alert, no turn, one class only)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


# ---- p on labelled rows


class Quality(Part):
    """How good p is on labelled rows."""

    rows: int
    base_rate: float | None
    auc: float | None
    log_loss: float | None
    calibration_error: float | None


class Tenth(Part):
    """One tenth of the rows in order of p: how many, their mean p, and the share of them that came true."""

    rows: int
    mean_p: float
    share: float


class Roc(Part):
    """Points of an ROC curve, in order."""

    false_positive_rate: list[float]
    true_positive_rate: list[float]


class InterestQuality(Quality):
    """How good the devices' p is; rows for which they showed none are counted and left out."""

    roc: Roc
    calibration: list[Tenth]
    rows_without_score: int


class Baseline(Part):
    """One p on the same rows as everybody's, of which `kind` (simulations/baselines/interest_models.py).

    `low`, `high`: 95 % interval of the AUC over draws of users. `ahead`: its AUC minus ours, with its ends over the same
    draws; None in our own row.
    """

    name: str
    kind: str
    auc: float | None
    log_loss: float | None
    calibration_error: float | None
    low: float | None
    high: float | None
    ahead: float | None
    ahead_low: float | None
    ahead_high: float | None


class BaselineTable(Part):
    """Ours first, then the others from the best AUC to the worst; `gap`: how far the better pooled model of those that a
    gap is measured to is ahead, and `gap_to`, which it is."""

    baselines: list[Baseline]
    gap: float | None
    gap_to: str | None


class HeldOut(BaselineTable):
    """The table of the users that no model has learned from."""

    users: int
    rows: int


class Group(Quality):
    """The same rows of one kind of user or of category: the devices' p, whose AUC's 95 % interval is over draws of the `users` that
    have rows, and the AUC of others."""

    group: str
    members: int
    users: int
    low: float | None
    high: float | None
    unit: str
    smallest: int | None
    largest: int | None
    beside: dict[str, float | None]


class InterestTables(BaselineTable):
    """p and its baselines: of users that trained, by kind of user and of category, and of those held out."""

    groups: list[Group]
    held_out_users: HeldOut | None


# ---- early warning: lapses and take-offs


class Difference(Part):
    """An AUC minus another one on the same rows, with the 95 % interval over draws of users."""

    auc: float | None
    low: float | None
    high: float | None


class ScoreMetrics(Part):
    """How precise a score is. Brier score, its skill against the base rate and calibration error are those of
    probabilities only."""

    average_precision: float | None
    top_precision: float | None
    top_value_precision: float | None
    brier: float | None
    brier_skill: float | None
    calibration_error: float | None


class TurnScores(ScoreMetrics):
    """One score of the rows of a turn, of which `kind`; `ahead` is its AUC minus that of each row compared with."""

    name: str
    kind: str
    auc: float | None
    low: float | None
    high: float | None
    ahead: dict[str, Difference]


class Warned(Part):
    """How early a score warns of a lapse at its lowest line that is good enough (see `turn_rows.Silences`)."""

    silences: int
    lapses: int
    alerts: int
    precision: float
    recall: float | None
    median_lead_steps: float | None


class LapseScores(TurnScores):
    """One score of lapses; `early_auc` is that on rows before any silence. `alerts` None: no line is good enough."""

    alerts: Warned | None
    early_auc: float | None


class TurnTable(Part):
    """What the rows of a turn are: of which steps, how many, how often the turn followed; among them those of top-value
    users and those before any silence."""

    steps: tuple[int, int]
    train_steps: tuple[int, int]
    lapse_steps: int
    rows: int
    users: int
    base_rate: float | None
    valued_base_rate: float | None
    early_rows: int
    early_base_rate: float | None


class TakeoffTable(TurnTable):
    """Every score of take-offs, ours first."""

    table: list[TurnScores]


class LapseTable(TurnTable):
    """Every score of lapses, ours first; phi's tenths, None without phi."""

    table: list[LapseScores]
    calibration: list[Tenth] | None


# ---- alerts


class Judged(Part):
    """How alerts of one direction did."""

    alerts: int
    turns: int
    precision: float | None
    recall: float | None
    median_delay_steps: float | None
    false_per_user: float


class DirectionQuality(Judged):
    """The devices' alerts of one direction, and what other detectors and rules would have called."""

    beside: dict[str, Judged]


class CurvePoint(Judged):
    """A detector at one value of its setting; `planned`: it is the plan's own."""

    setting: float
    planned: bool


class DetectorCurve(Part):
    """A detector from its loudest setting to its quietest; `key` is the setting's name in a plan."""

    detector: str
    name: str
    key: str
    points: list[CurvePoint]


class DetectorCurves(Part):
    """Falls of every detector at louder and quieter settings, on so many users."""

    users: int
    detectors: list[DetectorCurve]


class InterventionCount(Part):
    """How many alerts the policy table answered with one intervention, by direction and by the user's segment."""

    intervention: str
    fall: int
    rise: int
    segment_low: int
    segment_middle: int
    segment_high: int


class BudgetQuality(Part):
    """Which share of users had more false alerts than the plan allows in `steps` steps: ours, and the others'."""

    false_alerts: int
    steps: int
    over: float
    beside: dict[str, float]


class AlertsByStep(Part):
    """Alerts of all devices in each step that is judged."""

    fall: list[int]
    rise: list[int]

    def of(self, way: Way) -> list[int]:
        """Those of one direction."""
        return self.fall if way == "fall" else self.rise


class AlertQuality(Part):
    """The devices' alerts in `steps` steps from `first_step`, called by `detector`; `budget` None: the plan has none."""

    detector: str
    steps: int
    first_step: int
    by_step: AlertsByStep
    fall: DirectionQuality
    rise: DirectionQuality
    interventions: list[InterventionCount]
    budget: BudgetQuality | None
    curves: DetectorCurves

    def of(self, way: Way) -> DirectionQuality:
        """Those of one direction."""
        return self.fall if way == "fall" else self.rise


# ---- the answer


class Range(Part):
    """A number and its 95 % interval over draws of users."""

    value: float
    low: float
    high: float


class ContactsWorth(Part):
    """What contacts of falls came to in the alert steps: how many, how many right, how many turns there were and were found; the same
    a week per 1,000 people. The lead, where a turn is a lapse: steps from a right contact until the lapse is a fact. The delay: from
    a turn's first step to the contact that found it."""

    name: str
    contacts: int
    right: int
    turns: int
    found: int
    contacts_a_week: Range
    right_a_week: Range
    precision: Range | None
    recall: Range | None
    median_lead_steps: float | None
    median_delay_steps: float | None


class RuleAhead(Part):
    """A rule minus ours: right contacts a week per 1,000 people among as many as ours, and the share of turns found. The intervals hold
    for all rules at once (simulations/evaluation/verdict.py)."""

    right_a_week: Range
    recall: Range


class RuleWorth(ContactsWorth):
    """A rule at about as many contacts as ours."""

    ahead: RuleAhead


class Price(Part):
    """What a run costs. AUC lost: that of the better pooled model, and of the same training without noise, minus ours (None: not known).
    Epsilon None: no promise."""

    epsilon_to_public: float | None
    auc_lost_to_pooled: float | None
    auc_lost_to_noise: float | None
    rounds: int
    round_down_bytes: float
    round_up_bytes: float
    down_bytes_per_device: float
    up_bytes_per_device: float
    cpu_s_per_device: float | None


class Answer(Part):
    """What to do (simulations/evaluation/verdict.py): `use_it`; `use_rule`, the `rule` on the device without any training; `cannot_tell`
    between ours and the rule; or `not_enough` data to say, and what is lacking. `rule` is the one that did best here, None without
    any. The intervals hold people and so many `trainings`: with 1, people alone."""

    verdict: Literal["use_it", "use_rule", "cannot_tell", "not_enough"]
    rule: str | None
    lack: Literal["no_contacts", "few_contacts", "no_turns", "few_turns", "few_users", "no_rule", "wide"] | None
    trainings: int
    weeks: float
    turns_a_week: float
    ours: ContactsWorth
    rules: list[RuleWorth]
    price: Price

    def rival(self) -> RuleWorth | None:
        """The rule that did best."""
        return next((row for row in self.rules if row.name == self.rule), None)
