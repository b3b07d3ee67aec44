"""The ClientApp of `hosts` fidelity: one Flower node hosts K devices, and works on all of them at once.

Each device still draws its own rows, is clipped on its own, makes its own noise and is counted on its own, by the code
of `shared` and `client` with a leading axis; training is the numpy network instead of TFLite (a test holds the two
equal). What a host replies to a training round is the sum modulo 2^32 of its devices' updates: what a secure sum over
them would show. Work goes in chunks, so memory does not grow with K; training rows lie in a memory-mapped file.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from client.app import alert_fields
from client.consent import Consent
from client.device import Alert
from client.gate import declared
from client.risk import Direction, RiskLevel
from client.rows import draw, draw_masks, generator
from client.watch import Watch
from shared.codec import decode, unpack_floats
from shared.errors import RunError
from shared.features import History, extract, labels, seen
from shared.mechanisms import Entropy, protect
from shared.messages import REQUESTS
from shared.network import fit, forward
from shared.plan import Plan

from .devices import world
from .evaluate import history_of
from .notes import HOSTS, HostNotes
from .turns import Alerts

CHUNK_DEVICES = 64
SCORE_USERS = 512
COUNT_USERS = 4096

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def fresh_entropy(folder: Path) -> Entropy:
    """A ChaCha20 stream under a new key from the operating system; the key's SHA-256 is written down first, on disk,
    so that a test can see that no noise was ever used twice."""
    key = os.urandom(32)
    with (folder / "commitments.txt").open("a", encoding="ascii") as file:
        file.write(hashlib.sha256(key).hexdigest() + "\n")
        file.flush()
        os.fsync(file.fileno())
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    return lambda n: stream.update(bytes(n))


class TrainingRows:
    """The labelled rows of K devices, device by device: x (n + 1, F), y (n + 1,) memory-mapped, offsets (K + 1,).

    The last row is spare, so that a device without rows has one to point at (with weight 0).
    """

    def __init__(self, x: Floats, y: Floats, offsets: Ints) -> None:
        self.x, self.y, self.offsets = x, y, offsets

    @classmethod
    def write(cls, folder: Path, history: History, plan: Plan) -> None:
        """Compute them from the hosted users' history (K, C, T) as of now, a chunk of users at a time."""
        last = history.n_steps - 1 - plan.horizon_steps
        steps = np.arange(max(0, last - plan.training.history_steps + 1), last + 1)
        known = seen(history, steps)
        counts = known.sum(axis=(1, 2))
        np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(counts)]))
        shape = (int(counts.sum()) + 1, plan.features.n_features)
        x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, shape)
        y = np.lib.format.open_memmap(folder / "y.npy", "w+", np.float32, shape[:1])
        at = 0
        for first in range(0, len(counts), SCORE_USERS):
            part = _users(history, first)
            chosen = known[first : first + SCORE_USERS]
            end = at + int(chosen.sum())
            x[at:end] = extract(part, plan.features, steps)[chosen]
            y[at:end] = labels(part, steps, plan.horizon_steps)[chosen]
            at = end
        x.flush()
        y.flush()

    @classmethod
    def load(cls, folder: Path) -> TrainingRows:
        x, y = (np.asarray(np.load(folder / name, mmap_mode="r")) for name in ("x.npy", "y.npy"))
        return cls(x, y, np.load(folder / "offsets.npy"))


def _users(history: History, first: int) -> History:
    """A chunk of the users of a history (K, C, T): views."""
    rows = slice(first, first + SCORE_USERS)
    return History(history.active[rows], history.count[rows], history.amount[rows])


def sum_of_updates(
    rows: TrainingRows,
    devices: Ints,
    numbers: Ints,
    plan: Plan,
    theta: Floats,
    round_number: int,
    entropy: Entropy,
) -> NDArray[np.uint32]:
    """Sum modulo 2^32 of the protected updates of some hosted devices: uint32 (P,).

    `devices` are positions in `rows`, `numbers` the devices' own numbers (the key of their draws).

    Guarantees. Every device's update is clipped and noised on its own, as `Device.update` does, before it is added.
    """
    total = np.zeros(plan.network.n_parameters, np.uint32)
    for at in range(0, len(devices), CHUNK_DEVICES):
        chunk = slice(at, at + CHUNK_DEVICES)
        raw_delta = _raw_deltas(rows, devices[chunk], numbers[chunk], plan, theta, round_number)
        total += protect(
            raw_delta,
            clip_norm=plan.privacy.clip_norm,
            steps_per_clip=plan.privacy.steps_per_clip,
            share_sigma=plan.privacy.share_sigma,
            entropy=entropy,
        ).sum(axis=0, dtype=np.uint32)
    return total


def _raw_deltas(
    rows: TrainingRows, devices: Ints, numbers: Ints, plan: Plan, theta: Floats, round_number: int
) -> Floats:
    """What each device's local training adds to theta: float32 (D, P)."""
    training = plan.training
    picks = np.empty((len(devices), training.local_steps, training.rows), np.int64)
    masks = []
    streams = _Streams(training.seed, round_number)
    first, end = rows.offsets[devices], rows.offsets[devices + 1]
    for i, (number, n_rows) in enumerate(zip(numbers.tolist(), (end - first).tolist(), strict=True)):
        random = streams.of(number)
        picks[i] = draw(n_rows, training, random)
        if training.dropout:
            masks.append(draw_masks(training, plan.network.n_hidden, random))
    real = picks >= 0
    # A padded row has weight 0: whatever row stands in for it adds nothing.
    at = np.where(real, picks + first[:, None, None], 0)
    fitted = fit(
        plan.network,
        theta,
        rows.x.take(at, axis=0),
        rows.y.take(at),
        real.astype(np.float32) / np.float32(training.rows),
        learning_rate=training.learning_rate,
        l2=training.l2,
        masks=np.stack(masks) if masks else None,
    )
    return np.subtract(fitted, theta, out=fitted)


class _Streams:
    """The generators of `client.rows.generator` for one round, one after the other: building one costs 50 times as much
    as moving a Philox to another key."""

    def __init__(self, seed: int, round_number: int) -> None:
        self._random = generator(seed, round_number, 0)
        start = self._random.bit_generator.state
        self._key = [seed, 0]
        counter = [int(word) for word in start["state"]["counter"]]
        self._start = {**start, "state": {"counter": counter, "key": self._key}, "buffer": [0] * 4}

    def of(self, device: int) -> np.random.Generator:
        """The generator of one device, until the next is asked for."""
        self._key[1] = device
        self._random.bit_generator.state = self._start
        return self._random


class Host:
    """The devices of one node, with what they keep on disk between two messages."""

    def __init__(self, run_folder: Path, partition: int, n_partitions: int) -> None:
        self.population, self._consented = world(run_folder)
        users = np.array_split(np.arange(self.population.n_users), n_partitions)[partition]
        self.first_user, self.n_users = int(users[0]), len(users)
        self.folder = run_folder / HOSTS / str(partition)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._users = users
        self._history: History | None = None

    @property
    def history(self) -> History:
        """Counters of the hosted users over all steps (K, C, T); callers cut it where their devices stand. They lie in
        memory-mapped files, which every worker that serves this host shares."""
        if self._history is None:
            files = [self.folder / f"{name}.npy" for name in History.__slots__]
            if not files[-1].exists():
                self._write_history(files)
            mapped = {file.stem: np.asarray(np.load(file, mmap_mode="r")) for file in files}
            self._history = History(**mapped)
        return self._history

    def _write_history(self, files: list[Path]) -> None:
        """Count the users' events, a chunk of users at a time; the last file appears last."""
        shape = (self.n_users, len(self.population.catalogue), self.population.n_steps)
        types = {"active": np.bool_, "count": np.float32, "amount": np.float32}
        fresh = [file.with_suffix(".new") for file in files]
        columns = [np.lib.format.open_memmap(f, "w+", types[f.stem], shape) for f in fresh]
        for first in range(0, self.n_users, COUNT_USERS):
            users = self._users[first : first + COUNT_USERS]
            part = history_of(self.population.take(users))
            for file, column in zip(files, columns, strict=True):
                column[first : first + len(users)] = getattr(part, file.stem)
        for column, ready, file in zip(columns, fresh, files, strict=True):
            column.flush()
            ready.replace(file)

    def install(self, plan: Plan, theta: Floats, round_number: int, step: int) -> None:
        """Keep a plan and weights; compute training rows for a new plan, start watching at a model's arrival."""
        if not (self.folder / "offsets.npy").exists() or self._plan_on_disk() != plan:
            TrainingRows.write(self.folder, self.history.until(step), plan)
            (self.folder / "plan.cbor").write_bytes(plan.canonical)
        past = np.arange(max(0, step + 1 - plan.features.window_steps), step + 1)
        scores = self._scores(plan, theta, past)
        watch = Watch.start(plan, (self.n_users, self.history.n_categories), scores)
        self._save(theta, round_number, step, watch)

    def collect(self, request: dict[str, Any], devices: Ints) -> NDArray[np.uint32]:
        """The sum of updates of hosted users `devices` (numbers in the whole population)."""
        plan, rows = _opened(self.folder)
        if request["plan_sha256"] != plan.sha256:
            raise RunError("expected a train_request under the installed plan")
        theta = unpack_floats(request["theta"])
        positions = devices - self.first_user
        return sum_of_updates(rows, positions, devices, plan, theta, request["round"], fresh_entropy(self.folder))

    def alerts(self, step: int) -> list[tuple[int, bytes]]:
        """Close every step up to `step`, detect, and answer the query for each device that has something to tell:
        (user, bytes through that device's gate). The others' replies are all alike: an empty list."""
        plan, _ = _opened(self.folder)
        with np.load(self.folder / "state.npz") as state:
            theta, round_number, closed = state["theta"], int(state["round"]), int(state["closed"])
            watch = Watch(state["memory"], state["quiet_until"])
        told: dict[int, list[Alert]] = {}
        for at in range(closed + 1, step + 1):
            p = self._scores(plan, theta, np.array([at]))[:, 0]
            fired, levels = watch.see(plan, self.history.until(at), at, p)
            who, direction, category = np.nonzero(fired)
            level = levels[who, direction, category]
            raised = Alerts(who, np.full_like(who, at), direction, category, level)
            HostNotes(self.folder, self.first_user).write(at, p, raised)
            for u, d, c, w in zip(*(a.tolist() for a in (who, direction, category, level)), strict=True):
                told.setdefault(u, []).append(Alert(Direction(d), c, RiskLevel(w), at, round_number))
        self._save(theta, round_number, step, watch)
        replies = []
        for user, alerts in told.items():
            number = self.first_user + user
            consent = Consent.IDENTIFIED if number in self._consented else Consent.LOCAL
            replies.append((number, declared("alerts", alert_fields(step, alerts), consent)))
        return replies

    def _scores(self, plan: Plan, theta: Floats, steps: Ints) -> Floats:
        """p (K, S, C) as of the close of each step; NaN where a user never touched a category."""
        history = self.history.until(int(steps[-1]))
        parts = [
            forward(plan.network, theta, extract(_users(history, first), plan.features, steps))
            for first in range(0, self.n_users, SCORE_USERS)
        ]
        return np.where(seen(history, steps), np.concatenate(parts), np.float32(np.nan))

    def _plan_on_disk(self) -> Plan | None:
        file = self.folder / "plan.cbor"
        return Plan.from_bytes(file.read_bytes()) if file.exists() else None

    def _save(self, theta: Floats, round_number: int, closed: int, watch: Watch) -> None:
        fresh = self.folder / "state.new"
        with fresh.open("wb") as file:
            np.savez(
                file,
                theta=theta,
                round=round_number,
                closed=closed,
                memory=watch.memory,
                quiet_until=watch.quiet_until,
            )
        fresh.replace(self.folder / "state.npz")


@lru_cache(maxsize=8)
def _host(run_folder: Path, partition: int, n_partitions: int) -> Host:
    return Host(run_folder, partition, n_partitions)


def _opened(folder: Path) -> tuple[Plan, TrainingRows]:
    """The plan and rows that lie in a host's folder, read again when another worker has written them."""
    return _opened_at(folder, (folder / "plan.cbor").stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _opened_at(folder: Path, written_ns: int) -> tuple[Plan, TrainingRows]:
    return Plan.from_bytes((folder / "plan.cbor").read_bytes()), TrainingRows.load(folder)


app = ClientApp()


def _begin(message: Message, context: Context) -> tuple[Host, dict[str, Any]]:
    """The host that this node is, and the request's fields."""
    _, request = decode(REQUESTS, message.content["wire"]["bytes"].numpy().tobytes())  # type: ignore[union-attr]
    partition, n_partitions = (int(context.node_config[k]) for k in ("partition-id", "num-partitions"))
    return _host(Path(str(context.run_config["simulation.folder"])), partition, n_partitions), request


def _reply(message: Message, **arrays: NDArray[Any]) -> Message:
    content = ArrayRecord({name: Array(array) for name, array in arrays.items()})
    return Message(RecordDict({"host": content}), reply_to=message)


@app.query("model")
def on_model(message: Message, context: Context) -> Message:
    host, request = _begin(message, context)
    host.install(Plan.from_bytes(request["plan"]), unpack_floats(request["theta"]), request["round"], request["step"])
    return _reply(message, users=np.array([host.first_user, host.n_users]))


@app.train()
def on_train(message: Message, context: Context) -> Message:
    host, request = _begin(message, context)
    devices = message.content["host"]["devices"].numpy()  # type: ignore[union-attr]
    return _reply(message, total=host.collect(request, devices), survivors=np.array([len(devices)]))


@app.query("alerts")
def on_alerts(message: Message, context: Context) -> Message:
    host, request = _begin(message, context)
    replies = np.frombuffer(cbor2.dumps(host.alerts(request["step"])), dtype=np.uint8)
    return _reply(message, replies=replies)
