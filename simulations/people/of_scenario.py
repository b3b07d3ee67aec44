"""Which steps and which people a scenario means."""

from __future__ import annotations

from pathlib import Path

from shared.errors import ConfigError

from ..scenarios.config import PLANTED_PROTOCOL, ProtocolSection, Scenario
from .datasets import DATASETS, load
from .planted import plant
from .population import Population


def protocol_of(scenario: Scenario) -> ProtocolSection:
    """The scenario's own protocol, or else its data set's. ConfigError if its own is of more or fewer steps than a data set
    has."""
    info = DATASETS.get(scenario.data.name)
    if (own := scenario.protocol) is not None:
        if info is not None and own.n_steps != info.n_steps:
            raise ConfigError(f"expected protocol.n_steps = {info.n_steps}, which {info.name} has, got {own.n_steps}")
        return own
    if info is None:
        return PLANTED_PROTOCOL
    return ProtocolSection(
        window_steps=info.window_steps,
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
        if data.users < 1:
            raise ConfigError(f"expected data.users >= 1 for planted data, got {data.users}")
        return plant(data.users, protocol_of(scenario).n_steps, seed=data.seed)
    return load(data.name, Path(data.path) if data.path else None, users=data.users or None, seed=data.seed)
