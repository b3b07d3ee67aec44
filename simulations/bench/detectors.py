"""How many stream-updates a second each detector makes on one core, 10,000 streams at once, and what is kept of a stream;
beside them river's detectors, which take one stream at a time.

`state_bytes` is the memory of the detector itself. `watch_bytes` is all that a lone device of 12 categories keeps, spread
over them: that memory, the marks that counterfactuals are replayed from, quiet times, tokens; `hosted_bytes` the same for
a device among many, which has no marks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from river.drift import ADWIN, PageHinkley

from client.detection.chances import Chances
from client.detection.detector_table import detector_for
from client.detection.watch import Watch
from shared.arrays import Floats
from shared.plan import Plan
from shared.register.rule_plan import RulePlan

from ..streams.generate import Change, simulated
from ..streams.measure import FALSE_ALERTS, shipped_plan
from .measurements import Measurement

N_STREAMS, WARM_STEPS, TIMED_STEPS = 10_000, 60, 50
N_CATEGORIES, N_HOSTED = 12, 1_000
RIVER_VALUES = 20_000
THRESHOLD = 4.4
DETECTORS = {
    "rate": "change rate over 7 steps",
    "level": "level",
    "own_level": "own level",
    "risk": "phi's line",
    "slow_average": "a line of the slow average's chance",
    "cusum": "CUSUM",
}


def detector_numbers(repeats: int) -> list[Measurement]:
    """Every detector on the same simulated streams, an eighth of whose steps are not observed; medians of `repeats`. The
    keys of the CUSUM, which daily streams get, have no name in them."""
    p = simulated(None, Change.NONE, N_STREAMS, 1, WARM_STEPS + TIMED_STEPS, (0,))[:, :, 0]
    plan = shipped_plan(N_CATEGORIES, FALSE_ALERTS)
    figures = []
    for name, what in DETECTORS.items():
        its = replace(plan, detection=replace(plan.detection, detector=name), rule=RulePlan())
        update, memory = _updating(its, p)
        key = "detector" if name == "cusum" else f"detector.{name}"
        what, at_least = f"{what}, {N_STREAMS:,} streams at once, one core", 20.0 if name == "cusum" else None
        own = memory.nbytes / N_STREAMS
        figures += [
            Measurement.of(f"{key}.updates_per_s", what, _rates(update, repeats), "M updates/s", at_least=at_least),
            Measurement.of(f"{key}.state_bytes", "  its memory of a stream", [own], "bytes", at_most=100.0),
            Measurement.of(f"{key}.watch_bytes", "  all that a lone device keeps of one", [_kept(its, ())], "bytes"),
            Measurement.of(f"{key}.hosted_bytes", "  of a device among many", [_kept(its, (N_HOSTED,))], "bytes"),
        ]
    values = p[~np.isnan(p)][:RIVER_VALUES].tolist()
    for key, what, make in (
        ("adwin", "ADWIN of river, one stream, its own defaults", _adwin),
        ("page_hinkley", "Page-Hinkley of river, one stream", PageHinkley),
    ):
        alone = [_rate_alone(make, values) for _ in range(min(repeats, 5))]
        figures.append(Measurement.of(f"river.{key}.updates_per_s", what, alone, "M updates/s"))
    return figures


def _updating(plan: Plan, p: Floats) -> tuple[Callable[[int], object], Floats]:
    """What takes p (T, N) of a step into a plan's detector, and the memory that it changes."""
    detector, n = detector_for(plan.detection), p.shape[1]
    memory, everybody = detector.start((n,)), np.ones(n, bool)
    threshold, chances = np.full(n, THRESHOLD, np.float32), [Chances.of_p(now, 1 - now) for now in p]
    return lambda step: detector.update(memory, chances[step], everybody, step, threshold), memory


def _kept(plan: Plan, users: tuple[int, ...]) -> float:
    """Bytes that the watch of `users` (...) keeps of each of their streams."""
    shape = (*users, 0, N_CATEGORIES)
    watch = Watch.start(plan, np.empty(shape, np.float32), -1)
    return sum(array.nbytes for array in watch.arrays().values()) / float(watch.memory[0].size)


def _adwin() -> ADWIN:
    return ADWIN()  # type: ignore[no-untyped-call]


def _rates(update: Callable[[int], object], repeats: int) -> list[float]:
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
