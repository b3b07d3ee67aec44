"""A decision about a run that has ended, from its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from server.state import RISK
from shared.errors import ConfigError

from ..federation.run_folder import RunFolder
from ..people.labelled_rows import history_of
from ..people.population import Population
from ..people.setup import Setup
from ..scenarios.config import Scenario
from .choice import Decision, Wish, decide


def scenario_of(folder: Path) -> Scenario:
    """What a run was asked for; ConfigError if it is no run, or has not come to its end."""
    run = RunFolder(folder)
    if not run.scenario_file.exists():
        raise ConfigError(f"expected the folder of a run, got {folder}: {run.scenario_file.name} is missing")
    try:
        scenario = run.scenario()
    except ValueError:
        raise ConfigError(f"expected the folder of a run, got {folder}: {run.scenario_file.name} is damaged") from None
    if why := run.stopped:
        raise ConfigError(f"expected a run that has ended, got {folder}, which stopped: {why}")
    if not run.has_account:
        raise ConfigError(f"expected a run that has ended, got {folder}: go on with it (ebbtide simulate --resume)")
    return scenario


def decide_run(folder: Path, wish: Wish) -> Decision:
    """The line for a wish, from the weights that a run ended with."""
    scenario, run = scenario_of(folder), RunFolder(folder)
    population = Population.load(run.population)
    setup, server = Setup.of(scenario, population), run.server
    weights = server.models(RISK)[-1] if setup.plan.risk else np.empty(0, np.float32)
    return decide(history_of(population), setup, server.models()[-1], weights, wish, simulated=population.simulated)
