"""Memory, processor time and disk of processes, seen while they are used, and kept after they have ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from simulations.capacity.usage import LOOK_EVERY_S, Usage, size_of, watched


@contextmanager
def busy() -> Iterator[psutil.Process]:
    """A process that works until the body ends."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()


def test_memory_is_seen_while_it_is_used() -> None:
    with watched(lambda: [psutil.Process()], count_every_s=LOOK_EVERY_S) as usage:
        held = np.ones(20_000_000)
        while usage.peak_bytes < held.nbytes:
            pass
    assert usage.peak_bytes < psutil.virtual_memory().total


def test_time_of_a_process_that_has_ended_still_counts() -> None:
    alive: list[psutil.Process] = []
    with watched(lambda: list(alive), count_every_s=LOOK_EVERY_S) as usage:
        with busy() as first:
            alive.append(first)
            while usage.cpu_s < 0.3:
                pass
        alive.clear()
        before_s = usage.cpu_s
        with busy() as second:
            alive.append(second)
            while usage.cpu_s < before_s + 0.3:
                pass
    assert usage.cpu_s >= 0.6


def test_a_process_is_counted_as_often_as_it_worked_however_often_it_is_looked_at() -> None:
    usage, process = Usage(), psutil.Process()
    for _ in range(5):
        usage.look([process])
    times = process.cpu_times()
    assert 0 < usage.cpu_s <= times.user + times.system


def test_whoever_is_gone_is_no_error() -> None:
    with busy() as process:
        pass
    usage = Usage()
    usage.look([process])
    usage.count([process], None)
    assert (usage.cpu_s, usage.peak_bytes) == (0.0, 0.0)


def test_the_most_that_lay_in_a_folder_is_remembered(tmp_path: Path) -> None:
    usage = Usage()
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "it"
    file.write_bytes(bytes(range(256)) * 4000)
    (tmp_path / "link").symlink_to(file)
    full = size_of(tmp_path)
    assert full >= file.stat().st_size
    usage.count([], tmp_path)
    file.unlink()
    usage.count([], tmp_path)
    assert usage.highest_disk_bytes == full > size_of(tmp_path)
    assert size_of(tmp_path / "absent") == 0
