"""Which replies count: of every node that was asked, the first one. And how many are asked at once where that matters.

A SuperLink is given all requests at once: nodes fetch theirs when they come. Flower's simulation keeps requests and nodes in one
process, and looks through every request that is stored for every node there is, again and again, for as long as any of them
waits: most of a core, at some hundred nodes. There, a few are outstanding at a time, which costs less than half per message
(docs/deploying.md); and a node that nothing waits for is told so at once (`Indexed`).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence

from flwr.app import Message
from flwr.server.superlink.linkstate import InMemoryLinkState
from flwr.serverapp import Grid
from flwr.superlink.grid import InMemoryGrid

#: Requests that are outstanding at once in Flower's simulation: enough for its workers never to wait. It hands them on ten times a
#: second at most.
WINDOW = 48
#: After so many seconds in which nobody answered, those who were asked hold up nobody else.
PATIENCE_S = 2.0
_POLL_S = 0.02


def first_replies(
    grid: Grid, messages: Sequence[Message], timeout_s: float, dropped: Counter[str]
) -> Iterator[tuple[int, Message]]:
    """(node, reply) of every node that was sent one of the messages and answers it in time: its first reply. Any other is
    counted in `dropped`. The node is the one that was asked, whatever the reply says."""
    replies = _exchanged(grid, messages, timeout_s) if messages else []
    asked = {message.metadata.message_id: message.metadata.dst_node_id for message in messages}
    seen = set[int]()
    for reply in replies:
        node = _node_of(reply, asked)
        if node is None or node in seen:
            dropped["not_asked" if node is None else "twice"] += 1
        else:
            seen.add(node)
            yield node, reply


def _exchanged(grid: Grid, messages: Sequence[Message], timeout_s: float) -> list[Message]:
    """All that is said to the messages within `timeout_s`, unchecked."""
    if isinstance(grid, InMemoryGrid):
        Indexed.take_over(grid.state)
        return windowed(grid, messages, timeout_s)
    return list(grid.send_and_receive(messages, timeout=timeout_s))


def windowed(grid: Grid, messages: Sequence[Message], timeout_s: float, window: int = WINDOW) -> list[Message]:
    """What is said to the messages within `timeout_s`, of which at most `window` are outstanding as long as nodes answer.

    Edge cases. Nodes that stay silent keep nobody else waiting: after `PATIENCE_S` without any reply, `window` more are
    asked. All are asked in the first half of the time, even if nobody answers; what comes late, within the time, counts.
    """
    unsent, awaited, found = deque(messages), set[str](), list[Message]()
    began_s = heard_s = time.monotonic()
    patience_s = min(PATIENCE_S, timeout_s / 2 / max(1, len(unsent) / window))
    silent = 0  # requests that are outstanding, and hold up nobody
    while True:
        room = max(0, window + silent - len(awaited))
        awaited.update(grid.push_messages([unsent.popleft() for _ in range(min(room, len(unsent)))]))
        replies = list(grid.pull_messages(awaited)) if awaited else []
        found += replies
        awaited -= {reply.metadata.reply_to_message_id for reply in replies}
        now_s = time.monotonic()
        if replies:
            heard_s, silent = now_s, min(silent, len(awaited))
        elif now_s - heard_s > patience_s:
            heard_s, silent = now_s, len(awaited)
        if not (unsent or awaited) or now_s - began_s > timeout_s:
            return found
        time.sleep(_POLL_S)  # to look costs as much as all that is awaited, however few have come


class Indexed(InMemoryLinkState):
    """Flower's state of a simulation, which knows for how many requests each node has still to come: who has none gets none, and
    nothing is looked through for it. Whoever has one is served by Flower's own code.

    Edge cases. What expired before its node came is forgotten when something is next looked for, or the node itself comes, no longer
    whenever any node does; nobody gets it either way.
    """

    _waiting: Counter[int]

    @classmethod
    def take_over(cls, state: object) -> None:
        """From now on the state, with all that is in it, is one of these; one of another kind stays as it is."""
        if type(state) is InMemoryLinkState:
            with state.lock:
                state.__class__ = cls
                waiting = (found.metadata for found in state.message_ins_store.values())
                vars(state)["_waiting"] = Counter(known.dst_node_id for known in waiting if not known.delivered_at)

    def store_message_ins(self, message: Message) -> str | None:
        with self.lock:
            stored = super().store_message_ins(message)
            self._waiting[message.metadata.dst_node_id] += stored is not None
        return stored

    def get_message_ins(self, node_id: int, limit: int | None, *, run_id: int | None = None) -> list[Message]:
        with self.lock:
            if not self._waiting[node_id]:
                return []
            found = super().get_message_ins(node_id, limit, run_id=run_id)
            if found or run_id is None:  # nothing, of no run: the rest was taken back
                self._waiting[node_id] = self._waiting[node_id] - len(found) if found else 0
        return found


def _node_of(reply: Message, asked: Mapping[str, int]) -> int | None:
    """The node that was asked what this replies to, if the reply is its own; None for anything else. An error may be
    Flower's, on its behalf."""
    try:
        node = asked.get(reply.metadata.reply_to_message_id)
        return node if reply.has_error() or reply.metadata.src_node_id == node else None
    except Exception:
        return None
