"""Hosts answer sums besides training as their devices would: the same rows, alerts and clips, of those who agreed."""

import json

import numpy as np
import pytest

from client.device import Device, Profile
from client.model.recipes import VECTORS, Seen
from client.model.runtime import pinned_model
from client.vault.consent import Consent
from server.app import run
from server.insights.readings import auc_of
from shared.clock import ReplayClock
from shared.events import BehaviourEvent, EventKind
from shared.register.recipes import RECIPES
from simulations.federation.device_app import LIMITS, simulation_keys
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RunFolder
from simulations.federation.run_settings import run_settings
from simulations.people.planted import plant
from simulations.people.setup import Setup
from simulations.scenarios.config import load_scenario

N_USERS, EVERY = 24, 28
SCENARIO = [
    "simulation.fidelity=hosts",
    "simulation.hosts=1",
    f"data.users={N_USERS}",
    "simulation.identified_share=0.3",
    "simulation.randomised_share=0.2",
    "simulation.summed_share=0.3",
    "simulation.query_every_steps=28",
    "simulation.dropout=0.0",
    "privacy.rounds=1",
    "privacy.noise_multiplier=0",  # drawn weights may put a score on a line, where two sums of the same numbers part
    "privacy.max_epsilon=inf",
    "bits.every_steps=0",
    "risk.rounds=0",
    "caps.table=none",
    *(f"{name}.{key}" for name in ("evaluation", "counts") for key in (f"every_steps={EVERY}", "noise_multiplier=0")),
    *(f"{name}.{key}" for name in ("evaluation", "counts") for key in ("steps_per_clip=1048576", "answering=0.5")),
    "evaluation.clip_norm=20.0",
    "counts.clip_norm=1.0",
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder, people = RunFolder(tmp_path_factory.mktemp("run") / "run"), plant(N_USERS, 182, seed=1)
    setup = Setup.of(load_scenario("demo", SCENARIO), people)
    folder.prepare(setup, people)
    host = LocalHost(folder)
    run(host, run_settings(setup, folder), setup.schedule.clock())
    return folder, setup, host


def clipped(raw: np.ndarray, most: float) -> np.ndarray:
    return raw * np.minimum(1, most / np.maximum(np.linalg.norm(raw, axis=-1, keepdims=True), 1e-12))


def test_the_sum_is_that_of_every_device_s_own_vector(ran):
    folder, setup, host = ran
    account = json.loads(folder.server.account_file.read_text())
    agreed = np.flatnonzero([folder.owners().consent_of(user) is not Consent.LOCAL for user in range(N_USERS)])
    assert 8 < len(agreed) < N_USERS
    told = [(one["recipe"], one["step"], one["asked"], one["answered"]) for one in account["sums"]]
    steps = (139, 167)
    assert told == [(recipe, step, N_USERS, len(agreed)) for step in steps for recipe in ("evaluation", "alert_counts")]
    assert host.traffic.dropped["refusal_7"] == 4 * (N_USERS - len(agreed))
    for one in account["sums"]:
        query = setup.plan.query(one["recipe"])
        number = setup.plan.first_round(1 + setup.plan.queries.index(query)) + 1 + steps.index(one["step"])
        total = sum(
            clipped(vector_of(ran, user, query, number, one["step"]), query.privacy.clip_norm) for user in agreed
        )
        if one["recipe"] == "evaluation":
            assert one["reading"]["auc"]["estimate"] == pytest.approx(auc_of(total, 0.0).estimate, abs=2e-4)
        else:
            assert np.ravel(one["reading"]["counts"]) == pytest.approx(total, abs=1e-3) and total.sum() > 1


def vector_of(ran, user: int, query, number: int, step: int) -> np.ndarray:
    """What one device, living alone with its user's events, would put in, before clip and noise."""
    folder, setup, _ = ran
    people, models = plant(N_USERS, 182, seed=1), folder.server.models()
    home = folder.path / "alone" / str(user)
    home.mkdir(parents=True, exist_ok=True)
    profile = setup_profile(folder, setup, user)
    clock = ReplayClock(float((step + 1) * people.step.seconds))
    with Device.open(home, profile, keys=simulation_keys(home), clock=clock, caps=setup.caps, limits=LIMITS) as device:
        events = people.user_events(user)
        rows = zip(events.kind, events.category, events.time_s, events.amount, strict=True)
        lived = [BehaviourEvent(EventKind(int(k)), int(c), float(t), float(a)) for k, c, t, a in rows]
        train_s = setup.train_s
        if device._state.installed is None:
            before = [event for event in lived if event.time_s < train_s]
            assert device.catch_up(before, setup.schedule.train_step + 1)
            device.install(setup.plan, pinned_model(), models[0], np.empty(0, np.float32), 0)
            device.install(setup.plan, pinned_model(), models[-1], np.empty(0, np.float32), 1)
        begin_s = device.n_closed_steps * people.step.seconds
        since = [e for e in lived if begin_s <= e.time_s < (step + 1) * people.step.seconds]
        assert device.catch_up(since, step + 1) and not device.problems
        state = device._state
        told = [(0, a.direction, a.category, a.level, a.step) for a in device.alerts()]
        table = np.array(told, np.int64).reshape(-1, 5)
        history, score = state.history.until(step)[None], state.installed.scorer.score
        about = Seen(setup.plan, query, history, score, table, np.array([user]), number, step)
        return VECTORS[query.recipe](about)[0]


def setup_profile(folder: RunFolder, setup: Setup, user: int) -> Profile:
    return Profile(
        step=setup.step,
        n_categories=setup.n_categories,
        catalogue_sha256=setup.catalogue.sha256,
        server_key=folder.server_key(),
        number=user,
        origin_s=0.0,
    )


def test_what_a_host_s_devices_spent_is_on_their_lines(ran):
    folder, setup, host = ran
    plan = setup.plan.sha256
    ledger = host.host.ledger
    lines = {line: count for (line, sha256), count in zip(ledger.plans, ledger.participations.T, strict=True)}
    assert all(sha256 == plan for _, sha256 in ledger.plans)
    agreed = np.array([folder.owners().consent_of(user) is not Consent.LOCAL for user in range(N_USERS)])
    for recipe in ("evaluation", "alert_counts"):
        assert recipe in RECIPES
        np.testing.assert_array_equal(lines[recipe][ledger.account] > 0, agreed)
        assert set(lines[recipe][ledger.account][agreed].tolist()) == {2}
