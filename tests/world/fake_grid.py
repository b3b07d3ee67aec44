"""A transport without a network: requests go to real ClientApps in this process, or to a node that misbehaves."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict

from client.app import build_app
from client.device import Device
from server.signing import Signer
from shared.clock import ReplayClock
from simulations.federation.in_process import LocalGrid as FakeGrid
from simulations.federation.in_process import Node, context_of, wire
from tests.world.signing import ASKED_AT_S, PRIVATE_KEY

__all__ = [
    "SIGNER",
    "FakeGrid",
    "context_of",
    "device_node",
    "fails",
    "says",
    "silent",
    "talks_otherwise",
    "wire",
    "with_wire",
]

#: The tests' server, at one moment.
SIGNER = Signer(PRIVATE_KEY, ReplayClock(ASKED_AT_S))


def device_node(node: int, device: Device) -> Node:
    """A node that runs the client as shipped on one device."""
    app = build_app(lambda context, data: nullcontext(device))
    return lambda message: app(message, context_of(node))


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
