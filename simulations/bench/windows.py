"""What a message costs Flower's simulation in processor time, with all requests outstanding at once, and with a few.

The nodes answer after as long as a device takes, and do nothing: what is measured is the process of Flower's engine, in which
the server's app runs, without its workers. Rounds of either kind take turns, so that both meet the same machine.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from server.channel import hasten, wait_for_nodes
from server.replies import first_replies
from shared.errors import RunError
from shared.files import text_of

from ..federation.flower_runtime import run_app, write_app_folder
from ..federation.run_folder import RunFolder
from .server import TIMES_FILE

#: About what a simulated device takes for a message.
ANSWER_S = 0.01
#: The size of a small request, and of its reply.
N_BYTES = 4096

server = ServerApp()
client = ClientApp()


def content() -> RecordDict:
    return RecordDict({"wire": ArrayRecord({"bytes": Array(np.zeros(N_BYTES, np.uint8))})})


@client.query()
def on_query(message: Message, context: Context) -> Message:
    """Work for `ANSWER_S`, and say something."""
    end_s = time.perf_counter() + ANSWER_S
    while time.perf_counter() < end_s:
        pass
    return Message(content(), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Rounds over all nodes; TIMES_FILE has processor seconds per message of each, by kind."""
    hasten(grid)
    nodes = wait_for_nodes(grid, int(context.run_config["bench.devices"]), 300.0)
    cpu_s: dict[str, list[float]] = {"at_once": [], "windowed": []}
    for _ in range(int(context.run_config["bench.rounds"])):
        for kind, spent in cpu_s.items():
            began_s = time.process_time()
            messages, shared = list[Message](), content()
            for node in nodes:
                messages.append(Message(shared, dst_node_id=node, message_type="query"))
            if kind == "windowed":
                found = len(dict(first_replies(grid, messages, 600.0, Counter())))
            else:
                found = len(list(grid.send_and_receive(messages, timeout=600.0)))
            if found != len(nodes):
                raise RunError(f"expected {len(nodes)} replies, got {found}")
            spent.append((time.process_time() - began_s) / len(nodes))
    folder = Path(str(context.run_config["simulation.folder"]))
    (folder / TIMES_FILE).write_text(json.dumps(cpu_s), encoding="utf-8")


def cpu_per_message(devices: int, rounds: int, folder: Path) -> tuple[list[float], list[float]]:
    """Processor milliseconds of Flower's engine per message: of rounds in which all are asked at once, and of those in between
    in which a few are (`server/replies.py`). The first pair warms up, and is left out."""
    if folder.exists():
        shutil.rmtree(folder)
    windows = "simulations.bench.windows"
    counts: dict[str, str | int | float | bool] = {"bench.devices": devices, "bench.rounds": rounds + 1}
    config = counts | {"simulation.folder": str(folder.resolve())}
    run = RunFolder(folder)
    app = write_app_folder(run.app, serverapp=f"{windows}:server", clientapp=f"{windows}:client", config=config)
    run_app(app, nodes=devices, home=run.flower, timeout_s=900.0)
    times = json.loads(text_of(folder / TIMES_FILE))
    at_once, few = ([1000 * s for s in times[kind][1:]] for kind in ("at_once", "windowed"))
    return at_once, few
