"""The ServerApp of `hosts` fidelity: the server as shipped, over nodes that host many devices each."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid, ServerApp
from numpy.typing import NDArray

from server.app import log_of, run
from server.channel import Traffic, hasten, wait_for_nodes
from server.federation import MODEL_OFFER
from server.replies import first_replies
from server.rounds import drawn_places
from server.settings import RunSettings
from server.signing import Signer, signing_key
from server.state import ServerFolder
from shared.arrays import Words
from shared.codec import encode
from shared.errors import RunError
from shared.messages import REGISTER, REQUESTS
from shared.plan import Plan, UpdateKind
from shared.secure_sum.assembly import sent_bytes

from .host_answers import HostAnswers, count_refusals, count_silent

#: Of a request whose sum is ideal: no seat is drawn, and no key exchanged. Its epoch would be that of its run.
UNSEATED = {"seats": b"", "seats_proof": b"", "absent": b""}

#: A host works for all of its devices before it says anything, which may take as long as a run: its `simulation.timeout_s` ends it.
HOST_TIMEOUT_S = 86_400.0

app = ServerApp()


class HostNodes:
    """A federation in which a Flower node hosts many devices. Bytes are counted as if each device had been asked."""

    def __init__(self, grid: Grid, nodes: Sequence[int], n_devices: int, signer: Signer) -> None:
        self._grid, self._nodes, self._n_devices, self._signer = grid, nodes, n_devices, signer
        self._first_user: dict[int, int] = {}
        self.traffic = Traffic()

    def offer(self, fields: Mapping[str, Any], name: str = MODEL_OFFER) -> int:
        data = self._encode(name, fields, self._n_devices)
        replies = self._send(name, data, self._nothing_more())
        users = {node: reply["users"] for node, reply in replies.items()}
        if sum(int(n) for _, n in users.values()) != self._n_devices:
            raise RunError(f"expected hosts of {self._n_devices} devices, got {len(users)} answers")
        self._first_user = {node: int(first) for node, (first, _) in users.items()}
        taken = self._n_devices
        for reply in replies.values():
            refused = dict(reply["refused"].tolist())
            count_refusals(self.traffic, refused)
            taken -= sum(refused.values())
        self._count_replies("receipt", {"plan_sha256": bytes(32)}, taken)
        return taken

    def sample(self, sampling_rate: float) -> Sequence[int]:
        return array("q", drawn_places(self._n_devices, sampling_rate).tobytes())  # eight bytes a device

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], kind: UpdateKind
    ) -> tuple[Words, int]:
        data = self._encode(kind.request, {**request, **UNSEATED, "epoch": max(1, request["run"])}, len(cohort))
        nodes = sorted(self._first_user, key=self._first_user.__getitem__)
        devices = np.sort(np.asarray(cohort, np.int64))
        cuts = np.searchsorted(devices, [self._first_user[node] for node in nodes[1:]])
        parts = {
            node: {"devices": mine} for node, mine in zip(nodes, np.split(devices, cuts), strict=True) if mine.size
        }
        total, survivors = np.zeros(kind.n_values, np.uint32), 0
        for node, reply in self._send(kind.request, data, parts).items():
            total += reply["total"]
            survived, refused = int(reply["survivors"][0]), dict(reply["refused"].tolist())
            survivors += survived
            count_refusals(self.traffic, refused)
            count_silent(self.traffic, len(parts[node]["devices"]) - survived - sum(refused.values()))
        if plan.sum is not None:
            fields = {k: request[k] for k in ("round", "plan_sha256")}
            sealed = bytes(sent_bytes(plan.sum, kind))
            self._count_replies(
                kind.reply, {**fields, "ephemeral": bytes(32), "sealed": sealed, "signature": bytes(64)}, survivors
            )
        return total, survivors

    def ask(self, name: str, fields: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        data = self._encode(name, fields, self._n_devices)
        for reply in self._send(name, data, self._nothing_more()).values():
            yield from HostAnswers.from_arrays(reply).read(self.traffic)

    def _nothing_more(self) -> dict[int, dict[str, NDArray[Any]]]:
        """The request alone, to every host."""
        return {node: {} for node in self._nodes}

    def _encode(self, name: str, fields: Mapping[str, Any], n_devices: int) -> bytes:
        data = self._signer.sign(encode(REQUESTS, name, fields), name)
        self.traffic.sent[name] += n_devices
        self.traffic.sent_bytes[name] += n_devices * len(data)
        return data

    def _count_replies(self, name: str, fields: Mapping[str, Any], n_devices: int) -> None:
        """Count replies that have the same length for every device."""
        self.traffic.received[name] += n_devices
        self.traffic.received_bytes[name] += n_devices * len(encode(REGISTER, name, fields))

    def _send(
        self, name: str, data: bytes, arrays: Mapping[int, Mapping[str, NDArray[Any]]]
    ) -> dict[int, dict[str, NDArray[Any]]]:
        """Replies' arrays by host. A host that fails, or says nothing in time, is dropped with all its devices, and counted. RunError if
        a worker is lost: Flower would go on giving it messages, and drop the hosts that they are for, to the end of the run."""
        wire = ArrayRecord({"bytes": Array(np.frombuffer(data, dtype=np.uint8))})
        messages = [
            Message(
                RecordDict({"wire": wire, "host": ArrayRecord({k: Array(v) for k, v in extra.items()})}),
                dst_node_id=node,
                message_type=REQUESTS[name].endpoint,
            )
            for node, extra in arrays.items()
        ]
        out = {}
        for node, reply in first_replies(self._grid, messages, HOST_TIMEOUT_S, self.traffic.dropped):
            if reply.has_error():
                if reply.error.code == ErrorCode.UNKNOWN:
                    raise RunError(lost_worker(reply.error.reason))
                continue
            content = reply.content["host"]
            out[node] = {name: array.numpy() for name, array in content.items()}  # type: ignore[union-attr]
        if failed := len(messages) - len(out):
            self.traffic.dropped["host"] += failed
        return out


def lost_worker(said: str | None) -> str:
    """What became of a run when Ray said this instead of a worker's reply, in a line that names the worker's node where Ray does."""
    where, what = (
        re.search(part, said or "") for part in (r"\bip(?:v4)?: ?(\d+(?:\.\d+){3})", r"\bray\.exceptions\.(\w+)")
    )
    return (
        f"a worker{f' on {where[1]}' if where else ''} is lost ({what[1] if what else 'of no known reason'}), and nobody takes its place "
        "in this run: --resume goes on with it; see that its node runs, and has enough memory"
    )


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One Flower run in which every node hosts many devices."""
    serve(grid, context.run_config)


def serve(grid: Grid, config: Mapping[str, Any]) -> None:
    """What the server does in a run of this configuration (`run_settings.run_config`)."""
    settings = RunSettings.read(config)
    hasten(grid)
    nodes = wait_for_nodes(grid, int(config["simulation.hosts"]), settings.node_wait_s)
    devices = settings.plan.privacy.population
    ServerFolder(settings.folder).report("devices", devices, devices)
    clock, log = settings.schedule.clock(), log_of(settings)
    run(HostNodes(grid, nodes, devices, Signer(signing_key(settings.key_file), clock, log)), settings, clock, log=log)
