"""How many hosted devices take the training step in a second, in compiled loops, beside arrays of many devices; one process, no Flower.

Rows drawn, fitted, clipped and noised, of the bench's planted devices, in one local step and in four. The two ways take turns, and
processor time is counted, so that neither has the quieter machine.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from shared.arrays import Words
from shared.plan import Plan

from ..federation.host_training import fresh_entropy, sum_of_updates
from ..federation.hosted.training_rows import TrainingRows
from ..life.compiled import IS_COMPILED
from ..people.labelled_rows import history_of
from ..people.of_scenario import population_of
from ..people.setup import Setup
from ..training_step.ways import BY_ARRAYS, IN_LOOPS, Way
from .federation import BENCH_PROTOCOL, bench_scenario
from .measurements import Measurement, number

#: Local steps of a case, by what its keys end in.
CASES = {"": 1, "_4_steps": 4}
WHAT = "hosted devices' training step, 64 rows, in loops"
#: How many of the devices' values may be a grid step apart in the two ways: they are rounded towards zero, and differ in their last bits.
APART = 1e-3


def training_step_numbers(devices: int, repeats: int, folder: Path) -> list[Measurement]:
    """Every case of so many devices, whose rows go into an empty folder; skipped where loops are not compiled."""
    if not IS_COMPILED:
        missing = "no numba: pip install 'ebbtide[fast]'"
        return [Measurement("hosts.ratio_to_arrays", f"  {WHAT} / by arrays", (), "", skipped=missing)]
    scenario = bench_scenario(devices, 1)
    people = population_of(scenario)
    plan = Setup.of(scenario, people).plan
    TrainingRows.write(folder, history_of(people).until(BENCH_PROTOCOL.train_at), plan)
    rows, out = TrainingRows.load(folder), []
    for end, local_steps in CASES.items():
        out += compared(rows, _with_steps(plan, local_steps), repeats, folder, end)
    return out


def _with_steps(plan: Plan, local_steps: int) -> Plan:
    return replace(plan, training=replace(plan.training, local_steps=local_steps))


def compared(rows: TrainingRows, plan: Plan, repeats: int, folder: Path, end: str) -> list[Measurement]:
    """Devices a second both ways, the ratio of the same repeat, and how many values are a grid step apart, by sums without noise."""
    devices = np.arange(len(rows.offsets) - 1)
    theta = plan.network.initial_theta(0)

    def total(way: Way, plan: Plan, round_number: int) -> tuple[float, Words]:
        entropy, began_s = fresh_entropy(folder, round_number), time.process_time()
        out = sum_of_updates(rows, devices, devices, plan, theta, round_number, entropy, way=way)
        return time.process_time() - began_s, out

    quiet = replace(plan, privacy=replace(plan.privacy, noise_multiplier=0.0))
    total(IN_LOOPS, plan, 0)  # compiles
    sums = [total(way, quiet, 1)[1].view(np.int32).astype(np.int64) for way in (IN_LOOPS, BY_ARRAYS)]
    apart = float(np.abs(sums[0] - sums[1]).mean()) / len(devices)
    both = [[len(devices) / total(way, plan, r)[0] for way in (IN_LOOPS, BY_ARRAYS)] for r in range(2, repeats + 2)]
    loops, arrays = ([pair[at] for pair in both] for at in (0, 1))
    n_steps = plan.training.local_steps
    what = WHAT if n_steps == 1 else f"{WHAT}, {n_steps} local steps"
    beside = Measurement.of(f"hosts.arrays_per_s{end}", "  by arrays of 64 devices", arrays, "devices/s")
    ratio, said = [a / b for a, b in both], f"those, {number(beside.value)} devices/s of one core"
    return [
        Measurement.of(f"hosts.loops_per_s{end}", what, loops, "devices/s"),
        beside,
        Measurement.of(f"hosts.ratio_to_arrays{end}", "  ours / those", ratio, "x", at_least=1.3, beside=said),
        Measurement.of(f"hosts.loops_apart{end}", "  values a grid step apart", [apart], "share", at_most=APART),
    ]
