"""Looks at every node of a Ray cluster from the node itself, by one Ray task on each; as a program, for a process that must not
become a driver of Ray. Prints one line of JSON.

A visit says which nodes there are, whether a node reads and writes a run's folder under this machine's path, and whether it runs
this machine's code. It also ends what an earlier run left on a node.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Timer
from typing import Any, NoReturn

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from shared.files import text_of

from ...provenance import ROOT, versions
from .nodes import MARK_FILE, end_workers_here, listens

#: What runs on a node has to be what runs here.
PACKAGES = ("flwr", "numpy", "cryptography")

#: A node that is gone is on Ray's list for so long at most: it is asked after a few times, seconds apart, first.
_LISTED_S = 120.0
_ANSWER_S = 60.0
_HEAD_S = 30.0
_END_S = 10.0


def own_code() -> dict[str, str]:
    """What runs here: SHA-256 of this project's modules, and versions of what a simulation is made with."""
    code = hashlib.sha256()
    for room in ("shared", "client", "server", "simulations"):
        for file in sorted((ROOT / room).rglob("*.py")):
            code.update(f"{file.relative_to(ROOT).as_posix()}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return {"ebbtide": code.hexdigest()[:12], **versions(*PACKAGES)}


def look(folder: str, prefix: str, node: str) -> dict[str, Any]:
    """What a node says, on that node: the mark that it reads in the folder (None if it sees none), and what runs there. It leaves
    the mark beside it under its own name. Workers of earlier runs are ended."""
    end_workers_here(prefix)
    mark = None
    with suppress(OSError, ValueError):
        mark = text_of(Path(folder) / MARK_FILE)
        (Path(folder) / f"{MARK_FILE}-{node}").write_text(mark, "ascii")
    return {"mark": mark, "code": own_code()}


def _look_there(module: str, *asked: str) -> dict[str, Any]:
    """`look`, of the node's own code: whatever keeps it from running there is what the node says."""
    try:
        told: dict[str, Any] = import_module(module).look(*asked)
        return told
    except Exception as error:
        return {"trouble": f"{type(error).__name__}: {error}"}


def _in_a_line(error: Exception) -> str:
    """The first sentence of what Ray says, which goes on for a page."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0].partition('. ')[0]}"


def _alive(*, wait: bool) -> list[dict[str, Any]]:
    """The nodes that answer. One that Ray lists and that does not is waited for, until it does or Ray lists it no more, or left out."""
    end_s = time.monotonic() + _LISTED_S
    while True:
        listed = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        answering = [node for node in listed if listens(node["NodeManagerAddress"], node["NodeManagerPort"])]
        if not wait or len(answering) == len(listed) or time.monotonic() > end_s:
            return listed if wait else answering
        time.sleep(1.0)


def _cpus() -> tuple[float, float]:
    """How many CPUs are free, and how many there are. Those of a run that has just ended are waited for."""
    end_s = time.monotonic() + _END_S
    while True:
        free = ray.available_resources().get("CPU", 0.0)  # type: ignore[no-untyped-call]
        there = ray.cluster_resources().get("CPU", 0.0)  # type: ignore[no-untyped-call]
        if free >= there or time.monotonic() > end_s:
            return free, there
        time.sleep(0.5)


def visit(address: str, folder: str, prefix: str, *, begins: bool) -> dict[str, Any]:
    """What all nodes of the cluster say: `nodes`, each with its address, port, name and what `look` found, the `trouble` it had, or
    why it is `gone`; `code`, of this machine; `free` and `cpus`. With `begins`, nodes and CPUs that a lost node or an ended run
    leaves behind are waited for."""
    pythonpath = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    patience = Timer(_HEAD_S, _tell, [{"failed": f"no word that Ray understands within {_HEAD_S:.0f} s"}])
    patience.start()  # Ray's own is minutes long
    ray.init(address, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": pythonpath})
    patience.cancel()
    nodes, asked = _alive(wait=begins), []
    remote, module = ray.remote(_look_there), f"{__package__}.visit"
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked.append(
            remote.options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(
                module, folder, prefix, node["NodeID"]
            )
        )
    done, _ = ray.wait(asked, num_returns=len(asked), timeout=_ANSWER_S) if asked else ([], [])
    answers = []
    for node, answer in zip(nodes, asked, strict=True):
        host = {
            "address": node["NodeManagerAddress"],
            "port": node["NodeManagerPort"],
            "name": f"{node['NodeManagerAddress']} ({node['NodeManagerHostname']})",
            "id": node["NodeID"],
        }
        try:
            said = ray.get(answer) if answer in done else {"gone": f"no answer within {_ANSWER_S:.0f} s"}
        except Exception as error:
            said = {"gone": _in_a_line(error)}
        answers.append({**host, **said})
    free, cpus = _cpus() if begins else (0.0, 0.0)
    return {"nodes": answers, "code": own_code(), "free": free, "cpus": cpus}


def _tell(told: dict[str, Any]) -> NoReturn:
    """Prints it, and ends this process."""
    print(json.dumps(told), flush=True)
    os._exit(0)


if __name__ == "__main__":
    address, folder, prefix, begins = sys.argv[1:]
    try:
        told = visit(address, folder, prefix, begins=begins == "begins")
    except Exception as error:
        told = {"failed": _in_a_line(error)}
    _tell(told)
