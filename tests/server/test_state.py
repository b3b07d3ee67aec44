"""What the server keeps: charges that outlive power loss, checkpoints that are whole, progress line by line."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.exc import IntegrityError

from server.optimizer import ServerOptimizer, ServerSettings
from server.state import RISK, ServerFolder
from shared.errors import ConfigError

PLAN, OTHER = bytes(32), bytes(range(32))


def test_progress_is_one_json_line_per_report(tmp_path):
    folder = ServerFolder(tmp_path / "deep" / "server")
    folder.report("rounds", 1, 3, epsilon=0.5)
    folder.report("rounds", 2, 3, epsilon=None)
    lines = [json.loads(line) for line in folder.progress_file.read_text().splitlines()]
    assert lines == [
        {"phase": "rounds", "done": 1, "total": 3, "epsilon": 0.5},
        {"phase": "rounds", "done": 2, "total": 3, "epsilon": None},
    ]


def test_a_charge_is_there_for_the_next_process_and_never_twice(tmp_path):
    charges = ServerFolder(tmp_path).charges(PLAN)
    assert charges.count() == 0
    charges.add(1)
    charges.add(2)
    again = ServerFolder(tmp_path).charges(PLAN)
    assert again.count() == 2
    with pytest.raises(IntegrityError):
        again.add(2)
    assert again.count() == 2


def test_rounds_of_either_part_are_counted_by_their_numbers(tmp_path):
    charges = ServerFolder(tmp_path).charges(PLAN)
    for number in (1, 2, 5, 6, 7):  # 3 to 5 planned for p, all that follow are phi's; 3 and 4 were not affordable
        charges.add(number)
    assert (charges.count(until=5), charges.count(after=5), charges.count()) == (3, 2, 5)


def test_the_parts_checkpoints_do_not_touch_each_other(tmp_path):
    folder, p_s, phi_s = ServerFolder(tmp_path), optimizer_after(2), optimizer_after(3)
    folder.save_checkpoint(p_s, [np.zeros(5, np.float32)])
    folder.save_checkpoint(phi_s, [np.ones(6, np.float32)] * 2, RISK)
    assert folder.models().shape == (1, 5) and folder.models(RISK).shape == (2, 6)
    again = optimizer_after(0)
    assert len(folder.load_checkpoint(again, RISK)) == 2
    np.testing.assert_array_equal(again.theta, phi_s.theta)


def test_a_charge_waits_for_the_disk(tmp_path):
    charges = ServerFolder(tmp_path).charges(PLAN)
    with charges._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2, "FULL: survives power loss (FACTS)"


def test_a_run_goes_on_under_its_own_plan_only(tmp_path):
    ServerFolder(tmp_path).charges(PLAN).add(1)
    with pytest.raises(ConfigError, match="another"):
        ServerFolder(tmp_path).charges(OTHER)


def optimizer_after(rounds: int) -> ServerOptimizer:
    optimizer = ServerOptimizer(np.zeros(5, np.float32), ServerSettings())
    for i in range(rounds):
        optimizer.step(np.arange(5) * 0.1 + i)
    return optimizer


@pytest.mark.parametrize("rounds", [0, 1, 4])
def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(tmp_path, rounds):
    folder, optimizer = ServerFolder(tmp_path), optimizer_after(rounds)
    models = [np.full(5, i, np.float32) for i in range(rounds + 1)]
    folder.save_checkpoint(optimizer, models)
    again = optimizer_after(0)
    np.testing.assert_array_equal(ServerFolder(tmp_path).load_checkpoint(again), models)
    np.testing.assert_array_equal(ServerFolder(tmp_path).models(), models)
    for one in (optimizer, again):
        one.step(np.ones(5))
    assert again.theta.tobytes() == optimizer.theta.tobytes()
    assert again.published.tobytes() == optimizer.published.tobytes()


def test_without_a_checkpoint_nothing_is_restored(tmp_path):
    optimizer = optimizer_after(2)
    before = optimizer.theta.copy()
    assert ServerFolder(tmp_path).load_checkpoint(optimizer) == []
    np.testing.assert_array_equal(optimizer.theta, before)


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize(("place", "call"), [(os, "fsync"), (Path, "replace")])
def test_killed_while_saving_the_old_checkpoint_is_there(tmp_path, monkeypatch, place, call):
    folder = ServerFolder(tmp_path)
    folder.save_checkpoint(optimizer_after(1), [np.zeros(5, np.float32)])

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(place, call, killed)
        with pytest.raises(Killed):
            folder.save_checkpoint(optimizer_after(2), [np.ones(5, np.float32)] * 2)
    assert ServerFolder(tmp_path).models().shape == (1, 5)


def test_the_account_is_replaced_whole(tmp_path):
    folder = ServerFolder(tmp_path)
    for rounds in (1, 2):
        folder.keep_account({"rounds_charged": rounds, "epsilon_to_public": None})
    assert json.loads(folder.account_file.read_text()) == {"rounds_charged": 2, "epsilon_to_public": None}
    assert [f.name for f in tmp_path.iterdir()] == ["account.json"]
