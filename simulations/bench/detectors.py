"""How many stream-updates a second each detector makes on one core, 10,000 streams at once, and what a stream's memory
takes; beside them river's detectors, which take one stream at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from river.drift import ADWIN, PageHinkley

from client.cusum import CusumDetector
from client.detectors import LevelDetector, OwnLevelDetector, RateDetector

from ..daily_streams import Change, simulated
from .figures import Figure

N_STREAMS, WARM_STEPS, TIMED_STEPS = 10_000, 60, 50
RIVER_VALUES = 20_000
THRESHOLD = 4.4
WEEK = 7


def detector_figures(repeats: int) -> list[Figure]:
    """Every detector on the same simulated streams, an eighth of whose steps are not observed; medians of `repeats`."""
    p = simulated(None, Change.NONE, N_STREAMS, 1, WARM_STEPS + TIMED_STEPS, (0,))[:, :, 0]
    everybody = np.ones(N_STREAMS, bool)
    threshold = np.full(N_STREAMS, THRESHOLD, np.float32)
    figures = []
    for key, what, detector in (
        ("rate", "change rate over 7 steps", RateDetector(WEEK, 0.1)),
        ("level", "level", LevelDetector(0.15, 0.85)),
        ("own_level", "own level", OwnLevelDetector(42, 1.5, 2.0)),
        ("cusum", "CUSUM", CusumDetector(season_steps=WEEK)),
    ):
        memory = detector.start((N_STREAMS,))

        def update(step: int, detector=detector, memory=memory) -> None:  # type: ignore[no-untyped-def]
            detector.update(memory, p[step], everybody, step, threshold)

        rates = _rates(update, repeats)
        ours = key == "cusum"
        name = "detector.updates_per_s" if ours else f"detector.{key}.updates_per_s"
        size = "detector.state_bytes" if ours else f"detector.{key}.state_bytes"
        what = f"{what}, {N_STREAMS:,} streams at once, one core"
        figures.append(Figure.of(name, what, rates, "M updates/s", at_least=20.0 if ours else None))
        bytes_each = [memory.nbytes / N_STREAMS]
        figures.append(Figure.of(size, "  memory of a stream", bytes_each, "bytes", at_most=100.0))
    values = p[~np.isnan(p)][:RIVER_VALUES].tolist()
    for key, what, make in (
        ("adwin", "ADWIN of river, one stream, its own defaults", _adwin),
        ("page_hinkley", "Page-Hinkley of river, one stream", PageHinkley),
    ):
        alone = [_rate_alone(make, values) for _ in range(min(repeats, 5))]
        figures.append(Figure.of(f"river.{key}.updates_per_s", what, alone, "M updates/s"))
    return figures


def _adwin() -> ADWIN:
    return ADWIN()  # type: ignore[no-untyped-call]


def _rates(update: Callable[[int], None], repeats: int) -> list[float]:
    """Million stream-updates a second, `repeats` times over the timed steps; the first steps warm up."""
    for step in range(WARM_STEPS):
        update(step)
    out = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        for step in range(WARM_STEPS, WARM_STEPS + TIMED_STEPS):
            update(step)
        out.append(N_STREAMS * TIMED_STEPS / (time.perf_counter() - began_s) / 1e6)
    return out


def _rate_alone(make: Callable[[], ADWIN | PageHinkley], values: list[float]) -> float:
    detector = make()
    began_s = time.perf_counter()
    for value in values:
        detector.update(value)  # type: ignore[no-untyped-call]
    return len(values) / (time.perf_counter() - began_s) / 1e6
