"""How long a newcomer waits: `ebbtide simulate demo`, the whole process, from its start to its end; installation is not counted."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from shared.errors import RunError

from ..federation.run_folder import RunFolder

#: What `make demo` runs, once the environment is there.
COMMAND = ("-m", "simulations.cli", "simulate", "demo", "--overwrite")


def first_result_s(
    times: int, folder: Path, on_run: Callable[[int, int], None], settings: tuple[str, ...] = ()
) -> list[float]:
    """Seconds of so many runs, one after the other, each of a process of its own that ends with the report; `settings` are
    further words of its command. RunError if one of them fails."""
    out = []
    for n in range(times):
        on_run(n, times)
        command = [sys.executable, *COMMAND, "--out", str(folder), *settings]
        began_s = time.monotonic()
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
        )
        out.append(time.monotonic() - began_s)
        if done.returncode or not RunFolder(folder).report_file.exists():
            raise RunError(f"expected the demo to end with a report, got code {done.returncode}: {done.stderr[-200:]}")
    on_run(times, times)
    return out
