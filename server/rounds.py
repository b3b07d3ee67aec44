"""One round: sample a cohort, ask it, check what comes back, sum it. And the plain asking that queries need."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid

from shared.arrays import Doubles, Words
from shared.codec import decode, encode, unpack_words
from shared.errors import RefusalCode, WireError
from shared.lapse_risk import N_COEFFICIENTS
from shared.mechanisms import Entropy, from_grid
from shared.messages import REGISTER, REQUESTS
from shared.plan import Plan, PrivacyPlan

from .departed import Departed
from .signing import Signer

REPLY_TIMEOUT_S = 600.0
#: Reasons to drop a reply that are reasons to ask its device no more; the second if the first was lost on its way.
GONE = ("deletion", f"refusal_{int(RefusalCode.FORGOTTEN)}")


def poisson_cohort(nodes: Sequence[int], sampling_rate: float, entropy: Entropy = os.urandom) -> list[int]:
    """Each node on its own with probability `sampling_rate`, by OS entropy: the sampling that is accounted for.

    The size is random; an empty cohort is a valid one. Membership is secret: amplification rests on it.
    """
    draws = np.frombuffer(entropy(8 * len(nodes)), dtype="<u8") >> np.uint64(11)
    return [nodes[i] for i in np.flatnonzero(draws < sampling_rate * 2**53).tolist()]


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
    """The line to the devices: one signed request to many nodes, checked replies from those that answered. A node in
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

    def ask(
        self, nodes: Iterable[int], message_type: str, name: str, fields: Mapping[str, Any], expected: str
    ) -> dict[int, dict[str, Any]]:
        """Fields of the reply `expected`, by node. A node that fails, refuses or sends anything else is dropped and
        counted; its reply's content goes nowhere."""
        data = self._signer.sign(encode(REQUESTS, name, fields))
        wire = np.frombuffer(data, dtype=np.uint8)
        content = RecordDict({"wire": ArrayRecord({"bytes": Array(wire)})})
        messages = [Message(content, dst_node_id=node, message_type=message_type) for node in self.enrolled(nodes)]
        self.traffic.sent[name] += len(messages)
        self.traffic.sent_bytes[name] += len(messages) * len(data)
        out: dict[int, dict[str, Any]] = {}
        for reply in self._grid.send_and_receive(messages, timeout=self._timeout_s) if messages else ():
            fields_or_reason = self._read(reply, expected)
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


@dataclass(frozen=True)
class UpdateKind:
    """One part of a training: how devices are asked for an update, and how they answer."""

    message_type: str
    request: str
    reply: str

    def length(self, plan: Plan) -> int:
        """Values in one update."""
        return plan.network.n_parameters if self is INTEREST else N_COEFFICIENTS


INTEREST = UpdateKind("train", "train_request", "update")
RISK = UpdateKind("train.risk", "risk_request", "risk_update")


def check_update(fields: Mapping[str, Any], length: int, plan: Plan, round_number: int) -> Words | str:
    """The update's vector (length,) if it belongs to this round and plan, else the reason to drop it."""
    if fields["round"] != round_number:
        return "round"
    if fields["plan_sha256"] != plan.sha256:
        return "plan"
    if len(fields["values"]) != 4 * length:
        return "length"
    return unpack_words(fields["values"])


def collect(
    line: Channel, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], part: UpdateKind = INTEREST
) -> tuple[Words, int]:
    """Sum modulo 2^32 of the updates of a cohort of nodes, uint32 (length,), and how many are in it."""
    length = part.length(plan)
    total = np.zeros(length, np.uint32)
    survivors = 0
    for fields in line.ask(cohort, part.message_type, part.request, request, part.reply).values():
        vector = check_update(fields, length, plan, request["round"])
        if isinstance(vector, str):
            line.traffic.dropped[vector] += 1
            continue
        total += vector
        survivors += 1
    return total, survivors


def open_sum(total: Words, survivors: int, privacy: PrivacyPlan, traffic: Traffic) -> Doubles | None:
    """A round's sum over the *expected* cohort: float64, shaped as the sum, in model units.

    None if fewer than `min_survivors` are in it: such a sum would carry less noise than the plan promises, so it is not
    opened. The round stays charged.
    """
    if survivors < privacy.min_survivors:
        traffic.dropped["round_few_survivors"] += 1
        return None
    return from_grid(total, privacy.grid_step) / privacy.expected_cohort
