"""50 devices of their own through Flower, with the real phases of a sum; one of them fails in the middle of a round."""

from pathlib import Path

import numpy as np
import pytest

from server.app import run
from shared.messages import REQUESTS
from simulations.federation.equivalence import N_USERS, scenario_without_noise, some_people
from simulations.federation.flower_runtime import processes_of, run_app, write_app_folder
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RunFolder
from simulations.federation.run_settings import nodes_of, run_config, run_settings
from simulations.federation.sums.enroller import enrolling
from simulations.people.setup import Setup
from tests.world.failing import FAILED_FILE, VICTIM

ROUNDS = 2
#: What is summed is real, alerts are asked for once, and nobody is silent but the victim: what came to a sum is known.
QUIET = (
    f"data.users={N_USERS}",
    f"privacy.rounds={ROUNDS}",
    "simulation.query_every_steps=60",
    "simulation.seat_dropout=0.0",
)
#: Who holds the seats, and where the victim fails: with its update, or as a seat that said its opinion.
WAYS = {
    "helpers": (('sum.seats="helpers"', "sum.helpers=3"), "train_request"),
    "devices": (('sum.seats="devices"',), "sum_request"),
}


class WithoutTheVictim(LocalHost):
    """All devices on one host, of which the victim misses the first round."""

    def collect(self, cohort, plan, request, kind):
        missing = VICTIM if request["round"] == 1 else -1
        return super().collect([user for user in cohort if user != missing], plan, request, kind)


def prepared(path: Path, overrides: tuple[str, ...]) -> tuple[RunFolder, Setup]:
    people = some_people()
    setup = Setup.of(scenario_without_noise(*QUIET, *overrides), people)
    folder = RunFolder(path)
    folder.prepare(setup, people)
    folder.write_public(setup)
    return folder, setup


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_fifty_nodes_come_to_the_plain_sum_though_one_fails_in_the_middle_of_a_round(tmp_path, way):
    overrides, fails_at = WAYS[way]
    folder, setup = prepared(tmp_path / "run", overrides)
    config = {**run_config(setup, folder), "test.fails-at": REQUESTS[fails_at].endpoint}
    app = write_app_folder(folder.app, serverapp="server.app:app", clientapp="tests.world.failing:app", config=config)
    with enrolling(folder, setup.plan, setup.train_s):
        run_app(app, nodes=nodes_of(setup), home=folder.flower, timeout_s=300)
    assert (folder.path / FAILED_FILE).exists() and folder.has_account and not processes_of(folder.flower)
    traffic, failed = folder.server.traffic(), int(way == "helpers")
    asked = 3 if way == "helpers" else N_USERS
    assert traffic["received"]["update"] == ROUNDS * N_USERS - failed
    assert traffic["received"]["opinion"] == ROUNDS * asked
    assert traffic["received"]["seat_sum"] == ROUNDS * asked - (1 - failed)
    assert {why: n for why, n in traffic["dropped"].items() if n} == {"error": 1}
    other, _ = prepared(tmp_path / "hosts", overrides)
    settings = run_settings(setup, other)
    run((WithoutTheVictim if failed else LocalHost)(other), settings, settings.schedule.clock())
    ours, plain = folder.server.models(), other.server.models()
    assert len(ours) == ROUNDS + 1 and np.abs(ours[0] - ours[1]).max() > 1e-3
    np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-6)
