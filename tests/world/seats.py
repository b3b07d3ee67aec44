"""The server's side of secure sums, in this process: enrolled devices and helpers behind a fake grid.

What they do is the code as shipped: they send shares of vectors that a test gives them, hold seats, and take an epoch that the
tests' offline key signed. Only what they remember is in memory (`tests/client` and `tests/server/helper` try what is on disk).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from flwr.app import Message

from client.device import Profile
from client.vault.consent import Consent
from server.channel import Channel, Traffic
from server.device_nodes import DeviceNodes
from server.enrolling import enrolled
from server.enrolment import Enrolment
from server.optimizer import ServerSettings
from server.roll import Roll
from server.settings import RunSettings, Schedule
from server.state import ServerFolder
from server.sums import KeepList, SecureSum
from shared.codec import decode, encode
from shared.envelope import unwrap
from shared.errors import RefusalCode, SumError
from shared.events import Step
from shared.files import replace_content
from shared.messages import REGISTER, REQUESTS
from shared.plan import Plan, UpdateKind
from shared.secure_sum.assembly import header_of
from shared.secure_sum.duty import Duty, Slot
from shared.secure_sum.epoch import Epoch, read_list, sign, verified
from shared.secure_sum.header import Header
from shared.secure_sum.leaves import members
from shared.secure_sum.share import Contribution, contribute
from tests.world.basics import N_CATEGORIES, NOW_STEP, make_profile
from tests.world.fake_grid import SIGNER, FakeGrid, says, wire
from tests.world.signing import RUN

#: The offline key of the tests, and what apps pin of it.
ENROLMENT_PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32)
ENROLMENT_KEY = ENROLMENT_PRIVATE.public_key().public_bytes_raw()
NOW_S = NOW_STEP * Step.DAY.seconds
#: Helpers' nodes are numbered from here on.
FIRST_HELPER = 1001

#: What a device sends into a sum: of a header, its leaf, its identity key and its vector.
Contribute = Callable[[Header, bytes, Ed25519PrivateKey, np.ndarray], Contribution]
#: What somebody makes of his right reply: other fields, or None for silence.
Bend = Callable[[str, dict[str, Any]], dict[str, Any] | None]


class Party:
    """A device or a helper: its keys, the same for the same name, and for which list it answered in each sum."""

    def __init__(self, name: str) -> None:
        keys = [hashlib.sha256(f"{name} {use}".encode()).digest() for use in ("identity", "seat")]
        self.identity = Ed25519PrivateKey.from_private_bytes(keys[0])
        self.private = X25519PrivateKey.from_private_bytes(keys[1])
        self.leaf = b"".join(key.public_key().public_bytes_raw() for key in (self.identity, self.private))
        self.epoch: Epoch | None = None
        self.slots: dict[Slot, bytes] = {}

    def answered(self, slot: Slot) -> bytes | None:
        return self.slots.get(slot)

    def serve(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a reply to what is asked of whoever holds a seat."""
        if name == "enrolment_query":
            return {"epoch": request["epoch"], "identity": self.leaf[:32], "seat": self.leaf[32:]}
        if name == "epoch_offer":
            self.epoch = verified(request["signed"], ENROLMENT_KEY, NOW_S, request["audience"])
            return {"epoch": self.epoch.number}
        assert self.epoch is not None
        duty = Duty(self.epoch, self.leaf, self.identity, self.private, self)
        if name == "opinion_request":
            return duty.opinion(request)
        answer = duty.answer(request)
        self.slots[answer.slot] = answer.list_sha256
        return answer.fields


def node_of(party: Party, bend: Bend | None = None):
    """A node of whoever holds a seat, and does nothing else."""

    def answer(message: Message) -> Message | None:
        name, request = decode(REQUESTS, unwrap(wire(message)).body)
        try:
            fields: dict[str, Any] | None = party.serve(name, request)
        except SumError:
            return says(encode(REGISTER, "refusal", {"code": int(RefusalCode.LIST)}))(message)
        if bend and fields is not None:
            fields = bend(name, fields)
        return None if fields is None else says(encode(REGISTER, REQUESTS[name].reply, fields))(message)

    return answer


def helpers_of(n: int) -> dict[int, Party]:
    """So many helpers, by their nodes."""
    return {FIRST_HELPER + i: Party(f"helper {i}") for i in range(n)}


def closed(
    leaves: Sequence[bytes], helpers: Sequence[bytes] = (), *, number: int = 1, draws: int = 10, audience: str = ""
) -> Epoch:
    """An epoch of these, which holds at `NOW_S`."""
    return Epoch.close(audience, number, NOW_S - 86_400, NOW_S + 86_400, leaves, helpers, draws)


class World:
    """Devices of nodes 1..n and a plan's helpers in one epoch, and the server's sum over them. `vectors`: what each device sends in,
    by node, int64. `bends` and `sends` make somebody misbehave, by node; `gone` nodes fail."""

    def __init__(
        self,
        plan: Plan,
        n_devices: int,
        *,
        kind: UpdateKind | None = None,
        n_enrolled: int = 0,
        keep: KeepList = lambda listed: None,
        helpers: Mapping[int, Party] | None = None,
    ) -> None:
        assert plan.sum is not None
        self.plan, self.kind = plan, kind or plan.updates[0]
        self.cohort = list(range(1, n_devices + 1))
        self.devices = {node: Party(f"device {node}") for node in range(1, max(n_devices, n_enrolled) + 1)}
        self.helpers = dict(helpers) if helpers else helpers_of(plan.sum.helpers)
        random = np.random.default_rng(n_devices)
        most = plan.privacy.steps_per_clip
        self.vectors = {node: random.integers(-most, most, self.kind.n_values, endpoint=True) for node in self.devices}
        self.bends: dict[int, Bend] = {}
        self.sends: dict[int, Contribute] = {}
        self.gone: set[int] = set()
        leaves = [party.leaf for party in self.devices.values()]
        self.epoch = closed(leaves, [party.leaf for party in self.helpers.values()])
        self.grid = FakeGrid({node: self._node(node) for node in (*self.devices, *self.helpers)})
        for party in self.parties.values():
            party.epoch = self.epoch
        self.roll = Roll(self.epoch, members(leaves), {party.leaf: node for node, party in self.parties.items()})
        self.enrolment = Enrolment()
        self.enrolment.enrol({n: p.leaf for n, p in self.devices.items()}, len(self.devices))
        self.traffic = Traffic()
        self.channel = Channel(self.grid, self.traffic, SIGNER, self.enrolment)
        self.sums = SecureSum(self.channel, self.roll, keep)

    @property
    def parties(self) -> dict[int, Party]:
        return {**self.devices, **self.helpers}

    @property
    def dropped(self) -> dict[str, int]:
        return dict(self.traffic.dropped)

    def node_at(self, index: int) -> int:
        """The node of a device by its place in the list."""
        node = self.roll.node_at(index)
        assert node is not None
        return node

    def plain_sum(self, nodes: Sequence[int]) -> np.ndarray:
        """The plain integer sum of some devices' vectors modulo 2^32: what a secure one has to be."""
        return (sum(self.vectors[node] for node in nodes) & 0xFFFFFFFF).astype(np.uint32)

    def request(self, round_number: int = 1) -> dict[str, Any]:
        theta = b"\0" * 4 * self.plan.network.n_parameters
        head = {"audience": "", "run": 1, "step": 1, "round": round_number, "plan_sha256": self.plan.sha256}
        return {**head, "theta": theta}

    def collect(self, round_number: int = 1) -> tuple[np.ndarray, int]:
        """One round of the whole cohort."""
        return self.sums.collect(self.cohort, self.plan, self.request(round_number), self.kind)

    def asked_for(self, name: str) -> list[int]:
        """Who was asked a request of this name, in order."""
        return [node for node, route, _ in self.grid.asked if route == REQUESTS[name].endpoint]

    def _node(self, node: int):
        def answer(message: Message) -> Message | None:
            if node in self.gone:
                return None
            bend = self.bends.get(node)
            body = unwrap(wire(message)).body
            name, request = decode(REQUESTS, body)
            if name != self.kind.request:
                return node_of(self.parties[node], bend)(message)
            party = self.devices[node]
            header = header_of(self.plan, self.kind, request, hashlib.sha256(body).digest(), self.epoch)
            send = self.sends.get(node, contribute)
            fields: dict[str, Any] | None = {
                "round": request["round"],
                "plan_sha256": request["plan_sha256"],
                **vars(send(header, party.leaf, party.identity, self.vectors[node])),
            }
            if bend and fields is not None:
                fields = bend(name, fields)
            return None if fields is None else says(encode(REGISTER, self.kind.reply, fields))(message)

        return answer


# ---- whole runs, whose server waits for its list to be signed


@contextmanager
def signing(folder: Path, helpers: Mapping[int, Party] | None = None, *, draws: int = 100) -> Iterator[None]:
    """Sign the list of a server's folder with the tests' offline key as soon as it is there, while the body runs."""
    done, server = threading.Event(), ServerFolder(folder)

    def wait() -> None:
        while not done.is_set():
            if server.enrolment_list.exists() and not server.signed_epoch.exists():
                listed = read_list(server.enrolment_list)
                helping = [party.leaf for party in (helpers or {}).values()]
                epoch = closed(listed.leaves, helping, number=listed.number, draws=draws, audience=listed.audience)
                replace_content(server.signed_epoch, sign(epoch, ENROLMENT_PRIVATE))
            done.wait(0.01)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def enrolled_profile(consent: Consent = Consent.LOCAL, number: int = 7) -> Profile:
    """A profile whose app pins the tests' offline key."""
    return replace(make_profile(consent, number), enrolment_key=ENROLMENT_KEY)


def federation_of(
    grid: FakeGrid, plan: Plan, folder: Path, helpers: Mapping[int, Party], nodes: Sequence[int] = ()
) -> DeviceNodes:
    """The server's side of real devices behind a grid, once they and the helpers are enrolled: helpers' nodes join the grid."""
    server = ServerFolder(folder)
    enrolment = Enrolment(server.enrolment_file)
    grid.nodes = {**{node: node_of(party) for node, party in helpers.items()}, **grid.nodes}
    channel = Channel(grid, Traffic(), SIGNER, enrolment)
    settings = RunSettings(
        plan,
        ServerSettings(),
        Schedule(0, 1, 1),
        folder,
        model=b"",
        theta=plan.network.initial_theta(0),
        node_wait_s=0.0,
        risk_server=ServerSettings(),
        public_rows=None,
        key_file=folder / "key.pem",
        n_categories=N_CATEGORIES,
        run=RUN,
        helpers=tuple(party.leaf[:32] for party in helpers.values()),
        epoch_wait_s=10.0,
    )
    with signing(folder, helpers):
        roll = enrolled(channel, nodes or list(grid.nodes), settings, server)
    return DeviceNodes(channel, enrolment.nodes, SecureSum(channel, roll, server.lists().keep))


def deaf(grid: FakeGrid, plan: Plan, enrolment: Enrolment | None = None) -> DeviceNodes:
    """The server's side of nodes that send nothing into sums; they count as enrolled, and the plan's helpers are there."""
    assert plan.sum is not None
    nodes = list(grid.nodes)
    leaves, helpers = {Party(f"device {node}").leaf: node for node in nodes}, helpers_of(plan.sum.helpers)
    epoch = closed(list(leaves), [party.leaf for party in helpers.values()])
    for party in helpers.values():
        party.epoch = epoch
    grid.nodes = {**{node: node_of(party) for node, party in helpers.items()}, **grid.nodes}
    roll = Roll(epoch, members(leaves), leaves | {party.leaf: node for node, party in helpers.items()})
    channel = Channel(grid, Traffic(), SIGNER, enrolment)
    return DeviceNodes(channel, nodes, SecureSum(channel, roll, lambda listed: None))
