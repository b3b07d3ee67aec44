"""The server's rounds of heads: a sum of the crowd, one of curvature, whitened rounds; gone on with after an interruption."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from client.model.runtime import pinned_model
from server.app import offer_and_train, run
from server.heads import CROWD, CURVATURE, HEADS
from server.heads.learners import bases
from server.heads.settings import HeadsSettings
from server.heads.whitening import noise_of_mean
from server.run_log.log import LOG_FILE, RunLog
from server.settings import RunSettings
from server.signing import signing_key
from server.state import INTEREST, ServerFolder
from server.training import train
from shared.clock import ReplayClock
from shared.codec import unpack_floats
from shared.errors import ConfigError, RefusalCode
from shared.heads import crowd_of, pair_shares
from shared.mechanisms import from_grid
from tests.server.test_risk_rounds import Sums
from tests.server.test_risk_rounds import settings_for as of_plan
from tests.world.basics import N_CATEGORIES
from tests.world.heads import heads_plan, make_heads, make_start

P_ROUNDS, HEAD_ROUNDS = 2, 3
NOISE = {"noise_multiplier": 1.0, "population": 8, "min_survivors": 2}
START = make_start(heads_plan().network)


def plan_of(**privacy):
    heads = make_heads(START, privacy={**NOISE, **privacy})
    heads = replace(heads, updates=replace(heads.updates, rounds=HEAD_ROUNDS))
    return heads_plan(heads=heads, privacy={**NOISE, "noise_multiplier": 4.0, "rounds": P_ROUNDS})


def settings_for(folder, plan, **changes) -> RunSettings:
    heads = HeadsSettings(START, (0.3, 0.5), 0.1, 0.5)
    fields = {"theta": plan.network.initial_theta(3), "model": pinned_model(2), "public_rows": None, "heads": heads}
    return of_plan(folder, plan, **{**fields, **changes})


class Devices(Sums):
    """The same, which notes offers of both kinds, and sums up what a few users would send."""

    def __init__(self, folder, plan, **how) -> None:
        super().__init__(folder, plan, **how)
        self.told: list[tuple[str, dict]] = []
        self.refuses: frozenset[str] = frozenset()

    def offer(self, fields, name="model_offer"):
        self.told.append((name, dict(fields)))
        if name in self.refuses:
            self.traffic.dropped[f"refusal_{int(RefusalCode.PLAN_MISMATCH)}"] += 8
            return 0
        return 8

    def collect(self, cohort, plan, request, part):
        total, survivors = super().collect(cohort, plan, request, part)
        return {"crowd": crowd_words(plan)}.get(part.reply, total), survivors

    @property
    def kinds(self) -> list[str]:
        return [name for name, _ in self.told]


def crowd_words(plan) -> np.ndarray:
    """What eight users hand out who do mostly the first category, without noise."""
    active = np.zeros((8, N_CATEGORIES, 10), bool)
    active[:, 0] = True
    active[np.arange(8), np.arange(8) % N_CATEGORIES, :5] = True
    steps = pair_shares(active, N_CATEGORIES).sum(axis=0) * plan.heads.crowd.steps_per_clip
    return np.round(steps).astype(np.int64).astype(np.uint32)


EVERY_ROUND = [
    *(("train_request", n) for n in (1, 2)),
    ("crowd_request", 3),
    ("curvature_request", 4),
    *(("head_request", n) for n in (5, 6, 7)),
]


def test_heads_are_learned_after_p_and_offered_after_the_crowd_s_sum_and_in_the_end(tmp_path):
    plan = plan_of()
    settings, federation = settings_for(tmp_path, plan), Devices(tmp_path, plan)
    accountant = train(federation, settings, ServerFolder(tmp_path))
    assert federation.rounds == EVERY_ROUND
    assert federation.sampled == [(1.0, n) for n in range(1, 8)], "each is charged before its cohort is sampled"
    assert [accountant.rounds_of(part) for part in range(4)] == [P_ROUNDS, 1, 1, HEAD_ROUNDS]
    assert federation.kinds == ["heads_offer", "model_offer", "heads_offer"]
    folder = ServerFolder(tmp_path)
    (_, first), (_, model), (_, last) = federation.told
    popularity = folder.models(CROWD)[-1]
    mean = from_grid(crowd_words(plan), plan.heads.crowd.grid_step) / 8
    said = crowd_of(mean, N_CATEGORIES, noise_of_mean(plan.heads.crowd)).popularity
    np.testing.assert_allclose(popularity, said, rtol=1e-6)
    for offer in (first, last):
        assert offer["start"] == START.to_bytes() and offer["popularity"] == popularity.tobytes()
        assert offer["round"] == model["round"] == P_ROUNDS and offer["plan_sha256"] == plan.sha256
    assert first["weights"] == START.weights.tobytes() and last["weights"] == folder.models(HEADS)[-1].tobytes()
    assert model["theta"] == folder.models()[-1].tobytes() and model["risk"] == b""


def test_a_round_moves_whitened_coefficients_by_the_rate_and_publishes_their_later_mean(tmp_path):
    plan = plan_of()
    settings, federation = settings_for(tmp_path, plan), Devices(tmp_path, plan)
    train(federation, settings, ServerFolder(tmp_path))
    folder, asked = ServerFolder(tmp_path), [request for name, request in federation.requests if name == "head_request"]
    basis = bases(plan.heads, folder.models(CURVATURE)[-1], 0.1)
    for request in asked:
        np.testing.assert_array_equal(unpack_floats(request["basis"]), basis.ravel())
    mean = np.full((2, 28), 2048 * plan.heads.updates.grid_step / 8)
    step = np.array([0.3 * 1.0 / np.sqrt(0.6), 0.5 * 1.0 / np.sqrt(0.4)])[:, None] * mean
    u = [unpack_floats(request["coefficients"]).reshape(2, 28) for request in asked]
    for i, now in enumerate(u):
        np.testing.assert_allclose(now, i * step, rtol=1e-5, atol=1e-7)
    weights = folder.models(HEADS)
    np.testing.assert_array_equal(weights[0], START.weights.ravel())
    for done, published in enumerate(weights[1:].reshape(-1, 2, 28), start=1):
        later = np.mean([i * step for i in range(done + 1)][-max(1, int(np.ceil(done / 2))) :], axis=0)
        np.testing.assert_allclose(published, START.weights + (basis @ later[..., None])[..., 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("crash", [2, 3, 4, 5, 7])
def test_interrupted_in_any_part_a_run_goes_on_where_it_was(tmp_path, crash):
    plan = plan_of()
    first, second = Devices(tmp_path, plan, crash_in_round=crash), Devices(tmp_path, plan)
    with pytest.raises(RuntimeError):
        train(first, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    accountant = train(second, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    expected = [one for one in EVERY_ROUND if crash != 4 or one[0] != "head_request"]
    assert first.rounds + second.rounds == expected, "no round is run twice; without a curvature heads stay"
    whole = Devices(tmp_path / "w", plan)
    train(whole, settings_for(tmp_path / "w", plan), ServerFolder(tmp_path / "w"))
    folder, other = ServerFolder(tmp_path), ServerFolder(tmp_path / "w")
    assert accountant.rounds_of(0) == P_ROUNDS
    assert all(folder.has_models(name) for name in (INTEREST, CROWD, CURVATURE)), "a sum that was lost leaves its start"
    assert crash != 3 or not folder.models(CROWD)[-1].any()
    if crash > 3:
        np.testing.assert_array_equal(folder.models(CROWD), other.models(CROWD))
    if crash > 4:
        np.testing.assert_array_equal(folder.models(CURVATURE), other.models(CURVATURE))
        mine = [request for name, request in (*first.requests, *second.requests) if name == "head_request"]
        theirs = [request for name, request in whole.requests if name == "head_request"]
        assert [request["basis"] for request in mine] == [request["basis"] for request in theirs]
    third = Devices(tmp_path, plan)
    train(third, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert third.rounds == [] and third.kinds == (["model_offer", "heads_offer"] if crash != 4 else third.kinds)
    assert third.told[-1] == second.told[-1], "a run that has ended only gives its weights again"


def test_a_run_that_goes_on_offers_heads_too_once_everybody_s_sum_is_published(tmp_path):
    plan = plan_of()
    settings, clock = settings_for(tmp_path, plan), ReplayClock()
    for crash, kinds in (
        (3, ["model_offer"]),
        (6, ["model_offer", "heads_offer"]),
    ):
        federation = Devices(tmp_path / str(crash), plan, crash_in_round=crash)
        folder = ServerFolder(tmp_path / str(crash))
        with pytest.raises(RuntimeError):
            offer_and_train(federation, settings, folder, clock)
        again = Devices(folder.folder, plan)
        offer_and_train(again, settings, folder, clock)
        before = again.kinds[: len(kinds)]
        assert before == kinds
    head = again.told[1][1]
    assert head["weights"] == folder.models(HEADS)[1].tobytes(), "the newest as of then"


def test_few_survivors_of_the_curvature_leave_heads_as_they_start_and_charge_no_further_round(tmp_path):
    plan = plan_of()
    heads = replace(plan.heads, curvature=replace(plan.heads.curvature, min_survivors=4))
    plan = replace(plan, heads=heads)
    federation = Devices(tmp_path, plan, cohort=5, survivors=3)
    accountant = train(federation, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert federation.rounds == EVERY_ROUND[:4] and accountant.rounds_of(3) == 0
    assert federation.told[-1][1]["weights"] == START.weights.tobytes()


def test_devices_that_take_no_heads_and_refuse_stop_the_run(tmp_path):
    """Counted as any refusal; two rounds show that to go on would only spend."""
    plan = plan_of()

    class Refusing(Devices):
        def collect(self, cohort, plan, request, part):
            total, survivors = super().collect(cohort, plan, request, part)
            if part.reply in ("curvature", "head_update"):
                self.traffic.dropped[f"refusal_{int(RefusalCode.PLAN_MISMATCH)}"] += 8
                return np.zeros_like(total), 0
            return total, survivors

    federation = Refusing(tmp_path, plan)
    federation.refuses = frozenset({"heads_offer"})
    train(federation, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert federation.rounds == EVERY_ROUND[:4], "no curvature, no round of heads"
    assert federation.traffic.dropped[f"refusal_{int(RefusalCode.PLAN_MISMATCH)}"] == 3 * 8


def test_settings_of_another_start_or_of_none_are_refused_before_anybody_is_asked(tmp_path):
    plan = plan_of()
    other = HeadsSettings(make_start(plan.network, seed=9))
    with pytest.raises(ConfigError, match="SHA-256"):
        settings_for(tmp_path, plan, heads=other)
    federation = Devices(tmp_path, plan)
    with pytest.raises(ConfigError, match=r"expected server\.heads-start"):
        train(federation, settings_for(tmp_path, plan, heads=None), ServerFolder(tmp_path))
    assert not federation.rounds and not federation.told
    file = tmp_path / "heads0.f32"
    with pytest.raises(ConfigError, match=r"heads0\.f32, got no such file"):
        HeadsSettings.load(file, plan, (0.3, 0.5), 0.1, 0.5)
    file.write_bytes(START.to_bytes()[:-4])
    with pytest.raises(ConfigError, match="bytes of where heads start"):
        HeadsSettings.load(file, plan, (0.3, 0.5), 0.1, 0.5)
    file.write_bytes(START.to_bytes())
    assert HeadsSettings.load(file, plan, (0.3, 0.5), 0.1, 0.5).start.sha256 == START.sha256
    for wrong in ({"rates": (0.0, 1.0)}, {"damping": 2.0}, {"tail": -1.0}):
        with pytest.raises(ConfigError, match="expected rates of heads"):
            HeadsSettings(START, **wrong)


def test_the_log_says_every_model_of_every_part_and_its_files_are_published(tmp_path):
    plan = plan_of()
    settings, folder = settings_for(tmp_path, plan), ServerFolder(tmp_path)
    log = RunLog(tmp_path, signing_key(settings.key_file))
    run(Devices(tmp_path, plan), settings, ReplayClock(), log=log)
    leaves = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text("utf-8").splitlines()]
    told = Counter(leaf["part"] for leaf in leaves if leaf["kind"] == "model")
    assert told == {INTEREST: P_ROUNDS + 1, CROWD: 2, CURVATURE: 2, HEADS: HEAD_ROUNDS + 1}
    charged = [leaf["line"] for leaf in leaves if leaf["kind"] == "charge"]
    assert charged == [*["update"] * P_ROUNDS, "crowd", "curvature", *["head_update"] * HEAD_ROUNDS]
    published = folder.published()
    assert {"server/crowd.npz", "server/curvature.npz", "server/heads.npz"} <= set(published)
    account = json.loads(folder.account_file.read_text())
    assert [line["times"] for line in account["lines"]] == [P_ROUNDS, 1, 1, HEAD_ROUNDS]
