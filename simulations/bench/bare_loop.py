"""The bare loop: what hosts do in a round, in as many plain processes as there are hosts, without Flower.

As a program it serves one host's folder: a round's number on a line in, an empty line out when its devices are done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import numpy as np

from ..federation.host_folder import HostFolder
from ..federation.host_training import fresh_entropy, sum_of_updates
from ..federation.hosted.training_rows import TrainingRows


class BareLoop:
    """Plain processes, one for each host folder, that are ready for rounds while the context is open."""

    def __init__(self, host_folders: Sequence[Path]) -> None:
        self._folders = host_folders
        self._workers: list[Popen[str]] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for folder in self._folders:
            command = [sys.executable, "-m", "simulations.bench.bare_loop", str(folder)]
            worker = self._open.enter_context(Popen(command, stdin=PIPE, stdout=PIPE, text=True))
            self._open.callback(worker.kill)
            self._workers.append(worker)
        self.seconds(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def seconds(self, round_number: int) -> float:
        """How long all devices of all folders take for one round."""
        started = time.perf_counter()
        for worker in self._workers:
            assert worker.stdin is not None
            worker.stdin.write(f"{round_number}\n")
            worker.stdin.flush()
        for worker in self._workers:
            assert worker.stdout is not None
            if not worker.stdout.readline():
                raise RuntimeError("a process of the bare loop ended early")
        return time.perf_counter() - started


def serve(folder: Path) -> None:
    """Rounds as standard input asks for them, until it closes."""
    plan = HostFolder(folder).plan()
    rows = TrainingRows.load(folder)
    devices = np.arange(len(rows.offsets) - 1)
    theta = plan.network.initial_theta(0)
    with TemporaryDirectory() as commitments:
        for line in sys.stdin:
            sum_of_updates(rows, devices, devices, plan, theta, int(line), fresh_entropy(Path(commitments)))
            print(flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
