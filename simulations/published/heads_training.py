"""Heads, learned in this process by a scenario's own hosts and server, and what they say of rows of turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from server.app import offer_and_train
from server.state import ServerFolder
from shared.arrays import Floats, as_declared
from shared.features import History
from shared.files import private_folder
from shared.heads import TASKS, Heads
from shared.network import forward
from shared.plan import Plan

from ..evaluation.turn_rows import TurnRows, with_features
from ..federation.in_process import LocalHost
from ..federation.run_folder import RunFolder
from ..federation.run_settings import run_settings
from ..people.population import Population
from ..people.setup import Setup
from ..scenarios.config import Scenario


def trained_heads(scenario: Scenario, population: Population, folder: Path) -> tuple[Floats, Heads]:
    """Theta (P,) and the heads of one private training on all of these people, charged and clipped as in any hosted run. Noise and
    who stays silent come from OS entropy."""
    setup, run = Setup.of(scenario, population), RunFolder(private_folder(folder))
    run.prepare(setup, population)
    run.write_public(setup)
    settings = run_settings(setup, run)
    offer_and_train(LocalHost(run), settings, ServerFolder(settings.folder), settings.schedule.clock())
    heads = run.heads(setup.plan)
    assert heads is not None, "a scenario that learns heads"
    return run.server.models()[-1], heads


@as_declared
def chances_at(history: History, plan: Plan, heads: Heads, rows: TurnRows) -> dict[str, Floats]:
    """P(turn) by task (n,) of turn rows: what devices compute at the close of these steps, by the numpy network."""

    def score(theta: Floats, x: Floats) -> Floats:
        return forward(plan.network, theta, x)

    x = with_features(history, plan.read_features, rows).x
    z = heads.inputs(plan.read_features, score, x, heads.popularity[rows.category])
    return dict(zip(TASKS, np.asarray(heads.chances(z)), strict=True))
