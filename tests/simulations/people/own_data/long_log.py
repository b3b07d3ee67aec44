"""A log of many lines, made by duckdb and understood in this process, with what that took of memory and of the disk.

`python -m tests.simulations.people.own_data.long_log LINES FOLDER` prints JSON: lines read and kept, peaks in bytes, seconds.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

import duckdb

CHUNK = 5_000_000


def make_log(folder: Path, n_lines: int) -> Path:
    """A folder of Parquet files of `n_lines` lines in all: REES46's columns, a user for every 40 lines, half a year. Every 50th
    line lacks its user, every 100th is the one before once more."""
    log = folder / "log"
    log.mkdir()
    connection = duckdb.connect(config={"memory_limit": "1GiB", "threads": "2"})
    for number, first in enumerate(range(0, n_lines, CHUNK)):
        last = min(first + CHUNK, n_lines)
        connection.execute(
            "COPY (SELECT TIMESTAMP '2019-10-01' + to_seconds((hash(n, 1) % 15724800)::BIGINT) AS event_time, "
            "CASE WHEN hash(n, 2) % 50 < 45 THEN 'view' WHEN hash(n, 2) % 50 < 48 THEN 'cart' ELSE 'purchase' END AS event_type, "
            "(hash(n, 3) % 100000)::BIGINT AS product_id, "
            "CASE WHEN hash(n, 4) % 5 > 1 THEN 'shop.department' || (hash(n, 3) % 100000) % 120 END AS category_code, "
            "(hash(n, 5) % 90000) / 100 AS price, "
            f"CASE WHEN n % 50 <> 7 THEN (500000000 + hash(n, 6) % {n_lines // 40 + 1})::BIGINT END AS user_id "
            f"FROM (SELECT line - (line % 100 = 99)::BIGINT AS n FROM range({first}, {last}) AS lines(line))) "
            f"TO '{log / f'{number:04}.parquet'}' (FORMAT parquet)"
        )
    connection.close()
    return log


def size_of(folder: Path) -> int:
    total = 0
    for each in folder.rglob("*"):
        try:
            if not each.is_symlink() and each.is_file():
                total += each.stat().st_blocks * 512
        except OSError:
            continue
    return total


def measure(log: Path) -> dict[str, float]:
    """What `understand` takes for this log: temporary files are those of a folder of this process alone."""
    from simulations.people.own_data.reading import understand

    with tempfile.TemporaryDirectory() as own:
        tempfile.tempdir = own
        most_disk, ended = [0], threading.Event()

        def look() -> None:
            while not ended.wait(0.5):
                most_disk[0] = max(most_disk[0], size_of(Path(own)))

        watcher = threading.Thread(target=look)
        watcher.start()
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        try:
            found = understand(log)
        finally:
            ended.set()
            watcher.join()
            tempfile.tempdir = None
        return {
            "read": found.account.read,
            "kept": found.account.kept,
            "dropped": sum(each.lines for each in found.account.dropped),
            "users": found.users,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "peak_disk_bytes": most_disk[0],
            "left_files": len(list(Path(own).iterdir())),
            "wall_s": time.monotonic() - began_s,
            "cpu_s": time.process_time() - began_cpu_s,
        }


if __name__ == "__main__":
    place = Path(sys.argv[2])
    print(json.dumps(measure(make_log(place, int(sys.argv[1])))))
