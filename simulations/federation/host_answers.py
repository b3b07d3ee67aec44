"""What hosted devices answer, in one piece for a whole host, counted as messages of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.refusals import bare_refusal
from server.channel import Traffic
from shared.arrays import Ints, hold_declared
from shared.codec import decode
from shared.errors import RefusalCode
from shared.messages import REGISTER

#: How many devices declined, by RefusalCode.
Refused = Mapping[int, int]


@dataclass(frozen=True)
class HostAnswers:
    """Answers of a host's devices to one query. Of those that have something to tell: `devices` (D,), and which of
    `messages`, all different, each of them sends (D,). `alike`: what `n_alike` others send, who saw nothing. `refused`:
    how many decline, by code."""

    devices: Ints
    which: Ints
    messages: Sequence[bytes]
    alike: bytes
    n_alike: int
    refused: Refused

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    def of(cls, told: Mapping[int, bytes], alike: bytes, n_devices: int) -> HostAnswers:
        """The answers of those who tell something, by device; the rest of `n_devices` answer alike."""
        places: dict[bytes, int] = {}
        which = [places.setdefault(message, len(places)) for message in told.values()]
        devices = np.fromiter(told, np.int64, len(told))
        return cls(devices, np.array(which, np.int64), tuple(places), alike, n_devices - len(told), {})

    @classmethod
    def refusals(cls, refused: Refused) -> HostAnswers:
        """Nobody answers."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), (), b"", 0, refused)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """As a host sends them to the server of a simulation: `messages` one behind the other, `alike` last, and where each ends."""
        every = (*self.messages, self.alike)
        return {
            "devices": self.devices,
            "which": self.which,
            "messages": np.frombuffer(b"".join(every), np.uint8),
            "ends": np.cumsum([len(message) for message in every]),
            "n_alike": np.array([self.n_alike]),
            "refused": as_pairs(self.refused),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> HostAnswers:
        data, ends = arrays["messages"].tobytes(), arrays["ends"].tolist()
        *messages, alike = (data[begin:end] for begin, end in pairwise([0, *ends]))
        refused = dict(arrays["refused"].tolist())
        return cls(arrays["devices"], arrays["which"], tuple(messages), alike, int(arrays["n_alike"][0]), refused)

    def read(self, traffic: Traffic) -> Iterator[tuple[int, dict[str, Any]]]:
        """(device, fields of its reply) of those that told something, devices that told the same one after the other; a message is
        read and counted when its first device's turn comes, and all others at the start: everybody's replies are counted at the
        end."""
        if self.n_alike:
            _read(traffic, self.alike, self.n_alike)
        count_refusals(traffic, self.refused)
        alike = self.devices[np.argsort(self.which, kind="stable")]
        ends = np.cumsum(np.bincount(self.which, minlength=len(self.messages))).tolist()
        for message, (begin, end) in zip(self.messages, pairwise([0, *ends]), strict=True):
            fields = _read(traffic, message, end - begin)
            for device in alike[begin:end].tolist():
                yield device, fields


def _read(traffic: Traffic, message: bytes, n: int) -> dict[str, Any]:
    """The fields of a message that `n` devices sent, which are counted."""
    name, fields = decode(REGISTER, message)
    traffic.received[name] += n
    traffic.received_bytes[name] += n * len(message)
    return fields


def as_pairs(refused: Refused) -> Ints:
    """How many declined, as an array of (code, how many), (n, 2)."""
    return np.array(sorted(refused.items()), np.int64).reshape(-1, 2)


def count_silent(traffic: Traffic, n: int) -> None:
    """Count hosted devices that stayed silent, as a node of its own that cannot be reached is counted."""
    if n:
        traffic.dropped["error"] += n


def count_refusals(traffic: Traffic, refused: Refused) -> None:
    """Count replies of hosted devices that declined, as a device's own refusal is counted."""
    for code, n in refused.items():
        if not n:
            continue
        traffic.received["refusal"] += n
        traffic.received_bytes["refusal"] += n * len(bare_refusal(RefusalCode(code)))
        traffic.dropped[f"refusal_{code}"] += n
