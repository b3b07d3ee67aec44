"""A run's folder: its names are known in one place, and only a run's is ever emptied."""

from __future__ import annotations

import ast
import os
import stat
from pathlib import Path

import pytest

from server.state import ServerFolder
from shared.errors import ConfigError
from shared.files import private_folder
from simulations.federation.device_app import simulation_keys
from simulations.federation.flower_runtime import write_app_folder
from simulations.federation.host_app import Host
from simulations.federation.host_folder import HostFolder
from simulations.federation.run_folder import RunFolder
from simulations.people.planted import plant
from simulations.people.setup import Setup
from simulations.run import evaluate_run
from simulations.scenarios.config import load_scenario

ROOT = Path(__file__).parents[3]
RUN = RunFolder(Path("run"))
#: Modules that own names: of a run, of a host in it, and of the server's folder.
OWNERS = {"simulations/federation/run_folder.py", "simulations/federation/host_folder.py", "server/state.py"}
#: It knows what texts may cite though no file of the repository has the name.
OWNERS |= {"tests/world/cited.py"}
#: One file by itself, which knows nothing of the project; and what changes files under it.
OWNERS |= {"simulations/evidence/verifier.py", "tests/simulations/evidence/test_verifier.py"}


def files_of(value: object) -> set[str]:
    """The names of all files that a value's attributes are the places of."""
    places = [getattr(value, name) for name in dir(value) if name.endswith("_file")]
    return {place.name for place in places if isinstance(place, Path)}


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> set[str]:
    server = ServerFolder(tmp_path_factory.mktemp("run") / "server")
    return files_of(RUN) | files_of(HostFolder(Path("host"))) | files_of(server)


#: Folders of a run: words that stand for other things, too, unless something is put in front of them.
FOLDERS = {RUN.population, RUN.app, RUN.flower, RUN.cpu, RUN.devices, RUN.hosts, RUN.server_path, RUN.swept_file.parent}


def test_what_is_told_apart_is_all_there(names):
    assert {"scenario.json", "consents.npy", "caps.json", "held_out.npy", "theta0.npy", "public.npz"} <= names
    assert {"server.pub", "signing.pem", "results.json", "report.html"} <= names
    assert {"account.json", "traffic.json", "progress.jsonl", "plan.cbor", "ledger.npz", "state.npz"} <= names


@pytest.mark.parametrize("room", ["simulations", "tests/simulations", "tests/promises", "tests/world"])
def test_no_other_module_types_the_name_of_a_run_s_file_or_folder(names, room):
    """A word of prose is no name: only whole texts, and parts of a path that is put together with `/`. The report's
    template has the name of the report. Tests call folders what they like, and may write results and reports of their
    own."""
    folders, found = {folder.name for folder in FOLDERS}, []
    wanted = names if room == "simulations" else names - {RUN.results_file.name, RUN.report_file.name}
    for file in (ROOT / room).rglob("*.py"):
        where = file.relative_to(ROOT).as_posix()
        if where in OWNERS or file == Path(__file__) or where == "simulations/report/report.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            typed = node.right if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) else node
            if not isinstance(typed, ast.Constant) or not isinstance(typed.value, str):
                continue
            last = typed.value.rpartition("/")[2]
            in_a_path = typed is not node and room == "simulations" and set(typed.value.split("/")) & folders
            if in_a_path or (last in wanted and " " not in typed.value):
                found.append(f"{where}:{typed.lineno}: {typed.value}")
    assert not found


def test_a_folder_that_is_no_run_s_is_not_emptied(tmp_path):
    people = plant(4, 182, seed=1)
    setup, run = Setup.of(load_scenario("demo", ["data.users=4"]), people), RunFolder(tmp_path)
    mine = tmp_path / "mine.txt"
    mine.write_text("kept")
    with pytest.raises(ConfigError, match="expected an empty folder or an earlier run"):
        run.prepare(setup, people)
    assert mine.read_text() == "kept" and not run.begun
    mine.unlink()
    run.prepare(setup, people)
    assert run.begun and run.scenario() == setup.scenario and run.server_key() == run.server_key_file.read_bytes()
    (run.path / "left over").write_text("of this run")
    run.prepare(setup, people)
    assert not (run.path / "left over").exists()


@pytest.mark.parametrize("umask", [0, 0o077])
def test_a_run_s_folders_and_the_secrets_in_them_are_their_owner_s_alone(tmp_path, umask):
    """Also one that was there, and empty; whatever the umask."""
    people = plant(4, 182, seed=1)
    setup, run = Setup.of(load_scenario("demo", ["data.users=4"]), people), RunFolder(tmp_path / "run")
    before = os.umask(umask)
    try:
        run.path.mkdir(0o777)
        run.prepare(setup, people)
        write_app_folder(run.app, serverapp="a:app", clientapp="b:app", config={})
        simulation_keys(private_folder(run.device(0))).wrap(bytes(32))
        Host(run, 0, 1)
    finally:
        os.umask(before)
    modes = {place: stat.S_IMODE(place.stat().st_mode) for place in (run.path, *run.path.rglob("*"))}
    assert {mode for place, mode in modes.items() if place.is_dir()} == {0o700}
    secret = [run.signing_key_file, *(file for file in run.device(0).iterdir())]
    assert len(secret) == 4 and {modes[file] for file in secret} == {0o600}


def test_a_run_that_its_server_stopped_has_not_ended_and_may_be_gone_on_with(tmp_path):
    people = plant(4, 182, seed=1)
    setup, run = Setup.of(load_scenario("demo", ["data.users=4"]), people), RunFolder(tmp_path / "run")
    run.prepare(setup, people)
    assert not run.has_account and run.stopped is None
    run.server.keep_traffic({})
    for place in (run.results_file, run.report_file):
        place.write_text("of before")
    run.server.keep_account({"stopped": "Nearly all refused"})
    assert not run.has_account and not run.has_ended and run.stopped == "Nearly all refused"
    run.expect_same_run(setup.scenario)
    with pytest.raises(ConfigError, match="which stopped: Nearly all refused"):
        evaluate_run(run.path)
    run.server.keep_account({"stopped": None})
    assert run.has_account and run.has_ended
    run.server.account_file.write_text("[")
    with pytest.raises(ConfigError, match="is damaged"):
        evaluate_run(run.path)


def test_hosts_come_in_the_order_of_their_numbers(tmp_path):
    run = RunFolder(tmp_path)
    assert run.every_host() == []
    for number in (10, 9, 0):
        run.host(number).path.mkdir(parents=True)
    assert run.every_host() == [run.host(0), run.host(9), run.host(10)]
