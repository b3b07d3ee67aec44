"""The nodes of the Ray cluster that a run is spread over: what each must have before the run begins, and whether all are there.

The cluster is somebody else's: a run is attached to it by RAY_ADDRESS, and starts and ends nothing of it but its own workers.
Nodes are looked at by `visit.py`, in a process of its own.
"""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from shared.errors import ConfigError
from shared.files import text_of

#: Environment variable that attaches a run to a cluster: host:port of its head.
RAY_ADDRESS: Final = "RAY_ADDRESS"
#: Environment variable of a run's workers on every node: its home, a colon, and a number of its own.
WORKER_MARKER: Final = "EBBTIDE_WORKER"
#: In a run's folder, for the length of a visit: what a node has to read; and with a node's name behind it, what it wrote.
MARK_FILE: Final = ".cluster"
#: Environment variable by which Ray takes what workers are given, beside what a driver says.
JOB_CONFIG: Final = "RAY_JOB_CONFIG_JSON_ENV_VAR"

_VISIT_S = 240.0
_CONNECT_S, _END_S = 1.0, 10.0
#: How often nodes are looked after, and how many looks in a row find nobody before one is lost.
_LOOK_EVERY_S, _SILENT_LOOKS = 2.0, 3


@dataclass(frozen=True)
class Node:
    """Where a node takes connections, and what it is called."""

    address: str
    port: int
    name: str

    def is_there(self) -> bool:
        """Whether it takes a connection now."""
        return listens(self.address, self.port)


@dataclass
class Cluster:
    """The nodes that a run began with, the head's own port among them."""

    nodes: list[Node]
    _silent: Counter[Node] = field(default_factory=Counter)
    _next_s: float = 0.0

    def lost(self) -> list[Node]:
        """The nodes that did not answer a few looks running; asked as often as one likes, it looks every few seconds."""
        if (now_s := time.monotonic()) >= self._next_s:
            self._next_s = now_s + _LOOK_EVERY_S
            self._silent = Counter({node: self._silent[node] + 1 for node in self.silent()})
        return [node for node, looks in self._silent.items() if looks >= _SILENT_LOOKS]

    def silent(self) -> list[Node]:
        """The nodes that do not answer now."""
        return [node for node in self.nodes if not node.is_there()]


def listens(address: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((address, port), _CONNECT_S).close()
    except OSError:
        return False
    return True


def loss(nodes: Iterable[Node]) -> str:
    """What became of a run whose nodes these were, and what helps."""
    return (
        f"the Ray cluster lost {_names(node.name for node in nodes)}, and this run workers there: it ended, with all that it had until "
        f"then, and --resume goes on with it on the nodes that are left, or without {RAY_ADDRESS} on this machine alone"
    )


def head_of(environment: Mapping[str, str]) -> Node | None:
    """The head that the environment names; None if it names none. ConfigError if it is no host:port, or if nobody answers."""
    if not (value := environment.get(RAY_ADDRESS, "")):
        return None
    host, _, port = value.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise ConfigError(
            f"expected {RAY_ADDRESS} as host:port of the head of a Ray cluster, got {value!r}: unset it to run on this machine alone"
        )
    head = Node(host, int(port), f"its head {value}")
    if not head.is_there():
        raise ConfigError(_no_head(value, "nobody who answers"))
    return head


def expect_shared(home: Path, environment: Mapping[str, str]) -> Cluster | None:
    """The cluster that the environment names, each of whose nodes reads and writes `home` under this very path, runs this machine's
    code and does nothing else; None if it names none. Afterwards no worker of an earlier run in `home` is alive on any.

    ConfigError, which names the nodes that it is about, if it cannot be used so.
    """
    if (head := head_of(environment)) is None:
        return None
    address, mark = environment[RAY_ADDRESS], secrets.token_hex(16)
    try:
        (home / MARK_FILE).write_text(mark, "ascii")
        told = _visit(home, environment, begins=True)
        if "failed" in told:
            raise ConfigError(_no_head(address, told["failed"]))
        for node in told["nodes"]:
            node["writes"] = _reads(home / f"{MARK_FILE}-{node['id']}") == mark
    finally:
        for file in home.glob(f"{MARK_FILE}*"):
            with suppress(OSError):
                file.unlink()
    _expect_able(told["nodes"], told["code"])
    _expect_shared(told["nodes"], home, mark)
    if told["free"] < told["cpus"]:
        raise ConfigError(
            f"expected a Ray cluster that works on nothing else, got {told['cpus'] - told['free']:g} of its {told['cpus']:g} CPUs "
            "taken: workers of this run would wait for them, so wait until that has ended"
        )
    return Cluster([head, *(Node(node["address"], node["port"], node["name"]) for node in told["nodes"])])


def end_workers(home: Path, environment: Mapping[str, str]) -> None:
    """Afterwards no worker of a run in `home` is alive on this machine; nor on any node that answers, if the head does. Ray ends
    those of a driver that is gone itself, but in its own time, and a run that is gone on with must not meet them."""
    with suppress(ConfigError):
        if head_of(environment):
            _visit(home, environment, begins=False)
    end_workers_here(_prefix(home))


def end_workers_here(prefix: str) -> None:
    """Afterwards no process of this machine is alive whose worker's marker begins with `prefix`."""
    alive = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(WORKER_MARKER, "").startswith(prefix):
                process.kill()
                alive.append(process)
    psutil.wait_procs(alive, timeout=_END_S)


def worker_environment(environment: Mapping[str, str], marker: str) -> dict[str, str]:
    """What makes Ray mark a run's workers on all nodes."""
    try:
        config = json.loads(environment.get(JOB_CONFIG) or "{}")
        config.setdefault("runtime_env", {}).setdefault("env_vars", {})[WORKER_MARKER] = marker
    except (ValueError, AttributeError, TypeError):
        raise ConfigError(f"expected {JOB_CONFIG} as Ray sets it, got something else: unset it") from None
    return {JOB_CONFIG: json.dumps(config)}


def _visit(home: Path, environment: Mapping[str, str], *, begins: bool) -> dict[str, Any]:
    """What a visit told: see `visit.py`. "failed", with a reason, if it came to nothing."""
    told_to = [environment[RAY_ADDRESS], str(home), _prefix(home), "begins" if begins else "ends"]
    command = [sys.executable, "-m", f"{__package__}.visit", *told_to]
    try:
        said = subprocess.run(
            command,
            env={name: value for name, value in environment.items() if name != JOB_CONFIG},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_VISIT_S,
            check=False,
            start_new_session=True,
        ).stdout
        told: dict[str, Any] = json.loads(said.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"failed": f"nothing within {_VISIT_S:.0f} s"}
    except (ValueError, IndexError):
        return {"failed": "a visit to its nodes that ended without a word"}
    return told


def _expect_able(nodes: list[dict[str, Any]], code: Mapping[str, str]) -> None:
    """ConfigError unless every node answered, and has this machine's code and versions."""
    for what, expected, remedy in (
        ("gone", "answer", "see that it runs, or stop Ray there; one that was lost a moment ago is soon forgotten"),
        (
            "trouble",
            "run this machine's Ebbtide",
            "install it there under the path that it has here, or stop Ray there",
        ),
    ):
        if said := "; ".join(f"{node['name']}: {node[what]}" for node in nodes if what in node):
            raise ConfigError(f"expected every node of the Ray cluster to {expected}, got {said}: {remedy}")
    for name, here in code.items():
        if others := [node for node in nodes if node["code"].get(name) != here]:
            got = "; ".join(f"{node['code'].get(name)} on {node['name']}" for node in others)
            raise ConfigError(
                f"expected {name} {here} on every node of the Ray cluster, as here, got {got}: install the same there, and start Ray anew"
            )


def _expect_shared(nodes: list[dict[str, Any]], home: Path, mark: str) -> None:
    """ConfigError unless every node read the mark, and wrote it."""
    path = (
        str(home)
        if home.resolve() == home
        else f"{home} (a link to {home.resolve()}, whose name Flower cannot be told)"
    )
    for what, away in (
        ("see", [node["name"] for node in nodes if node["mark"] != mark]),
        ("write", [node["name"] for node in nodes if not node["writes"]]),
    ):
        if away:
            raise ConfigError(
                f"expected a folder that every node of the Ray cluster shares, got {path}, which {_names(away)} cannot {what}: put the run "
                "on a disk that is mounted under one path everywhere (--out), or stop Ray on those nodes"
            )


def _no_head(address: str, got: str) -> str:
    return (
        f"expected the head of a Ray cluster at {RAY_ADDRESS} {address}, got {got}: start one (ray start --head --port=6379), with Ray on "
        "this machine, too, or unset it to run on this machine alone"
    )


def _prefix(home: Path) -> str:
    """How the markers begin of all workers of runs in `home`."""
    return f"{home.resolve()}:"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)


def _reads(file: Path) -> str | None:
    with suppress(OSError, ValueError):
        return text_of(file)
    return None
