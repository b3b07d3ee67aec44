"""What a server gets that wants one device's vector out of a secure sum: `python -m simulations.attacks.hostile_server`.

Real keys, boxes and checks (`shared/secure_sum/`), three helpers, and vectors without any noise, so that whatever comes out
tells all. In one world the victim's vector is large in every value, in the other it is null; the attack reads what it gets as
the victim's vector. How well that tells the worlds apart is a lower bound on epsilon, as in `distinguishing.py`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from rich.table import Table

from shared.arrays import Words, hold_declared
from shared.errors import SumError
from shared.secure_sum.correction import opened
from shared.secure_sum.duty import Duty, Slot
from shared.secure_sum.entry import Entry, SumList
from shared.secure_sum.epoch import Epoch
from shared.secure_sum.field import Field
from shared.secure_sum.header import Header
from shared.secure_sum.leaves import leaf_of, members
from shared.secure_sum.merkle import prove
from shared.secure_sum.seat import read_boxes
from shared.secure_sum.share import box_bytes, contribute

from ..audit.bounds import epsilon_at_least
from ..terminal.ending import end_with
from ..terminal.printing import say_table

N_DEVICES, N_HELPERS, N_VALUES, STEPS = 5, 3, 8, 1024


class Member:
    """A device or a helper, with the keys of one epoch; of a helper, also which list it answered for in each sum."""

    def __init__(self) -> None:
        self.identity, self.private = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
        self.leaf = leaf_of(*(key.public_key().public_bytes_raw() for key in (self.identity, self.private)))
        self._answered: dict[Slot, bytes] = {}

    def answered(self, slot: Slot) -> bytes | None:
        return self._answered.get(slot)

    def add_up(self, epoch: Epoch, request: Mapping[str, bytes], header: Header) -> Words:
        """This helper's answer to a sum_request: its shares' sum. SumError by name if it does not answer."""
        answer = Duty(epoch, self.leaf, self.identity, self.private, self).answer(request)
        self._answered[answer.slot] = answer.list_sha256
        return header.code.field.unpack(answer.values, header.code.n_blocks(header.n_values))


@dataclass(frozen=True)
class Round:
    """One round: its header, its epoch, and what every device sent, the victim first; `leaves` is the list of the epoch."""

    header: Header
    epoch: Epoch
    leaves: Sequence[bytes]
    helpers: Sequence[Member]
    devices: Sequence[Member]
    sent: Mapping[bytes, tuple[Entry, bytes]]  #: by leaf
    others: Words  #: what all but the victim come to, which the server knows

    def __post_init__(self) -> None:
        hold_declared(self)

    @property
    def victim(self) -> bytes:
        return self.devices[0].leaf

    def asked(
        self,
        helper: Member,
        who: Sequence[bytes],
        header: Header | None = None,
        instead: Mapping[bytes, tuple[Entry, bytes]] | None = None,
    ) -> Words:
        """What a helper answers for a list of these devices; under another header, or with other entries, if they are given."""
        header = header or self.header
        sent = {**self.sent, **(instead or {})}
        listed = SumList.of(header, [sent[leaf][0] for leaf in who])
        boxes = [sent[entry.leaf][1] for entry in listed.entries]
        place = header.position_of(helper.leaf)
        own = read_boxes(boxes, box_bytes(header), place - header.t_priv) if place >= header.t_priv else b""
        request = {
            "header": header.canonical,
            "entries": listed.canonical,
            "proof": prove(self.leaves, [entry.index for entry in listed.entries]),
            "boxes": own,
        }
        return helper.add_up(self.epoch, request, header)

    def read(self, answers: Sequence[Words], *, known: Words) -> float:
        """How much of the victim there is in what these answers open, less what is known of it: a score."""
        code = self.header.code
        found = opened(code, np.arange(len(answers)), np.stack(answers), self.header.n_values).values
        return float(code.field.to_signed(code.field.minus(found, known)).mean())


@dataclass
class Sums:
    """Enrolled devices and helpers, who go from round to round."""

    helpers: list[Member] = field(default_factory=lambda: [Member() for _ in range(N_HELPERS)])
    devices: list[Member] = field(default_factory=lambda: [Member() for _ in range(N_DEVICES)])
    rounds: int = 0

    def __post_init__(self) -> None:
        helping = [helper.leaf for helper in self.helpers]
        self.leaves = members([device.leaf for device in self.devices], helping)
        self.epoch = Epoch.close("example.org/app", 1, 0, 86_400, self.leaves, helping, 1)
        self.plan_sha256 = os.urandom(32)

    def round(self, *, there: bool) -> Round:
        """The next round, in one of the two worlds."""
        self.rounds += 1
        header = Header(
            kind="update",
            plan_sha256=self.plan_sha256,
            round=self.rounds,
            epoch_sha256=self.epoch.sha256,
            seats=self.epoch.helpers,
            absent=(),
            pads=(),
            prime=Field.holding(2 * N_DEVICES * STEPS).prime,
            t_priv=N_HELPERS - 1,
            t_rec=N_HELPERS,
            n_values=N_VALUES,
            min_survivors=N_DEVICES - 1,
            body_sha256=os.urandom(32),
        )
        random = np.random.default_rng()
        vectors = random.integers(-STEPS, STEPS, (N_DEVICES, N_VALUES), endpoint=True)
        vectors[0] = STEPS if there else 0
        sent = {
            device.leaf: self.sent(header, device, vector) for device, vector in zip(self.devices, vectors, strict=True)
        }
        helpers = sorted(self.helpers, key=lambda helper: header.position_of(helper.leaf))
        others = header.code.field.from_signed(vectors[1:].sum(axis=0))
        return Round(header, self.epoch, self.leaves, helpers, self.devices, sent, others)

    def sent(self, header: Header, device: Member, vector: np.ndarray) -> tuple[Entry, bytes]:
        made = contribute(header, device.leaf, device.identity, vector)
        entry = Entry.sign(header, device.leaf, device.identity, made.ephemeral, made.sealed)
        return replace(entry, index=self.leaves.index(device.leaf)), made.sealed


# ---- attacks: each gives a score, or is refused by a SumError


def everybody(r: Round) -> list[bytes]:
    return [device.leaf for device in r.devices]


def honest_sum(r: Round) -> float:
    """No attack: the list of everybody, opened. Without noise, and with all others known, that tells all."""
    return r.read([r.asked(helper, everybody(r)) for helper in r.helpers], known=r.others)


def victim_alone(r: Round) -> float:
    """All but one device are dropped."""
    return r.read([r.asked(helper, [r.victim]) for helper in r.helpers], known=np.zeros_like(r.others))


def lower_bar(r: Round) -> float:
    """The same, under a header that says one device is enough."""
    low = replace(r.header, min_survivors=1)
    return r.read([r.asked(helper, [r.victim], low) for helper in r.helpers], known=np.zeros_like(r.others))


def copies(r: Round) -> float:
    """What the victim sent is sent again by all others, under their own names: a sum of copies."""
    of_victim, sealed = r.sent[r.victim]
    again = {}
    for device in r.devices[1:]:
        entry = Entry.sign(r.header, device.leaf, device.identity, of_victim.ephemeral, sealed)
        again[device.leaf] = replace(entry, index=r.sent[device.leaf][0].index), sealed
    answers = [r.asked(helper, everybody(r), instead=again) for helper in r.helpers]
    return r.read(answers, known=np.zeros_like(r.others))


def second_list(r: Round) -> float:
    """Everybody is summed, and then everybody but the victim, to subtract one from the other."""
    whole = r.read([r.asked(helper, everybody(r)) for helper in r.helpers], known=np.zeros_like(r.others))
    rest = [r.asked(helper, everybody(r)[1:]) for helper in r.helpers]
    return whole - r.read(rest, known=np.zeros_like(r.others))


def split_lists(r: Round) -> float:
    """Two helpers are given everybody, the third everybody but the victim; their answers are put together."""
    lists = everybody(r), everybody(r), everybody(r)[1:]
    return r.read([r.asked(helper, who) for helper, who in zip(r.helpers, lists, strict=True)], known=r.others)


def two_helpers(r: Round) -> float:
    """Two of three helpers hand the server what they hold; of the third nothing is known."""
    answers = [r.asked(helper, everybody(r)) for helper in r.helpers[1:]]
    return r.read([np.zeros_like(answers[0]), *answers], known=r.others)


#: By key, in words.
ATTACKS: Mapping[str, tuple[str, Callable[[Round], float]]] = {
    "whole": ("no attack: everybody summed, all others known, no noise", honest_sum),
    "alone": ("drops all but one device", victim_alone),
    "bar": ("drops all but one, under a header that allows it", lower_bar),
    "copies": ("sends one device's message again under other names", copies),
    "second": ("asks for a second list without one device", second_list),
    "split": ("gives one helper a list without one device", split_lists),
    "two": ("has two of three helpers on its side", two_helpers),
}


@dataclass(frozen=True)
class Gained:
    """What an attack came to: how often it was refused, by which name, of so many times; and the epsilon that what it got tells at
    least (0 where it got nothing)."""

    name: str
    tried: int
    refused: Counter[str]
    measured: float

    @property
    def reason(self) -> str:
        return ", ".join(sorted(self.refused))


def gained(key: str, n: int) -> Gained:
    """One attack, `n` times in each world."""
    name, attack = ATTACKS[key]
    sums, refused = Sums(), Counter[str]()
    scores: dict[bool, list[float]] = {True: [], False: []}
    for there, found in scores.items():
        for _ in range(n):
            try:
                found.append(attack(sums.round(there=there)))
            except SumError as error:
                refused[error.reason] += 1
                found.append(0.0)
    with_it, without_it = (np.array(scores[there]) for there in (True, False))
    return Gained(name, 2 * n, refused, epsilon_at_least(with_it, without_it, 0.0))


def main(n: int = 200) -> None:
    """Print what each attack gains."""
    table = Table(title="A server that wants one device's vector: three helpers, real keys, no noise")
    for column in ("what it does", "tried", "refused", "epsilon at least"):
        table.add_column(column, justify="left" if column == "what it does" else "right")
    for key in ATTACKS:
        one = gained(key, n)
        told = f"{one.refused.total()} ({one.reason})" if one.refused else "0"
        table.add_row(one.name, str(one.tried), told, f"{one.measured:.2f}")
    say_table(table)


if __name__ == "__main__":
    end_with(main)
