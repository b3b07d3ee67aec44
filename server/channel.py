"""The channel to the devices: one signed request to many nodes, checked replies back, and what it all came to in bytes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid

from shared.codec import decode, encode
from shared.errors import RefusalCode, RunError, WireError
from shared.messages import REGISTER, REQUESTS

from .departed import Departed
from .signing import Signer

REPLY_TIMEOUT_S = 600.0
#: Reasons to drop a reply that are reasons to ask its device no more; the second if the first was lost on its way.
GONE = ("deletion", f"refusal_{int(RefusalCode.FORGOTTEN)}")


@dataclass
class Traffic:
    """Bytes of messages, by direction and name, and how many there were; replies that were dropped, by reason."""

    sent: Counter[str] = field(default_factory=Counter)
    sent_bytes: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    received_bytes: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def to_map(self) -> dict[str, dict[str, int]]:
        return {name: dict(counter) for name, counter in vars(self).items()}

    def add(self, counted: Mapping[str, Mapping[str, int]]) -> None:
        """Count on from what another `to_map` gave."""
        for name, counter in counted.items():
            getattr(self, name).update(counter)


class Channel:
    """The way to the devices: one signed request to many nodes, checked replies from those that answered. A node in
    `departed` is not asked; one whose device turns out to be gone is put there."""

    def __init__(
        self,
        grid: Grid,
        traffic: Traffic,
        signer: Signer,
        departed: Departed | None = None,
        timeout_s: float = REPLY_TIMEOUT_S,
    ) -> None:
        self._grid, self.traffic, self._signer, self._timeout_s = grid, traffic, signer, timeout_s
        self.departed = Departed() if departed is None else departed

    def ask(self, nodes: Iterable[int], name: str, fields: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
        """Fields of the reply that the register expects to a request, by node. A node that fails, refuses or sends
        anything else is dropped and counted; its reply's content goes nowhere."""
        kind = REQUESTS[name]
        data = self._signer.sign(encode(REQUESTS, name, fields))
        wire = np.frombuffer(data, dtype=np.uint8)
        content = RecordDict({"wire": ArrayRecord({"bytes": Array(wire)})})
        messages = [Message(content, dst_node_id=node, message_type=kind.endpoint) for node in self.enrolled(nodes)]
        self.traffic.sent[name] += len(messages)
        self.traffic.sent_bytes[name] += len(messages) * len(data)
        out: dict[int, dict[str, Any]] = {}
        for reply in self._grid.send_and_receive(messages, timeout=self._timeout_s) if messages else ():
            fields_or_reason = self._read(reply, kind.reply)
            if isinstance(fields_or_reason, str):
                self.traffic.dropped[fields_or_reason] += 1
                if fields_or_reason in GONE:
                    self.departed.add(reply.metadata.src_node_id)
            elif reply.metadata.src_node_id in out:
                self.traffic.dropped["twice"] += 1
            else:
                out[reply.metadata.src_node_id] = fields_or_reason
        return out

    def enrolled(self, nodes: Iterable[int]) -> list[int]:
        """Those of the nodes whose devices are not gone."""
        return [node for node in nodes if node not in self.departed]

    def _read(self, reply: Message, expected: str) -> dict[str, Any] | str:
        if reply.has_error():
            return "error"
        try:
            data = reply.content["wire"]["bytes"].numpy().tobytes()  # type: ignore[union-attr]
            name, fields = decode(REGISTER, data)
        except WireError:
            return "undecodable"
        except Exception:
            return "shape"
        self.traffic.received[name] += 1
        self.traffic.received_bytes[name] += len(data)
        if name == "refusal":
            return f"refusal_{fields['code']}"
        if name == "deletion":
            return name
        return fields if name == expected else "other_message"


def hasten(grid: Grid) -> None:
    """Look for replies every 10 ms where the grid polls (by default it does so every 100 ms)."""
    if hasattr(grid, "pull_interval"):
        grid.pull_interval = 0.01


def wait_for_nodes(grid: Grid, expected: int, timeout_s: float) -> list[int]:
    """Ids of at least `expected` connected nodes, sorted; RunError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while len(nodes := sorted(grid.get_node_ids())) < expected:
        if time.monotonic() > end:
            raise RunError(f"expected {expected} connected devices within {timeout_s:.0f} s, got {len(nodes)}")
        time.sleep(0.2)
    return nodes
