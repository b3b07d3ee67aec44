"""Scenario files: what a run is made of, in TOML, checked before anything starts.

A scenario names a data set; the protocol (windows, horizon, train and test steps) is the data set's own unless the
scenario overrides it. `--set section.key=value` replaces one value. An unknown key is an error, with the known ones.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from server.optimizer import ServerSettings
from shared.errors import ConfigError
from shared.events import Catalogue, EventKind, Step
from shared.features import FeatureSpec, Richer
from shared.files import text_of
from shared.network import NetworkSpec
from shared.plan import MICRO, BitsPlan, LocalTraining, Plan, PrivacyPlan, RiskPlan
from shared.randomised_response import due_steps
from shared.register.bounds import MAX_STEP
from shared.register.rule_plan import RulePlan
from shared.secure_sum.sizes import max_colluders, min_survivors

from .own_data import FileSection
from .planted_rates import PLANTED_RATES
from .sections import (
    MOST_USERS,
    CapsSection,
    Clip,
    CountsSection,
    EvaluationSection,
    FeaturesSection,
    HeadsSection,
    Rate,
    Section,
    Seed,
    Share,
    SumSection,
    Whole,
)
from .sections import DetectionSection as DetectionSection
from .sections import WarmStartSection as WarmStartSection

SCENARIOS = Path(__file__).parent / "shipped"


class DataSection(Section):
    """Which people. `users` 0 means all of them; `held_out_share` of them never train (see simulations.scenarios.held_out)."""

    name: Literal["planted", "complete-journey", "online-retail-ii", "ta-feng", "ta-feng-days", "file"] = "planted"
    path: str = ""
    users: Annotated[int, Field(ge=0, le=MOST_USERS)] = 300
    seed: Seed = 1
    held_out_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    file: FileSection | None = None

    @property
    def has_other_kinds(self) -> bool:
        """Whether there is more than purchases; the data sets that come along have nothing else."""
        if (log := self.file) is None:
            return self.name == "planted"
        kinds = set(log.events.values()) or ({"view"} if log.event else {log.kind})
        return not kinds <= {"purchase", "ignore"}


class ProtocolSection(Section):
    """When, in steps: windows, horizon, and which steps train and test (first and last, both included).

    `lapse_train_steps` are those that what is said about lapses may be learned from: every one of them is known at the
    close of the first alert step.
    """

    window_steps: Whole
    short_steps: tuple[Whole, Whole, Whole, Whole] = (1, 2, 4, 8)
    ewma_steps: tuple[Whole, Whole] = (2, 8)
    horizon_steps: Whole
    lapse_steps: Whole
    train_steps: tuple[int, int]
    test_steps: tuple[int, int]
    alert_steps: tuple[int, int]
    lapse_train_steps: tuple[int, int]
    n_steps: Annotated[int, Field(ge=1, le=MAX_STEP)] = 1

    @property
    def train_at(self) -> int:
        """The step at whose close training runs: the labels of the last train step are just known."""
        return self.train_steps[1] + self.horizon_steps

    @property
    def lapse_test_steps(self) -> tuple[int, int]:
        """The alert steps of which it is known in the end whether they were followed by a lapse."""
        return self.alert_steps[0], min(self.alert_steps[1], self.n_steps - 1 - self.lapse_steps)


class TrainingSection(Section):
    """What a device does in a round, as shared.plan.LocalTraining says and defaults to. `history_steps` 0: all of the
    protocol's train steps."""

    learning_rate: float = LocalTraining.learning_rate
    local_steps: Whole = LocalTraining.local_steps
    rows: Whole = LocalTraining.rows
    l2: float = LocalTraining.l2
    dropout: float = LocalTraining.dropout
    hidden: tuple[Whole, ...] = (32, 16)
    history_steps: Annotated[int, Field(ge=0)] = 0
    seed: Seed = LocalTraining.seed


class PrivacySection(Section):
    """What protects a round; see shared.plan.PrivacyPlan. Where `min_survivors` is not given, nearly every round reaches it
    if each device stays silent with probability `dropout`; where `max_colluders` is not, it is 5 % of the devices
    (`shared/attendance.py`), as far as that leaves one whose noise counts."""

    clip_norm: Clip = 0.1
    noise_multiplier: float = 1.0
    sampling_rate: Annotated[float, Field(allow_inf_nan=False, le=1)] = 1.0
    rounds: Whole = 60
    delta: float = PrivacyPlan.delta
    max_epsilon: float = PrivacyPlan.max_epsilon
    steps_per_clip: Whole = PrivacyPlan.steps_per_clip
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    min_survivors: Whole | None = None
    max_colluders: Annotated[int, Field(ge=0)] | None = None


class RiskSection(Section):
    """How phi is learned after p; see shared.plan.RiskPlan. `rounds` 0: no phi. Sampling, delta and grid are those of
    the section privacy.

    `history_steps` 0: all lapse train steps that are known when training runs. `rate_steps` 0: the third of the
    protocol's short windows. The warm start's planted people say where it starts; without a warm start,
    `public_users` of its seed.
    """

    rounds: Annotated[int, Field(ge=0)] = 0
    rows: Whole = 16
    history_steps: Annotated[int, Field(ge=0)] = 0
    rate_steps: Annotated[int, Field(ge=0)] = 0
    clip_norm: Clip = 0.25
    noise_multiplier: float = 1.0
    learning_rate: Rate = 1.0
    public_users: Annotated[int, Field(ge=1, le=MOST_USERS)] = 1000
    longest_mean: Annotated[float, Field(gt=0, le=1)] = 1.0


class ServerSection(Section):
    """How the server moves, as server.optimizer.ServerSettings says and defaults to; and how long, in clips, everybody's mean
    update is at most: a sum that no honest cohort of such people comes to is not used (server/bounds.py)."""

    learning_rate: Rate = ServerSettings.learning_rate
    momentum: Annotated[float, Field(ge=0, lt=1)] = ServerSettings.momentum
    tail: Share = ServerSettings.tail
    theta_seed: Seed = 0
    longest_mean: Annotated[float, Field(gt=0, le=1)] = 1.0

    def settings(self) -> ServerSettings:
        """How p's rounds move theta."""
        return ServerSettings(self.learning_rate, self.momentum, self.tail)


class BitsSection(Section):
    """Randomised bits: the server asks at every `every_steps`-th step for any alert in these steps, through a coin of
    `epsilon`. `every_steps` 0: it never asks."""

    epsilon: Annotated[float, Field(gt=0, le=1000)] = 1.0
    every_steps: Annotated[int, Field(ge=0)] = 0

    def plan(self, protocol: ProtocolSection) -> BitsPlan | None:
        """What the plan asks for between training and the last query; None if no bit is due until then."""
        if not self.every_steps:
            return None
        due = due_steps(protocol.train_at, protocol.test_steps[1], self.every_steps)
        return BitsPlan(round(self.epsilon * MICRO), self.every_steps, len(due)) if due else None


class SimulationSection(Section):
    """How the run is carried out. Of the users, `identified_share` tell their alerts, `randomised_share` a randomised bit
    of them, `summed_share` nothing but their part in sums; with all others alerts stay on the device.
    In every training round each device stays silent with probability
    `dropout`, and each device that holds a seat with `seat_dropout`, by the operating system's entropy; offers and queries
    reach all of them."""

    fidelity: Literal["devices", "hosts"] = "devices"
    hosts: Annotated[int, Field(ge=1, le=1024)] = 2
    identified_share: Share = 0.3
    randomised_share: Share = 0.0
    summed_share: Share = 0.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    seat_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    query_every_steps: Whole = 1
    timeout_s: Annotated[float, Field(gt=0, le=31_536_000)] = 3600.0


class Scenario(Section):
    """One scenario file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")]
    about: str = ""
    data: DataSection = DataSection()
    protocol: ProtocolSection | None = None
    features: FeaturesSection = FeaturesSection()
    warm_start: WarmStartSection = WarmStartSection()
    training: TrainingSection = TrainingSection()
    privacy: PrivacySection = PrivacySection()
    risk: RiskSection = RiskSection()
    heads: HeadsSection = HeadsSection()
    server: ServerSection = ServerSection()
    detection: DetectionSection = DetectionSection()
    caps: CapsSection = CapsSection()
    bits: BitsSection = BitsSection()
    sum: SumSection = SumSection()
    evaluation: EvaluationSection = EvaluationSection()
    counts: CountsSection = CountsSection()
    simulation: SimulationSection = SimulationSection()

    def plan(
        self,
        protocol: ProtocolSection,
        catalogue: Catalogue,
        n_devices: int,
        model_sha256: bytes,
        start_sha256: bytes = bytes(32),
    ) -> Plan:
        """The plan that devices and server get; ConfigError, in the plan's words, if a number is out of range. `start_sha256` names
        where heads start; without it nobody can learn them, but the plan charges the same."""
        features = self._features(protocol, self.features.version)
        training = self.training.model_dump(exclude={"hidden", "history_steps"})
        privacy = self._privacy(n_devices)
        network = NetworkSpec(features.n_features, self.training.hidden)
        first, last = protocol.train_steps
        asked = protocol.train_at, protocol.test_steps[1]
        wanted = (section.plan(privacy, len(catalogue), *asked) for section in (self.evaluation, self.counts))
        queries = tuple(query for query in wanted if query)
        more = self.heads.rounds + 2 if self.heads.rounds else 0
        rounds = self.privacy.rounds + self.risk.rounds + more + sum(query.privacy.rounds for query in queries)
        kinds = (2 if self.risk.rounds else 1) + (3 if more else 0) + len(queries)
        known = protocol.train_at - protocol.lapse_steps
        return Plan(
            network=network,
            features=features,
            horizon_steps=protocol.horizon_steps,
            catalogue_sha256=catalogue.sha256,
            model_sha256=model_sha256,
            training=LocalTraining(**training, history_steps=self.training.history_steps or last - first + 1),
            privacy=privacy,
            detection=self.detection.plan(protocol.lapse_steps),
            risk=self._risk(protocol, privacy) if self.risk.rounds else None,
            bits=self.bits.plan(protocol),
            sum=self.sum.plan(privacy, network.n_parameters, kinds * rounds),
            queries=queries,
            heads=self.heads.plan(privacy, self._features(protocol, 2), len(catalogue), start_sha256, known),
            rule=RulePlan() if self.detection.detector == "slow_average" else None,
        )

    def _features(self, protocol: ProtocolSection, version: int) -> FeatureSpec:
        more, only = None, self.features.interest == "purchases" and self.data.has_other_kinds
        interest = (int(EventKind.PURCHASE),) if only else ()
        if version == 2:
            rates = PLANTED_RATES[step_unit_of(self).value, only or not self.data.has_other_kinds]
            kinds = tuple(EventKind) if self.data.has_other_kinds else (EventKind.PURCHASE,)
            more = Richer(protocol.lapse_steps, *rates, kinds=tuple(map(int, kinds)))
        return FeatureSpec(protocol.window_steps, protocol.short_steps, protocol.ewma_steps, more, interest)

    def _privacy(self, n_devices: int) -> PrivacyPlan:
        fields, rate = self.privacy.model_dump(exclude={"dropout"}), self.privacy.sampling_rate
        if fields["min_survivors"] is None:
            fields["min_survivors"] = min_survivors(n_devices, rate, self.privacy.dropout)
        if fields["max_colluders"] is None:
            fields["max_colluders"] = min(max_colluders(n_devices, rate), fields["min_survivors"] - 1)
        return PrivacyPlan(**fields, population=n_devices)

    def _risk(self, protocol: ProtocolSection, privacy: PrivacyPlan) -> RiskPlan:
        risk = self.risk
        known = protocol.train_at - protocol.lapse_steps - protocol.lapse_train_steps[0] + 1
        return RiskPlan(
            rows=risk.rows,
            history_steps=risk.history_steps or max(1, known),
            rate_steps=risk.rate_steps or protocol.short_steps[2],
            privacy=replace(
                privacy, clip_norm=risk.clip_norm, noise_multiplier=risk.noise_multiplier, rounds=risk.rounds
            ),
        )


#: The protocol of the planted data set: days. Half a year, four weeks of window, one of horizon.
PLANTED_PROTOCOL = ProtocolSection(
    window_steps=28,
    short_steps=(1, 3, 7, 14),
    ewma_steps=(3, 14),
    horizon_steps=7,
    lapse_steps=21,
    train_steps=(42, 104),
    test_steps=(112, 174),
    alert_steps=(112, 174),
    lapse_train_steps=(42, 90),
    n_steps=182,
)


def load_scenario(name_or_file: str, overrides: Iterable[str] = ()) -> Scenario:
    """A scenario by name (of those that come along) or by path to a .toml file; ConfigError says what is wrong."""
    file = Path(name_or_file)
    if file.suffix != ".toml":
        file = SCENARIOS / f"{name_or_file}.toml"
    try:
        fields = tomllib.loads(text_of(file))
    except OSError:
        known = ", ".join(sorted(f.stem for f in SCENARIOS.glob("*.toml")))
        raise ConfigError(f"expected a scenario ({known}) or a .toml file, got {name_or_file!r}") from None
    except ValueError as error:
        raise ConfigError(f"{file.name} is not valid TOML: {error}") from None
    return scenario_of(fields, overrides, file.name)


def scenario_of(fields: dict[str, Any], overrides: Iterable[str], source: str) -> Scenario:
    """The scenario of these tables, which are changed by the overrides; ConfigError names the `source` and what is wrong."""
    for override in overrides:
        _override(fields, override)
    try:
        return Scenario.model_validate(_tuples(fields))
    except ValidationError as error:
        raise ConfigError(f"{source}: {_first_problem(error)}") from None


def with_path(overrides: Iterable[str] | None, path: str) -> list[str]:
    """The overrides, and one that says where the data set lies, if `path` does. ConfigError if it is no text, but other bytes:
    a scenario's file could not hold it.

    >>> with_path(["data.users=9"], "my data")
    ['data.users=9', 'data.path="my data"']
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"expected --path as text, got {path!r}: give the data set a name, or a link, in UTF-8"
        ) from None
    return [*(overrides or ()), *([f"data.path={json.dumps(path)}"] if path else ())]


def _tuples(value: Any) -> Any:
    """TOML's lists as tuples: strict validation tells them apart."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _override(fields: dict[str, Any], override: str) -> None:
    """Apply one `section.key=value`; the value is TOML, or a bare word."""
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"expected --set section.key=value, got {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    table = fields
    for part in path[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"expected --set section.key=value, got {override!r}: {part} is not a table")
    table[path[-1]] = value


def _first_problem(error: ValidationError) -> str:
    """One line: where, what was expected, what was given."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        table: Any = Scenario
        for part in problem["loc"][:-1]:
            table = table.model_fields[str(part)].annotation
            table = next((t for t in getattr(table, "__args__", ()) if hasattr(t, "model_fields")), table)
        return f"unknown key {where}; expected one of {', '.join(table.model_fields)}"
    if problem["type"] == "missing":
        return f"missing key {where}"
    return f"{where}: {problem['msg'][0].lower()}{problem['msg'][1:]}, got {problem['input']!r}"


def step_unit_of(scenario: Scenario) -> Step:
    """The unit of the scenario's steps. ConfigError for a log whose rhythm nobody has looked at yet."""
    if (log := scenario.data.file) is not None:
        if log.step == "auto":
            raise ConfigError("expected data.file.step day or week, which the log's rhythm says, got auto")
        return Step(log.step)
    return Step.DAY if scenario.data.name in ("planted", "ta-feng-days") else Step.WEEK
