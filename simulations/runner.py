"""Runs a Flower app in Flower's Simulation Runtime, private to one run, and leaves no process behind.

A run is a SuperLink of its own on a free loopback port, which starts the simulation, which starts Ray. All of them carry
an environment variable that names the run, or share a session with one that does. That is how they are found and ended:
by this process when `run_app` returns or raises, and by a keeper process if this one is killed. State is in memory:
nothing of Flower or Ray outlives the run but `flower.log` and `superlink.log`, and the unpacked app, in its home.

`python -m simulations.runner HOME RAY_FOLDER` is the keeper.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO

import psutil
import tomli_w

from shared.errors import ConfigError, RunError

#: Environment variable of every process of a run: the path of its home.
MARKER = "EBBTIDE_RUN"
LOG_FILE = "flower.log"
SUPERLINK_LOG_FILE = "superlink.log"

_CONNECTION = "run"
_POLL_S = 0.05
_PORT_ATTEMPTS = 5
_END_S = 15.0
_TAIL_LINES = 15
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
#: Sockets of Ray lie 67 characters below its folder and may have 103 (macOS) in all.
_LONGEST_TEMP_FOLDER = 22


class RunFailed(RunError):
    """A run that did not complete. `reason` is one line; the message adds the last lines and where the log is."""

    def __init__(self, reason: str, log: Path) -> None:
        self.reason, self.log = reason, log
        with suppress(OSError), log.open(encoding="utf-8", errors="replace") as lines:
            tail = "".join(f"  | {line}" for line in deque(lines, _TAIL_LINES))
            super().__init__(f"{reason}\n{tail}  log: {log}")
            return
        super().__init__(reason)


class PortInUse(RunError):
    """Every loopback port that was tried was taken by somebody else before the SuperLink had it."""


def write_app_folder(
    folder: Path, *, serverapp: str, clientapp: str, config: Mapping[str, str | int | float | bool]
) -> Path:
    """The folder, holding a Flower app that names two components and its run configuration, and no code at all.

    Components are `module:attribute`; whoever runs the app must be able to import the modules, wherever the folder is.
    A dotted key of `config` arrives dotted in `Context.run_config`, at the server and at the clients. ConfigError if a
    component has another form or a value another type.
    """
    for component in (serverapp, clientapp):
        if not re.fullmatch(r"[\w.]+:[\w.]+", component):
            raise ConfigError(f"expected a component module:attribute, got {component!r}")
    for key, value in config.items():
        if not isinstance(value, str | int | float):
            raise ConfigError(f"expected str, int, float or bool for {key}, got {type(value).__name__}")
    app = {
        "publisher": "ebbtide",
        "fab-include": ["pyproject.toml"],  # an app bundle without it carries every .py, .md and .json found here
        "components": {"serverapp": serverapp, "clientapp": clientapp},
        "config": dict(config),
    }
    project = {"name": "ebbtide-run", "version": "0.0.0", "description": "One run.", "license": "Apache-2.0"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(tomli_w.dumps({"project": project, "tool": {"flwr": {"app": app}}}), "utf-8")
    return folder


def run_app(
    app_folder: Path,
    *,
    nodes: int,
    home: Path,
    worker_cpus: int = 1,
    on_line: Callable[[str], None] | None = None,
    timeout_s: float = 3600.0,
) -> None:
    """Returns when the app has completed on `nodes` simulated nodes, and all that was started for it has ended.

    `home` becomes FLWR_HOME and belongs to one run at a time. One Ray worker is started per `worker_cpus` cores of the
    machine. What this process can import, the app can. `on_line` gets each line of the run's log, without colours, in
    this thread; so does `flower.log` in `home`. `timeout_s` covers everything.

    A RAY_ADDRESS in the environment attaches to that Ray cluster; otherwise Ray is this run's own.

    RunFailed if the app did not complete, with the reason; PortInUse if no port could be had; ConfigError if `nodes` or
    `worker_cpus` is below 1. Whatever is raised, KeyboardInterrupt included, nothing is left running.
    """
    for name, count in (("nodes", nodes), ("worker_cpus", worker_cpus)):
        if count < 1:
            raise ConfigError(f"expected {name} >= 1, got {count}")
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    if processes_of(home):
        raise RunFailed("another run is using this home", home / LOG_FILE)
    ray_folder = _make_ray_folder()
    run = _Run(home, _environment(home, ray_folder), time.monotonic() + timeout_s)
    with _keeper(home, ray_folder):
        try:
            superlink = run.start_superlink()
            resources = f"num-supernodes={nodes} client-resources-num-cpus={worker_cpus}"
            run.follow(superlink, app_folder.resolve(), resources, on_line)
            run.check_outcome()
        finally:
            end_run(home, ray_folder)
            run.reap()


def processes_of(home: Path, sessions: set[int] | None = None) -> list[psutil.Process]:
    """The live processes of the run in `home`: those that carry its marker, and the sessions they are in.

    Ray's agents lose their environment when they set their title, but never leave the session. `sessions` remembers the
    sessions seen, for callers that end processes between two looks.
    """
    marker, own_session = str(home.resolve()), os.getsid(0)
    sessions = set() if sessions is None else sessions
    session_of: dict[psutil.Process, int] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                session_of[process] = os.getsid(process.pid)
                if process.environ().get(MARKER) == marker:
                    sessions.add(session_of[process])
    return [process for process, session in session_of.items() if session in sessions - {own_session}]


def end_run(home: Path, ray_folder: Path) -> None:
    """Afterwards no process of the run in `home` is alive, and Ray's folder is gone.

    At once, and without asking: the SuperLink's state is in memory and the app has completed or is lost.
    """
    sessions: set[int] = set()
    end_s = time.monotonic() + _END_S
    while (alive := processes_of(home, sessions)) and time.monotonic() < end_s:
        for process in alive:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=1.0)
    shutil.rmtree(ray_folder, ignore_errors=True)


class _Run:
    """The processes of one run, and its logs. Every method raises RunFailed when its time is over."""

    def __init__(self, home: Path, environment: dict[str, str], end_s: float) -> None:
        self._home, self._environment, self._end_s = home, environment, end_s
        self._log, self._superlink_log = home / LOG_FILE, home / SUPERLINK_LOG_FILE
        self._log.write_text("", "utf-8")
        self._started: list[subprocess.Popen[str]] = []

    def start_superlink(self) -> subprocess.Popen[str]:
        """A SuperLink in simulation mode that listens, on a port that nobody else had; Flower's config names it."""
        for _ in range(_PORT_ATTEMPTS):
            with self._superlink_log.open("w", encoding="utf-8") as log, reserved_port() as port:
                command = f"flower-superlink --insecure --simulation --host 127.0.0.1 --port {port}"
                superlink = self._start(command.split(), log)
                while superlink.poll() is None:
                    if _listens(superlink.pid, port):
                        connection = {"address": f"127.0.0.1:{port}", "insecure": True}
                        config = {"superlink": {"default": _CONNECTION, _CONNECTION: connection}}
                        (self._home / "config.toml").write_text(tomli_w.dumps(config), "utf-8")
                        return superlink
                    self._check_time()
                    time.sleep(_POLL_S)
            if "address already in use" not in self._superlink_log.read_text("utf-8"):
                raise RunFailed(f"the SuperLink ended with code {superlink.returncode}", self._superlink_log)
        raise PortInUse(f"expected a free loopback port, got {_PORT_ATTEMPTS} that were taken meanwhile")

    def follow(
        self,
        superlink: subprocess.Popen[str],
        app_folder: Path,
        resources: str,
        on_line: Callable[[str], None] | None,
    ) -> None:
        """Starts the app and passes on the lines of its log until it has finished, well or badly."""
        command = ["flwr", "run", str(app_folder), _CONNECTION, "--stream", "--federation-config", resources]
        cli = self._start(command, subprocess.PIPE)
        assert cli.stdout is not None
        lines: SimpleQueue[str | None] = SimpleQueue()
        Thread(target=_read_lines, args=(cli.stdout, lines), daemon=True).start()
        with self._log.open("w", encoding="utf-8", buffering=1) as log:
            while (line := self._next(lines, superlink)) is not None:
                log.write(f"{line}\n")
                if on_line is not None:
                    on_line(line)
        if code := cli.wait():
            said = " ".join(self._log.read_text("utf-8").partition("Error: ")[2].split()) or "no reason given"
            raise RunFailed(f"flwr run ended with code {code}: {said[:200]}", self._log)

    def check_outcome(self) -> None:
        """Raises RunFailed, with the app's own last words, unless the run is marked completed.

        `flwr run` ends with code 0 whatever became of the app.
        """
        asked = self._start(["flwr", "ls", _CONNECTION, "--format", "json"], subprocess.PIPE)
        try:
            run = json.loads(asked.communicate(timeout=max(1.0, self._end_s - time.monotonic()))[0])["runs"][0]
            status, detail = str(run["status"]), str(run["status-details"])
        except (subprocess.TimeoutExpired, ValueError, LookupError) as error:
            raise RunFailed(f"the outcome is not known: {error!r}", self._log) from None
        if status != "finished:completed":
            said = detail.removeprefix("Simulation failed with exception: ").partition("\n")[0]
            lines = self._log.read_text("utf-8").splitlines()
            raise RunFailed(next((line for line in reversed(lines) if said and line.endswith(said)), detail), self._log)

    def reap(self) -> None:
        """Collects the exit codes of what has been ended."""
        for process in self._started:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _start(self, command: list[str], output: IO[str] | int) -> subprocess.Popen[str]:
        """A process of this run. In a session of its own, so that Ctrl-C reaches us and not the run."""
        try:
            process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except FileNotFoundError:
            raise RunFailed(f"{command[0]} not found (pip install 'ebbtide[simulations]')", self._log) from None
        self._started.append(process)
        return process

    def _next(self, lines: SimpleQueue[str | None], superlink: subprocess.Popen[str]) -> str | None:
        while True:
            self._check_time()
            with suppress(Empty):
                return lines.get(timeout=_POLL_S)
            if superlink.poll() is not None:
                raise RunFailed(f"the SuperLink ended with code {superlink.returncode}", self._superlink_log)

    def _check_time(self) -> None:
        if time.monotonic() > self._end_s:
            raise RunFailed("the run took longer than its timeout", self._log)


@contextmanager
def reserved_port() -> Iterator[int]:
    """A loopback port that the system gives to nobody else who asks for any, for as long as the context is open."""
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", 0))
        port = int(reservation.getsockname()[1])
        if not sys.platform.startswith("linux"):  # only Linux lets a second socket listen beside a reservation
            reservation.close()
        yield port


def _listens(pid: int, port: int) -> bool:
    with suppress(psutil.Error):
        connections = psutil.Process(pid).net_connections("tcp")
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)
    return False


def _read_lines(stream: IO[str], lines: SimpleQueue[str | None]) -> None:
    with suppress(ValueError, OSError):
        for line in stream:
            lines.put(_COLOUR.sub("", line.rstrip()))
    lines.put(None)


def _make_ray_folder() -> Path:
    system = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="ebb-", dir=system if len(system) <= _LONGEST_TEMP_FOLDER else "/tmp"))


def _environment(home: Path, ray_folder: Path) -> dict[str, str]:
    """This process's environment, with everything that keeps a run private, quiet and single-threaded."""
    inherited = os.environ
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {
        **inherited,
        **threads,
        MARKER: str(home),
        # Flower finds its own programs by name, and the apps' modules where we find them.
        "PATH": os.pathsep.join(filter(None, (sysconfig.get_path("scripts"), inherited.get("PATH")))),
        "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": ",".join(filter(None, (inherited.get("NO_PROXY"), "127.0.0.1"))),
        "TYPER_USE_RICH": "0",
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_INTERNAL_GRPC_CONTROL_API": "0",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
        "RAY_TMPDIR": str(ray_folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # silences a warning
        "RAY_prestart_worker_first_driver": "0",  # those workers have another environment and would never be used
    }


def _keeper(home: Path, ray_folder: Path) -> subprocess.Popen[bytes]:
    """A process that ends the run as soon as this one is gone, however it went: its standard input closes."""
    return subprocess.Popen(
        [sys.executable, "-m", "simulations.runner", str(home), str(ray_folder)],
        env={**_environment(home, ray_folder), MARKER: ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


if __name__ == "__main__":
    sys.stdin.read()
    end_run(Path(sys.argv[1]), Path(sys.argv[2]))
