"""The channel to the devices: one signed request to many nodes, checked replies back, and what it all came to in bytes.

Nothing of a reply is believed before it is checked: that its node was asked just that, how long it is, its form, and that
it is for the round, plan, step and coin of the request. Flower hands over whatever a SuperLink says.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid

from shared.codec import array_bytes, decode, encode, limits_of
from shared.errors import RefusalCode, RunError, WireError
from shared.messages import REGISTER, REQUESTS

from .enrolment import Enrolment
from .replies import first_replies
from .signing import Signer

REPLY_TIMEOUT_S = 600.0
#: Reasons to drop a reply that are reasons to ask its device no more; the second if the first was lost on its way.
GONE = ("deletion", f"refusal_{int(RefusalCode.FORGOTTEN)}")
#: What who takes a request for forged says.
UNREAD = f"refusal_{int(RefusalCode.SIGNATURE)}"
#: What a reply that is for another round, plan, step or coin than was asked for is counted as, if not by the field's name.
_OTHER = {"plan_sha256": "plan", "epsilon_micro": "coin"}


@dataclass
class Traffic:
    """Bytes of messages, by direction and name, and how many there were; by reason, replies that were dropped, rounds that
    were not opened, and devices that were not enrolled."""

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


@dataclass(frozen=True, eq=False)
class Signed:
    """One request: its fields, its canonical bytes, and these as they travel."""

    fields: Mapping[str, Any]
    body: bytes
    data: bytes


class Channel:
    """The way to the devices: one signed request to many nodes, checked replies from those that answered. A node that has
    left the `enrolment` is not asked; one whose device turns out to be gone leaves it."""

    def __init__(
        self,
        grid: Grid,
        traffic: Traffic,
        signer: Signer,
        enrolment: Enrolment | None = None,
        timeout_s: float = REPLY_TIMEOUT_S,
    ) -> None:
        self._grid, self.traffic, self._signer, self._timeout_s = grid, traffic, signer, timeout_s
        self.enrolment = Enrolment() if enrolment is None else enrolment
        #: Nodes that read an envelope which names the log; and those that can read none.
        self._witnesses, self._knows_no_log = set[int](), set[int]()

    def ask(self, nodes: Iterable[int], name: str, fields: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
        """Fields of the reply that the register expects to a request, by node. A node that fails, refuses or sends
        anything else is dropped and counted; its reply's content goes nowhere."""
        signed = self._signed(name, fields)
        return self._asked(name, {node: signed for node in nodes})

    def ask_each(self, name: str, fields: Mapping[int, Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
        """The same for requests of one kind that differ from node to node."""
        return self._asked(name, {node: self._signed(name, each) for node, each in fields.items()})

    def _signed(self, name: str, fields: Mapping[str, Any]) -> Signed:
        body = encode(REQUESTS, name, fields)
        return Signed(fields, body, self._signer.sign(body, name))

    def _asked(self, name: str, requests: Mapping[int, Signed]) -> dict[int, dict[str, Any]]:
        """Replies by node. A device that was made before servers kept logs takes an envelope that names one for a forgery: it is
        asked again, in the envelope that it knows, once, and then in that one always."""
        again: dict[int, Signed] = {}
        unwitnessed: dict[int, bytes] = {}
        for node, signed in requests.items():
            if node in self._knows_no_log:
                if id(signed) not in unwitnessed:
                    unwitnessed[id(signed)] = self._signer.sign_unwitnessed(signed.body)
                requests = {**requests, node: replace(signed, data=unwitnessed[id(signed)])}
        out = self._exchange(name, requests, again)
        if again:
            self._knows_no_log |= again.keys()
            out |= self._asked(name, again)
        return out

    def _exchange(
        self, name: str, requests: Mapping[int, Signed], again: dict[int, Signed]
    ) -> dict[int, dict[str, Any]]:
        """One exchange of messages. Who may know no log goes to `again`."""
        kind, messages, content = REQUESTS[name], list[Message](), dict[int, RecordDict]()
        for node in self.still_here(requests):
            data = requests[node].data
            if id(data) not in content:
                wire = Array(np.frombuffer(data, dtype=np.uint8))
                content[id(data)] = RecordDict({"wire": ArrayRecord({"bytes": wire})})
            messages.append(Message(content[id(data)], dst_node_id=node, message_type=kind.endpoint))
            self.traffic.sent[name] += 1
            self.traffic.sent_bytes[name] += len(data)
        out: dict[int, dict[str, Any]] = {}
        for node, reply in first_replies(self._grid, messages, self._timeout_s, self.traffic.dropped):
            fields = requests[node].fields
            asked = {**fields, "plan_sha256": hashlib.sha256(fields["plan"]).digest()} if "plan" in fields else fields
            fields_or_reason = self._read(reply, kind.reply, asked)
            if fields_or_reason == UNREAD and self._may_know_no_log(node):
                again[node] = requests[node]
                continue
            self._witnesses.add(node)
            if isinstance(fields_or_reason, str):
                self.traffic.dropped[fields_or_reason] += 1
                if fields_or_reason in GONE:
                    self.enrolment.leave(node)
            else:
                out[node] = fields_or_reason
        return out

    def _may_know_no_log(self, node: int) -> bool:
        return self._signer.log is not None and node not in self._witnesses and node not in self._knows_no_log

    def connected(self) -> frozenset[int]:
        """Ids of the nodes that are there now."""
        return frozenset(self._grid.get_node_ids())

    def still_here(self, nodes: Iterable[int]) -> list[int]:
        """Those of the nodes whose devices are not gone."""
        return [node for node in nodes if not self.enrolment.has_left(node)]

    def _read(self, reply: Message, expected: str, asked: Mapping[str, Any]) -> dict[str, Any] | str:
        """The fields of an `expected` reply to a request's fields, or the reason to drop it."""
        if reply.has_error():
            return "error"
        data = carried_bytes(
            reply, max(limits_of(REGISTER[name]).most_bytes for name in (expected, "refusal", "deletion"))
        )
        if isinstance(data, str):
            return data
        try:
            name, fields = decode(REGISTER, data)
        except WireError:
            return "undecodable"
        self.traffic.received[name] += 1
        self.traffic.received_bytes[name] += len(data)
        if name == "refusal":
            return f"refusal_{fields['code']}"
        if name == "deletion":
            return name
        if name != expected:
            return "other_message"
        others = (field for field, value in fields.items() if field in asked and asked[field] != value)
        return next((_OTHER.get(field, field) for field in others), fields)


def carried_bytes(reply: Message, most: int) -> bytes | str:
    """The bytes that a reply carries, at most so many, or the reason to drop it: see `shared.codec.array_bytes`."""
    try:
        record = reply.content["wire"]
        if len(reply.content) != 1 or not isinstance(record, ArrayRecord) or list(record) != ["bytes"]:
            return "shape"
        return array_bytes(record["bytes"].data, most)
    except Exception:
        return "shape"


def hasten(grid: Grid) -> None:
    """Look for replies every 10 ms where the grid polls (by default it does so every 100 ms)."""
    if hasattr(grid, "pull_interval"):
        grid.pull_interval = 0.01


def wait_for_nodes(grid: Grid, expected: int, timeout_s: float, among: Collection[int] | None = None) -> list[int]:
    """Ids of at least `expected` connected nodes, sorted; of those `among` which are looked for, if any are named.
    RunError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while len(nodes := _connected(grid, among)) < expected:
        if time.monotonic() > end:
            raise RunError(f"expected {expected} connected devices within {timeout_s:.0f} s, got {len(nodes)}")
        time.sleep(0.2)
    return nodes


def _connected(grid: Grid, among: Collection[int] | None) -> list[int]:
    nodes = set(grid.get_node_ids())
    return sorted(nodes if among is None else nodes.intersection(among))
