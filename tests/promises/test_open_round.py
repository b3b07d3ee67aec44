"""A round outlives its server: killed at any moment of it, the next process ends it, with one noise of each device and one sum."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from server.app import run, serve
from server.state import Charges, ServerFolder
from server.sums.open_round import OpenRounds
from shared.clock import ReplayClock
from shared.codec import decode
from shared.envelope import unwrap
from shared.messages import REQUESTS
from shared.secure_sum.epoch import read_list
from shared.secure_sum.header import Header
from simulations.federation.equivalence import device_node, scenario_without_noise
from simulations.federation.in_process import LocalGrid, LocalHost, wire
from simulations.federation.run_folder import RunFolder
from simulations.federation.run_settings import run_settings
from simulations.federation.sums.enroller import enrolling
from simulations.federation.sums.helper_nodes import identities
from simulations.people.planted import plant
from simulations.people.setup import Setup
from tests.world.dump_run import ledger_of

pytestmark = pytest.mark.slow

N_USERS, ROUNDS, HELPERS = 6, 3, 3
#: What the interrupted round is. The log of a run: round, what it was asked, node, hash of the request's body, of the reply.
INTERRUPTED, LOG_FILE = 2, "asked.txt"
OVERRIDES = (
    f"data.users={N_USERS}",
    f"privacy.rounds={ROUNDS}",
    "privacy.min_survivors=4",
    "privacy.max_colluders=0",
    "simulation.query_every_steps=60",
)
TRAIN, OPINION, SUM = (REQUESTS[name].endpoint for name in ("train_request", "opinion_request", "sum_request"))
#: Where the server is killed: before the message of this kind and place in its round is delivered.
MOMENTS = {
    "before the first request": (TRAIN, 0),
    "between two requests": (TRAIN, 3),
    "between replies and list": (OPINION, 0),
    "between list and sum": (SUM, 0),
    "between two answers": (SUM, 2),
}


def round_of(message) -> int:
    """The round that a message is about; 0 if it is about none."""
    fields = decode(REQUESTS, unwrap(wire(message)).body)[1]
    if "header" in fields:
        return Header.from_bytes(fields["header"]).round
    return fields["round"] if "theta" in fields and "plan" not in fields else 0


def nodes(folder: RunFolder, log: Path, kill_at: tuple[str, int] | None, lost: set[str]):
    """The nodes of a run, whose messages in rounds are written down; they kill this process at a moment, and of a kind in `lost`
    the first reply goes lost on its way, once."""
    seen: Counter[str] = Counter()

    def node(number: int):
        answer = device_node(folder, number, N_USERS)

        def deliver(message):
            kind, asked_in = message.metadata.message_type, round_of(message)
            if asked_in == INTERRUPTED:
                if (kind, seen[kind]) == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen[kind] += 1
            reply = answer(message)
            if asked_in:
                hashes = [hashlib.sha256(data).hexdigest() for data in (unwrap(wire(message)).body, wire(reply))]
                with log.open("a") as out:
                    print(asked_in, kind, number, *hashes, file=out)
            if asked_in == INTERRUPTED and kind in lost:
                lost.remove(kind)
                return None
            return reply

        return deliver

    return {number: node(number) for number in range(N_USERS + HELPERS)}


def prepared(path: Path) -> tuple[RunFolder, Setup]:
    people = plant(N_USERS, 182, seed=3)
    setup = Setup.of(scenario_without_noise(*OVERRIDES), people)
    folder = RunFolder(path)
    if not folder.begun:
        folder.prepare(setup, people)
        folder.write_public(setup)
    return folder, setup


def begin_or_go_on(path: Path, kill_at: tuple[str, int] | None = None, lost: frozenset[str] = frozenset()) -> None:
    """One process of a run: the server, its devices and helpers."""
    folder, setup = prepared(path)
    settings = replace(run_settings(setup, folder), helpers=identities(folder, HELPERS))
    grid = LocalGrid(nodes(folder, path / LOG_FILE, kill_at, set(lost)))
    with enrolling(folder, setup.plan, setup.train_s):
        serve(grid, settings)


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])


def killed(path: Path, kill_at: tuple[str, int]) -> None:
    process = FORKS.Process(target=begin_or_go_on, args=(path, kill_at))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def asked(path: Path) -> list[tuple[int, str, int, str, str]]:
    lines = [line.split() for line in (path / LOG_FILE).read_text().splitlines()]
    return [(int(line[0]), line[1], int(line[2]), line[3], line[4]) for line in lines]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The models of the same run with a plain sum: float32 (R + 1, P)."""
    folder, setup = prepared(tmp_path_factory.mktemp("plain") / "run")
    settings = run_settings(setup, folder)
    run(LocalHost(folder), settings, settings.schedule.clock())
    return folder.server.models()


def expect_whole(path: Path, plain: np.ndarray) -> None:
    """No round is lost, none was run twice, and what they came to is the plain sum; every device was charged once a round and said
    one thing in it."""
    folder = RunFolder(path)
    np.testing.assert_allclose(folder.server.models(), plain, rtol=0, atol=1e-6)
    said: dict[tuple[int, str, int], set[tuple[str, str]]] = {}
    for number, kind, node, body, reply in asked(path):
        said.setdefault((number, kind, node), set()).add((body, reply))
    for (number, kind, node), pairs in said.items():
        if kind in (TRAIN, SUM):
            assert len(pairs) == 1, f"another body, or other bytes, of node {node} in round {number}"
    for user in range(N_USERS):
        assert set(ledger_of(folder.device(user)).plans.values()) == {ROUNDS}
    left = folder.server.open_round_file.read_bytes()
    assert not any(identity in left for identity in identities_of(folder)), "who was in a round is kept"


def identities_of(folder: RunFolder) -> list[bytes]:
    """What stands in every list: the identities of those enrolled."""
    return [leaf[:32] for leaf in read_list(folder.server.enrolment_list).leaves]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_round_whose_server_was_killed_is_ended_by_the_next_one(tmp_path, plain, moment):
    killed(tmp_path / "run", MOMENTS[moment])
    before = ServerFolder(tmp_path / "run" / "server")
    assert len(before.models()) == INTERRUPTED, "one round of three has ended"
    final = sum(kind == SUM for _, kind, *_ in asked(tmp_path / "run"))
    begin_or_go_on(tmp_path / "run")
    expect_whole(tmp_path / "run", plain)
    again = [line for line in asked(tmp_path / "run") if line[:2] == (INTERRUPTED, TRAIN)]
    if MOMENTS[moment][0] == SUM:
        assert len(again) == N_USERS, "with its list written down, devices are not asked again"
        assert final == HELPERS + MOMENTS[moment][1]


def test_a_helper_that_was_killed_between_its_record_and_its_reply_says_the_same_when_it_is_back(tmp_path, plain):
    begin_or_go_on(tmp_path / "run", lost=frozenset({OPINION, SUM}))
    expect_whole(tmp_path / "run", plain)
    sums = Counter(node for number, kind, node, *_ in asked(tmp_path / "run") if (number, kind) == (INTERRUPTED, SUM))
    assert sorted(sums.values()) == [1, 1, 2], "the one whose answer was lost, and nobody else, is asked again"


def test_a_round_whose_time_is_over_stays_charged_and_is_never_run_again(tmp_path, monkeypatch):
    path = tmp_path / "run"
    killed(path, MOMENTS["between list and sum"])
    later = ReplayClock.now_s
    monkeypatch.setattr(ReplayClock, "now_s", lambda self: later(self) + 3600)
    begin_or_go_on(path)
    folder = RunFolder(path)
    assert len(folder.server.models()) == ROUNDS, "two rounds and the first model"
    assert [line for line in asked(path) if line[:2] == (INTERRUPTED, SUM)] == []
    assert {number for number, *_ in asked(path)} == {1, 2, 3}


#: Where the server stops around a write: (class, method, of which call it is the n-th, after the write or before).
WRITES = {
    "before the charge": (Charges, "add", INTERRUPTED, False),
    "after the charge": (Charges, "add", INTERRUPTED, True),
    "after the request": (OpenRounds, "keep_body", INTERRUPTED, True),
    "after the list": (OpenRounds, "keep_list", INTERRUPTED, True),
    "after the checkpoint": (ServerFolder, "save_checkpoint", INTERRUPTED, True),
}


@pytest.mark.parametrize("moment", WRITES)
def test_a_server_that_stops_around_a_write_leaves_nothing_undone_and_nothing_to_do_twice(
    tmp_path, plain, monkeypatch, moment
):
    owner, name, nth, after = WRITES[moment]
    write, calls = getattr(owner, name), Counter()

    def stops(self, *arguments):
        calls[name] += 1
        if calls[name] == nth and not after:
            raise KeyboardInterrupt
        write(self, *arguments)
        if calls[name] == nth:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(owner, name, stops)
        begin_or_go_on(tmp_path / "run")
    begin_or_go_on(tmp_path / "run")
    expect_whole(tmp_path / "run", plain)
    assert RunFolder(tmp_path / "run").server.charges(prepared(tmp_path / "run")[1].plan.sha256).count() == ROUNDS
