"""Hosted devices add to what heads are learned by as devices of their own do: each alone, within its norm, or not at all."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from client.privacy.caps import LedgerLine
from server.training import offer, offer_heads
from shared.errors import RefusalCode
from shared.heads import TASKS, pair_shares
from shared.register.heads_plan import N_INPUTS
from simulations.federation.equivalence import N_USERS, scenario_without_noise, settings_for, some_people
from simulations.federation.host_training import fresh_entropy
from simulations.federation.hosted.head_sums import RAW, head_sum
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RunFolder
from tests.simulations.federation.test_hosts import HEADS_TOO
from tests.world.heads import make_start

LOUD = ["heads.crowd_noise_multiplier=2.0", "heads.curvature_noise_multiplier=2.0", "heads.noise_multiplier=2.0"]
EVERYBODY = np.arange(N_USERS)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A host that took a model and heads: its federation, and its run's settings."""
    run = RunFolder(tmp_path_factory.mktemp("hosts") / "run")
    scenario = scenario_without_noise(*HEADS_TOO, "privacy.steps_per_clip=4096", "data.held_out_share=0.2", *LOUD)
    settings = settings_for(run, some_people(), scenario)
    federation = LocalHost(run)
    assert offer(federation, settings, settings.theta, 0, with_file=True) == N_USERS
    popularity = np.linspace(-1, 1, settings.n_categories).astype(np.float32)
    assert offer_heads(federation, settings, popularity, settings.heads.start.weights.ravel(), 0) == N_USERS
    return federation, settings


def fields_of(settings, name: str) -> dict:
    out = {"round": 9, "step": settings.schedule.train_step, "plan_sha256": settings.plan.sha256, "run": 1}
    if name != "head_request":
        return out
    random = np.random.default_rng(0)
    basis, u = random.normal(size=(2, N_INPUTS, N_INPUTS)), random.normal(size=(2, N_INPUTS))
    return out | {"basis": basis.astype("<f4").tobytes(), "coefficients": u.astype("<f4").tobytes()}


def total(world, plan, name: str, users) -> np.ndarray:
    federation, settings = world
    rows = federation.host._hosted_rows(settings.plan, settings.schedule.train_step)
    entropy = fresh_entropy(federation.host.folder.path)
    words = head_sum(name, rows, users, users, plan, fields_of(settings, name), entropy)
    return words.view(np.int32).astype(np.int64)


def quiet(plan):
    heads = plan.heads
    silent = {k: replace(getattr(heads, k), noise_multiplier=0.0) for k in ("crowd", "curvature", "updates")}
    return replace(plan, heads=replace(heads, **silent))


@pytest.mark.parametrize("name", RAW)
def test_each_device_is_within_the_norm_and_noised_on_its_own(world, name):
    plan = world[1].plan
    privacy = plan.kind_of(name).privacy
    clean = total(world, quiet(plan), name, EVERYBODY)
    alone = np.stack([total(world, quiet(plan), name, EVERYBODY[u : u + 1]) for u in EVERYBODY])
    norms = np.sqrt((alone**2).sum(axis=1))
    assert (norms <= privacy.steps_per_clip).all() and norms.max() > 0.2 * privacy.steps_per_clip
    np.testing.assert_allclose(alone.sum(axis=0), clean, atol=N_USERS, err_msg="chunks change nothing but rounding")
    noise = np.concatenate([total(world, plan, name, EVERYBODY) - clean for _ in range(3 if len(clean) > 60 else 40)])
    assert noise.std() == pytest.approx(privacy.share_sigma * math.sqrt(N_USERS), rel=0.15)


@pytest.mark.parametrize("name", RAW)
def test_who_is_held_out_adds_nothing_but_noise(world, name):
    federation, settings = world
    held_out = np.flatnonzero(federation.host._held_out)
    assert len(held_out) == N_USERS // 5
    assert not total(world, quiet(settings.plan), name, held_out).any()


def test_the_crowd_s_share_has_the_norm_of_the_clip_whoever_did_anything(world):
    federation, settings = world
    step, plan = settings.schedule.train_step, quiet(settings.plan)
    active = federation.host.counters.of(EVERYBODY).until(step).active
    shares = pair_shares(active, settings.n_categories)
    user = int(np.flatnonzero(~federation.host._held_out & active.any(axis=(1, 2)))[0])
    words = total(world, plan, "crowd_request", EVERYBODY[user : user + 1])
    np.testing.assert_allclose(words / plan.heads.crowd.steps_per_clip, shares[user], atol=1 / 4096)
    assert np.linalg.norm(shares[user]) == pytest.approx(1)


def test_rows_are_made_once_for_one_popularity(world):
    federation, settings = world
    folder = federation.host.folder.heads
    made = {task: (folder / task / "x.npy").stat().st_mtime_ns for task in TASKS}
    popularity = np.linspace(-1, 1, settings.n_categories).astype(np.float32)
    learned = settings.heads.start.weights.ravel() + 1
    assert offer_heads(federation, settings, popularity, learned, 2) == N_USERS
    assert made == {task: (folder / task / "x.npy").stat().st_mtime_ns for task in TASKS}
    rows = federation.host._hosted_rows(settings.plan, settings.schedule.train_step).heads
    assert all(part.x.shape == (part.offsets[-1] + 1, N_INPUTS) and part.offsets[-1] > 50 for part in rows.values())
    assert all((np.abs(part.x) <= 4).all() and (part.x[:-1, -1] == 1).all() for part in rows.values())
    federation.host._hosted_rows(settings.plan, settings.schedule.train_step)
    assert offer_heads(federation, settings, popularity[::-1].copy(), learned, 2) == N_USERS
    assert made != {task: (folder / task / "x.npy").stat().st_mtime_ns for task in TASKS}


def test_heads_that_are_not_the_plan_s_are_declined_and_without_them_nothing_is_charged(tmp_path):
    run, people = RunFolder(tmp_path / "run"), some_people()
    settings = settings_for(run, people, scenario_without_noise(*HEADS_TOO))
    federation, heads = LocalHost(run), settings.heads
    popularity = np.zeros(settings.n_categories, np.float32)
    weights = heads.start.weights.ravel()
    declined = f"refusal_{int(RefusalCode.PLAN_MISMATCH)}"
    assert offer_heads(federation, settings, popularity, weights, 0) == 0, "before any model"
    assert offer(federation, settings, settings.theta, 0, with_file=True) == N_USERS
    other = replace(heads, start=make_start(settings.plan.network, seed=5))
    offered = {
        "audience": "",
        "run": 1,
        "step": settings.schedule.train_step,
        "round": 0,
        "plan_sha256": settings.plan.sha256,
        "start": heads.start.to_bytes(),
        "popularity": popularity.tobytes(),
        "weights": weights.tobytes(),
    }
    wrong = (
        {"start": other.start.to_bytes()},
        {"popularity": popularity[1:].tobytes()},
        {"weights": weights[1:].tobytes()},
        {"plan_sha256": bytes(32)},
    )
    for change in wrong:
        assert federation.offer({**offered, **change}, "heads_offer") == 0
    assert federation.traffic.dropped == {declined: (1 + len(wrong)) * N_USERS}
    for name in ("curvature_request", "head_request"):
        kind = settings.plan.kind_of(name)
        words, answered = federation.collect(EVERYBODY.tolist(), settings.plan, fields_of(settings, name), kind)
        assert answered == 0 and not words.any()
        line = LedgerLine(kind.reply)
        assert all(of != line for of, _ in federation.host.ledger.plans)
    kind = settings.plan.kind_of("crowd_request")
    words, answered = federation.collect(EVERYBODY.tolist(), settings.plan, fields_of(settings, "crowd_request"), kind)
    assert answered == N_USERS and words.any()
