"""A run of hosts that ended among its queries and is gone on with: what devices were shown is what they would have been shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.app import run
from simulations.federation.equivalence import run_hosted, scenario_without_noise, settings_for, some_people
from simulations.federation.in_process import LocalHost
from simulations.federation.observations import read_notes
from simulations.federation.run_folder import RunFolder

#: Under which so few people, hardly trained, are shown something, and asked often.
EASILY = ("detection.season_steps=7", "detection.warm_steps=14", "simulation.query_every_steps=3")
PHI = ("risk.rounds=1", "risk.noise_multiplier=0.0", "risk.public_users=60")


class PowerCut(Exception):
    pass


class CutOff(LocalHost):
    """A federation that ends at one of its questions for alerts."""

    def __init__(self, run: RunFolder, left: int) -> None:
        super().__init__(run)
        self._left = left

    def ask(self, name: str, fields: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        self._left -= name == "alerts_query"
        if self._left < 0:
            raise PowerCut
        return super().ask(name, fields)


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_alerts_of_a_run_that_is_gone_on_with_are_those_of_one_that_nothing_befell(
    tmp_path: Path, answered: int
) -> None:
    people, scenario = some_people(), scenario_without_noise("detection.detector=cusum", *EASILY, *PHI)
    runs = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    run_hosted(runs[0], people, scenario)
    settings = settings_for(runs[1], people, scenario)
    with pytest.raises(PowerCut):
        run(CutOff(runs[1], answered), settings, settings.schedule.clock())
    run(LocalHost(runs[1]), settings, settings.schedule.clock())
    (p, alerts), (p_cut, alerts_cut) = (
        read_notes(folder, np.arange(people.n_users), len(people.catalogue), people.n_steps) for folder in runs
    )
    np.testing.assert_array_equal(p, p_cut)
    assert len(alerts) > 10
    for name, column in vars(alerts).items():
        np.testing.assert_array_equal(column, getattr(alerts_cut, name), err_msg=name)
