"""The ServerApp, from the first device to the last query, with real devices behind a transport without a network."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flwr.app import Context, RecordDict

from client.detection.alerts import alert_fields
from client.device import Device
from client.model.runtime import MODEL_FILE, pinned_model
from client.vault.consent import Consent
from server import app as server_app
from server import training
from server.channel import Channel, Traffic, wait_for_nodes
from server.device_nodes import DeviceNodes
from server.inbox import Inbox
from server.optimizer import ServerSettings
from server.privacy.accounting import RoundAccountant, epsilon_bound, epsilon_to_public, finite
from server.public.risk_start import PublicRows
from server.queries import ask_for_alerts
from server.settings import LONGEST_MEANS, RunSettings, Schedule
from server.state import ServerFolder
from server.training import train
from shared.charges import charges_of
from shared.clock import ReplayClock, WallClock
from shared.errors import BudgetError, ConfigError, RunError
from shared.plan import SumPlan
from tests.world.basics import (
    N_CATEGORIES,
    NETWORK,
    activity_theta,
    event_stream,
    make_plan,
    open_device,
    replayed_entropy,
)
from tests.world.fake_grid import SIGNER, FakeGrid, device_node, fails, wire
from tests.world.seats import enrolled_profile, helpers_of, node_of, signing
from tests.world.signing import PRIVATE_KEY, asked

PRIVACY = {"noise_multiplier": 4.0, "rounds": 3, "population": 8, "min_survivors": 2}
N_STEPS, TRAIN_STEP = 24, 11
#: Who holds the seats of these runs' sums, and the plan's part that says so.
HELPERS = helpers_of(2)
IN_SUMS = SumPlan(len(HELPERS))


def run_config(folder, plan, **changes) -> dict:
    model_file = folder / "interest.bin"
    model_file.write_bytes(pinned_model())
    key_file = folder / "signing.pem"
    key_file.touch(0o600)
    key_file.write_bytes(PRIVATE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return {
        "plan": plan.canonical.hex(),
        "server.learning-rate": 1.0,
        "server.momentum": 0.5,
        "server.tail": 0.5,
        "server.folder": str(folder / "server"),
        "server.model-file": str(model_file),
        "server.key-file": str(key_file),
        "server.categories": N_CATEGORIES,
        "server.theta-file": "",
        "server.theta-seed": 3,
        "server.risk-learning-rate": 1.0,
        "server.public-rows": "",
        "server.node-wait-s": 0.0,
        **dict.fromkeys(LONGEST_MEANS.values(), 1.0),
        "server.audience": "",
        "server.helpers": ",".join(party.leaf[:32].hex() for party in HELPERS.values()),
        "server.epoch-wait-s": 10.0,
        "server.round-open-s": 60.0,
        "schedule.train-step": TRAIN_STEP,
        "schedule.first-query-step": TRAIN_STEP + 1,
        "schedule.last-query-step": N_STEPS - 1,
        "schedule.query-every-steps": 1,
        "schedule.seconds-per-step": 0.0,
        "schedule.origin-s": 0.0,
        "schedule.replay-step-s": 86_400.0,
        **changes,
    }


class Phones:
    """Devices that live through their days as the server's calendar asks, like simulated nodes do."""

    def __init__(self, folder, n: int, identified: set[int]) -> None:
        self.devices: dict[int, Device] = {}
        self.events = {}
        for node in range(1, n + 1):
            consent = Consent.IDENTIFIED if node in identified else Consent.LOCAL
            profile = enrolled_profile(consent, node)
            self.devices[node] = open_device(folder / str(node), profile, entropy=replayed_entropy(node))
            self.events[node] = event_stream(np.random.default_rng(node), N_STEPS, 0.3)

    def node(self, node: int):
        device = self.devices[node]
        ask = device_node(node, device)

        def answer(message):
            step = asked(wire(message))[1].get("step", -1)
            begin, end = device.n_closed_steps, max(step + 1, device.n_closed_steps)
            for event in self.events[node]:
                if begin <= device.profile.step.at(event.time_s) < end:
                    device.record(event)
            device.close_until(end)
            return ask(message)

        return answer

    def grid(self) -> FakeGrid:
        helpers = {node: node_of(party) for node, party in HELPERS.items()}
        return FakeGrid({**{node: self.node(node) for node in self.devices}, **helpers})


def serve(grid: FakeGrid, config: dict) -> None:
    """One process of the server, whose list is signed as soon as it is there."""
    with signing(Path(config["server.folder"]), HELPERS):
        server_app.app(grid, Context(1, 0, {}, RecordDict(), config))


def test_one_run_from_the_first_device_to_the_last_query(tmp_path):
    detection = {"detector": "rate", "rate_threshold": 0.3, "quiet_steps": 1}
    plan = make_plan(privacy=PRIVACY, detection=detection, sum=IN_SUMS)
    phones = Phones(tmp_path / "phones", 8, identified={2, 5})
    grid = phones.grid()
    np.save(tmp_path / "theta.npy", activity_theta())
    begin = {"server.theta-file": str(tmp_path / "theta.npy"), "server.learning-rate": 0.01}
    config = run_config(tmp_path, plan, **begin)
    serve(grid, config)

    folder = ServerFolder(tmp_path / "server")
    account = json.loads(folder.account_file.read_text())
    table, delta = charges_of(plan), plan.privacy.delta
    assert (account["rounds_charged"], account["rounds_planned"]) == (3, 3)
    assert account["epsilon_to_public"] == epsilon_to_public(table, delta) and not account["by_bound"]
    assert account["epsilon_to_server"] == account["epsilon_to_public"], "everybody was in every round"
    assert account["epsilon_bound"] == epsilon_bound(table, delta) > account["epsilon_to_public"]
    assert [(line["line"], line["times"]) for line in account["lines"]] == [("update", 3)]
    assert account["to_server"] == "the noisy sum of each round over at least 2 devices, if one of 2 helpers is honest"
    assert account["plan_sha256"] == plan.sha256.hex()

    progress = [json.loads(line) for line in folder.progress_file.read_text().splitlines()]
    assert list(dict.fromkeys(p["phase"] for p in progress)) == ["devices", "offer", "rounds", "queries"]
    assert [p["epsilon"] for p in progress if p["phase"] == "rounds"] == sorted(
        p["epsilon"] for p in progress if p["phase"] == "rounds"
    )

    models = folder.models()
    assert models.shape == (4, NETWORK.n_parameters)
    np.testing.assert_array_equal(models[0], activity_theta())
    assert (models[1:] != models[:-1]).any(axis=1).all(), "every round moved the model"
    for device in phones.devices.values():
        installed = device._state.installed
        assert installed.round_number == 3 and installed.theta.tobytes() == models[-1].tobytes()
        assert not device.problems

    others = [phones.devices[node] for node in (1, 3, 4, 6, 7, 8)]
    assert any(device._state.alerts for device in others), "others had alerts too, and kept them"
    assert account["identified_alerts"] == Inbox(folder.inbox_file).count() > 0

    routes = [
        (name, len({node for node, r, _ in grid.asked if r == name}))
        for name in ("query.enrolment", "query.epoch", "query.model", "train", "query.total", "query.alerts")
    ]
    assert [n for _, n in routes] == [10, 10, 8, 8, 2, 8], routes
    offers = [asked(data)[1] for _, route, data in grid.asked if route == "query.model"]
    assert [len(o["model"]) for o in offers] == [MODEL_FILE.stat().st_size] * 8 + [0] * 8, "the file travels once"
    traffic = folder.traffic()
    assert traffic["sent"]["train_request"] == 3 * 8 and not traffic["dropped"]


def test_only_identified_devices_are_in_the_inbox(tmp_path):
    plan = make_plan(privacy=PRIVACY, detection={"detector": "rate", "rate_threshold": 0.3, "quiet_steps": 1})
    seen = []

    class Listening(Inbox):
        def add_all(self, told):
            seen.extend(kept := list(told))
            super().add_all(kept)

    phones = Phones(tmp_path / "phones", 8, identified={2, 5})
    settings = RunSettings.read(run_config(tmp_path, plan))
    federation, folder = federation_of(phones.grid()), ServerFolder(settings.folder)
    training.offer(federation, settings, activity_theta(), 1, with_file=True)
    ask_for_alerts(federation, settings, folder, Listening(folder.inbox_file), ReplayClock())
    assert {node for node, alerts in seen if alerts} == {2, 5}
    for node in (2, 5):
        told = [alert for n, alerts in seen if n == node for alert in alerts]
        raised = alert_fields(0, [a for a, _ in phones.devices[node]._state.alerts])["alerts"]
        assert all(alert in told for alert in raised) and len(told) == len({str(a) for a in told}), "each once"


# ---- training


def federation_of(grid: FakeGrid) -> DeviceNodes:
    return DeviceNodes(Channel(grid, Traffic(), SIGNER), [node for node in grid.nodes if node not in HELPERS])


def settings_for(folder, plan, public_rows: PublicRows | None = None, **changes) -> RunSettings:
    return RunSettings(
        plan,
        ServerSettings(1.0, 0.5, 0.5),
        Schedule(TRAIN_STEP, 12, 13),
        folder,
        b"",
        NETWORK.initial_theta(3),
        node_wait_s=0.0,
        risk_server=ServerSettings(1.0, 0.0, 0.75),
        public_rows=public_rows,
        key_file=folder / "signing.pem",
        n_categories=N_CATEGORIES,
        **changes,
    )


class Sums:
    """A federation that answers with sums, and notes what it was asked."""

    def __init__(self, cohort: int = 8, survivors: int = 8, crash_in_round: int = 0, folder=None, plan=None) -> None:
        self.traffic = Traffic()
        self.cohort, self.survivors, self.crash_in_round = cohort, survivors, crash_in_round
        self.rounds: list[int] = []
        self.offers: list[dict] = []
        self._charged = (lambda: ServerFolder(folder).charges(plan.sha256).count()) if folder else (lambda: None)
        self.charged_when_sampled: list[int | None] = []

    def offer(self, fields):
        self.offers.append(dict(fields))
        return 8

    def sample(self, sampling_rate):
        self.charged_when_sampled.append(self._charged())
        return list(range(self.cohort))

    def collect(self, cohort, plan, request, part):
        self.rounds.append(request["round"])
        self.traffic.sent[part.request] += len(cohort)
        if request["round"] == self.crash_in_round:
            raise RuntimeError("the server was killed")
        return np.full(part.n_values, 4096, np.uint32), self.survivors

    def ask(self, name, fields):
        return iter(())


def test_a_round_is_charged_on_disk_before_its_cohort_is_sampled(tmp_path):
    plan = make_plan(privacy=PRIVACY)
    federation = Sums(folder=tmp_path, plan=plan)
    train(federation, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert federation.charged_when_sampled == [1, 2, 3]


def test_an_interrupted_round_stays_charged_and_is_never_run_again(tmp_path):
    plan = make_plan(privacy={**PRIVACY, "rounds": 5})
    first = Sums(crash_in_round=2)
    with pytest.raises(RuntimeError):
        train(first, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert first.rounds == [1, 2]
    second = Sums()
    accountant = train(second, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert second.rounds == [3, 4, 5] and accountant.rounds == 5
    uninterrupted = train(Sums(), settings_for(tmp_path / "other", plan), ServerFolder(tmp_path / "other"))
    assert accountant.epsilon >= uninterrupted.epsilon
    models, others = ServerFolder(tmp_path).models(), ServerFolder(tmp_path / "other").models()
    np.testing.assert_array_equal(models[:2], others[:2])
    np.testing.assert_array_equal(models[-1], others[len(models) - 1], err_msg="momentum and average went on")


def test_traffic_is_that_of_every_process_of_a_run_but_for_the_round_in_which_one_was_killed(tmp_path):
    settings = settings_for(tmp_path, make_plan(privacy={**PRIVACY, "rounds": 5}))
    with pytest.raises(RuntimeError):
        server_app.run(Sums(crash_in_round=3), settings, ReplayClock())
    server_app.run(Sums(), settings, ReplayClock())
    assert ServerFolder(tmp_path).traffic()["sent"] == {"train_request": 8 * len([1, 2, 4, 5])}


def test_what_is_for_people_says_nothing_of_realised_sizes(tmp_path):
    """Another cohort, other survivors, a round that was not opened: the account is the same to the byte."""
    said, counted = set(), set()
    plan = make_plan(privacy={**PRIVACY, "min_survivors": 4, "sampling_rate": 0.5})
    for i, sizes in enumerate([(8, 8), (5, 4), (5, 3), (2, 2)]):
        folder = tmp_path / str(i)
        server_app.run(Sums(*sizes), settings_for(folder, plan), ReplayClock())
        said.add((folder / "account.json").read_bytes())
        counted.add((folder / "traffic.json").read_bytes())
    assert len(said) == 1 and len(counted) == 4


def test_another_plan_cannot_go_on_with_this_run(tmp_path):
    train(Sums(), settings_for(tmp_path, make_plan(privacy=PRIVACY)), ServerFolder(tmp_path))
    other = make_plan(privacy={**PRIVACY, "clip_norm": 0.25})
    with pytest.raises(ConfigError):
        train(Sums(), settings_for(tmp_path, other), ServerFolder(tmp_path))


def test_training_stops_before_the_budget(tmp_path):
    privacy = {**PRIVACY, "noise_multiplier": 2.0, "sampling_rate": 0.5, "rounds": 200, "max_epsilon": 3.0}
    plan = make_plan(privacy=privacy)
    federation = Sums()
    accountant = train(federation, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert 1 < accountant.rounds < 200
    assert epsilon_to_public(accountant.charged, plan.privacy.delta) <= 3
    assert federation.rounds == list(range(1, accountant.rounds + 1))
    one_more = RoundAccountant(plan)
    one_more.charge(accountant.rounds + 1)
    assert one_more.epsilon > 3
    assert federation.offers[-1]["round"] == accountant.rounds, "what was trained is shipped"
    again = Sums()
    train(again, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert again.rounds == [], "a resumed run has no budget left either"


def test_a_budget_below_one_round_is_an_error_before_anybody_is_asked(tmp_path):
    plan = make_plan(privacy={**PRIVACY, "max_epsilon": 0.01})
    federation = Sums()
    with pytest.raises(BudgetError, match=r"max_epsilon.*0\.01"):
        train(federation, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert federation.rounds == [] and federation.offers == []
    assert ServerFolder(tmp_path).charges(plan.sha256).count() == 0


@pytest.mark.parametrize(
    ("cohort", "survivors", "reason", "asked"),
    [(0, 0, "round_small_cohort", []), (3, 3, "round_small_cohort", []), (5, 3, "round_few_survivors", [1, 2, 3])],
)
def test_fewer_than_min_survivors_move_no_model_and_are_charged_all_the_same(
    tmp_path, cohort, survivors, reason, asked
):
    plan = make_plan(privacy={**PRIVACY, "min_survivors": 4, "sampling_rate": 0.5})
    federation = Sums(cohort, survivors)
    accountant = train(federation, settings_for(tmp_path, plan), ServerFolder(tmp_path))
    assert accountant.rounds == 3 and federation.rounds == asked
    assert federation.traffic.dropped == {reason: 3}
    models = ServerFolder(tmp_path).models()
    assert (models == models[0]).all()


def test_a_round_s_step_is_the_mean_over_the_expected_cohort(tmp_path):
    plan = make_plan(privacy={**PRIVACY, "rounds": 1, "sampling_rate": 0.5})
    train(Sums(cohort=8, survivors=8), settings_for(tmp_path, plan), ServerFolder(tmp_path))
    models = ServerFolder(tmp_path).models()
    expected = 4096 * plan.privacy.grid_step / (0.5 * 8)
    np.testing.assert_allclose(models[1] - models[0], expected, rtol=1e-4)


# ---- settings, schedule, nodes


def test_settings_are_read_whole_and_a_missing_key_is_named(tmp_path):
    plan = make_plan()
    config = run_config(tmp_path, plan, **{"schedule.seconds-per-step": 60.0, "schedule.origin-s": 5.0})
    settings = RunSettings.read(config)
    assert settings.plan == plan and settings.server == ServerSettings(1.0, 0.5, 0.5)
    assert settings.schedule == Schedule(11, 12, 23, 1, 60.0, 5.0)
    assert settings.model == pinned_model()
    np.testing.assert_array_equal(settings.theta, NETWORK.initial_theta(3))
    for key in config:
        if key == "server.theta-seed":
            continue
        with pytest.raises(ConfigError, match=key):
            RunSettings.read({k: v for k, v in config.items() if k != key})
    assert settings.helpers == tuple(party.leaf[:32] for party in HELPERS.values())
    assert RunSettings.read({**config, "server.helpers": ""}).helpers == ()
    helpers = [{"server.helpers": text} for text in ("00ff", "zz" * 32, config["server.helpers"] + "00")]
    for wrong in ({"plan": "00ff"}, {"server.audience": "x" * 65}, *helpers):
        with pytest.raises(ConfigError):
            RunSettings.read({**config, **wrong})


def test_training_may_start_from_a_given_theta(tmp_path):
    np.save(tmp_path / "theta.npy", activity_theta())
    config = run_config(tmp_path, make_plan(), **{"server.theta-file": str(tmp_path / "theta.npy")})
    np.testing.assert_array_equal(RunSettings.read(config).theta, activity_theta())


def test_queries_come_at_the_scheduled_steps_and_after_their_close():
    schedule = Schedule(4, 6, 11, query_every_steps=2, seconds_per_step=10.0, origin_s=1000.0)
    assert list(schedule.query_steps) == [6, 8, 10]
    clock = ReplayClock()
    schedule.wait_for(6, clock)
    assert clock.now_s() == 1070.0
    assert isinstance(schedule.clock(), WallClock) and isinstance(Schedule(4, 6, 11).clock(), ReplayClock)


def test_too_few_nodes_are_an_error_after_the_timeout_and_enough_are_sorted():
    grid = FakeGrid(dict.fromkeys((9, 3, 7), fails))
    assert wait_for_nodes(grid, 3, 0.0) == [3, 7, 9]
    with pytest.raises(RunError, match="expected 4 connected devices within 0 s, got 3"):
        wait_for_nodes(grid, 4, 0.0)


def test_without_noise_the_account_says_infinite_as_no_number(tmp_path):
    assert finite(math.inf) is None and finite(2.0) == 2.0
