"""`Results`: all that a run found, as results.json holds it. Report, summary, drawings and published numbers read this.

Every key is always there; None stands where there is nothing. A key that is added, dropped or given another meaning makes
a new FORMAT. results_file.py reads and writes them, docs/results.schema.json says the same to other programs.
"""

from __future__ import annotations

from typing import Final, Literal

from shared.plan import Detection

from ..federation.metering import CpuTimes
from ..scenarios.config import ProtocolSection
from ..scenarios.owners import CapsNumbers
from .cold.result import ColdTable
from .result_tables import AlertQuality, Answer, InterestQuality, InterestTables, LapseTable, Part, TakeoffTable, Way

FORMAT: Final = 5


class PlanNumbers(Part):
    """The plan's numbers, for people: the network, what protects a round, what a device does in one, and detection."""

    horizon_steps: int
    parameters: int
    hidden: list[int]
    clip_norm: float
    noise_multiplier: float
    sampling_rate: float
    rounds: int
    population: int
    min_survivors: int
    max_colluders: int
    steps_per_clip: int
    delta: float
    learning_rate: float
    local_steps: int
    rows: int
    l2: float
    dropout: float
    history_steps: int
    seed: int
    detection: Detection
    sha256: str


class RunFacts(Part):
    """Which run it was. `sum`: who added its rounds up, in words; that of `hosts` fidelity is ideal, and says so."""

    format: Literal[5]
    name: str
    about: str
    simulated: bool
    data: str
    devices: int
    categories: int
    step: Literal["day", "week"]
    fidelity: Literal["devices", "hosts"]
    sum: str
    identified_share: float
    randomised_share: float
    summed_share: float
    caps: CapsNumbers
    protocol: ProtocolSection
    plan: PlanNumbers


class RoundAuc(Part):
    """AUC of the model that was published after a round; round 0 is the first model."""

    round: int
    auc: float | None


class ChargedLine(Part):
    """One row of what was charged: how often, behind how much noise (or a coin of which epsilon), what it alone costs: to
    whoever sees the models, to the server and the seats, and one release of it if the sum is broken. None: infinite."""

    line: str
    times: int
    noise_multiplier: float | None
    coin_epsilon: float | None
    epsilon_to_public: float | None
    epsilon_to_server: float | None
    epsilon_if_broken: float | None
    holds_against_server: bool


class Account(Part):
    """What all that was charged costs together, and each row alone; an epsilon that is None is infinite. `by_bound`: the
    number to the public is a bound and not exact; `epsilon_bound`: that by Renyi DP; `epsilon_to_server`: to the server and the
    seats, with the sum trusted, colluders counted and no amplification."""

    delta: float
    epsilon_to_public: float | None
    by_bound: bool
    epsilon_bound: float | None
    epsilon_to_server: float | None
    to_server: str
    lines: list[ChargedLine]


class Privacy(Account):
    """What the server accounted for."""

    rounds_charged: int
    rounds_planned: int
    plan_sha256: str
    identified_alerts: int


class TrueRate(Part):
    """A rate from randomised bits with its 95 % interval, and the true one, which only a simulation knows."""

    step: int
    estimate: float
    low: float
    high: float
    answers: int
    true_rate: float | None


class BitRates(Part):
    """What was asked for in bits, what answering them all cost a device, how many owners agreed, and the rates."""

    epsilon: float
    every_steps: int
    coins: int
    epsilon_together: float
    rates: list[TrueRate]
    agreed: int


class SumBin(Part):
    """One bin of p in a private evaluation: rows, and the share of them whose label is 1 with its standard error (None: fewer
    rows than noise). Rows carry noise, and may be below zero."""

    low: float
    high: float
    rows: float
    share: float | None
    error: float | None


class SumAnswered(Part):
    """One sum that was asked for besides training: of so many devices, of which so many are in it. `noise_sd`, of each of its
    values, is None where it was not opened: too few answered. Of `evaluation`: the AUC with the 95 % interval of the noise, and the
    bins; of `alert_counts`: alerts by direction and level with the error of each."""

    recipe: str
    step: int
    asked: int
    answered: int
    noise_sd: float | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    bins: list[SumBin]
    counts: list[list[float]] | None
    counts_error: float | None


class MessageCount(Part):
    """Messages of one kind, and their bytes."""

    messages: int
    bytes: int


class Traffic(Part):
    """Bytes of our messages, per device and by kind; replies that the server dropped, rounds that it did not open and devices
    that it did not enrol, by reason."""

    round_down_bytes: float
    round_up_bytes: float
    query_up_bytes: float
    down_bytes_per_device: float
    up_bytes_per_device: float
    by_message: dict[str, MessageCount]
    dropped: dict[str, int]


class CheatBound(Part):
    """What the server takes for honest in the rounds of one part of the plan, in clips: how long an honest cohort's mean is at
    most; and how long one device's vector has to be to be found in the sum with a probability of .99."""

    part: str
    mean_clips: float
    found_clips: float


class ToldAlert(Part):
    """An alert that a drawn user was shown, with the reasons that the device gave, and when its change `began` (None: not known)."""

    step: int
    direction: Way
    level: int
    began: int | None
    reasons: list[str]


class ExampleUser(Part):
    """A planted user in one category, step by step: events, p (None: no model yet), the planted change, the alerts."""

    category: str
    direction: Way
    found: bool
    count: list[float]
    p: list[float | None]
    change_step: int
    last_step_in_time: int
    alerts: list[ToldAlert]


class UtilityPoint(Part):
    """AUC of trainings under one epsilon (None: no noise), of the pooled model, and of the model they began with."""

    epsilon: float | None
    auc_mean: float | None
    auc_sd: float | None
    pooled_auc: float | None
    start_auc: float | None


class Utility(Part):
    """Utility against epsilon; `published`: the points are docs/figures.json's and not of a sweep in the run's folder."""

    points: list[UtilityPoint]
    published: bool


class Seconds(Part):
    """How long a phase took; None where the results were made again without it."""

    federation: float | None


class Evaluation(InterestTables):
    """What a run was worth, from its folder: quality, alerts and cost. `looked_at`: of so many users tables, curves and the answer
    are, all of them or a sample drawn at random; alerts by step and intervention, `refused`, `bits`, `sums`, bytes, processor time
    and privacy are of all devices. `never_bought`: what the run's own sum of everybody says of categories that a user never touched;
    None without such a sum, and where users were held out. `refused`: requests that devices declined, by the name of the code.
    `disk_bytes`: what the people and their devices take on the disk, in the run's folder."""

    looked_at: int
    disk_bytes: int
    answer: Answer
    interest: InterestQuality
    learning_curve: list[RoundAuc]
    lapse: LapseTable | None
    rises: TakeoffTable | None
    never_bought: ColdTable | None
    alerts: AlertQuality
    privacy: Privacy
    refused: dict[str, int]
    bits: BitRates | None
    sums: list[SumAnswered]
    traffic: Traffic
    cheat_bounds: list[CheatBound]
    cpu: CpuTimes
    example_users: list[ExampleUser]
    commit: str


class Results(Evaluation, RunFacts):
    """What a run was, what it was worth, and what it was made with (versions by package)."""

    utility: Utility | None
    seconds: Seconds
    made_with: dict[str, str]
