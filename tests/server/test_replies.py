"""Nodes of Flower's own simulation state are asked a few at a time: all of them, in time, whoever stays silent."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.common.constant import HEARTBEAT_INTERVAL_INF, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, SUPERLINK_NODE_ID
from flwr.server.superlink.linkstate import InMemoryLinkState, LinkState, LinkStateFactory
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID, TaskType
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import InMemoryGrid
from hypothesis import given
from hypothesis import strategies as st

from server import replies
from server.replies import WINDOW, Indexed, first_replies, windowed
from tests.world.basics import examples

#: What a node does with a request, given how many were waiting for an answer just then: a reply, or none.
Answering = Callable[[Message], Message | None]


class Simulation:
    """Flower's in-memory state with nodes that answer in a thread, as its simulation does: each fetches what is for it."""

    def __init__(self, n_nodes: int, answering: Answering) -> None:
        self.factory = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory())
        self.state: LinkState = self.factory.state()
        self.nodes = [
            self.state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, i.to_bytes(32, "big"), HEARTBEAT_INTERVAL_INF)
            for i in range(n_nodes)
        ]
        for node in self.nodes:
            self.state.acknowledge_node_heartbeat(node, HEARTBEAT_INTERVAL_INF)
        run_id = self.state.create_run("", "", "", {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP)
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, SUPERLINK_NODE_ID, 1  # as Flower does
        self.grid = InMemoryGrid(self.factory)
        self.grid.set_run(self.state.get_run_info(run_ids=[run_id])[0])
        self.most_waiting, self.asked, self._answering, self._stop = 0, Counter[int](), answering, threading.Event()

    def serve(self) -> None:
        while not self._stop.is_set():
            self.most_waiting = max(self.most_waiting, self.state.num_message_ins())  # type: ignore[attr-defined]
            for node in self.nodes:
                for message in self.state.get_message_ins(node_id=node, limit=1):
                    self.asked[node] += 1
                    if (reply := self._answering(message)) is not None:
                        reply.metadata.__dict__["_message_id"] = f"reply to {message.metadata.message_id}"
                        self.state.store_message_res(reply)
            self._stop.wait(0.002)

    @contextmanager
    def running(self) -> Iterator[Simulation]:
        thread = threading.Thread(target=self.serve, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def requests(self) -> list[Message]:
        return [Message(content(), dst_node_id=node, message_type="query.alerts") for node in self.nodes]


def content() -> RecordDict:
    return RecordDict({"wire": ArrayRecord({"bytes": Array(np.zeros(1, np.uint8))})})


def answers(message: Message) -> Message:
    return Message(content(), reply_to=message)


def test_all_are_asked_and_never_more_than_the_window_wait():
    with Simulation(3 * WINDOW + 5, answers).running() as world:
        found = dict(first_replies(world.grid, world.requests(), 60.0, dropped := Counter()))
    assert sorted(found) == sorted(world.nodes) and not dropped
    assert 1 < world.most_waiting <= WINDOW and set(world.asked.values()) == {1}


def test_nodes_that_stay_silent_keep_nobody_else_waiting():
    """The first of them fill the window twice over."""
    silent = set[int]()
    with Simulation(
        60, lambda message: None if message.metadata.dst_node_id in silent else answers(message)
    ).running() as world:
        silent.update(world.nodes[:20])
        found = windowed(world.grid, world.requests(), 2.0, window=10)
    assert {reply.metadata.src_node_id for reply in found} == set(world.nodes[20:])
    assert set(world.asked) == set(world.nodes)


def test_when_nobody_answers_all_are_asked_in_half_of_the_time_and_it_ends():
    with Simulation(50, lambda message: None).running() as world:
        began_s = time.monotonic()
        assert windowed(world.grid, world.requests(), 1.0, window=5) == []
        assert time.monotonic() - began_s >= 1.0
    assert set(world.asked) == set(world.nodes)


def test_what_is_late_but_in_time_counts():
    """Every node keeps its first answer until the last of them was asked: with a window alone, nobody would ever be."""
    kept: list[Message] = []

    def late(message: Message) -> Message | None:
        kept.append(message)
        return None

    world = Simulation(30, late)

    def answer_all() -> None:
        while len(kept) < 30:
            time.sleep(0.01)
        for message in kept:
            reply = answers(message)
            reply.metadata.__dict__["_message_id"] = f"reply to {message.metadata.message_id}"
            world.state.store_message_res(reply)

    with world.running():
        thread = threading.Thread(target=answer_all, daemon=True)
        thread.start()
        found = windowed(world.grid, world.requests(), 30.0, window=4)
        thread.join()
    assert sorted(reply.metadata.src_node_id for reply in found) == sorted(world.nodes)


#: What happens to a state, and to which node or message: a request, one that expires at once, a node that comes for one or for all
#: (of this run, of another), a request that is taken back.
MOVES = st.tuples(st.sampled_from(("asked", "expires", "one", "all", "other_run", "back")), st.integers(0, 3))


@examples(60)
@given(before=st.lists(MOVES, max_size=6), moves=st.lists(MOVES, max_size=30))
def test_an_indexed_state_hands_on_what_flowers_own_does(before, moves):
    worlds = [Simulation(4, answers), Simulation(4, answers)]
    said = [moved(world, before) for world in worlds]
    Indexed.take_over(worlds[1].state)
    assert type(worlds[1].state) is Indexed and type(worlds[0].state) is InMemoryLinkState
    said = [[*first, *moved(world, moves)] for world, first in zip(worlds, said, strict=True)]
    assert said[0] == said[1]


def moved(world: Simulation, moves: list[tuple[str, int]]) -> list[object]:
    """What a state hands on, move by move: numbers of messages, counted as they were stored."""
    out, (run_id,) = list[object](), world.state.run_ids
    TaskIdentity.run_id, ids = run_id, vars(world).setdefault("ids", [])
    for what, which in moves:
        if what in ("asked", "expires"):
            ttl = 1e-9 if what == "expires" else 3600.0
            message = Message(content(), dst_node_id=world.nodes[which], message_type="query.alerts", ttl=ttl)
            ids += world.grid.push_messages([message])
        elif what == "back" and ids:
            world.state.delete_messages({ids[which % len(ids)]})
        elif what != "back":
            limit, run = (None if what == "all" else 1), (run_id + 1 if what == "other_run" else None)
            found = world.state.get_message_ins(world.nodes[which], limit, run_id=run)
            out.append([ids.index(message.metadata.message_id) for message in found])
    return out


def test_a_state_that_is_not_flowers_own_in_memory_stays_what_it_is():
    class Other(InMemoryLinkState):
        pass

    world = Simulation(1, answers)
    world.state.__class__ = Other
    Indexed.take_over(world.state)
    assert type(world.state) is Other


class Forwarding(InMemoryGrid):
    """The grid of a SuperLink that says more than it was told: each reply again, and replies to nothing that was asked."""

    def pull_messages(self, message_ids):
        found = list(super().pull_messages(message_ids))
        stray = [answers(Message(content(), dst_node_id=7, message_type="query.alerts")) for _ in found[:1]]
        return [*stray, *found, *found]


def test_replies_to_nothing_and_second_ones_are_counted_and_lead_nowhere():
    with Simulation(2 * WINDOW, answers).running() as world:
        world.grid.__class__ = Forwarding
        found = dict(first_replies(world.grid, world.requests(), 60.0, dropped := Counter()))
    assert sorted(found) == sorted(world.nodes)
    assert dropped["twice"] == len(world.nodes) and dropped["not_asked"] >= 1


@examples(20)
@given(n=st.integers(0, 40), window=st.integers(1, 50))
def test_whatever_the_window_everybody_is_asked_once(n, window):
    with Simulation(n, answers).running() as world:
        found = windowed(world.grid, world.requests(), 60.0, window=window)
    assert sorted(reply.metadata.src_node_id for reply in found) == sorted(world.nodes)
    assert world.most_waiting <= window


def test_other_grids_get_everything_at_once(monkeypatch):
    """A SuperLink hands requests to whoever comes for them: a window would only make slow nodes slower."""
    pushed = []

    class Everything:
        def send_and_receive(self, messages, *, timeout):
            pushed.append((len(messages), timeout))
            return []

    monkeypatch.setattr(replies, "windowed", pytest.fail)
    asked = [Message(content(), dst_node_id=node, message_type="query.alerts") for node in range(1, 200)]
    assert not list(first_replies(Everything(), asked, 9.0, Counter()))
    assert pushed == [(199, 9.0)]
