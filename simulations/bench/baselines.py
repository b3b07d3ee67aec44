"""Starts the baselines that need an environment of their own."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from subprocess import PIPE, Popen, run

from shared.errors import RunError

PFL_SCRIPT = Path(__file__).parent / "pfl_baseline.py"
GLEAN_SCRIPT = Path(__file__).parent / "glean_baseline.py"


def pfl(python: Path, users: int, rounds: int, processes: int) -> list[float]:
    """Client updates per second of each round of pfl; with several processes, what they do side by side, added up."""
    command = [str(python), str(PFL_SCRIPT), str(users), str(rounds)]
    running = [Popen(command, stdout=PIPE, text=True) for _ in range(processes)]
    try:
        answers = [process.communicate(timeout=900.0)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    if any(process.returncode for process in running):
        raise RunError("pfl failed: make .venv-pfl/.ready, and see what it said above")
    by_process = [[users / s for s in json.loads(answer)] for answer in answers]
    return [sum(round_of) for round_of in zip(*by_process, strict=True)]


def glean(python: Path, events: int, repeats: int) -> dict[str, list[float]]:
    """Glean's times of one event, in microseconds, by name: see glean_baseline.py."""
    command = [str(python), str(GLEAN_SCRIPT), str(events), str(repeats)]
    done = run(command, stdout=PIPE, text=True, timeout=900.0, check=False)
    if done.returncode:
        raise RunError("glean-sdk failed: make .venv-glean/.ready, and see what it said above")
    answer: dict[str, list[float]] = json.loads(done.stdout)
    return answer


def ratio(ours: list[float], theirs: list[float]) -> list[float]:
    """Median over median; then at their worst and at their best for us, for the spread."""
    mine, other = statistics.median(ours), statistics.median(theirs)
    return [mine / other, min(ours) / max(theirs), max(ours) / min(theirs)]
