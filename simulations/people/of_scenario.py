"""Which steps and which people a scenario means."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from shared.arrays import Doubles
from shared.errors import ConfigError

from ..scenarios.config import PLANTED_PROTOCOL, ProtocolSection, Scenario, load_scenario
from .datasets import DATASETS, load
from .own_data.of_file import draws_anew, is_resolved, people_of_file, resolved, scores_of_file
from .planted import ToPlant, plant
from .population import Population

#: How the title of a log of one's own begins.
OWN = "your data: "


def open_scenario(name_or_file: str, overrides: Iterable[str] = ()) -> Scenario:
    """A scenario by name or path, as `load_scenario`; one about a log of one's own with all that only the log says. ConfigError
    if that would draw a private choice of categories: every command would draw another one, and only one would be counted."""
    scenario = load_scenario(name_or_file, overrides)
    if draws_anew(scenario):
        raise ConfigError(
            "expected data.file.chosen beside top_epsilon, the names that were drawn once, got none: ebbtide data check LOG "
            f"--set data.file.top_epsilon={scenario.data.file.top_epsilon:g} --out FILE.toml draws and writes them"  # type: ignore[union-attr]
        )
    return whole(scenario)


def whole(scenario: Scenario) -> Scenario:
    """The scenario with the columns, steps and protocol that its log says, if it is about one. ConfigError or DataError as
    `resolved` says."""
    if scenario.data.file is not None and scenario.data.name != "file":
        raise ConfigError(f'expected [data.file] with data.name "file" only, got {scenario.data.name!r}')
    return scenario if scenario.data.name != "file" else resolved(scenario).scenario


def data_title(scenario: Scenario) -> str:
    """What results call the scenario's people: a data set's name, or whose log it is and what its file is called."""
    return f"{OWN}{Path(scenario.data.path).name}" if scenario.data.name == "file" else scenario.data.name


def protocol_of(scenario: Scenario) -> ProtocolSection:
    """The scenario's own protocol, or else its data set's. ConfigError if its own is of more or fewer steps than a data set
    has, or if nobody has looked yet at the log that it follows from."""
    info = DATASETS.get(scenario.data.name)
    if (own := scenario.protocol) is not None:
        if info is not None and own.n_steps != info.n_steps:
            raise ConfigError(f"expected protocol.n_steps = {info.n_steps}, which {info.name} has, got {own.n_steps}")
        return own
    if not is_resolved(scenario):
        raise ConfigError("expected [protocol], or the look at your data that it follows from, got neither")
    if info is None:
        return PLANTED_PROTOCOL
    return ProtocolSection(
        window_steps=info.window_steps,
        short_steps=info.short_steps,
        ewma_steps=info.ewma_steps,
        horizon_steps=info.horizon_steps,
        lapse_steps=info.lapse_steps,
        train_steps=info.train_steps,
        test_steps=info.test_steps,
        alert_steps=info.lapse_test_steps,
        lapse_train_steps=info.lapse_train_steps,
        n_steps=info.n_steps,
    )


def population_of(scenario: Scenario) -> Population:
    """The scenario's people."""
    data = scenario.data
    if data.name == "planted":
        asked = to_plant(scenario)
        return plant(asked.n_users, asked.n_steps, seed=asked.seed)
    if data.name == "file":
        return people_of_file(whole(scenario))
    return load(data.name, Path(data.path) if data.path else None, users=data.users or None, seed=data.seed)


def to_plant(scenario: Scenario) -> ToPlant:
    """The people of a scenario of planted ones, before they are made; ConfigError if there are none."""
    if scenario.data.users < 1:
        raise ConfigError(f"expected data.users >= 1 for planted data, got {scenario.data.users}")
    return ToPlant(scenario.data.users, protocol_of(scenario).n_steps, scenario.data.seed)


def columns_of_scores(scenario: Scenario) -> dict[str, Doubles]:
    """What the columns of scores in the scenario's log say, by name, (K, C, T); nothing for other people."""
    return scores_of_file(whole(scenario)) if scenario.data.name == "file" else {}
