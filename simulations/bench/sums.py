"""What a secure sum costs a device and a seat, beside the functions of Flower's SecAgg+ on the same machine, in the same minute.

Flower's are those of its legacy workflow (flwr.common.secure_aggregation): a device's share phase and its masking phase, for each
neighbour a key agreement on P-384, two shares, a box, and a pseudo-random mask.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flwr.common.secure_aggregation.crypto.shamir import create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import decrypt, encrypt, generate_shared_key
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen, share_keys_plaintext_concat

from shared.codec import encode
from shared.messages import REGISTER, REQUESTS
from shared.plan import PrivacyPlan, SumPlan, UpdateKind
from shared.secure_sum.assembly import code_of
from shared.secure_sum.duty import Duty, Slot
from shared.secure_sum.entry import Entry, SumList
from shared.secure_sum.epoch import Epoch
from shared.secure_sum.header import Header
from shared.secure_sum.leaves import leaf_of, members
from shared.secure_sum.merkle import prove
from shared.secure_sum.seat import read_boxes
from shared.secure_sum.share import Contribution, box_bytes, contribute
from shared.secure_sum.sizes import seats

from .measurements import Measurement

#: The largest network of a shipped scenario, and Flower's neighbours that the seats are measured beside, with their threshold.
N_VALUES, NEIGHBOURS, THRESHOLD = 1601, 32, 14
#: Who is enrolled where devices hold seats, and how many of them are in a sum.
ENROLLED, LISTED = 5_000, 500


@dataclass(frozen=True)
class Member:
    """One enrolled device, or helper, with its keys, and for which list it answered."""

    identity: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    seat: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    @property
    def leaf(self) -> bytes:
        return leaf_of(*(key.public_key().public_bytes_raw() for key in (self.identity, self.seat)))

    def answered(self, slot: Slot) -> bytes | None:
        return None


@dataclass(frozen=True)
class Enrolled:
    """An epoch of members, by leaf in the order of its list, and a sum among them."""

    epoch: Epoch
    devices: dict[bytes, Member]
    holders: dict[bytes, Member]
    header: Header

    @classmethod
    def of(cls, planned: SumPlan, n_enrolled: int, privacy: PrivacyPlan) -> Enrolled:
        drawn = {one.leaf: one for one in (Member() for _ in range(n_enrolled))}
        devices = {leaf: drawn[leaf] for leaf in members(drawn)}
        helpers = {one.leaf: one for one in (Member() for _ in range(planned.helpers))}
        epoch = Epoch.close("bench", 1, 0, 1, devices, helpers, 1)
        sitting = list(devices)[: planned.seats]
        code = code_of(planned, UpdateKind("train_request", privacy, N_VALUES))
        header = Header(
            "update",
            bytes(32),
            1,
            epoch.sha256,
            tuple(sitting) or epoch.helpers,
            (),
            epoch.helpers if sitting else (),
            code.field.prime,
            code.t_priv,
            code.t_rec,
            N_VALUES,
            1,
            bytes(32),
        )
        return cls(epoch, devices, {**devices, **helpers}, header)

    def contribution(self, leaf: bytes) -> Contribution:
        values = np.random.default_rng(0).integers(-4096, 4096, N_VALUES)
        return contribute(self.header, leaf, self.devices[leaf].identity, values)

    @property
    def bytes_up(self) -> int:
        """How long the reply of a device is, all of it."""
        sent = vars(self.contribution(next(iter(self.devices))))
        return len(encode(REGISTER, "update", {"round": 1, "plan_sha256": bytes(32), **sent}))


def privacy_of(population: int, listed: int) -> PrivacyPlan:
    """A round of so many devices; its grid and clip are those of the shipped scenarios of real people."""
    least = listed * 4 // 5
    return PrivacyPlan(
        clip_norm=0.3,
        noise_multiplier=4.0,
        sampling_rate=listed / population,
        rounds=1,
        population=population,
        min_survivors=least,
        max_colluders=0,
        steps_per_clip=4096,
    )


def sum_numbers(repeats: int, n_listed: int = LISTED) -> list[Measurement]:
    """Bytes and processor time of devices and seats, and the ratio to Flower's, `repeats` times in turns."""
    found = seats(ENROLLED, N_VALUES, 3)
    planned = SumPlan(0, found.n_seats, found.n_drawn, found.t_priv, found.t_rec)
    by_devices = Enrolled.of(planned, ENROLLED, privacy_of(ENROLLED, LISTED))
    by_helpers = Enrolled.of(SumPlan(3), 2, privacy_of(10_000, 10_000))
    device, share_and_mask = next(iter(by_devices.devices)), flower_device(NEIGHBOURS, THRESHOLD)
    pairs = [
        (cpu_s(share_and_mask) / NEIGHBOURS, cpu_s(lambda: by_devices.contribution(device)) / found.n_seats)
        for _ in range(repeats + 1)
    ][1:]
    worst_kb, worst_s = worst_seat(by_devices, n_listed, repeats)
    who = f"{found.n_seats} seats of {ENROLLED:,} devices, {n_listed} in the sum"
    beside = "Flower's SecAgg+ functions at 32 neighbours, {:.3g} ms a neighbour"
    return [
        Measurement.of(
            "sum.bytes_up_helpers",
            f"a device's update, {N_VALUES:,} values, three helpers, 10,000 devices",
            [by_helpers.bytes_up / 1e3],
            "KB",
            at_most=7.0,
        ),
        Measurement.of("sum.bytes_up_seats", f"  the same, {who}", [by_devices.bytes_up / 1e3], "KB", at_most=15.0),
        Measurement.of(
            "sum.device_ms", "  processor time for it", [ours * found.n_seats * 1e3 for _, ours in pairs], "ms"
        ),
        Measurement.of(
            "sum.cpu_ratio_to_flower",
            "  Flower's time for a neighbour / ours for a seat",
            [theirs / ours for theirs, ours in pairs],
            "x",
            at_least=50.0,
            beside=beside.format(float(np.median([theirs for theirs, _ in pairs])) * 1e3),
        ),
        Measurement.of(
            "sum.seat_kb_down_n500", f"the worst seat gets, lists and proofs included, {who}", [worst_kb], "KB"
        ),
        Measurement.of("sum.seat_s_n500", "  and works, opinion and answer", worst_s, "s", at_most=0.5),
    ]


def cpu_s(work: Callable[[], object]) -> float:
    """Processor seconds of this process, of which nothing else is going on in it."""
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def worst_seat(enrolled: Enrolled, n_listed: int, repeats: int) -> tuple[float, list[float]]:
    """KB down, and processor seconds, of the seat that gets and works most: one that opens boxes, or one whose shares are
    streams; both its requests, with the proof that those listed are enrolled."""
    header, leaves = enrolled.header, list(enrolled.devices)
    places = np.linspace(0, len(leaves) - 1, n_listed).astype(int).tolist()
    sent = [enrolled.contribution(leaves[place]) for place in places]
    entries = [
        Entry(place, leaves[place], said.ephemeral, hashlib.sha256(said.sealed).digest(), said.signature)
        for place, said in zip(places, sent, strict=True)
    ]
    listed, proof = SumList.of(header, entries), prove(leaves, places)
    kb, seconds = [], []
    for place in (0, len(header.seats) - 1):
        sealed = place >= header.t_priv
        boxes = read_boxes([one.sealed for one in sent], box_bytes(header), place - header.t_priv) if sealed else b""
        request = {
            "audience": "bench",
            "epoch": 1,
            "header": header.canonical,
            "entries": listed.canonical,
            "proof": proof,
            "boxes": boxes,
        }
        names = ("opinion_request", "sum_request")
        kb.append(sum(len(encode(REQUESTS, name, request)) for name in names) / 1e3)
        holder = enrolled.holders[header.seats[place]]
        duty = Duty(enrolled.epoch, holder.leaf, holder.identity, holder.seat, holder)
        seconds.append(
            [cpu_s(partial(duty.opinion, request)) + cpu_s(partial(duty.answer, request)) for _ in range(repeats)]
        )
    return max(kb), max(seconds, key=np.median)


def flower_device(n_neighbours: int, threshold: int) -> Callable[[], object]:
    """What a device of Flower's SecAgg+ does in a round with so many neighbours, all of whom stay: shares out its keys, then masks."""
    mine = [ec.generate_private_key(ec.SECP384R1()) for _ in range(2)]
    theirs = [
        tuple(ec.generate_private_key(ec.SECP384R1()).public_key() for _ in range(2)) for _ in range(n_neighbours)
    ]
    secret = mine[0].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def work() -> object:
        seeds = create_shares(os.urandom(32), threshold, n_neighbours + 1)
        keys = create_shares(secret, threshold, n_neighbours + 1)
        boxes = []
        for number, (_, to_box) in enumerate(theirs):
            key = generate_shared_key(mine[1], to_box)
            boxes.append((key, encrypt(key, share_keys_plaintext_concat(1, number, seeds[number], keys[number]))))
        for key, box in boxes:
            decrypt(key, box)
        masked = np.zeros(N_VALUES, np.int64)
        for to_mask, _ in theirs:
            masked += pseudo_rand_gen(generate_shared_key(mine[0], to_mask), 1 << 32, [(N_VALUES,)])[0]
        return masked

    return work
