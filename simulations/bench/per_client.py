"""The same work in Flower's own simulation, as its users write it: one node per device, one message per update."""

from __future__ import annotations

import json
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from server.channel import hasten, wait_for_nodes
from shared.arrays import Floats
from shared.mechanisms import protect
from shared.network import NetworkSpec, fit

from .server import TIMES_FILE

NETWORK = NetworkSpec(27)
ROWS = 64

server = ServerApp()
client = ClientApp()


@lru_cache(maxsize=64)
def rows_of(device: int) -> tuple[Floats, Floats]:
    """Made-up rows of one device: x (1, 64, F), y (1, 64)."""
    random = np.random.default_rng(device)
    x = random.normal(size=(1, ROWS, NETWORK.n_features)).astype(np.float32)
    return x, (random.random((1, ROWS)) < 0.3).astype(np.float32)


@client.train()
def on_train(message: Message, context: Context) -> Message:
    """One full-batch step, clipped and noised."""
    theta = message.content["model"]["theta"].numpy()  # type: ignore[union-attr]
    x, y = rows_of(int(context.node_config["partition-id"]))
    weight = np.full_like(y, 1 / ROWS)
    raw_delta = fit(NETWORK, theta, x, y, weight, learning_rate=0.3) - theta
    words = protect(raw_delta, clip_norm=0.1, steps_per_clip=4096, share_sigma=49.0)
    return Message(RecordDict({"update": ArrayRecord({"words": Array(words)})}), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Rounds over all nodes; TIMES_FILE says how long each took."""
    hasten(grid)
    nodes = wait_for_nodes(grid, int(context.run_config["bench.devices"]), 300.0)
    theta = NETWORK.initial_theta(0)
    round_s = []
    for _ in range(int(context.run_config["bench.rounds"])):
        began_s = time.perf_counter()
        content = RecordDict({"model": ArrayRecord({"theta": Array(theta)})})
        messages = [Message(content, dst_node_id=node, message_type="train") for node in nodes]
        total = np.zeros(theta.size, np.uint32)
        for reply in grid.send_and_receive(messages, timeout=600.0):
            total += reply.content["update"]["words"].numpy()  # type: ignore[union-attr]
        round_s.append(time.perf_counter() - began_s)
    folder = Path(str(context.run_config["simulation.folder"]))
    (folder / TIMES_FILE).write_text(json.dumps({"round_s": round_s, "bare_s": []}), encoding="utf-8")
