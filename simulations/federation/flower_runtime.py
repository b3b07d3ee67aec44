"""Runs a Flower app in Flower's Simulation Runtime, private to one run, and leaves no process behind.

A run is a SuperLink of its own on a free loopback port, which starts the simulation, which starts Ray. Every process
carries an environment variable that names the run, or is in a session with one that does: so they are found and ended,
by this process when `run_app` returns or raises, and by a keeper (this module as a program) when this one is killed.
State is in memory: only the logs and the unpacked app outlive a run, in its home; the logs alone, if it did not complete.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import sysconfig
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from subprocess import DEVNULL, PIPE, STDOUT, Popen, TimeoutExpired
from threading import Thread
from typing import IO
from uuid import uuid4

import psutil
import tomli_w

from shared.errors import ConfigError, RunError
from shared.files import private_folder

from ..provenance import COMMIT_FILE, stamp
from .cluster.nodes import RAY_ADDRESS, Cluster, end_workers, expect_shared, loss, worker_environment

#: Environment variable of every process of a run: its home, a colon, and a number of its own.
MARKER = "EBBTIDE_RUN"
LOG_FILE, SUPERLINK_LOG_FILE = "flower.log", "superlink.log"
OnLine = Callable[[str], None]

_POLL_S = 0.05
_PORT_ATTEMPTS = 5
_END_S = 15.0
_TAIL_LINES = 15
#: Colours, and the frames that Flower's command line draws.
_ORNAMENT = re.compile("\x1b\\[[0-9;]*m|[\u2500-\u257f]")
#: Ray's sockets lie up to 84 characters below, and 103 is the longest path of a socket.
_LONGEST_TEMP_FOLDER = 19
_PLAIN_PATH = re.compile(r"[\w/\\:. @+,=~()\[\]-]{1,150}")
#: How the names of Ray's folders begin.
_RAY_FOLDER = "ebb-"


class RunFailed(RunError):
    """A run that did not complete. `reason` is one line; the message adds the last lines and where the log is."""

    def __init__(self, reason: str, log: Path) -> None:
        self.reason, self.log = reason, log
        tail = deque(log.read_text("utf-8", "replace").splitlines() if log.exists() else (), _TAIL_LINES)
        super().__init__("\n".join([reason, *(f"  | {line}" for line in tail), f"  log: {log}"]))


class PortInUse(RunError):
    """Every loopback port that was tried went to somebody else before the SuperLink had it."""


def write_app_folder(
    folder: Path, *, serverapp: str, clientapp: str, config: Mapping[str, str | int | float | bool]
) -> Path:
    """The folder, holding a Flower app that names two components and its run configuration, and no code at all.

    Components are `module:attribute`; whoever runs the app must be able to import the modules, wherever the folder is.
    A dotted key of `config` arrives dotted in `Context.run_config`, at the server and at the clients.
    """
    app = {
        "publisher": "ebbtide",
        "fab-include": ["pyproject.toml"],  # without it, Flower's bundle takes every .py, .md and .json found here
        "components": {"serverapp": serverapp, "clientapp": clientapp},
        "config": dict(config),
    }
    project = {"name": "ebbtide-run", "version": "0.0.0", "description": "One run.", "license": "Apache-2.0"}
    (private_folder(folder) / "pyproject.toml").write_text(
        tomli_w.dumps({"project": project, "tool": {"flwr": {"app": app}}}), "utf-8"
    )
    return folder


def run_app(
    app_folder: Path,
    *,
    nodes: int,
    home: Path,
    worker_cpus: int = 1,
    on_line: OnLine | None = None,
    timeout_s: float = 3600.0,
) -> None:
    """Returns when the app has completed on `nodes` simulated nodes and every process started for it has ended.

    `home` becomes FLWR_HOME, for one run at a time. Ray gets one worker per `worker_cpus` cores of the machine. What
    this process can import, the app can. `on_line` gets each line of the run's log, without colours, in this thread;
    `flower.log` in `home` gets it too, and `commit.txt` which code ran. `timeout_s` covers everything. A RAY_ADDRESS in
    the environment attaches the run to that Ray cluster, whose nodes share `home` (`expect_cluster`); otherwise its Ray is
    its own.

    RunFailed, with the reason, if the app did not complete, or if the cluster lost a node; PortInUse if no port could be had;
    ConfigError if `nodes` or `worker_cpus` is below 1, or the cluster not fit. Whatever is raised, KeyboardInterrupt included,
    nothing is left running, on no node that answers.
    """
    for name, count in (("nodes", nodes), ("worker_cpus", worker_cpus)):
        if count < 1:
            raise ConfigError(f"expected {name} >= 1, got {count}")
    home = home.absolute()
    private_folder(home)
    if processes_of(home):
        raise RunFailed("another run is using this home", home / LOG_FILE)
    stamp(home)
    marker, parent = f"{home.resolve()}:{uuid4().hex}", tempfile.gettempdir()
    parent = parent if len(os.fsencode(parent)) <= _LONGEST_TEMP_FOLDER else "/tmp"
    ray_folder = Path(parent) / f"{_RAY_FOLDER}{uuid4().hex[:8]}"
    environment = _environment(home, marker, ray_folder)
    run = _Run(home, environment, timeout_s, expect_shared(home, environment))
    try:
        ray_folder.mkdir(mode=0o700)
        with _start_keeper(environment, marker, ray_folder) as keeper:
            try:
                superlink = run.start_superlink()
                if keeper.poll() is not None:
                    raise RunFailed(f"the keeper ended with code {keeper.returncode}", home / LOG_FILE)
                resources = f"num-supernodes={nodes} client-resources-num-cpus={worker_cpus}"
                command = ["flwr", "run", str(app_folder.absolute()), "--stream", "--federation-config", resources]
                run.follow(command, superlink, on_line)
                run.check_outcome()
            finally:
                end_run(marker, ray_folder)
                for process in run.started:
                    process.wait(timeout=_END_S)
    except BaseException as error:
        lost = run.cluster.silent() if run.cluster else []
        end_workers(home, environment)
        _tidy(home)
        if isinstance(error, RunFailed) and lost:
            raise RunFailed(loss(lost), error.log) from error
        raise
    finally:
        shutil.rmtree(ray_folder, ignore_errors=True)


def expect_cluster(home: Path) -> None:
    """ConfigError unless a run in `home` can be spread over the Ray cluster that RAY_ADDRESS names, if it names one: what `run_app`
    asks, for who has much to do before."""
    expect_shared(home, _environment(home, "", Path()))


@contextmanager
def plain_path(folder: Path) -> Iterator[Path]:
    """A path of a folder that Flower can be told: its own, or, if letters are in it that no message carries or it is too long
    for what Flower puts inside, that of a link to it, for as long as the context is open."""
    path = folder.resolve()
    if _PLAIN_PATH.fullmatch(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="ebbtide-") as beside:
        link = Path(beside) / "run"
        link.symlink_to(path, target_is_directory=True)
        yield link


def processes_of(home: Path) -> list[psutil.Process]:
    """The live processes of whatever run is using `home`."""
    return _marked(f"{home.resolve()}:", set())


def end_leftovers(home: Path) -> None:
    """Afterwards no process is alive that a run in `home` started, whoever began it. For whoever has the run's lock: a run
    whose process and keeper were killed leaves such processes."""
    while alive := processes_of(home):
        folders = set()
        for process in alive:
            with suppress(psutil.Error, OSError):
                folders.add(Path(process.environ().get("RAY_TMPDIR", "")))
        for folder in folders | {Path()}:
            end_run(f"{home.resolve()}:", folder if folder.name.startswith(_RAY_FOLDER) else None)
    end_workers(home, {})


def _tidy(home: Path) -> None:
    """Leave in the home of a run that did not complete what people read: logs, and which code ran."""
    for place in home.iterdir():
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        elif place.name not in (LOG_FILE, SUPERLINK_LOG_FILE, COMMIT_FILE):
            with suppress(OSError):
                place.unlink()


def end_run(marker: str, ray_folder: Path | None) -> None:
    """Afterwards no process of the run is alive, and Ray's folder is gone. None is asked: their state is in memory."""
    sessions: set[int] = set()
    end_s = time.monotonic() + _END_S
    while (alive := _marked(marker, sessions)) and time.monotonic() < end_s:
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=1.0)
    if ray_folder is not None:
        shutil.rmtree(ray_folder, ignore_errors=True)


def _marked(prefix: str, sessions: set[int]) -> list[psutil.Process]:
    """The live processes whose marker begins with `prefix`, and all in their `sessions`, which are remembered there.

    Ray's agents lose their environment when they set their title, but never leave the session.
    """
    session_of: dict[psutil.Process, int] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                session_of[process] = os.getsid(process.pid)
                if process.environ().get(MARKER, "").startswith(prefix):
                    sessions.add(session_of[process])
    sessions.discard(os.getsid(0))
    return [process for process, session in session_of.items() if session in sessions]


class _Run:
    """The processes of one run and its logs. Every method raises RunFailed when the run's time is over, or its cluster not whole."""

    def __init__(self, home: Path, environment: dict[str, str], timeout_s: float, cluster: Cluster | None) -> None:
        self.cluster = cluster
        self._home, self._environment, self._timeout_s = home, environment, timeout_s
        self._end_s = time.monotonic() + timeout_s
        self._log, self._superlink_log = home / LOG_FILE, home / SUPERLINK_LOG_FILE
        self._log.write_text("", "utf-8")
        self.started: list[Popen[str]] = []

    def start_superlink(self) -> Popen[str]:
        """A SuperLink listens, in simulation mode, on a port that nobody else had; Flower's config names it."""
        for _ in range(_PORT_ATTEMPTS):
            with self._superlink_log.open("w", encoding="utf-8") as log, reserved_port() as port:
                command = ["flower-superlink", "--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(port)]
                superlink = self._start(command, log)
                while not (listens := _listens(superlink.pid, port)) and superlink.poll() is None:
                    self._check(superlink)
                    time.sleep(_POLL_S)
            if listens:
                config = {"default": "run", "run": {"address": f"127.0.0.1:{port}", "insecure": True}}
                (self._home / "config.toml").write_text(tomli_w.dumps({"superlink": config}), "utf-8")
                return superlink
            if "address already in use" not in self._superlink_log.read_text("utf-8"):
                self._check(superlink)
        raise PortInUse(f"expected a free loopback port, got {_PORT_ATTEMPTS} that were taken meanwhile")

    def follow(self, command: list[str], superlink: Popen[str], on_line: OnLine | None) -> None:
        """Starts the app by `command` and passes on the lines of its log until it has finished, well or badly."""
        cli = self._start(command, PIPE)
        lines: SimpleQueue[str | None] = SimpleQueue()
        Thread(target=_read_lines, args=(cli.stdout, lines), daemon=True).start()
        line: str | None = ""
        with self._log.open("w", encoding="utf-8", buffering=1) as log:
            while line is not None:
                self._check(superlink)
                with suppress(Empty):
                    if (line := lines.get(timeout=_POLL_S)) is not None:
                        log.write(f"{line}\n")
                        if on_line is not None:
                            on_line(line)
        if code := cli.wait():
            said = " ".join(self._log.read_text("utf-8").rpartition(" Error ")[2].split())
            raise RunFailed(f"flwr run ended with code {code}: {said[:200]}", self._log)

    def check_outcome(self) -> None:
        """Raises RunFailed, with the app's last words, if it failed: `flwr run` ends with code 0 even then."""
        asked = self._start(["flwr", "ls", "--format", "json"], PIPE)
        try:
            run = json.loads(asked.communicate(timeout=max(1.0, self._end_s - time.monotonic()))[0])["runs"][0]
        except (TimeoutExpired, ValueError, LookupError) as error:
            raise RunFailed(f"the outcome is not known: {error!r}", self._log) from None
        if run["status"] != "finished:completed":
            said = str(run["status-details"]).removeprefix("Simulation failed with exception: ").partition("\n")[0]
            ends = [line for line in self._log.read_text("utf-8").splitlines() if said and line.endswith(said)]
            raise RunFailed(ends[-1] if ends else said or str(run["status"]), self._log)

    def _start(self, command: list[str], output: IO[str] | int) -> Popen[str]:
        """A process of this run. In a session of its own, so that Ctrl-C reaches us and not the run."""
        process = Popen(
            command,
            env=self._environment,
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def _check(self, superlink: Popen[str]) -> None:
        if superlink.poll() is not None:
            raise RunFailed(f"the SuperLink ended with code {superlink.returncode}", self._superlink_log)
        if time.monotonic() > self._end_s:
            raise RunFailed(f"expected the run to end within {self._timeout_s:g} s", self._log)
        if self.cluster and (lost := self.cluster.lost()):
            raise RunFailed(loss(lost), self._log)


@contextmanager
def reserved_port() -> Iterator[int]:
    """A loopback port that the system gives to nobody else who asks for any, for as long as the context is open."""
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        port = int(reservation.getsockname()[1])
        if not sys.platform.startswith("linux"):  # only Linux lets another socket listen beside a reservation
            reservation.close()
        yield port


def _listens(pid: int, port: int) -> bool:
    with suppress(psutil.Error):
        return port in {c.laddr.port for c in psutil.Process(pid).net_connections("tcp") if c.status == "LISTEN"}
    return False


def _read_lines(stream: IO[str], lines: SimpleQueue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(_ORNAMENT.sub("", line).rstrip())
    lines.put(None)


def _environment(home: Path, marker: str, ray_folder: Path) -> dict[str, str]:
    """This process's environment, and what keeps a run private, quiet and on one thread per process."""
    attached = bool(os.environ.get(RAY_ADDRESS))
    return os.environ | {
        **(worker_environment(os.environ, marker) if attached else {}),
        MARKER: marker,
        # Flower finds its own programs by name, and the modules of the app where this process does.
        "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        "NO_PROXY": f"{os.environ.get('NO_PROXY', '')},127.0.0.1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        **{"FORCE_COLOR": "", "CLICOLOR_FORCE": "0", "NO_COLOR": "1"},  # a notebook forces colours, in JSON too
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_INTERNAL_GRPC_CONTROL_API": "0",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
        "RAY_TMPDIR": str(ray_folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1" if attached else "0",  # 0: loopback only
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # silences a warning
        "RAY_prestart_worker_first_driver": "0",  # such workers lack the run's PYTHONPATH, and would never be used
    }


def _start_keeper(environment: dict[str, str], marker: str, ray_folder: Path) -> Popen[bytes]:
    """A process that ends the run as soon as this one is gone, however it went: its standard input closes then."""
    command = [sys.executable, "-m", "simulations.federation.flower_runtime", marker, str(ray_folder)]
    return Popen(command, env=environment | {MARKER: ""}, stdin=PIPE, stdout=DEVNULL, start_new_session=True)


if __name__ == "__main__":
    sys.stdin.read()
    end_run(sys.argv[1], Path(sys.argv[2]))
