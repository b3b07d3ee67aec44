"""From a step's last event to its alerts, on one device: under heads and features of version 2, beside phi on top of p and version 1.

The whole way: the event is recorded, the step closes, features, chances, detector, alerts, and all of it is sealed on disk. Two devices
of 30 categories live through the same steps, one after the other.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from client.device import Device, Profile
from client.model.runtime import pinned_model
from client.privacy.caps import Caps
from client.vault.keys import FileKeys
from shared.clock import ReplayClock
from shared.events import BehaviourEvent, Catalogue, EventKind, Step
from shared.features import Richer
from shared.heads import HeadsStart
from shared.heads.inputs import NETWORKS
from shared.lapse_risk import READINGS
from shared.plan import Detection, Plan, RiskPlan
from shared.register.heads_plan import N_INPUTS, HeadPlan, HeadsPlan

from ..people.setup import Crowd, Setup
from ..scenarios.planted_rates import PLANTED_RATES
from .federation import bench_scenario
from .measurements import Measurement

CATEGORIES, LIVED_STEPS, TIMED_STEPS = 30, 60, 40
CATALOGUE = Catalogue(tuple(f"category {i}" for i in range(CATEGORIES)))


def warning_numbers(repeats: int) -> list[Measurement]:
    """Both devices' medians, and the ratios of the same repeat."""
    both = [[_lived(heads) for heads in (False, True)] for _ in range(repeats)]
    times, sizes = (np.array([[one[at] for one in pair] for pair in both]) for at in (0, 1))
    said = f"one device of {CATEGORIES} categories"
    return [
        Measurement.of(
            "alert.ms", f"a step's last event to its alerts, heads, {said}", (times[:, 1] * 1e3).tolist(), "ms"
        ),
        Measurement.of("alert.version_1_ms", "  phi on top of p, version 1", (times[:, 0] * 1e3).tolist(), "ms"),
        Measurement.of("alert.ratio", "  their ratio", (times[:, 1] / times[:, 0]).tolist(), "times", at_most=1.5),
        Measurement.of(
            "alert.kb_per_category", f"kept on disk, {said}", (sizes[:, 1] / CATEGORIES / 1e3).tolist(), "KB"
        ),
        Measurement.of(
            "alert.kb_ratio", "  against version 1", (sizes[:, 1] / sizes[:, 0]).tolist(), "times", at_most=1.5
        ),
    ]


def _lived(heads: bool) -> tuple[float, int]:
    """Median seconds from a step's last event to its alerts, and bytes on disk, of a device that has lived."""
    plan, start = warned_plan(heads)
    week_s = Step.WEEK.seconds
    clock, random = ReplayClock(0.0), np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        home = Path(folder)
        profile = Profile(Step.WEEK, CATEGORIES, CATALOGUE.sha256, bytes(32), number=1, origin_s=0.0)
        keys = FileKeys(home, os.urandom(16))
        with Device.open(home, profile, keys=keys, caps=Caps.none(), clock=clock) as device:
            theta, risk = plan.network.initial_theta(0), np.zeros(0 if heads else len(READINGS), np.float32)
            device.install(plan, pinned_model(plan.features.version), theta, risk, 0)
            if start is not None:
                popularity = np.zeros(CATEGORIES, np.float32)
                device.install_heads(plan.sha256, start.to_bytes(), popularity, start.weights.ravel())
            seconds = []
            for step in range(LIVED_STEPS + TIMED_STEPS):
                clock.wait_until((step + 0.5) * week_s)
                for category in np.flatnonzero(random.random(CATEGORIES) < 0.3).tolist():
                    device.record(BehaviourEvent(EventKind.PURCHASE, category, (step + 0.5) * week_s, 5.0))
                began_s = time.perf_counter()
                device.record(BehaviourEvent(EventKind.PURCHASE, 0, (step + 0.5) * week_s, 5.0))
                clock.wait_until((step + 1) * week_s)
                device.close_until(step + 1)
                seconds.append(time.perf_counter() - began_s)
                assert device.n_closed_steps == step + 1
        size = sum(file.stat().st_size for file in home.rglob("*") if file.is_file())
    return float(np.median(seconds[LIVED_STEPS:])), size


def warned_plan(heads: bool) -> tuple[Plan, HeadsStart | None]:
    """A plan whose risk detector reads phi on top of p, or heads that start from networks that nobody taught."""
    base = Setup.of(bench_scenario(10_000, 1), Crowd(10_000, CATALOGUE)).plan
    detection = Detection("risk", lapse_steps=8, takeoff_line=0.25 if heads else None)
    if not heads:
        return replace(base, detection=detection, risk=RiskPlan(16, 10, 4, base.privacy)), None
    features = replace(base.features, more=Richer(8, *PLANTED_RATES["week", True]))
    networks = np.stack([base.network.initial_theta(i) for i in range(len(NETWORKS))])
    zeros = np.zeros((2, N_INPUTS), np.float32)
    start = HeadsStart(networks, zeros[0, 1:], zeros[0, 1:] + 1, zeros)
    head, once = HeadPlan(128, 64.0, 19, 1.0, 1.0, 0.5), replace(base.privacy, clip_norm=1.0, rounds=1)
    plan = HeadsPlan(features, 1, start.sha256, CATEGORIES, head, head, once, once, once)
    return replace(base, detection=detection, heads=plan), start
