import json

import numpy as np
import pytest
from sqlalchemy.exc import IntegrityError

from server.state import ServerFolder
from server.strategy import ServerOptimizer, ServerSettings
from shared.errors import ConfigError


def test_progress_is_one_json_line_per_report(tmp_path):
    folder = ServerFolder(tmp_path / "deep" / "server")
    folder.report("rounds", 1, 3, epsilon=0.5)
    folder.report("rounds", 2, 3, epsilon=None)
    lines = [json.loads(line) for line in folder.progress_file.read_text().splitlines()]
    assert lines == [
        {"phase": "rounds", "done": 1, "total": 3, "epsilon": 0.5},
        {"phase": "rounds", "done": 2, "total": 3, "epsilon": None},
    ]


def optimizer_after(steps: int) -> ServerOptimizer:
    optimizer = ServerOptimizer(np.zeros(4, np.float32), ServerSettings())
    for i in range(steps):
        optimizer.step(np.full(4, 1.0 + i))
    return optimizer


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_checkpoint_goes_round_and_the_next_step_is_the_same(tmp_path, steps):
    folder, before = ServerFolder(tmp_path), optimizer_after(steps)
    models = [np.full(4, i, np.float32) for i in range(steps + 1)]
    for _ in range(2):
        folder.save_checkpoint(before, models)
        folder.keep_account({"rounds_charged": 2, "epsilon_to_public": None})
    after = optimizer_after(0)
    np.testing.assert_array_equal(folder.load_checkpoint(after), models)
    np.testing.assert_array_equal(folder.models(), models)
    for optimizer in (before, after):
        optimizer.step(np.full(4, 0.5))
    np.testing.assert_array_equal(before.theta, after.theta)
    np.testing.assert_array_equal(before.published, after.published)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["account.json", "checkpoint.npz"]


def test_without_a_checkpoint_nothing_is_restored(tmp_path):
    assert ServerFolder(tmp_path).load_checkpoint(optimizer_after(0)) == []


def test_charges_are_kept_counted_once_and_belong_to_one_plan(tmp_path):
    charges = ServerFolder(tmp_path).charges(b"a" * 32)
    assert charges.count() == 0
    charges.add(1)
    charges.add(2)
    with pytest.raises(IntegrityError):
        charges.add(2)
    assert ServerFolder(tmp_path).charges(b"a" * 32).count() == 2
    with pytest.raises(ConfigError, match="another one"):
        ServerFolder(tmp_path).charges(b"b" * 32)
