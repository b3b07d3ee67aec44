"""What is said of a run before it has ended is what would be said afterwards: of all of its people, or of some that never trained."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.evaluation import evaluate as evaluation
from simulations.evaluation.beforehand import beforehand
from simulations.federation.equivalence import run_hosted, scenario_without_noise, some_people
from simulations.federation.run_folder import RunFolder
from simulations.people.setup import Setup


@pytest.mark.parametrize("held_out", [None, np.arange(50) % 5 == 0], ids=["everybody trains", "some are held out"])
def test_results_are_the_same_whenever_the_others_were_asked(tmp_path, monkeypatch, held_out):
    run, people = RunFolder(tmp_path), some_people()
    scenario = scenario_without_noise("privacy.noise_multiplier=1.0", "privacy.steps_per_clip=4096")
    before = beforehand(setup := Setup.of(scenario, people), people, held_out=held_out, seed=3)
    run_hosted(run, people, scenario)
    after = evaluation.evaluate(run, setup, people, held_out=held_out, seed=3)
    monkeypatch.setattr(evaluation, "beforehand", pytest.fail)
    asked = evaluation.evaluate(run, setup, people, held_out=held_out, seed=3, before=before)
    assert after == asked
    assert after.lapse is not None and after.rises is not None and after.baselines
