"""Hosts go through a training step in loops where these are compiled, and come to the sum that arrays come to."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from simulations.bench.federation import BENCH_PROTOCOL, bench_scenario
from simulations.federation.host_training import protected_sum, sum_of_updates
from simulations.federation.hosted.training_rows import TrainingRows
from simulations.life.compiled import IS_COMPILED
from simulations.people.labelled_rows import history_of
from simulations.people.planted import plant
from simulations.people.setup import Setup
from simulations.training_step.ways import BY_ARRAYS, IN_LOOPS, WAY
from tests.world.basics import replayed_entropy

N_DEVICES = 70


@pytest.fixture(scope="module")
def hosted(tmp_path_factory):
    """The plan and the rows of planted people: more than one chunk of them, some with more rows than a step takes, some with fewer."""
    folder, people = tmp_path_factory.mktemp("rows"), plant(N_DEVICES, BENCH_PROTOCOL.n_steps, seed=1)
    plan = Setup.of(bench_scenario(N_DEVICES, 1), people).plan
    TrainingRows.write(folder, history_of(people).until(BENCH_PROTOCOL.train_at), plan)
    return plan, TrainingRows.load(folder)


@pytest.mark.parametrize(
    "changes", [{}, {"local_steps": 3}, {"local_steps": 2, "dropout": 0.3}, {"rows": 7, "l2": 1e-3}]
)
@pytest.mark.parametrize("clip_norm", [1e-3, 0.5])
def test_both_ways_come_to_the_same_sum(hosted, changes, clip_norm):
    """To a step a device at most, where a value lies as close to a whole step; with the same noise, which cancels."""
    plan, rows = hosted
    training, privacy = replace(plan.training, **changes), replace(plan.privacy, clip_norm=clip_norm)
    plan = replace(plan, training=training, privacy=privacy)
    theta, everybody = plan.network.initial_theta(0), np.arange(N_DEVICES)
    seen: list[np.ndarray] = []
    sums = [
        sum_of_updates(rows, everybody, everybody + 7, plan, theta, 3, replayed_entropy(1), seen.append, way)
        for way in (IN_LOOPS, BY_ARRAYS)
    ]
    apart = (sums[0] - sums[1]).view(np.int32)
    assert np.abs(apart).max() <= 3 and np.count_nonzero(apart) < 0.1 * apart.size
    of_devices = (seen[0] - seen[1]).view(np.int32)
    assert np.abs(of_devices).max() <= 1 and np.count_nonzero(of_devices) < 1e-3 * of_devices.size


def test_the_same_raw_vectors_and_noise_are_the_same_sum(hosted):
    privacy = hosted[0].privacy
    raw = np.random.default_rng(1).normal(size=(150, 301)) * 0.03
    raw[3, 4] = np.nan
    sums = [
        protected_sum(150, lambda at: raw[at], 301, privacy, replayed_entropy(1), way=w) for w in (IN_LOOPS, BY_ARRAYS)
    ]
    np.testing.assert_array_equal(*sums)


def test_hosts_go_through_loops_where_these_are_compiled():
    assert WAY is (IN_LOOPS if IS_COMPILED else BY_ARRAYS)


def test_without_numba_they_go_by_arrays():
    code = """
import sys
sys.modules["numba"] = None
from simulations.training_step.ways import BY_ARRAYS, WAY
assert WAY is BY_ARRAYS
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
