"""The ServerApp of `flwr run simulations/flower`: it makes the people, trains on the nodes that are there, and says what came of it.

The run is that of `ebbtide simulate` in `hosts` fidelity, whose nodes host the devices in equal parts: so it does not matter
how many nodes a federation has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.channel import wait_for_nodes

from ..evaluation.results import Results
from ..federation.host_server_app import serve
from ..federation.run_folder import RunFolder
from ..federation.run_settings import NODE_WAIT_S, run_config
from ..report.summary import result_rows
from ..run import simulate
from ..scenarios.config import Scenario, load_scenario
from .run_place import run_at

app = ServerApp()
#: What of the report's table stands in the log.
SHOWN = (
    "devices and data",
    "interest AUC, on the devices",
    "beside it: pooled logistic regression",
    "epsilon to the public",
    "what the server learns",
    "rounds are added up by",
)


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One run over the nodes that are there; its folder, which is emptied first, holds the report afterwards."""
    n_nodes = len(wait_for_nodes(grid, 1, NODE_WAIT_S))
    run = run_at(context.run_config)
    results = simulate(
        scenario_of(context.run_config, n_nodes),
        run.path,
        _say_progress,
        overwrite=True,
        federate=lambda setup, run: serve(grid, run_config(setup, run)),
    )
    for line in said(results, run):
        print(line, flush=True)


def scenario_of(config: Mapping[str, Any], n_nodes: int) -> Scenario:
    """The scenario that a run configuration names, with what it sets, on so many nodes; ConfigError for what is no such thing."""
    name, hosts = str(config["scenario"]), "simulation.fidelity=hosts"
    asked = [f"data.users={config['devices']}", f"privacy.rounds={config['rounds']}", hosts]
    n_hosts = min(n_nodes, load_scenario(name, asked).data.users)
    return load_scenario(name, [*asked, f"simulation.hosts={n_hosts}"])


def said(results: Results, run: RunFolder) -> list[str]:
    """What came of a run, as lines of its log."""
    rows = dict(result_rows(results))
    return [
        f"{'SIMULATED data' if results.simulated else results.data}: what came of it",
        *(f"  {name}: {rows[name]}" for name in SHOWN),
        f"  report: {run.report_file}",
        f"  numbers: {run.results_file}",
    ]


def _say_progress(phase: str, done: int, total: int) -> None:
    print(f"{phase}: {done} of {total}", flush=True)
