"""A transport without a network: requests go to real ClientApps in this process, or to a node that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from client.app import build_app
from client.device import Device

#: What a node does with a request: one reply, several, or none.
Node = Callable[[Message], Message | list[Message] | None]


def context_of(node: int, **config: Any) -> Context:
    return Context(run_id=1, node_id=node, node_config=config, state=RecordDict(), run_config={})


def device_node(node: int, device: Device) -> Node:
    """A node that runs the client as shipped on one device."""
    app = build_app(lambda context, step: nullcontext(device))
    return lambda message: app(message, context_of(node))


def wire(message: Message) -> bytes:
    """The bytes that a message carries."""
    return message.content["wire"]["bytes"].numpy().tobytes()


def with_wire(data: bytes) -> RecordDict:
    return RecordDict({"wire": ArrayRecord({"bytes": Array(np.frombuffer(data, dtype=np.uint8))})})


def says(data: bytes) -> Node:
    """A node that answers with these bytes, whatever it is asked."""
    return lambda message: Message(with_wire(data), reply_to=message)


def fails(message: Message) -> Message:
    """A node whose app crashed: Flower's error reply."""
    return Message(Error(code=1, reason="canary-reason"), reply_to=message)


def talks_otherwise(message: Message) -> Message:
    """A node that answers with records of another shape."""
    return Message(RecordDict({"metrics": ConfigRecord({"loss": 0.5})}), reply_to=message)


def silent(message: Message) -> None:
    return None


class FakeGrid(Grid):
    """Delivers each message to the node it is for; keeps what passed."""

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
