"""A decision about a run that has ended, from its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from server.state import RISK

from ..federation.run_folder import RunFolder
from ..people.labelled_rows import history_of
from ..people.population import Population
from .choice import Decision, Wish, decide


def decide_run(folder: Path, wish: Wish) -> Decision:
    """The line for a wish, from the weights that a run ended with."""
    run = RunFolder(folder)
    scenario, population = run.ended_scenario(), Population.load(run.population)
    setup, server = run.setup(scenario, population), run.server
    weights = server.models(RISK)[-1] if setup.plan.risk else np.empty(0, np.float32)
    return decide(
        history_of(population, setup.plan.read_features),
        setup,
        server.models()[-1],
        weights,
        wish,
        simulated=population.simulated,
        heads=run.heads(setup.plan),
    )
