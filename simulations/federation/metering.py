"""What the devices' work costs in processor time: each message to a simulated node, by its kind.

Measured is the CPU time, of all threads, of the worker process from a message's arrival at the app to its reply: the
simulated world around a device included, Flower, Ray and the server left out. It is Python on this machine, not a phone.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from shared.files import append_line, private_folder, whole_lines

from .run_folder import RunFolder

TRAIN = "train"


@dataclass(frozen=True)
class CpuTimes:
    """Of one device: milliseconds for a round of p that it answers, seconds for the whole run; None if not known."""

    round_ms: float | None
    s_per_device: float | None


class Metered(ClientApp):
    """Another app, whose CPU seconds are written into the run's folder: a file per node, a line per message."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self._app = app

    def __call__(self, message: Message, context: Context) -> Message:
        began_s = time.process_time()
        try:
            return self._app(message, context)
        finally:
            took_s = time.process_time() - began_s
            folder = private_folder(RunFolder(Path(str(context.run_config["simulation.folder"]))).cpu)
            line = f"{message.metadata.message_type} {took_s:.6f}"
            append_line(folder / f"{context.node_config['partition-id']}.txt", line)


def cpu_numbers(run: RunFolder, updates: int, n_devices: int) -> CpuTimes:
    """What one device worked in a run."""
    spent: dict[str, float] = defaultdict(float)
    for file in run.cpu.glob("*.txt"):
        for line in whole_lines(file):
            if entry := re.fullmatch(r"(\S+) (\d+\.\d{6})", line):  # a killed worker may leave half a line
                spent[entry[1]] += float(entry[2])
    return CpuTimes(
        round_ms=1000 * spent[TRAIN] / updates if TRAIN in spent and updates else None,
        s_per_device=sum(spent.values()) / n_devices if spent else None,
    )
