"""Mistakes that somebody could make in what devices and sums do: each put into the very function that a run goes through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from shared import mechanisms
from simulations.federation import host_app, host_training
from simulations.training_step import protection


def a_quarter_of_the_noise(patch: pytest.MonkeyPatch) -> None:
    begin = mechanisms.DiscreteGaussian.__init__
    patch.setattr(mechanisms.DiscreteGaussian, "__init__", lambda self, sigma: begin(self, sigma / 4))


def no_clip(patch: pytest.MonkeyPatch) -> None:
    def to_grid(raw_delta: np.ndarray, clip_norm: float, steps_per_clip: int) -> np.ndarray:
        return np.trunc(raw_delta * (steps_per_clip / clip_norm)).astype(np.int32)

    patch.setattr(mechanisms, "clip_to_grid", to_grid)
    patch.setattr(protection, "onto_grid", to_grid)


def one_counted_twice(patch: pytest.MonkeyPatch) -> None:
    whole = host_training.protected_sum

    def total(n_devices: int, raw: Callable[[slice], np.ndarray], *rest: Any) -> np.ndarray:
        out = whole(n_devices, raw, *rest)
        return out + whole(1, lambda _: raw(slice(0, 1)), *rest[:3]) if n_devices else out

    patch.setattr(host_training, "protected_sum", total)


def a_seed_used_again(patch: pytest.MonkeyPatch) -> None:
    for module in (host_training, host_app):
        patch.setattr(module, "fresh_entropy", lambda *_: np.random.default_rng(7).bytes)


#: By name; each with the view of the mechanism that shows it.
FAULTS: Mapping[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "a quarter of the noise": (a_quarter_of_the_noise, "update"),
    "no clip": (no_clip, "update"),
    "one counted twice": (one_counted_twice, "update"),
    "a seed used again": (a_seed_used_again, "update.twice"),
}
