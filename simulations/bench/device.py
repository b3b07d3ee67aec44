"""What one device's work costs, through TFLite, beside the same in numpy, one device alone. One thread; seconds of a single call."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from client.device import Device, Profile
from client.model.runtime import Model, pinned_model
from client.model.scorer import Scorer
from client.model.trainer import LocalTrainer
from client.model.training_rows import batches
from client.vault.keys import FileKeys
from shared.clock import ReplayClock
from shared.events import BehaviourEvent, Catalogue, EventKind, Step
from shared.mechanisms import DiscreteGaussian, clip_to_grid
from shared.network import fit, forward

from ..people.setup import Crowd, Setup
from .federation import bench_scenario
from .measurements import Measurement

SCORED_ROWS = 30
HOSTED = 64


def device_numbers(repeats: int) -> list[Measurement]:
    """Every figure of one device, each the median of `repeats` runs of many calls."""
    catalogue = Catalogue(tuple(f"category {i}" for i in range(12)))
    plan = Setup.of(bench_scenario(10_000, 1), Crowd(10_000, catalogue)).plan
    random = np.random.default_rng(0)
    x = random.normal(size=(80, plan.features.n_features)).astype(np.float32)
    y = (random.random(80) < 0.3).astype(np.float32)
    theta = plan.network.initial_theta(0)
    work = batches(x, y, plan, 1, 1)
    model = Model(pinned_model())
    trainer, scorer = LocalTrainer(model, plan.training), Scorer(model, theta)
    scored = x[:SCORED_ROWS]
    rate = plan.training.learning_rate
    deltas = random.normal(size=(HOSTED, theta.size)).astype(np.float32)
    clip_norm, steps = plan.privacy.clip_norm, plan.privacy.steps_per_clip
    noise = DiscreteGaussian(plan.privacy.share_sigma)
    stream = Cipher(algorithms.ChaCha20(os.urandom(32), bytes(16)), mode=None).encryptor()

    def entropy(n: int) -> bytes:
        return stream.update(bytes(n))

    def timed(action: Callable[[], object], calls: int, per: float = 1.0, scale: float = 1e6) -> list[float]:
        return [s / per * scale for s in seconds_per_call(action, calls, repeats)]

    draws = HOSTED * theta.size
    fitted = timed(lambda: trainer.raw_delta(theta, work), 200)
    bare_fit = timed(
        lambda: fit(plan.network, theta, work.x, work.y, work.weight, learning_rate=rate) - theta,
        200,
    )
    scores = timed(lambda: scorer.score(scored), 1000)
    bare_scores = timed(lambda: forward(plan.network, theta, scored), 1000)
    noised = timed(lambda: noise.sample_words(deltas.shape, entropy), 10, draws, 1e9)
    bare_noise = timed(lambda: entropy(4 * draws), 10, draws, 1e9)
    own_noise = timed(lambda: noise.sample_words((theta.size,)), 200)
    clipped = timed(lambda: clip_to_grid(deltas[0], clip_norm, steps), 500)
    hosted_clip = timed(lambda: clip_to_grid(deltas, clip_norm, steps), 10, HOSTED)
    with TemporaryDirectory() as folder:
        recorded = timed(recorder(Path(folder), catalogue), 2000)
    return [
        Measurement.of("device.fit_us", "one round's training of a device, TFLite, 64 rows", fitted, "us"),
        Measurement.of("device.fit_numpy_us", "  the same in numpy, one device alone", bare_fit, "us"),
        Measurement.of("device.infer_us", "scores of 30 rows in one call, TFLite", scores, "us"),
        Measurement.of("device.infer_numpy_us", "  the same in numpy, one device alone", bare_scores, "us"),
        Measurement.of("device.record_us", "Device.record, one event", recorded, "us"),
        Measurement.of("device.clip_us", "clip and grid of one device, alone", clipped, "us"),
        Measurement.of("hosts.clip_us", "clip and grid of one device among 64", hosted_clip, "us"),
        Measurement.of("device.noise_us", "one device's noise, 1,441 draws, OS entropy", own_noise, "us"),
        Measurement.of("hosts.noise_ns", "discrete Gaussian noise from ChaCha20, a draw", noised, "ns"),
        Measurement.of("hosts.chacha20_ns", "  its 4 bytes of ChaCha20 alone", bare_noise, "ns"),
    ]


def recorder(folder: Path, catalogue: Catalogue) -> Callable[[], bool]:
    """Records one more event of an open step on a device of its own."""
    profile = Profile(Step.DAY, len(catalogue), catalogue.sha256, bytes(32), number=1, origin_s=0.0)
    device = Device.open(folder, profile, keys=FileKeys(folder, os.urandom(16)), clock=ReplayClock(20.0))
    event = BehaviourEvent(EventKind.VIEW, 3, 10.0, 0.0)
    return lambda: device.record(event)


def seconds_per_call(action: Callable[[], object], calls: int, repeats: int) -> list[float]:
    """The mean seconds of a call, `repeats` times over."""
    action()
    out = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        for _ in range(calls):
            action()
        out.append((time.perf_counter() - began_s) / calls)
    return out
