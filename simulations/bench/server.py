"""The ServerApp of the bench: that of `hosts` fidelity, its rounds timed, a round of the bare loop before each of them.

So both are measured minutes apart at most, on the same devices, rows and plan, while the other one rests.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.app import run
from server.channel import hasten, wait_for_nodes
from server.federation import MODEL_OFFER
from server.settings import RunSettings
from server.signing import Signer, signing_key
from server.state import ServerFolder

from ..federation.host_server_app import HostNodes
from ..federation.run_folder import RunFolder
from .bare_loop import BareLoop

TIMES_FILE = "times.json"

app = ServerApp()


class TimedHosts(HostNodes):
    """Notes how long rounds take: from the sampling of a cohort to the sampling of the next, so charge, checkpoint and
    the server's step are inside, and `bare_seconds` is not."""

    def __init__(self, grid: Grid, nodes: Sequence[int], n_devices: int, signer: Signer, bare: BareLoop | None) -> None:
        super().__init__(grid, nodes, n_devices, signer)
        self._bare = bare
        self._began_s: float | None = None
        self.round_s: list[float] = []
        self.bare_s: list[float] = []

    def offer(self, fields: Mapping[str, Any], name: str = MODEL_OFFER) -> int:
        self._end_round()
        return super().offer(fields, name)

    def sample(self, sampling_rate: float) -> Sequence[int]:
        self._end_round()
        if self._bare is not None:
            if not self.bare_s:
                self._bare.__enter__()
            self.bare_s.append(self._bare.seconds(len(self.bare_s) + 1))
        self._began_s = time.perf_counter()
        return super().sample(sampling_rate)

    def _end_round(self) -> None:
        if self._began_s is not None:
            self.round_s.append(time.perf_counter() - self._began_s)
            self._began_s = None


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One training under the run configuration; TIMES_FILE in its folder says how long each round took."""
    settings = RunSettings.read(context.run_config)
    hasten(grid)
    n_hosts = int(context.run_config["simulation.hosts"])
    run_folder = RunFolder(Path(str(context.run_config["simulation.folder"])))
    nodes = wait_for_nodes(grid, n_hosts, settings.node_wait_s)
    devices = settings.plan.privacy.population
    ServerFolder(settings.folder).report("devices", devices, devices)
    with_bare = bool(context.run_config["bench.bare-loop"])
    bare = BareLoop([run_folder.host(i).path for i in range(n_hosts)]) if with_bare else None
    clock = settings.schedule.clock()
    federation = TimedHosts(grid, nodes, devices, Signer(signing_key(settings.key_file), clock), bare)
    try:
        run(federation, settings, clock)
    finally:
        if bare is not None:
            bare.__exit__(None, None, None)
    times = {"round_s": federation.round_s, "bare_s": federation.bare_s}
    (run_folder.path / TIMES_FILE).write_text(json.dumps(times), encoding="utf-8")
