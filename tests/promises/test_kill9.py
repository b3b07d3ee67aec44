"""kill -9 at random points of recording, folding, charging and releasing: see tests/promises/kill9.py for what is checked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world.basics import SOAK

TRIALS = 500 if SOAK else 10


@pytest.mark.timeout(1800)
def test_killed_at_any_moment_no_event_is_lost_and_no_release_is_free_or_doubled(tmp_path):
    command = [sys.executable, "-m", "tests.promises.kill9", str(tmp_path), str(TRIALS), "1"]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    tally = json.loads(done.stdout[done.stdout.index("{") :])  # TFLite talks, too
    assert tally["kill9_runs"] == TRIALS
    assert tally["acknowledged"] > 5 * TRIALS, "killed processes had done something"
    assert not SOAK or tally["lists that a seat still knows"] > TRIALS
