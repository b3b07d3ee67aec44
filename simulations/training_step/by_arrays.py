"""The training step of many devices over arrays with a leading axis, by the devices' own code: what loops are held to."""

from __future__ import annotations

import numpy as np

from client.model.training_rows import draw_masks, draw_words, generator, smallest
from shared.arrays import Floats, Ints, as_declared
from shared.network import NetworkSpec, fit
from shared.plan import Plan

_MOST = np.iinfo(np.uint64).max


@as_declared
def draws_by_arrays(n_rows: Ints, numbers: Ints, shape: tuple[int, int], seed: int, round_number: int) -> Ints:
    """`client.model.training_rows.draw` for each device, of `shape` (S, B): (D, S, B)."""
    n_steps, n_picks = shape
    places = np.arange(n_picks)
    picks = np.repeat(np.where(places < n_rows[:, None, None], places, -1), n_steps, axis=1)
    chooses = np.flatnonzero(n_rows > n_picks)
    if chooses.size:
        words = np.full((chooses.size, n_steps, int(n_rows.max())), _MOST, np.uint64)
        streams = _Streams(seed, round_number)
        for at, (number, n) in enumerate(zip(numbers[chooses].tolist(), n_rows[chooses].tolist(), strict=True)):
            words[at, :, :n] = draw_words(n, n_steps, streams.of(number))
        picks[chooses] = smallest(words, n_picks)
    return picks


@as_declared
def masks_by_arrays(n_rows: Ints, numbers: Ints, plan: Plan, round_number: int) -> Floats | None:
    """Dropout masks (D, S, B, H), from where a device's draw of rows left its generator; None without dropout."""
    training, masks = plan.training, []
    if not training.dropout:
        return None
    streams = _Streams(training.seed, round_number)
    for number, n in zip(numbers.tolist(), n_rows.tolist(), strict=True):
        random = streams.of(number)
        if n > training.rows:
            draw_words(n, training.local_steps, random)
        masks.append(draw_masks(training, plan.network.n_hidden, random))
    return np.stack(masks)


@as_declared
def deltas_by_arrays(
    spec: NetworkSpec,
    theta: Floats,
    x: Floats,
    y: Floats,
    weight: Floats,
    *,
    learning_rate: float,
    l2: float = 0.0,
    masks: Floats | None = None,
) -> Floats:
    """What `fit` adds to the theta (P,) that it begins with, of each device: float32 (D, P)."""
    fitted: Floats = fit(spec, theta, x, y, weight, learning_rate=learning_rate, l2=l2, masks=masks)
    fitted -= theta
    return fitted


class _Streams:
    """The generators of `client.model.training_rows.generator` for one round, one after the other: building one costs 50 times as much
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
