"""What hosted devices do in a training round, all at once: rows, draws, local training, clip and noise of each device.

By the code of `shared` and `client` with a leading axis. Work goes in chunks of devices, so that memory does not grow with their
number.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from shared.arrays import Floats, Ints, Words, as_declared
from shared.codec import unpack_floats
from shared.files import append_line, whole_lines
from shared.lapse_risk import N_COEFFICIENTS, gradient, readings
from shared.mechanisms import Entropy
from shared.network import forward
from shared.plan import Plan, PrivacyPlan, RiskPlan

from ..training_step.by_arrays import masks_by_arrays
from ..training_step.ways import WAY, Way, way_for
from .hosted.training_rows import Rows

CHUNK_DEVICES = 64
COMMITMENTS_FILE = "commitments.txt"
#: Is shown the vectors, uint32 (n, n_values), that the first devices of a sum hand out.
Look = Callable[[Words], None]


def fresh_entropy(folder: Path, round_number: int = 0) -> Entropy:
    """A ChaCha20 stream under a new key from the operating system, for the noise of one round (0: of no plan's). The round
    and the key's SHA-256 are written down first, on disk, so that a test can see that no round made noise twice."""
    key = os.urandom(32)
    append_line(folder / COMMITMENTS_FILE, f"{round_number} {hashlib.sha256(key).hexdigest()}", durable=True)
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    return lambda n: stream.update(bytes(n))


def commitments(folder: Path) -> list[tuple[int, str]]:
    """The rounds that noise was made for, each with the SHA-256 of its key, in their order; what was cut off is no such line:
    its noise was never drawn."""
    found = (re.fullmatch(r"(\d+) ([0-9a-f]{64})", line) for line in whole_lines(folder / COMMITMENTS_FILE))
    return [(int(line[1]), line[2]) for line in found if line]


@as_declared
def sum_of_updates(
    rows: Rows,
    devices: Ints,
    numbers: Ints,
    plan: Plan,
    theta: Floats,
    round_number: int,
    entropy: Entropy,
    look: Look | None = None,
    way: Way | None = None,
) -> Words:
    """Sum modulo 2^32 of the protected updates of some hosted devices: uint32 (P,).

    `devices` are positions in `rows`, `numbers` the devices' own numbers (the key of their draws). `look` is shown the vectors
    of the first `CHUNK_DEVICES`. Which `way` is gone (None: that of `way_for`) moves a device's values by rounding alone: a grid step here
    and there.

    Guarantees. Every device's update is clipped and noised on its own, as `Work.update` does, before it is added.
    """

    way = way or way_for(plan.privacy.share_sigma)

    def raw(chunk: slice) -> Floats:
        return _raw_deltas(rows, devices[chunk], numbers[chunk], plan, theta, round_number, way)

    return protected_sum(len(devices), raw, plan.network.n_parameters, plan.privacy, entropy, look, way)


@as_declared
def sum_of_risk_updates(
    rows: Rows,
    devices: Ints,
    numbers: Ints,
    plan: Plan,
    risk: RiskPlan,
    request: tuple[Floats, Floats, Floats],
    round_number: int,
    entropy: Entropy,
    look: Look | None = None,
) -> Words:
    """The same for updates of phi, uint32 (2,), as `Work.risk_update` makes them; `rows` of `write_lapses`, `request`
    is theta (P,), basis (R, 2) and coefficients (2,)."""
    theta, basis, coefficients = request
    n_features = plan.features.n_features

    def raw(chunk: slice) -> Floats:
        mine = devices[chunk]
        n_rows = rows.offsets[mine + 1] - rows.offsets[mine]
        picks = row_draws(n_rows, numbers[chunk], (1, risk.rows), plan.training.seed, round_number)[:, 0]
        x, y = rows.drawn(mine, picks)
        now, before = x[..., :n_features], x[..., n_features:]
        read = readings(plan.features, now, *(forward(plan.network, theta, part) for part in (now, before)))
        weight = (picks >= 0).astype(np.float32) / np.float32(risk.rows)
        return -gradient(basis, coefficients, read, y, weight)

    return protected_sum(len(devices), raw, N_COEFFICIENTS, risk.privacy, entropy, look)


class SumOf(Protocol):
    """What a host makes of one request for updates: their sum, of hosted devices, modulo 2^32."""

    def __call__(
        self,
        rows: Rows,
        devices: Ints,
        numbers: Ints,
        plan: Plan,
        request: Mapping[str, Any],
        entropy: Entropy,
        look: Look | None = None,
    ) -> Words: ...


def _p_asked(
    rows: Rows,
    devices: Ints,
    numbers: Ints,
    plan: Plan,
    request: Mapping[str, Any],
    entropy: Entropy,
    look: Look | None = None,
) -> Words:
    theta, number = unpack_floats(request["theta"]), request["round"]
    return sum_of_updates(rows, devices, numbers, plan, theta, number, entropy, look)


def _phi_asked(
    rows: Rows,
    devices: Ints,
    numbers: Ints,
    plan: Plan,
    request: Mapping[str, Any],
    entropy: Entropy,
    look: Look | None = None,
) -> Words:
    assert plan.risk is not None
    theta, basis, coefficients = (unpack_floats(request[name]) for name in ("theta", "basis", "coefficients"))
    asked = theta, basis.reshape(-1, len(coefficients)), coefficients
    return sum_of_risk_updates(rows, devices, numbers, plan, plan.risk, asked, request["round"], entropy, look)


#: The sum that each request of the register for updates asks for, of the rows of its part.
SUMS: Mapping[str, SumOf] = {
    "train_request": _p_asked,
    "risk_request": _phi_asked,
}


def protected_sum(
    n_devices: int,
    raw: Callable[[slice], NDArray[np.floating]],
    shape: int | tuple[int, int],
    privacy: PrivacyPlan,
    entropy: Entropy,
    look: Look | None = None,
    way: Way = WAY,
) -> Words:
    """Sum of what devices hand out, a chunk of them at a time: each one's raw vector, of `shape`, clipped and noised on its own (along
    the last axis). `look` is shown the first chunk."""
    total = np.zeros(shape, np.uint32)
    for at in range(0, n_devices, CHUNK_DEVICES):
        vectors = way.protect(
            raw(slice(at, at + CHUNK_DEVICES)),
            clip_norm=privacy.clip_norm,
            steps_per_clip=privacy.steps_per_clip,
            share_sigma=privacy.share_sigma,
            entropy=entropy,
        )
        if look is not None and not at:
            look(vectors)
        total += vectors.sum(axis=0, dtype=np.uint32)
    return total


def _raw_deltas(
    rows: Rows, devices: Ints, numbers: Ints, plan: Plan, theta: Floats, round_number: int, way: Way
) -> Floats:
    """What each device's local training adds to theta: float32 (D, P)."""
    training = plan.training
    n_rows = rows.offsets[devices + 1] - rows.offsets[devices]
    picks = way.draws(n_rows, numbers, (training.local_steps, training.rows), training.seed, round_number)
    # A padded row has weight 0: whatever row stands in for it adds nothing.
    x, y = rows.drawn(devices, picks)
    return way.deltas(
        plan.network,
        theta,
        x,
        y,
        (picks >= 0).astype(np.float32) / np.float32(training.rows),
        learning_rate=training.learning_rate,
        l2=training.l2,
        masks=masks_by_arrays(n_rows, numbers, plan, round_number),
    )


@as_declared
def row_draws(n_rows: Ints, numbers: Ints, shape: tuple[int, int], seed: int, round_number: int) -> Ints:
    """`client.model.training_rows.draw` for each device, of `shape` (S, B): (D, S, B)."""
    return WAY.draws(n_rows, numbers, shape, seed, round_number)
