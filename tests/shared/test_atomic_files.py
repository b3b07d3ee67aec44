"""Whole or not at all: whatever a process was writing when it was killed, the next one finds the old file or the new."""

import builtins
import io

import numpy as np
import pytest

from client.model.runtime import PINNED_SHA256
from shared.atomic_files import replace_content, replacing
from simulations.federation.host_app import LAPSES, Host
from simulations.federation.host_training import TrainingRows
from simulations.federation.run_folder import expect_same_run, prepare_folder, write_public
from simulations.people.of_scenario import population_of, protocol_of
from simulations.scenarios.config import load_scenario
from simulations.scenarios.owners import CONSENTS_FILE


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_a_file_is_replaced_when_its_new_content_is_whole(tmp_path):
    file = tmp_path / "a.txt"
    replace_content(file, "old\r\n")
    with replacing(file) as out:
        out.write(b"new")
        out.flush()
        assert file.read_bytes() == b"old\r\n"
    assert file.read_bytes() == b"new" and [f.name for f in tmp_path.iterdir()] == ["a.txt"]


def test_after_an_interruption_the_old_content_is_there_and_the_next_try_works(tmp_path):
    file = tmp_path / "a.txt"
    replace_content(file, "old")
    with pytest.raises(Killed), replacing(file) as out:
        out.write(b"much longer than what comes next")
        raise Killed
    assert file.read_text() == "old"
    replace_content(file, "new")
    assert file.read_text() == "new" and [f.name for f in tmp_path.iterdir()] == ["a.txt"]


class KilledOnceOpen:
    """`open`, but the process is killed right after the n-th file was opened to be written anew: it is empty then."""

    def __init__(self, n: int) -> None:
        self.left, self._open = n, io.open

    def __call__(self, file, mode="r", *arguments, **named):
        out = self._open(file, mode, *arguments, **named)
        self.left -= "w" in mode
        if "w" in mode and not self.left:
            out.close()
            raise Killed
        return out


def test_killed_at_any_file_that_a_run_begins_with_it_goes_on(tmp_path, monkeypatch):
    scenario = load_scenario("demo", ["data.users=6", "risk.public_users=12"])
    protocol = protocol_of(scenario)
    people = population_of(scenario, protocol)
    plan = scenario.plan(protocol, people.catalogue, people.n_users, bytes.fromhex(PINNED_SHA256))
    theta, none = plan.network.initial_theta(0), np.empty(0, np.float32)

    def begin(folder):
        if (folder / CONSENTS_FILE).exists():
            expect_same_run(folder, scenario)
        else:
            prepare_folder(folder, scenario, people)
        write_public(folder, scenario, protocol, plan, people)
        Host(folder, 0, 1).install(plan, theta, none, 0, protocol.train_at)

    def left_by(folder):
        rows = [TrainingRows.load(folder / "hosts" / "0" / name) for name in (".", LAPSES)]
        return [array for each in rows for array in (each.x, each.y, each.offsets)]

    begin(tmp_path / "whole")
    expected, n_killed = left_by(tmp_path / "whole"), 0
    while True:
        folder, opened = tmp_path / str(n_killed), KilledOnceOpen(n_killed + 1)
        with monkeypatch.context() as patch:
            patch.setattr(io, "open", opened)
            patch.setattr(builtins, "open", opened)
            try:
                begin(folder)
                break
            except Killed:
                n_killed += 1
        begin(folder)
        for array, should_be in zip(left_by(folder), expected, strict=True):
            np.testing.assert_array_equal(array, should_be)
    assert n_killed > 20, "every file was killed at"
