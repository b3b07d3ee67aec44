"""Watching streams of p: detector, quiet time after an alert, risk level. Arrays with any leading axes.

A device watches its C streams, a simulated host (K, C) of them, with this code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.features import History, established
from shared.plan import Plan

from .detectors import detector_for
from .risk import Direction, risk_level

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass
class Watch:
    """What has to be remembered of streams (..., C): the detector's memory (..., C, m), and the first step at which
    each direction may speak again (..., 2, C)."""

    memory: Floats
    quiet_until: NDArray[np.int64]

    @classmethod
    def start(cls, plan: Plan, shape: tuple[int, ...], past: Floats) -> Watch:
        """A watch on streams of `shape` (..., C), warmed up on their past p (..., S, C) without any alert."""
        detector = detector_for(plan.detection)
        memory, nobody = detector.start(shape), np.zeros(shape, bool)
        for i in range(past.shape[-2]):
            memory, _ = detector.update(memory, past[..., i, :], nobody)
        return cls(memory, np.zeros((*shape[:-1], len(Direction), shape[-1]), np.int64))

    def see(self, plan: Plan, history: History, step: int, p: Floats) -> tuple[Bools, NDArray[np.int64]]:
        """Which streams raise an alert at the close of `step`, and their risk levels: both (..., 2, C), falls first.

        `history` ends with `step`. After an alert a stream is quiet in that direction for `quiet_steps`.
        """
        settings = plan.detection
        watched = established(
            history,
            [step],
            window_steps=plan.features.window_steps,
            min_active=settings.min_active_steps,
            lapse_steps=settings.lapse_steps,
        )[..., 0, :]
        self.memory, alarms = detector_for(settings).update(self.memory, p, watched)
        raised = np.stack([alarms.fall, alarms.rise], axis=-2) & (self.quiet_until <= step)
        self.quiet_until[raised] = step + 1 + settings.quiet_steps
        return raised, np.stack([risk_level(p, direction) for direction in Direction], axis=-2)
