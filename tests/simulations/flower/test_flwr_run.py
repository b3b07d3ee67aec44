"""`flwr run simulations/flower`, as a user of Flower types it, in a home of its own: it ends with a result, and ships no code."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from flwr.cli.build import get_filtered_fab_paths

from shared.errors import ConfigError
from simulations.evaluation import results_file
from simulations.federation.flower_runtime import MARKER, end_run, processes_of, reserved_port
from simulations.flower.run_place import CHECKOUT, run_at
from simulations.flower.server_app import scenario_of

ROOT = Path(__file__).parents[3]
APP = ROOT / "simulations" / "flower"
CONFIG = tomllib.loads((APP / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A home, two free ports, and no process afterwards that was started with them."""
    home = tmp_path / "home"
    marker = f"{home.resolve()}:{uuid4().hex}"
    with ExitStack() as reserved:
        http, control = (str(reserved.enter_context(reserved_port())) for _ in range(2))
    yield os.environ | {
        MARKER: marker,
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(ROOT),
        "FLWR_HOME": str(home),
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": http,
        "FLWR_LOCAL_CONTROL_API_PORT": control,
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # what is installed here is what is tested
        "OPENBLAS_NUM_THREADS": "1",
    }
    end_run(marker, None)
    assert not processes_of(home)


@pytest.mark.slow
def test_it_ends_with_a_result(environment, tmp_path):
    folder = tmp_path / "run"
    config = f'devices=40 rounds=2 folder="{folder}"'
    done = subprocess.run(
        ["flwr", "run", str(APP), "--stream", "--run-config", config],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    results = results_file.read(folder / "results.json")
    assert results.devices == 40 and results.fidelity == "hosts" and results.interest.auc is not None
    assert results.plan.rounds == 2 and (folder / "report.html").exists()
    for part in (
        "SIMULATED data",
        f"interest AUC, on the devices: {results.interest.auc:.3f}",
        "epsilon to the public",
    ):
        assert part in said
    assert f"report: {folder / 'report.html'}" in said and "what the server learns" in said


def test_the_app_holds_no_code_and_needs_flower():
    files = {path.relative_to(APP).as_posix(): b"" for path in APP.rglob("*") if path.is_file()}
    assert set(get_filtered_fab_paths(files, CONFIG)) <= {"pyproject.toml"}
    assert [one for one in CONFIG["project"]["dependencies"] if one.startswith("flwr==")]
    versions = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert CONFIG["project"]["dependencies"] == versions["optional-dependencies"]["flower"]


def test_as_it_is_shipped_it_runs_the_planted_default_whatever_the_number_of_nodes():
    for n_nodes in (1, 2, 10, 4000):
        scenario = scenario_of(CONFIG["tool"]["flwr"]["app"]["config"], n_nodes)
        assert scenario.data.name == "planted" and scenario.data.users == 300 and scenario.privacy.rounds == 12
        assert scenario.simulation.fidelity == "hosts" and scenario.simulation.hosts == min(n_nodes, 300)


@pytest.mark.parametrize("wrong", [{"devices": 0}, {"devices": "many"}, {"rounds": -1}, {"scenario": "nowhere"}])
def test_a_configuration_that_makes_no_scenario_is_refused(wrong):
    with pytest.raises(ConfigError):
        scenario_of({"scenario": "demo", "devices": 30, "rounds": 2, **wrong}, 2)


def test_server_and_nodes_find_the_run_by_its_configuration(tmp_path):
    assert run_at({"folder": ""}).path == run_at({}).path == ROOT / "runs" / "flwr" == CHECKOUT / "runs" / "flwr"
    assert run_at({"folder": str(tmp_path)}).path == tmp_path
