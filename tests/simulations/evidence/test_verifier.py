"""Whatever is changed in a run's log, in its checkpoint or in its files is found; what devices saw finds the rest."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.app import log_of, run
from server.run_log.log import LOG_FILE, RunLog
from server.signing import Signer, signing_key
from simulations.cli.commands import app
from simulations.evidence import verifier
from simulations.evidence.mutations import changed_in_every_way, vouched_for
from simulations.evidence.verifier import check, read_witness
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RunFolder
from simulations.federation.run_settings import run_settings
from simulations.people.planted import plant
from simulations.people.setup import Setup
from simulations.scenarios.config import load_scenario
from tests.world.basics import full
from tests.world.signing import OTHER_PRIVATE_KEY, body_of

N_USERS = 12
SCENARIO = [
    "simulation.fidelity=hosts", "simulation.hosts=1", f"data.users={N_USERS}", "simulation.query_every_steps=28",
    "privacy.rounds=3", "simulation.dropout=0.0", "caps.table=none", "privacy.max_epsilon=inf", "risk.rounds=2",
    "evaluation.every_steps=28", "counts.every_steps=0",
]  # fmt: skip


class Told(LocalHost):
    """Devices hosted here, whose server signs what it asks: `heads` are what they were told of its log."""

    def __init__(self, folder: RunFolder, signer: Signer) -> None:
        super().__init__(folder)
        self._signer, self.heads = signer, []

    def offer(self, fields, name="model_offer"):
        self._tell(name)
        return super().offer(fields, name)

    def collect(self, cohort, plan, request, kind):
        self._tell(kind.request)
        return super().collect(cohort, plan, request, kind)

    def _tell(self, name):
        self._signer.sign(body_of("alerts_query", {"step": len(self.heads)}), name)
        self.heads.append(self._signer.log.head)


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> tuple[Path, list[tuple[int, bytes]]]:
    """The folder of a run that has ended, and what devices saw of its log."""
    folder, people = RunFolder(tmp_path_factory.mktemp("run") / "run"), plant(N_USERS, 182, seed=1)
    setup = Setup.of(load_scenario("demo", SCENARIO), people)
    folder.prepare(setup, people)
    folder.write_public(setup)
    settings = run_settings(setup, folder)
    clock, log = settings.schedule.clock(), log_of(settings)
    told = Told(folder, Signer(signing_key(settings.key_file), clock, log))
    run(told, settings, clock, log=log)
    folder.results_file.write_text('{"a": "result"}')
    folder.vouch()
    return folder.path, [tuple(head) for head in told.heads]


@pytest.fixture
def copy(ended, tmp_path) -> Path:
    return Path(shutil.copytree(ended[0], tmp_path / "copy"))


def lines_of(place: Path) -> list[bytes]:
    return (place / "server" / LOG_FILE).read_bytes().splitlines(keepends=True)


def test_an_untouched_run_holds_and_says_what_it_did(ended):
    place, seen = ended
    assert check(place) == check(place, None, seen) == check(place, RunFolder(place).server_key(), seen) == []
    kinds = [json.loads(line)["kind"] for line in lines_of(place)]
    assert kinds[0] == "begin" and kinds[-1] == "files" and kinds.count("charge") == 3 + 2 + 2 == kinds.count("sum")
    assert kinds.count("model") == 3 + 1 + 2 + 1 and kinds.count("account") == 1
    assert kinds.index("model") < kinds.index("charge") < kinds.index("sum") < len(kinds) - kinds[::-1].index("model")


def test_no_count_of_devices_and_nothing_of_one_is_in_it(ended):
    """Leaves are hashes, numbers of rounds, names of lines and files, and the number of the run."""
    allowed = {
        "begin": {"format", "run", "plan", "key"}, "charge": {"round", "line"}, "request": {"name", "sha256"},
        "sum": {"round", "sha256"}, "model": {"part", "number", "sha256"}, "account": {"sha256"},
        "file": {"name", "sha256"}, "files": {"number"},
    }  # fmt: skip
    for line in lines_of(ended[0]):
        leaf = json.loads(line)
        assert set(leaf) - {"kind"} == allowed[leaf["kind"]]
    named = {json.loads(line)["name"] for line in lines_of(ended[0]) if b'"kind":"file"' in line}
    assert not any(
        part in name for name in named for part in ("traffic", "inbox", "population", "devices", ".pem", "held")
    )
    assert {"server/account.json", "server/checkpoint.npz", "server/risk.npz", "scenario.json", "results.json"} <= named


# ---- whatever is changed is found


@pytest.mark.parametrize("n", [full(8)])
def test_ten_thousand_changes_of_log_checkpoint_and_files_are_all_found(copy, n):
    """Seven kinds of change, of the log, the checkpoint and every file that the log vouches for: 160 and more of each, 8 in short."""
    tried, missed = changed_in_every_way(copy, n, seed=n)
    assert missed == [] and tried >= 62 * n
    assert not check(copy), "as it was"
    for name in vouched_for(copy):
        file, whole = copy / name, (copy / name).read_bytes()
        file.unlink()
        assert name.endswith(LOG_FILE) or check(copy), f"{name} is gone"
        file.write_bytes(whole)


def test_an_old_log_with_its_old_checkpoint_and_files_is_found_by_who_saw_a_later_one(ended, copy):
    """Rolled back as a whole, everything is signed and fits: only what a device was told after that says otherwise."""
    _, seen = ended
    key = signing_key(copy / "server" / "signing.pem")
    old = lines_of(copy)[:9]
    server = copy / "server"
    (server / LOG_FILE).write_bytes(b"".join(old))
    log = RunLog(server, key)
    log.add("account", sha256=verifier.digest_of(server / "account.json"))
    log.close({"server/account.json": server / "account.json"})
    assert not check(copy), "nobody who saw nothing can tell"
    found = check(copy, None, seen)
    assert found and any("cut off" in line or "another log" in line for line in found)


def test_two_logs_under_one_key_are_found_by_who_saw_the_other(ended, copy):
    _, seen = ended
    server = copy / "server"
    lines = lines_of(copy)
    at = next(number for number, line in enumerate(lines) if b'"kind":"sum"' in line)
    forged = json.loads(lines[at]) | {"sha256": "0" * 64}
    lines[at] = json.dumps(forged, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    (server / LOG_FILE).write_bytes(b"".join(lines))
    RunLog(server, signing_key(server / "signing.pem")).sign()
    assert not check(copy) and len(check(copy, None, seen)) == sum(size > at for size, _ in seen) > 0


def test_another_key_than_devices_pinned_is_found(ended):
    assert check(ended[0], OTHER_PRIVATE_KEY.public_key().public_bytes_raw())


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "server/../x", ""])
def test_a_file_outside_of_the_run_is_not_opened(copy, name):
    server = copy / "server"
    log = RunLog(server, signing_key(server / "signing.pem"))
    log.add("file", name=name, sha256="0" * 64)
    log.add("files", number=1)
    log.sign()
    assert any("outside" in line for line in check(copy))


# ---- by people


def test_the_file_runs_alone_with_bare_python(ended, tmp_path):
    """Nothing of the project can be imported where it runs."""
    place, seen = ended
    alone = shutil.copy(verifier.__file__, tmp_path / "check_run.py")
    witness = tmp_path / "seen.jsonl"
    witness.write_text("".join(json.dumps({"size": size, "root": root.hex()}) + "\n" for size, root in seen))
    assert read_witness(witness) == seen
    blocked = "import sys; sys.modules.update(dict.fromkeys(('shared', 'server', 'client', 'simulations', 'numpy')))\n"
    program = f"{blocked}sys.argv[1:] = {[str(place), '--witness', str(witness)]!r}; exec(open({str(alone)!r}).read())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0 and f"{len(seen)} times" in done.stdout, done.stderr
    witness.write_text('{"size": 3, "root": "00"}\n')
    done = subprocess.run(
        [sys.executable, str(alone), str(place), "--witness", str(witness)], capture_output=True, text=True
    )
    assert done.returncode == 2 and "line 1 of seen.jsonl" in done.stderr


def test_it_runs_where_it_lies_too(ended, tmp_path):
    """Python looks beside a program first: nothing there has the name of a module that it needs."""
    here = Path(verifier.__file__)
    assert not {file.stem for file in here.parent.iterdir()} & sys.stdlib_module_names
    command = [sys.executable, str(here), str(ended[0])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""})
    assert done.returncode == 0 and "holds" in done.stdout, done.stderr


def test_the_command_says_what_holds_and_what_does_not(ended, copy, tmp_path):
    said = CliRunner().invoke(app, ["verify", str(ended[0])])
    assert said.exit_code == 0 and "holds" in said.output
    (copy / "results.json").write_text("{}")
    said = CliRunner().invoke(app, ["verify", str(copy)])
    assert said.exit_code and "results.json is not what the log says it is" in " ".join(said.output.split())
    said = CliRunner().invoke(app, ["verify", str(tmp_path)])
    assert said.exit_code
