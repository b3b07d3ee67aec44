"""Real runs of a tiny app with 4 nodes, whose modules are in a folder of their own and not in the app folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from shared.errors import ConfigError
from simulations.federation import flower_runtime
from simulations.federation.flower_runtime import (
    MARKER,
    PortInUse,
    RunFailed,
    end_run,
    processes_of,
    run_app,
    write_app_folder,
)
from simulations.provenance import commit, commits_of

NODES = 4
SERVER = """
import logging
import time

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()
say = logging.getLogger("flwr").info


@app.main()
def main(grid, context):
    mode, sigma = context.run_config["mode"], context.run_config["dp.sigma"]
    say("begun: %s %s", mode, sigma)
    if mode == "raise":
        raise ValueError("expected 3 apples, got 2")
    while len(nodes := list(grid.get_node_ids())) < 4:
        time.sleep(0.01)
    for _ in range(3):
        asked = [Message(RecordDict(), node, MessageType.TRAIN) for node in nodes]
        said = [reply.content["said"] for reply in grid.send_and_receive(asked, timeout=60)]
    for key in ("partition", "state", "sigma"):
        say("%s %s", key, sorted(record[key] for record in said))
    most = {pid: max(r["worker"] for r in said if r["pid"] == pid) for pid in {r["pid"] for r in said}}
    say("cached %s", sum(most.values()))
    while mode == "wait":
        time.sleep(0.1)
"""
CLIENT = """
import os
from functools import lru_cache

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@lru_cache(maxsize=1)
def count():
    return [0]


@app.train()
def train(message, context):
    count()[0] += 1
    state = context.state.setdefault("met", ConfigRecord({"times": 0}))
    state["times"] += 1
    said = {
        "pid": os.getpid(),
        "worker": count()[0],
        "partition": context.node_config["partition-id"],
        "state": state["times"],
        "sigma": context.run_config["dp.sigma"],
    }
    return Message(RecordDict({"said": ConfigRecord(said)}), reply_to=message)
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "tiny_server.py").write_text(SERVER, "utf-8")
    (folder / "tiny_client.py").write_text(CLIENT, "utf-8")
    monkeypatch.syspath_prepend(str(folder))
    return folder


def write_tiny_app(folder: Path, mode: str, clientapp: str = "tiny_client:app") -> Path:
    config = {"mode": mode, "dp.sigma": 1.5}
    return write_app_folder(folder, serverapp="tiny_server:app", clientapp=clientapp, config=config)


def test_app_folder_names_components_and_configuration(tmp_path: Path) -> None:
    folder = write_tiny_app(tmp_path / "runs" / "one", 'say "ü"')
    assert [path.name for path in folder.iterdir()] == ["pyproject.toml"]
    app = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["tool"]["flwr"]["app"]
    assert app["components"] == {"serverapp": "tiny_server:app", "clientapp": "tiny_client:app"}
    assert app["config"] == {"mode": 'say "ü"', "dp.sigma": 1.5}


def test_counts_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected nodes >= 1, got 0"):
        run_app(tmp_path, nodes=0, home=tmp_path)


def test_a_home_serves_one_run_at_a_time_and_only_its_processes_are_ended(tmp_path: Path) -> None:
    def sleep(home: Path) -> subprocess.Popen[bytes]:
        environment = os.environ | {MARKER: f"{home.resolve()}:1"}
        return subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True)

    with sleep(tmp_path / "a") as ours, sleep(tmp_path / "ab") as other:
        try:
            with pytest.raises(RunFailed, match="another run is using this home"):
                run_app(tmp_path, nodes=1, home=tmp_path / "a")
            end_run(f"{tmp_path.resolve() / 'a'}:1", tmp_path / "ray")
            assert processes_of(tmp_path / "a") == []
            assert ours.poll() is not None
            assert other.poll() is None
        finally:
            other.kill()


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.slow
def test_no_port_is_an_error_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flower_runtime, "reserved_port", taken_port)
    monkeypatch.setattr(flower_runtime, "_PORT_ATTEMPTS", 1)
    with pytest.raises(PortInUse):
        run_app(tmp_path, nodes=1, home=tmp_path / "home")
    assert processes_of(tmp_path / "home") == []


@pytest.mark.slow
def test_a_component_that_is_not_there(tmp_path: Path, modules: Path) -> None:
    app = write_tiny_app(tmp_path / "app", "complete", clientapp="tiny_missing:app")
    with pytest.raises(RunFailed) as caught:
        run_app(app, nodes=NODES, home=tmp_path / "home")
    assert "Unable to load module tiny_missing" in caught.value.reason


@pytest.mark.slow
def test_two_runs_at_once_of_which_one_fails(tmp_path: Path, modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also: the first port turns out to be taken, the app folders hold other files, and the cwd is anywhere."""
    free_port, taken = flower_runtime.reserved_port, [taken_port]
    monkeypatch.setattr(flower_runtime, "reserved_port", lambda: taken.pop()() if taken else free_port())
    monkeypatch.chdir(tmp_path)
    good, bad = (write_tiny_app(tmp_path / "runs" / mode / "app", mode) for mode in ("complete", "raise"))
    (good / "private.py").write_text("", "utf-8")
    lines: list[str] = []

    def home(app: Path) -> Path:
        return app.parent / "home"

    with ThreadPoolExecutor(2) as pool:
        completing = pool.submit(run_app, good, nodes=NODES, home=home(good), on_line=lines.append, timeout_s=150)
        failing = pool.submit(run_app, bad, nodes=NODES, home=home(bad), timeout_s=150)
        failure, _ = failing.exception(), completing.result()

    said = {line.split(":", 1)[1].strip() for line in lines if line.startswith("INFO :")}
    assert {"begun: complete 1.5", "partition [0, 1, 2, 3]", "state [3, 3, 3, 3]", "cached 12"} <= said
    assert f"sigma {[1.5] * NODES}" in said
    assert (home(good) / "flower.log").read_text("utf-8").splitlines() == lines
    assert commits_of(home(good)) == commit(), "the code that ran"
    assert [path.name for path in (home(good) / "apps").glob("*/*.*")] == ["pyproject.toml"]

    assert isinstance(failure, RunFailed)
    assert failure.reason == "ValueError: expected 3 apples, got 2"
    assert failure.log == home(bad) / "flower.log"
    assert 'raise ValueError("expected 3 apples, got 2")' in str(failure)
    assert processes_of(home(good)) + processes_of(home(bad)) == []


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.slow
@pytest.mark.parametrize(("number", "after"), [(signal.SIGINT, "cached"), (signal.SIGKILL, "begun")])
def test_nothing_is_left_when_we_are_ended(tmp_path: Path, modules: Path, number: int, after: str) -> None:
    app, home = write_tiny_app(tmp_path / "app", "wait"), tmp_path / "home"
    program = (  # a shell that starts tests in the background leaves SIGINT ignored, and that is inherited
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        f"import pathlib, simulations.federation.flower_runtime as r; p = pathlib.Path; r.run_app(p({str(app)!r}), nodes={NODES},"
        f" home=p({str(home)!r}), on_line=lambda line: print(line, flush=True), timeout_s=150)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as us:
        assert us.stdout is not None
        assert any(after in line for line in us.stdout)
        running = processes_of(home)
        ray_folder = next(Path(p.environ()["RAY_TMPDIR"]) for p in running if "RAY_TMPDIR" in p.environ())
        assert ray_folder.is_dir()
        us.send_signal(number)
        assert us.wait(timeout=60) == -number
    end_s = time.monotonic() + 10
    while (ray_folder.exists() or processes_of(home)) and time.monotonic() < end_s:
        time.sleep(0.1)
    assert processes_of(home) == []
    assert not any(is_alive(process) for process in running)
    assert not ray_folder.exists()
