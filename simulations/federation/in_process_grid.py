"""Flower's transport without a network: every message goes straight to an app in this process, and its reply comes back.

The apps are the real ones; left out are processes, sockets and time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

#: What a node does with a request: one reply, several, or none.
Node = Callable[[Message], Message | list[Message] | None]


def context_of(node: int, **config: Any) -> Context:
    """What Flower gives to the app of a node; `config` is its node configuration."""
    return Context(run_id=1, node_id=node, node_config=config, state=RecordDict(), run_config={})


def wire(message: Message) -> bytes:
    """The bytes that a message carries."""
    return message.content["wire"]["bytes"].numpy().tobytes()  # type: ignore[union-attr]


class LocalGrid(Grid):
    """Delivers each message to the node it is for; `asked` keeps (node, type, bytes) of what passed."""

    def __init__(self, nodes: dict[int, Node]) -> None:
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # set by Flower in a real ServerApp
        self.nodes = nodes
        self.asked: list[tuple[int, str, bytes]] = []

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        out: list[Message] = []
        for message in messages:
            node = message.metadata.dst_node_id
            self.asked.append((node, message.metadata.message_type, wire(message)))
            reply = self.nodes[node](message)
            out += reply if isinstance(reply, list) else [reply] if reply is not None else []
        return out
