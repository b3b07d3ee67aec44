"""Long logs are read within bounds of memory and of the disk, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world.basics import SOAK

pytest.importorskip("duckdb", reason="needs the extra ebbtide[simulations]")

GIB = 1 << 30


def measured(n_lines: int, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.simulations.people.own_data.long_log", str(n_lines), str(folder)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["read"] == n_lines == found["kept"] + found["dropped"]
    assert found["dropped"] == n_lines // 50 + n_lines // 100, "nobody's lines, and those that are there twice"
    assert found["left_files"] == 0
    return found


@pytest.mark.slow
def test_five_million_lines_within_two_gib(tmp_path: Path) -> None:
    found = measured(5_000_000, tmp_path)
    assert found["peak_rss_bytes"] + found["peak_disk_bytes"] <= 2 * GIB


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="full counts: EBBTIDE_SOAK=1")
@pytest.mark.timeout(3600)
def test_a_hundred_million_lines_within_eight_gib(tmp_path: Path) -> None:
    found = measured(100_000_000, tmp_path)
    assert found["peak_rss_bytes"] + found["peak_disk_bytes"] <= 8 * GIB
