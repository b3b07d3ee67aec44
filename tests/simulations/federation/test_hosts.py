"""Two fidelities, one federation: the same users as devices of their own and as guests of a host give the same rounds."""

import dataclasses
import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from client.detection.risk_levels import Direction
from server.federation import HEADS_OFFER, MODEL_OFFER
from server.heads import CROWD, CURVATURE, HEADS
from server.inbox import Inbox
from server.state import RISK, ServerFolder
from shared.lapse_risk import READINGS
from shared.messages import REQUESTS
from shared.plan import Plan
from shared.register.recipes import QUERIES
from shared.register.sums import SUM_REQUESTS
from simulations.federation.equivalence import (
    N_USERS,
    run_devices,
    run_hosted,
    scenario_without_noise,
    some_people,
    theta_difference,
)
from simulations.federation.host_app import ANSWERS
from simulations.federation.host_training import (
    COMMITMENTS_FILE,
    SUMS,
    fresh_entropy,
    sum_of_risk_updates,
    sum_of_updates,
)
from simulations.federation.hosted.counters import Counters
from simulations.federation.hosted.head_sums import RAW
from simulations.federation.hosted.training_rows import rows_of_host
from simulations.federation.in_process import LocalHost
from simulations.federation.observations import read_notes
from simulations.federation.run_folder import RunFolder
from tests.world.dump_run import leave_dump


@pytest.fixture(scope="module")
def people():
    return some_people()


def alerts_of(run, people):
    p, alerts = read_notes(run, np.arange(people.n_users), len(people.catalogue), people.n_steps)
    return p, sorted(zip(*(column.tolist() for column in vars(alerts).values()), strict=True))


#: Overrides under which a detector finds something in so few users who are hardly trained.
EASILY = {
    "own_level": ["detection.fall_margin=0.02", "detection.rise_margin=0.02"],
    "rate": ["detection.rate_threshold=0.002"],
    "cusum": ["detection.season_steps=7", "detection.warm_steps=14"],
    "slow_average": ["detection.risk_line=0.05", "detection.takeoff_line=0.05"],
}


#: The same with features of version 2: a network with more inputs, from another pinned file.
VERSION_2 = "own_level, features 2"
#: The same where purchases alone are interest.
PURCHASES = "own_level, purchases"
FEATURES = {VERSION_2: ["features.version=2"], PURCHASES: ['features.interest="purchases"']}


@pytest.fixture(params=[*EASILY, "risk", *FEATURES])
def two_ways(request, tmp_path, people, made_once):
    """A detector, and the folders of two runs with it and with phi learned in two rounds after p's three: devices of
    their own, and hosts."""
    if (detector := request.param) == "risk":
        made = [made_once(f"fifty-{way}", partial(leave_dump, way)) for way in ("devices", "hosts")]
        return detector, [RunFolder(folder / "quiet") for folder in made]
    phi = ["risk.rounds=2", "risk.noise_multiplier=0.0", "risk.public_users=60"]
    detector, more = ("own_level", FEATURES[detector]) if detector in FEATURES else (detector, [])
    scenario = scenario_without_noise(f"detection.detector={detector}", *phi, *EASILY[detector], *more)
    alone, hosted = RunFolder(tmp_path / "devices"), RunFolder(tmp_path / "hosts")
    run_devices(alone, people, scenario)
    run_hosted(hosted, people, scenario)
    return request.param, [alone, hosted]


@pytest.mark.slow
def test_50_users_give_the_same_theta_and_the_same_alerts_in_both_fidelities(two_ways, people):
    detector, runs = two_ways
    models = [run.server.models() for run in runs]
    assert models[0].shape == (4, 3361 if detector == VERSION_2 else 1441)
    assert np.abs(models[0][-1] - models[0][0]).max() > 0.01, "the rounds moved theta"
    np.testing.assert_allclose(models[0], models[1], rtol=0, atol=1e-5)
    assert theta_difference(*runs) == np.abs(models[0] - models[1]).max() > 0
    weights = [run.server.models(RISK) for run in runs]
    assert weights[0].shape == (3, len(READINGS))
    assert np.abs(weights[0][-1] - weights[0][0]).max() > 1e-3, "the rounds moved phi"
    np.testing.assert_allclose(weights[0], weights[1], rtol=0, atol=1e-5)
    (p_devices, alerts_devices), (p_hosts, alerts_hosts) = (alerts_of(run, people) for run in runs)
    np.testing.assert_allclose(p_devices, p_hosts, rtol=0, atol=1e-4)
    assert alerts_devices == alerts_hosts
    assert len(alerts_hosts) > 5
    directions = {Direction(alert[2]) for alert in alerts_hosts}
    assert detector != "risk" or Direction.FALL in directions, "falls, which phi calls"


#: Heads of few planted people, learned in two rounds of everybody without noise, and alerts of both directions by them.
HEADS_TOO = [
    "warm_start.users=60",
    "warm_start.epochs=1",
    "heads.rounds=2",
    "heads.rows=24",
    "heads.crowd_noise_multiplier=0.0",
    "heads.curvature_noise_multiplier=0.0",
    "heads.noise_multiplier=0.0",
    "detection.detector=risk",
    "detection.risk_line=0.1",
    "detection.takeoff_line=0.1",
]


@pytest.mark.slow
def test_50_users_give_the_same_heads_and_the_same_alerts_in_both_fidelities(tmp_path, people):
    scenario = scenario_without_noise(*HEADS_TOO)
    runs = [RunFolder(tmp_path / way) for way in ("devices", "hosts")]
    settings = [ways(run, people, scenario) for ways, run in zip((run_devices, run_hosted), runs, strict=True)][-1]
    plan, start = settings.plan, settings.heads.start
    assert [len(run.server.models(name)) for name in (CROWD, CURVATURE, HEADS) for run in runs] == [2, 2, 2, 2, 3, 3]
    for name, room in ((CROWD, 1e-5), (CURVATURE, 1e-5), (HEADS, 1e-3)):
        one, other = (run.server.models(name) for run in runs)
        assert np.abs(one[-1] - one[0]).max() > 1e-3, f"nothing was learned: {name}"
        np.testing.assert_allclose(one, other, rtol=0, atol=room, err_msg=name)
    assert runs[0].server.models(HEADS).shape == (3, start.weights.size)
    np.testing.assert_array_equal(runs[0].server.models(HEADS)[0], start.weights.ravel())
    told = runs[0].server.traffic()
    lines = [told["received"][kind.reply] for kind in plan.updates]
    assert lines == [N_USERS * kind.privacy.rounds for kind in plan.updates] and not told["dropped"]
    assert told["sent"]["heads_offer"] == 2 * N_USERS == told["received"]["receipt"] - told["sent"]["model_offer"]
    (p_devices, alerts_devices), (p_hosts, alerts_hosts) = (alerts_of(run, people) for run in runs)
    np.testing.assert_allclose(p_devices, p_hosts, rtol=0, atol=1e-4)
    assert alerts_devices == alerts_hosts
    assert {Direction(alert[2]) for alert in alerts_hosts} == set(Direction), "lapses and take-offs"


def test_each_hosted_device_is_clipped_and_noised_on_its_own(tmp_path, people):
    """The noise of a sum of n devices has n shares' variance, and no device's part exceeds the clip."""
    scenario = scenario_without_noise("privacy.noise_multiplier=2.0", "privacy.steps_per_clip=4096")
    settings = run_hosted(RunFolder(tmp_path), people, scenario)
    host = RunFolder(tmp_path).host(0)
    plan, rows = host.plan(), rows_of_host(host, Counters(host.counters), host.plan(), "train_request")
    privacy = plan.privacy
    everybody = np.arange(people.n_users)
    quiet = dataclasses.replace(plan, privacy=dataclasses.replace(privacy, noise_multiplier=0.0, max_epsilon=math.inf))
    arguments = (rows, everybody, everybody)
    entropy = fresh_entropy(tmp_path)
    noisy = sum_of_updates(*arguments, plan, settings.theta, 9, entropy).view(np.int32).astype(float)
    clean = sum_of_updates(*arguments, quiet, settings.theta, 9, entropy).view(np.int32).astype(float)
    n_shares = people.n_users
    assert (noisy - clean).std() == pytest.approx(privacy.share_sigma * math.sqrt(n_shares), rel=0.1)
    assert np.linalg.norm(clean) <= n_shares * privacy.steps_per_clip
    alone = [
        sum_of_updates(rows, everybody[u : u + 1], everybody[u : u + 1], quiet, settings.theta, 9, entropy)
        for u in range(people.n_users)
    ]
    parts = np.stack(alone).view(np.int32).astype(float)
    assert (np.linalg.norm(parts, axis=1) <= privacy.steps_per_clip).all()
    np.testing.assert_allclose(parts.sum(axis=0), clean, atol=N_USERS, err_msg="chunks change nothing but rounding")


def test_each_hosted_device_s_phi_is_clipped_and_noised_on_its_own(tmp_path, people):
    loud = ["risk.rounds=1", "risk.noise_multiplier=2.0", "risk.clip_norm=0.01", "risk.public_users=60"]
    settings = run_hosted(RunFolder(tmp_path), people, scenario_without_noise("privacy.steps_per_clip=4096", *loud))
    host = RunFolder(tmp_path).host(0)
    plan, rows = host.plan(), rows_of_host(host, Counters(host.counters), host.plan(), "risk_request")
    risk, entropy = plan.risk, fresh_entropy(tmp_path)
    quiet = dataclasses.replace(risk, privacy=dataclasses.replace(risk.privacy, noise_multiplier=0.0))
    basis = np.random.default_rng(0).normal(size=(len(READINGS), 2)).astype(np.float32)
    request = settings.theta, basis, np.ones(2, np.float32)

    def total(part, users) -> np.ndarray:
        words = sum_of_risk_updates(rows, users, users, plan, part, request, 9, entropy)
        return words.view(np.int32).astype(np.int64)

    everybody = np.arange(people.n_users)
    clean = total(quiet, everybody)
    alone = np.stack([total(quiet, everybody[u : u + 1]) for u in everybody])
    squares = (alone**2).sum(axis=1)
    assert (squares <= risk.privacy.steps_per_clip**2).all() and squares.max() > 0.99 * risk.privacy.steps_per_clip**2
    np.testing.assert_allclose(alone.sum(axis=0), clean, atol=N_USERS)
    noise = np.stack([total(risk, everybody) - clean for _ in range(200)])
    assert noise.std() == pytest.approx(risk.privacy.share_sigma * math.sqrt(people.n_users), rel=0.15)


def test_each_round_has_one_noise_key_which_is_written_down_before_use(tmp_path, people):
    scenario = scenario_without_noise("privacy.noise_multiplier=1.0", "privacy.steps_per_clip=4096")
    run_hosted(RunFolder(tmp_path), people, scenario)
    lines = [line.split() for line in (RunFolder(tmp_path).host(0).path / COMMITMENTS_FILE).read_text().splitlines()]
    assert [int(number) for number, _ in lines] == [1, 2, 3] and len({key for _, key in lines}) == 3


def test_only_consenting_users_tell_anything(tmp_path, people):
    scenario = scenario_without_noise("simulation.identified_share=0.0", "detection.fall_margin=0.02")
    settings = run_hosted(RunFolder(tmp_path), people, scenario)
    assert Inbox(ServerFolder(settings.folder).inbox_file).count() == 0
    assert alerts_of(RunFolder(tmp_path), people)[1], "the devices saw alerts, and kept them"


def test_a_host_refuses_a_plan_it_was_not_given(tmp_path, people):
    run_hosted(RunFolder(tmp_path), people, scenario_without_noise())
    host = LocalHost(RunFolder(tmp_path))
    request = {"plan_sha256": bytes(32), "theta": bytes(4 * 1441), "round": 1, "step": 111}
    with pytest.raises(Exception, match="installed plan"):
        host.collect(
            [0], SimpleNamespace(), request, Plan.from_bytes(host.host.folder.plan_file.read_bytes()).updates[0]
        )


def test_hosted_devices_answer_every_request():
    """A query that a host does not know would drop all of its devices from the run, and only count it. Its sum is ideal: what
    exchanges keys and asks seats never comes."""
    queries = {recipe.request for recipe in QUERIES}
    offers = {MODEL_OFFER, HEADS_OFFER}
    assert {*offers, *SUMS, *RAW, *ANSWERS, *queries} == set(REQUESTS) - {kind.name for kind in SUM_REQUESTS}
