"""A run over two Ray nodes, both on this machine, each at a loopback address of its own: what it comes to, when one of them is lost,
and when a node does not have what it must have."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from shared.errors import ConfigError
from simulations.federation.cluster import nodes as cluster_nodes
from simulations.federation.cluster.nodes import WORKER_MARKER, Cluster, Node, loss
from simulations.federation.equivalence import WITHOUT_NOISE
from simulations.federation.flower_runtime import RunFailed, expect_cluster, processes_of
from simulations.federation.host_server_app import lost_worker
from simulations.federation.observations import read_notes
from simulations.federation.run_folder import RunFolder
from simulations.provenance import ROOT
from simulations.run import simulate
from simulations.scenarios.config import Scenario, load_scenario
from tests.world.basics import SOAK

USERS, HOSTS = 240, 4
#: Addresses of this machine that nobody takes for another name of it, as 127.0.0.1 is.
HEAD, SECOND = "127.0.0.2", "127.0.0.3"
RAY = str(Path(sys.executable).with_name("ray"))

soak = pytest.mark.skipif(not SOAK, reason="Ray nodes of its own: EBBTIDE_SOAK=1")
only_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="loopback addresses beside 127.0.0.1")


def on_two_nodes(test: Callable[..., None]) -> Callable[..., None]:
    for mark in (pytest.mark.slow, pytest.mark.soak, soak, only_linux, pytest.mark.timeout(600)):
        test = mark(test)
    return test


def scenario(*overrides: str) -> Scenario:
    """Few users, alerts of both directions, and queries in every other week."""
    small = [f"data.users={USERS}", "simulation.fidelity=hosts", f"simulation.hosts={HOSTS}", "warm_start.users=0"]
    asked = ["simulation.query_every_steps=14", "detection.fall_margin=0.02", "detection.rise_margin=0.02"]
    return load_scenario("demo", [*WITHOUT_NOISE, *small, *asked, *overrides])


def family(process: psutil.Popen) -> list[psutil.Process]:
    """A node's processes: its `ray start`, and whatever that started."""
    with suppress(psutil.Error):
        return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return []


def end(node: psutil.Popen) -> None:
    """The node is lost at once, as by a power cut."""
    alive = family(node)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=10)


class RayNodes:
    """A cluster of a head, which has one CPU, and of nodes that a test starts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server((HEAD, 0)) as free:
            self.address = f"{HEAD}:{free.getsockname()[1]}"
        port = self.address.partition(":")[2]
        own = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
        self.head = self._start([RAY, "start", *own, f"--node-ip-address={HEAD}"])

    @contextmanager
    def second(self, *before: str) -> Iterator[psutil.Popen]:
        """A node with one CPU more, started by what the command has `before` it; ended with the context."""
        started = self._start([*before, RAY, "start", f"--address={self.address}", f"--node-ip-address={SECOND}"])
        try:
            yield started
        finally:
            end(started)

    def _start(self, command: list[str]) -> psutil.Popen:
        """A node that is up. Ray forgets one that is lost within seconds."""
        environment = os.environ | {
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
            "RAY_health_check_initial_delay_ms": "0",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_failure_threshold": "3",
        }
        little = ["--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats", "--block"]
        said = self._folder.parent / f"{self._folder.name}-{time.monotonic_ns()}.log"
        with said.open("w") as log:
            node = psutil.Popen(
                [*command, *little], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT
            )
        end_s = time.monotonic() + 60
        try:
            while "Ray runtime started" not in said.read_text():
                assert node.poll() is None and time.monotonic() < end_s, said.read_text()
                time.sleep(0.1)
        except BaseException:
            end(node)
            raise
        finally:
            said.unlink()
        return node


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    folder = Path(tempfile.mkdtemp(prefix="ebb-", dir="/tmp"))  # Ray's sockets have long names
    try:
        ray = RayNodes(folder)
        try:
            yield ray
        finally:
            end(ray.head)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def hosts_in_work(node: psutil.Popen, run: RunFolder) -> set[int]:
    """The hosts whose training rows a node's workers have in their memory."""
    found = set[int]()
    rows = re.compile(re.escape(str(run.hosts.resolve())) + r"/(\d+)/")
    for process in family(node):
        with suppress(psutil.Error):
            found |= {int(match[1]) for mapped in process.memory_maps() if (match := rows.match(mapped.path))}
    return found


def workers_of(run: RunFolder) -> list[psutil.Process]:
    """Ray's workers, of whatever node, that are at work in a run."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(WORKER_MARKER, "").startswith(f"{run.flower.resolve()}:"):
                found.append(process)
    return found


def nothing(phase: str, done: int, of: int) -> None:
    pass


@on_two_nodes
def test_both_nodes_work_and_the_run_comes_to_what_it_comes_to_alone(
    tmp_path: Path, nodes: RayNodes, monkeypatch: pytest.MonkeyPatch
):
    alone, spread = RunFolder(tmp_path / "alone"), RunFolder(tmp_path / "spread")
    one = simulate(scenario(), alone.path, nothing)
    seen: dict[str, set[int]] = {"head": set(), "second": set()}
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    with nodes.second() as second:

        def look(phase: str, done: int, of: int) -> None:
            if phase in ("rounds", "queries"):
                seen["head"] |= hosts_in_work(nodes.head, spread)
                seen["second"] |= hosts_in_work(second, spread)

        other = simulate(scenario(), spread.path, look)
        assert not workers_of(spread) and not processes_of(spread.flower)
        assert second.is_running() and nodes.head.is_running(), "the cluster is not ours to end"
    assert all(seen.values()) and seen["head"] | seen["second"] == set(range(HOSTS))
    np.testing.assert_array_equal(alone.server.models(), spread.server.models())
    n_categories, n_steps = one.categories, one.protocol.n_steps
    (p, alerts), (p_spread, alerts_spread) = (
        read_notes(run, np.arange(USERS), n_categories, n_steps) for run in (alone, spread)
    )
    np.testing.assert_array_equal(p, p_spread)
    assert len(alerts.user) > 5
    for column, values in vars(alerts).items():
        np.testing.assert_array_equal(values, getattr(alerts_spread, column))
    assert one.alerts == other.alerts and not other.traffic.dropped


@on_two_nodes
@pytest.mark.parametrize(("during", "after"), [("rounds", 5), ("queries", 3)])
def test_a_lost_node_ends_the_run_which_can_be_gone_on_with(
    tmp_path: Path, nodes: RayNodes, monkeypatch: pytest.MonkeyPatch, during: str, after: int
):
    run, asked = RunFolder(tmp_path / "run"), scenario("privacy.rounds=40", "simulation.query_every_steps=1")
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    with nodes.second() as second:

        def lose(phase: str, done: int, of: int) -> None:
            if phase == during and done >= after:
                end(second)

        with pytest.raises(RunFailed, match=f"lost {SECOND}.*--resume") as failed:
            simulate(asked, run.path, lose)
    assert "\n" not in failed.value.reason
    assert not workers_of(run) and not processes_of(run.flower)
    before = len(run.server.models())
    results = simulate(asked, run.path, nothing, resume=True)
    assert run.has_ended and nodes.head.is_running()
    # What was interrupted stays charged, and is not run again; all else is.
    lost_rounds = 1 if during == "rounds" else 0
    assert len(run.server.models()) == 41 - lost_rounds >= before
    assert not results.traffic.dropped
    if during == "queries":  # no round was lost, so that all is as in a run that nothing befell
        monkeypatch.delenv("RAY_ADDRESS")
        alone = RunFolder(tmp_path / "alone")
        simulate(asked, alone.path, nothing)
        np.testing.assert_array_equal(run.server.models(), alone.server.models())
        shape = USERS, results.categories, results.protocol.n_steps
        (one, alerts), (other, alerts_alone) = (
            read_notes(each, np.arange(shape[0]), *shape[1:]) for each in (run, alone)
        )
        assert np.isfinite(one).any()
        np.testing.assert_array_equal(one, other)
        for column, values in vars(alerts).items():
            np.testing.assert_array_equal(values, getattr(alerts_alone, column))


@on_two_nodes
def test_a_worker_that_is_lost_on_this_machine_ends_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    run = RunFolder(tmp_path / "run")

    def lose(phase: str, done: int, of: int) -> None:
        if phase == "rounds" and done >= 5:
            for process in processes_of(run.flower):
                with suppress(psutil.Error):
                    if process.cmdline()[0].startswith("ray::ClientAppActor"):
                        process.kill()

    with pytest.raises(RunFailed, match=r"a worker on 127\.0\.0\.1 is lost \(Actor.*--resume"):
        simulate(scenario("privacy.rounds=40"), run.path, lose)
    assert not processes_of(run.flower) and run.begun and not run.has_account


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "<class 'ray.exceptions.ActorDiedError'>:<'The actor died.\n\tip: 10.0.0.3\nIts node has died.'>",
            " on 10.0.0.3 is lost (ActorDied",
        ),
        (
            "<class 'ray.exceptions.ActorUnavailableError'>:<'ipv4:10.0.0.3:10005: Failed'>",
            " on 10.0.0.3 is lost (ActorUnavail",
        ),
        ("<class 'KeyError'>:<'a'>", "a worker is lost (of no known reason)"),
        (None, "a worker is lost (of no known reason)"),
    ],
)
def test_what_ray_says_of_a_lost_worker_becomes_a_line(said: str | None, told: str):
    assert told in lost_worker(said) and "\n" not in lost_worker(said)


def namespaced(mount: str) -> list[str]:
    """What starts a process that sees another disk than all others: of its own, where `mount` ran. Skips where nobody may."""
    before = ["unshare", "-Urm", "sh", "-c", f'{mount} && exec "$@"', "node"]
    if not shutil.which("unshare") or subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("expected a kernel that lets users mount for themselves")
    return before


@on_two_nodes
def test_a_node_without_the_run_s_folder_is_named_at_the_start(
    tmp_path: Path, nodes: RayNodes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    folder = tmp_path / "run"
    said = rf"{folder}, which {SECOND} \(.*\) cannot see"
    without = namespaced(f"mount -t tmpfs none '{tmp_path}'")
    with nodes.second(*without), pytest.raises(ConfigError, match=said) as refused:
        simulate(scenario(), folder, nothing)
    assert HEAD not in str(refused.value)
    assert not folder.exists(), "nothing was begun"


@on_two_nodes
def test_a_node_that_only_reads_the_folder_is_named(tmp_path: Path, nodes: RayNodes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    read_only = f"mount --bind '{tmp_path}' '{tmp_path}' && mount -o remount,ro,bind '{tmp_path}'"
    with nodes.second(*namespaced(read_only)), pytest.raises(ConfigError, match=rf"which {SECOND} \(.*\) cannot write"):
        expect_cluster(tmp_path)
    assert list(tmp_path.iterdir()) == []


@on_two_nodes
def test_a_node_with_other_code_is_named(tmp_path: Path, nodes: RayNodes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    file, older = ROOT / "simulations" / "federation" / "silence.py", tmp_path / "older.py"
    older.write_text(file.read_text() + "# as it was\n")
    said = rf"expected ebbtide .* got [0-9a-f]{{12}} on {SECOND}"
    other = namespaced(f"mount --bind '{older}' '{file}'")
    with nodes.second(*other), pytest.raises(ConfigError, match=said):
        expect_cluster(tmp_path)


BUSY = """
import ray

ray.init()


@ray.remote(num_cpus=1)
class Busy:
    def here(self):
        return True


other = Busy.remote()
print(ray.get(other.here.remote()), flush=True)
input()
"""


@on_two_nodes
def test_a_cluster_that_works_on_something_else_is_refused(
    tmp_path: Path, nodes: RayNodes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    command, pipe = [sys.executable, "-c", BUSY], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "True\n"
        with pytest.raises(ConfigError, match="got 1 of its 1 CPUs taken"):
            expect_cluster(tmp_path)
        other.kill()
    expect_cluster(tmp_path)


@on_two_nodes
def test_somebody_who_is_no_ray_is_no_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server((HEAD, 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"{HEAD}:{server.getsockname()[1]}")
        with pytest.raises(ConfigError, match="no word that Ray understands"):
            expect_cluster(tmp_path)


def test_nobody_at_the_address_is_said_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match=f"RAY_ADDRESS {address}, got nobody who answers: start one"):
        simulate(scenario(), tmp_path / "run", nothing)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("address", ["auto", "ray://127.0.0.1:10001", ":6379", "127.0.0.1:", "127.0.0.1:x"])
def test_an_address_is_a_host_and_a_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match=re.escape(f"host:port of the head of a Ray cluster, got {address!r}")):
        expect_cluster(tmp_path)


def test_a_node_is_lost_when_it_is_silent_a_few_times_running(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster_nodes, "_LOOK_EVERY_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        node = Node("127.0.0.1", server.getsockname()[1], "a node")
        cluster = Cluster([node])
        assert [cluster.lost() for _ in range(4)] == [[]] * 4 and cluster.silent() == []
    assert [cluster.lost() for _ in range(3)] == [[], [], [node]]
    assert "lost a node, " in loss(cluster.lost()) and "--resume" in loss(cluster.lost())


def test_without_an_address_there_is_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    expect_cluster(tmp_path)
    assert list(tmp_path.iterdir()) == []
