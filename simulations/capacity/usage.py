"""What processes take while they work: memory at its highest, processor time, and the disk below a folder."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

#: Between two looks at processor time, which costs next to nothing; one that ends is short of at most so much.
LOOK_EVERY_S: Final = 0.25
#: Between two looks at memory and disk, and for processes that are new, at least: the system walks the pages of each.
COUNT_EVERY_S: Final = 1.0


@dataclass
class Usage:
    """Of all processes that were seen: `peak_bytes`, the highest sum of memory; `highest_disk_bytes`, the most that lay in the folder.

    Memory is PSS on Linux: a page that n processes share counts 1/n for each, mapped files included. Elsewhere resident memory,
    which counts it n times.
    """

    peak_bytes: float = 0.0
    highest_disk_bytes: int = 0
    _cpu_s: dict[tuple[int, float], float] = field(default_factory=dict)

    @property
    def cpu_s(self) -> float:
        """Processor time of all threads, processes that have ended included, each as it was seen last."""
        return sum(self._cpu_s.values())

    def look(self, processes: Iterable[psutil.Process]) -> None:
        """Take down how long each has worked until now. One that is gone keeps what it had."""
        for process in processes:
            with suppress(psutil.Error):
                times, key = process.cpu_times(), (process.pid, process.create_time())
                self._cpu_s[key] = max(self._cpu_s.get(key, 0.0), times.user + times.system)

    def count(self, processes: Iterable[psutil.Process], folder: Path | None) -> None:
        """Take down memory and disk as they are now."""
        self.peak_bytes = max(self.peak_bytes, sum(map(_memory_bytes, processes)))
        if folder is not None:
            self.highest_disk_bytes = max(self.highest_disk_bytes, size_of(folder))


@contextmanager
def watched(
    alive: Callable[[], Iterable[psutil.Process]], folder: Path | None = None, count_every_s: float = COUNT_EVERY_S
) -> Iterator[Usage]:
    """What the processes that `alive` tells of take while the body runs, and what lies below `folder`; processor time is looked at once
    more when it ends. The larger they are the longer a count takes, and the rarer it gets: it never works for more than a twentieth of
    the time."""
    usage, done = Usage(), threading.Event()

    def watch() -> None:
        processes: list[psutil.Process] = []
        next_s = 0.0
        while True:
            if (now_s := time.monotonic()) >= next_s:
                processes = list(alive())
                usage.count(processes, folder)
                next_s = now_s + max(count_every_s, 20 * (time.monotonic() - now_s))
            usage.look(processes)
            if done.wait(LOOK_EVERY_S):
                usage.look(processes)
                return

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield usage
        finally:
            done.set()
        watching.result()


def size_of(folder: Path) -> int:
    """Bytes on the disk of all files below a folder; what goes away meanwhile counts nothing, and neither does what a link leads to."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                known = os.lstat(os.path.join(root, name))  # noqa: PTH118 - a thousand times a look
                total += 512 * known.st_blocks if hasattr(known, "st_blocks") else known.st_size
    return total


def _memory_bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info() if sys.platform == "linux" else process.memory_info()
    except psutil.Error:
        return 0
    return int(getattr(memory, "pss", memory.rss))
