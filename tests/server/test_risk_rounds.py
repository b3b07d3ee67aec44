"""The server's rounds of phi: after p's, charged before they are sampled, gone on with after an interruption."""

import json

import numpy as np
import pytest

from client.model.runtime import pinned_model
from server.app import run
from server.channel import Traffic
from server.optimizer import ServerSettings
from server.privacy.accounting import epsilon_to_public, epsilon_unamplified
from server.public.risk_start import PublicRows, RiskStart
from server.settings import RunSettings, Schedule
from server.state import RISK as RISK_FILE
from server.state import ServerFolder
from server.training import train
from shared.clock import ReplayClock
from shared.codec import unpack_floats
from shared.errors import BudgetError, ConfigError
from shared.lapse_risk import N_COEFFICIENTS, READINGS, phi
from shared.plan import SumPlan
from shared.secure_sum.assembly import sent_bytes
from tests.world.basics import (
    FEATURES,
    N_CATEGORIES,
    NETWORK,
    activity_theta,
    charged,
    event_stream,
    make_plan,
    make_risk,
    open_device,
)
from tests.world.fake_grid import FakeGrid, device_node
from tests.world.seats import World, enrolled_profile, federation_of, helpers_of

P_ROUNDS, PHI_ROUNDS = 3, 4
PRIVACY = {"noise_multiplier": 4.0, "rounds": P_ROUNDS, "population": 8, "min_survivors": 2}
PHI_PRIVACY = {"noise_multiplier": 5.0, "rounds": PHI_ROUNDS, "sampling_rate": 0.5, "clip_norm": 0.5}


def plan_of(*, phi_privacy=None, **privacy):
    risk = make_risk(rate_steps=3, rows=16, privacy={**PHI_PRIVACY, **(phi_privacy or {})})
    return make_plan(privacy={**PRIVACY, **privacy}, risk=risk, detection={"lapse_steps": 4}, sum=SumPlan(2))


def public_rows() -> PublicRows:
    random = np.random.default_rng(0)
    x, before = random.uniform(-1, 1, (2, 3000, FEATURES.n_features)).astype(np.float32)
    silent = x[:, FEATURES.names.index("recency")]
    return PublicRows(x, before, (random.random(3000) < 1 / (1 + np.exp(1 - 2 * silent))).astype(np.float32))


def settings_for(folder, plan, **changes) -> RunSettings:
    fields = {
        "plan": plan,
        "server": ServerSettings(1.0, 0.5, 0.5),
        "schedule": Schedule(23, 24, 24),
        "folder": folder,
        "model": pinned_model(),
        "theta": NETWORK.initial_theta(3),
        "node_wait_s": 0.0,
        "risk_server": ServerSettings(1.0, 0.0, 0.75),
        "public_rows": public_rows(),
        "key_file": folder / "signing.pem",
        "n_categories": N_CATEGORIES,
        **changes,
    }
    return RunSettings(**fields)


class Sums:
    """A federation that answers with sums, and notes what it was asked for."""

    def __init__(self, folder, plan, *, crash_in_round: int = 0, cohort: int = 8, survivors: int = 8) -> None:
        self.traffic, self.crash_in_round, self.cohort, self.survivors = Traffic(), crash_in_round, cohort, survivors
        self.requests: list[tuple[str, dict]] = []
        self.offers: list[dict] = []
        self.sampled: list[tuple[float, int]] = []
        self._charged = lambda: ServerFolder(folder).charges(plan.sha256).count()

    def offer(self, fields):
        self.offers.append(dict(fields))
        return 8

    def sample(self, sampling_rate):
        self.sampled.append((sampling_rate, self._charged()))
        return list(range(self.cohort))

    def collect(self, cohort, plan, request, part):
        self.requests.append((part.request, dict(request)))
        if request["round"] == self.crash_in_round:
            raise RuntimeError("the server was killed")
        return np.full(part.n_values, 2048, np.uint32), self.survivors

    def ask(self, name, fields):
        return iter(())

    @property
    def rounds(self) -> list[tuple[str, int]]:
        return [(name, request["round"]) for name, request in self.requests]


EVERY_ROUND = [("train_request", n) for n in (1, 2, 3)] + [("risk_request", n) for n in (4, 5, 6, 7)]


def test_phi_is_learned_after_p_each_round_charged_before_its_cohort_is_sampled(tmp_path):
    plan, settings = plan_of(), settings_for(tmp_path, plan_of())
    federation = Sums(tmp_path, plan)
    accountant = train(federation, settings, ServerFolder(tmp_path))
    assert federation.rounds == EVERY_ROUND
    assert federation.sampled == [(1.0, n) for n in (1, 2, 3)] + [(0.5, n) for n in (4, 5, 6, 7)], "its own rate"
    assert accountant.rounds == P_ROUNDS and accountant.rounds_of(1) == PHI_ROUNDS
    folder = ServerFolder(tmp_path)
    theta, weights = folder.models()[-1], folder.models(RISK_FILE)
    assert weights.shape == (PHI_ROUNDS + 1, len(READINGS))
    start = RiskStart.learn(settings.public_rows, plan, theta)
    np.testing.assert_array_equal(weights[0], start.weights(start.coefficients))
    for _, request in federation.requests[P_ROUNDS:]:
        assert request["theta"] == theta.tobytes(), "phi reads the p that is published"
        np.testing.assert_array_equal(unpack_floats(request["basis"]), start.basis.ravel())
    coefficients = [unpack_floats(request["coefficients"]) for _, request in federation.requests[P_ROUNDS:]]
    mean = np.full(2, 2048) * plan.risk.privacy.grid_step / (0.5 * 8)
    for before, after in zip(coefficients, coefficients[1:], strict=False):
        np.testing.assert_allclose(after - before, start.newton @ mean, rtol=1e-4)
    (offer,) = federation.offers
    assert offer["round"] == P_ROUNDS and offer["risk"] == weights[-1].tobytes()


def test_a_warm_start_s_theta_reads_the_public_rows(tmp_path):
    plan = plan_of()
    settings = settings_for(tmp_path, plan, theta=activity_theta(), warm=True)
    train(Sums(tmp_path, plan), settings, ServerFolder(tmp_path))
    start = RiskStart.learn(settings.public_rows, plan, activity_theta())
    np.testing.assert_array_equal(ServerFolder(tmp_path).models(RISK_FILE)[0], start.weights(start.coefficients))


@pytest.mark.parametrize("crash", [2, 4, 5, 7])
def test_interrupted_in_either_part_a_run_goes_on_and_its_charges_stay(tmp_path, crash):
    plan = plan_of()
    first, second = Sums(tmp_path, plan, crash_in_round=crash), Sums(tmp_path, plan)
    with pytest.raises(RuntimeError):
        train(first, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    accountant = train(second, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert first.rounds + second.rounds == EVERY_ROUND, "no round is run twice, none is left out"
    assert (accountant.rounds, accountant.rounds_of(1)) == (P_ROUNDS, PHI_ROUNDS)
    whole = train(Sums(tmp_path / "w", plan), settings_for(tmp_path / "w", plan), ServerFolder(tmp_path / "w"))
    assert accountant.epsilon == pytest.approx(whole.epsilon, rel=1e-9)
    folder, other = ServerFolder(tmp_path), ServerFolder(tmp_path / "w")
    if crash > P_ROUNDS:
        np.testing.assert_array_equal(folder.models(), other.models())
        done = crash - P_ROUNDS
        np.testing.assert_array_equal(folder.models(RISK_FILE)[:done], other.models(RISK_FILE)[:done])
        last = other.models(RISK_FILE)[len(folder.models(RISK_FILE)) - 1]
        np.testing.assert_array_equal(folder.models(RISK_FILE)[-1], last, err_msg="the average went on")
    assert second.offers[-1]["risk"] == folder.models(RISK_FILE)[-1].tobytes()
    third = Sums(tmp_path, plan)
    train(third, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert third.rounds == [] and third.offers == second.offers, "a run that has ended only gives its weights again"


@pytest.mark.slow
def test_the_budget_covers_both_parts(tmp_path):
    p_part = {"noise_multiplier": 2.0, "sampling_rate": 0.5, "rounds": 200, "max_epsilon": 3.0}
    plan = plan_of(**p_part)
    federation = Sums(tmp_path, plan)
    accountant = train(federation, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert 1 < accountant.rounds < 200 and accountant.rounds_of(1) == PHI_ROUNDS
    assert [n for name, n in federation.rounds if name == "risk_request"] == [201, 202, 203, 204]
    delta = plan.privacy.delta
    assert epsilon_to_public(charged(plan, accountant.rounds), delta) <= 3
    assert epsilon_to_public(charged(plan, accountant.rounds + 1), delta) > 3
    again = Sums(tmp_path, plan)
    train(again, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert again.rounds == []


def test_a_phi_that_leaves_no_round_for_p_is_an_error_before_anybody_is_asked(tmp_path):
    plan = plan_of(max_epsilon=5.0, phi_privacy={"noise_multiplier": 0.0})
    federation = Sums(tmp_path, plan)
    with pytest.raises(BudgetError):
        train(federation, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert federation.rounds == [] and ServerFolder(tmp_path).charges(plan.sha256).count() == 0


def test_few_survivors_move_phi_nowhere_and_are_charged(tmp_path):
    plan = plan_of(phi_privacy={"min_survivors": 4})
    federation = Sums(tmp_path, plan, cohort=5, survivors=3)
    accountant = train(federation, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    weights = ServerFolder(tmp_path).models(RISK_FILE)
    assert (weights == weights[0]).all() and accountant.rounds_of(1) == PHI_ROUNDS
    assert federation.traffic.dropped == {"round_few_survivors": PHI_ROUNDS}


def test_public_rows_are_needed_for_phi(tmp_path):
    plan = plan_of()
    with pytest.raises(ConfigError, match=r"expected server\.public-rows"):
        train(Sums(tmp_path, plan), settings_for(tmp_path, plan, public_rows=None), ServerFolder(tmp_path))


def test_an_update_of_the_other_part_is_dropped():
    """It is as long as its boxes say; and a box of one part is not one of another's, whatever its length."""
    plan = plan_of()
    assert [kind.n_values for kind in plan.updates] == [NETWORK.n_parameters, N_COEFFICIENTS]
    for mine, others in (plan.updates, plan.updates[::-1]):
        world, other = World(plan, 4, kind=mine), World(plan, 4, kind=others)
        world.bends[2] = lambda name, fields, other=other, mine=mine: (
            {**fields, "sealed": bytes(sealed_bytes_of(other))} if name == mine.request else fields
        )
        total, n = world.sums.collect(world.cohort, plan, request_of(plan, mine), mine)
        assert n == 3 and world.traffic.dropped == {"sum_length": 1}
        np.testing.assert_array_equal(total, world.plain_sum((1, 3, 4)))


def sealed_bytes_of(world: World) -> int:
    return sent_bytes(world.plan.sum, world.kind)


def request_of(plan, kind) -> dict:
    fields = {"audience": "", "run": 1, "step": 1, "round": 4, "plan_sha256": plan.sha256}
    fields["theta"] = bytes(4 * NETWORK.n_parameters)
    return fields | ({"basis": bytes(8), "coefficients": bytes(8)} if kind.request == "risk_request" else {})


# ---- with real devices


def test_a_whole_run_learns_phi_from_devices_and_gives_it_to_them(tmp_path):
    """Flower's messages, the client as shipped, the account of both parts."""
    plan = plan_of(phi_privacy={"noise_multiplier": 2.0, "sampling_rate": 1.0, "rounds": 6})
    settings = settings_for(tmp_path / "server", plan, theta=activity_theta(), server=ServerSettings(1e-6, 0.0, 0.5))
    devices = {}
    for node in range(1, 9):
        device = open_device(tmp_path / str(node), enrolled_profile(number=node))
        for event in event_stream(np.random.default_rng(node), 24, 0.2):
            device.record(event)
        device.close_until(24)
        devices[node] = device
    grid = FakeGrid({node: device_node(node, device) for node, device in devices.items()})
    run(federation_of(grid, plan, settings.folder, helpers_of(2)), settings, ReplayClock())
    folder = ServerFolder(settings.folder)
    account = json.loads(folder.account_file.read_text())
    assert [line["times"] for line in account["lines"]] == [P_ROUNDS, 6]
    table, delta = charged(plan, P_ROUNDS, 6), plan.privacy.delta
    assert account["epsilon_to_public"] == epsilon_to_public(table, delta)
    assert account["epsilon_to_server"] == epsilon_unamplified(table, delta)
    traffic = folder.traffic()
    assert (traffic["sent"]["train_request"], traffic["sent"]["risk_request"]) == (8 * P_ROUNDS, 8 * 6)
    assert not traffic["dropped"] and traffic["received"]["risk_update"] == 8 * 6
    weights = folder.models(RISK_FILE)
    assert np.isfinite(weights).all() and (np.abs(np.diff(weights, axis=0)).max(axis=1) > 1e-4).all()
    for device in devices.values():
        np.testing.assert_array_equal(device._state.installed.risk, weights[-1])
        assert not device.problems
    risks = [device._state.read(device._state.installed, 23)[1] for device in devices.values()]
    known = np.concatenate([risk[~np.isnan(risk)] for risk in risks])
    assert known.size > 8 and ((known >= 0) & (known <= 1)).all() and np.unique(known).size > 1
    assert phi(weights[-1], np.zeros((1, len(READINGS)), np.float32))[0] == 0.5
