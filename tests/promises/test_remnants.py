"""Nothing that was folded, dropped or revoked lies in any file, to whoever has the key: while a device lives, and after kill -9.
See tests/promises/kill9_remnants.py for what is looked at."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world.basics import SOAK

TRIALS = 200 if SOAK else 10


@pytest.mark.timeout(1800)
def test_what_is_let_go_is_gone_when_the_call_returns_and_after_a_kill_at_the_next_opening(tmp_path):
    command = [sys.executable, "-m", "tests.promises.kill9_remnants", str(tmp_path), str(TRIALS), "1"]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    tally = json.loads(done.stdout[done.stdout.index("{") :])  # TFLite talks, too
    assert tally["kill9_runs"] == TRIALS
    assert tally["looked while it ran, some"] > TRIALS and tally["looked while it ran, all"] > 0
    assert tally["left by a kill, gone at the next opening"] > 0, "worth looking for"
