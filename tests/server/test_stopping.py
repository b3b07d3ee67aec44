"""A run in which going on would only spend epsilon stops, with a sentence; what it learned and spent until then is kept."""

import json
import math
from collections import Counter

import numpy as np
import pytest

from client.privacy.caps import Caps
from server.app import run
from server.channel import Traffic
from server.device_nodes import DeviceNodes
from server.federation import UNUSED_ROUNDS, Turnout, Watched
from server.state import ServerFolder
from server.training import train
from shared.clock import ReplayClock
from shared.codec import encode
from shared.errors import IN_WORDS, RefusalCode, RunError, RunStopped
from shared.messages import REGISTER
from shared.plan import SumPlan
from simulations.federation.equivalence import N_USERS, run_hosted, scenario_without_noise, some_people
from simulations.federation.run_folder import RunFolder
from tests.server.test_app import PRIVACY, settings_for
from tests.server.test_risk_rounds import public_rows
from tests.world import seats
from tests.world.basics import event_stream, make_plan, make_risk, open_device
from tests.world.fake_grid import FakeGrid, device_node, fails, says, silent
from tests.world.hosted import on_two_hosts
from tests.world.seats import deaf, enrolled_profile
from tests.world.signing import RUN

ROUNDS = 10
PLAN = make_plan(privacy={**PRIVACY, "rounds": ROUNDS}, sum=SumPlan(2))
#: The refused and the silent rounds of a run that stops, at the numbers of `server/federation.py`.
REFUSED, SILENT = 2, 3


def federation_of(nodes) -> DeviceNodes:
    return deaf(FakeGrid(nodes), PLAN)


def of_devices(folder, nodes) -> DeviceNodes:
    """Real devices, enrolled in a run's folder."""
    return seats.federation_of(FakeGrid(nodes), PLAN, folder, seats.helpers_of(2))


def refuses(code: RefusalCode):
    return says(encode(REGISTER, "refusal", {"code": int(code)}))


@pytest.fixture
def phones(tmp_path):
    """Makes real devices' nodes: {node: caps}."""
    opened = []

    def made(caps_of):
        for node, caps in caps_of.items():
            opened.append(open_device(tmp_path / "phones" / str(node), enrolled_profile(number=node), caps=caps))
            for event in event_stream(np.random.default_rng(node), 12):
                opened[-1].record(event)
            opened[-1].close_until(12)
        return {node: device_node(node, device) for node, device in zip(caps_of, opened, strict=True)}

    yield made
    for device in opened:
        device.close()


def caps(most: int) -> Caps:
    none = Caps.none()
    return Caps(none.lines, none.total, participations_per_plan=most, clip_norm=none.clip_norm)


def account_of(folder: ServerFolder) -> dict:
    return json.loads(folder.account_file.read_text())


def test_every_refusal_is_in_words_and_says_what_helps():
    """The report and the sentence of a stopped run read them."""
    assert set(IN_WORDS) == set(RefusalCode)
    assert len({*IN_WORDS.values()}) == len(RefusalCode) and all(all(words) for words in IN_WORDS.values())


def test_devices_whose_caps_are_reached_stop_the_run_and_what_was_learned_stays(tmp_path, phones):
    """Three rounds of ten: two more show that nobody takes part any more, and no further one is charged."""
    settings, nodes = settings_for(tmp_path, PLAN), phones(dict.fromkeys(range(1, 9), caps(3)))
    federation = of_devices(tmp_path, nodes)
    with pytest.raises(RunStopped) as stopped:
        run(federation, settings, ReplayClock())
    reason, remedy = IN_WORDS[RefusalCode.PARTICIPATIONS]
    assert str(stopped.value).startswith("8 of 8 devices refused the last round.")
    assert reason in str(stopped.value) and remedy in str(stopped.value)
    folder = ServerFolder(tmp_path)
    assert folder.charges(PLAN.sha256).count() == 3 + REFUSED
    models = folder.models()
    assert len(models) == 1 + 3 + REFUSED and (models[1:4] != models[:3]).any(axis=1).all()
    account = account_of(folder)
    assert account["rounds_charged"] == 3 + REFUSED and account["epsilon_to_public"] > 0
    assert account["stopped"] == stopped.value.why and reason in account["stopped"]
    assert folder.traffic()["dropped"] == {"refusal_11": 8 * REFUSED, "round_few_survivors": REFUSED}
    assert "alerts_query" not in folder.traffic()["sent"], "nor is anything asked afterwards"


def test_the_account_of_a_stopped_run_has_no_counts(tmp_path, phones):
    """Another number of devices refuses, fewer were asked: it says the same."""
    said = set()
    for i, n in enumerate((8, 7)):
        nodes = dict.fromkeys(range(1, n + 1), refuses(RefusalCode.PAUSED))
        settings = settings_for(tmp_path / str(i), PLAN)
        with pytest.raises(RunStopped, match=f"{n} of {n} devices refused"):
            train(federation_of(nodes), settings, ServerFolder(settings.folder))
        with pytest.raises(RunStopped):
            run(federation_of(nodes), settings, ReplayClock())
        said.add(ServerFolder(settings.folder).account_file.read_bytes())
    assert len(said) == 1


def test_a_plan_that_most_devices_refuse_is_not_charged_at_all(tmp_path, phones):
    """One device, of the two that a sum needs, would take part."""
    strict = Caps(Caps.none().lines, Caps.none().total, participations_per_plan=2**31, clip_norm=0.1)
    nodes = phones({1: Caps.none(), **dict.fromkeys(range(2, 9), strict)})
    settings = settings_for(tmp_path, PLAN)
    with pytest.raises(RunStopped) as stopped:
        run(of_devices(tmp_path, nodes), settings, ReplayClock())
    assert str(stopped.value).startswith("1 of 8 devices took the plan, and 7 refused it.")
    assert all(words in str(stopped.value) for words in IN_WORDS[RefusalCode.CLIP_NORM])
    account = account_of(ServerFolder(tmp_path))
    assert (account["rounds_charged"], account["epsilon_to_public"]) == (0, 0)
    assert ServerFolder(tmp_path).charges(PLAN.sha256).count() == 0


@pytest.mark.parametrize("node", [fails, silent, says(b"canary")])
def test_a_plan_that_reaches_nobody_is_not_charged_either(tmp_path, node):
    with pytest.raises(RunStopped, match=r"0 of 8 devices took the plan.*see that devices are connected"):
        run(federation_of(dict.fromkeys(range(1, 9), node)), settings_for(tmp_path, PLAN), ReplayClock())
    assert account_of(ServerFolder(tmp_path))["rounds_charged"] == 0


def test_two_takers_are_enough_for_a_sum_of_two(tmp_path, phones):
    strict = Caps(Caps.none().lines, Caps.none().total, participations_per_plan=2**31, clip_norm=0.1)
    nodes = phones({1: Caps.none(), 2: Caps.none(), **dict.fromkeys(range(3, 9), strict)})
    run(of_devices(tmp_path, nodes), settings_for(tmp_path, PLAN), ReplayClock())
    account = account_of(ServerFolder(tmp_path))
    assert account["rounds_charged"] == ROUNDS and account["stopped"] is None


def test_a_run_that_has_ended_goes_on_to_ask_though_nobody_takes_the_plan_any_more(tmp_path):
    """There is no round left that could be charged for nothing."""
    settings = settings_for(tmp_path, PLAN)
    for number in range(1, ROUNDS + 1):
        ServerFolder(tmp_path).charges(PLAN.sha256).add(number)
    run(federation_of(dict.fromkeys(range(1, 9), refuses(RefusalCode.PAUSED))), settings, ReplayClock())
    assert account_of(ServerFolder(tmp_path))["stopped"] is None


@pytest.mark.parametrize("node", [fails, silent, says(b"canary")])
def test_silence_is_no_refusal_but_three_silent_rounds_running_stop_a_run(tmp_path, node):
    settings = settings_for(tmp_path, PLAN)
    with pytest.raises(RunStopped, match="0 of 8 devices answered the last round. Most were silent"):
        train(federation_of(dict.fromkeys(range(1, 9), node)), settings, ServerFolder(tmp_path))
    assert ServerFolder(tmp_path).charges(PLAN.sha256).count() == SILENT


class Rounds:
    """A federation whose rounds come out as told: (answered, refused) of 8, one after the other."""

    def __init__(self, *rounds, code: RefusalCode = RefusalCode.PAUSED, left: int = 8) -> None:
        self.traffic, self._rounds, self._code, self._left = Traffic(), iter(rounds), code, left
        self.n_rounds = 0

    def offer(self, fields):
        return 8

    def sample(self, sampling_rate):
        self.n_rounds += 1
        return list(range(self._left))

    def collect(self, cohort, plan, request, kind):
        answered, refused = next(self._rounds, (8, 0))
        self.traffic.dropped[f"refusal_{int(self._code)}"] += refused
        return np.zeros(kind.n_values, np.uint32), answered

    def ask(self, name, fields):
        return iter(())


GOOD, BAD, QUIET = (8, 0), (0, 8), (1, 0)


@pytest.mark.parametrize(
    ("rounds", "stops_after"),
    [
        ((BAD, BAD), 2),
        ((BAD, GOOD, BAD, GOOD, BAD), None),
        ((GOOD, BAD, (0, 8), GOOD), 3),
        (((1, 7), (1, 7), (1, 7)), None),  # 7 of 8 are not nearly all
        ((QUIET, QUIET, QUIET), 3),
        ((QUIET, QUIET, GOOD, QUIET, QUIET, GOOD), None),
        ((BAD, QUIET, BAD, QUIET, QUIET, BAD), 5),  # whatever the reason, no sum could be used
        (((1, 4), QUIET, (1, 4), BAD, GOOD, (1, 4), QUIET, (1, 4), BAD), None),
        (((3, 0), (3, 0), (3, 0), (3, 0)), None),  # silence, and enough for a sum
        (((1, 4), (1, 4), (1, 4), (1, 4)), None),  # neither: 4 refuse, 3 are silent
        (((1, 4), (1, 4), (1, 4), (1, 4), (1, 4)), 5),
    ],
)
def test_one_bad_round_is_nothing_and_so_many_running_are(tmp_path, rounds, stops_after):
    federation = Rounds(*rounds)
    if stops_after is None:
        train(federation, settings_for(tmp_path, PLAN), ServerFolder(tmp_path))
        assert federation.n_rounds == ROUNDS
    else:
        with pytest.raises(RunStopped):
            train(federation, settings_for(tmp_path, PLAN), ServerFolder(tmp_path))
        assert federation.n_rounds == stops_after == ServerFolder(tmp_path).charges(PLAN.sha256).count()


@pytest.mark.parametrize(("rounds", "learned"), [((BAD, BAD), False), ((GOOD, BAD, BAD), True)])
def test_a_run_whose_last_rounds_are_refused_ends_if_it_has_learned_anything(tmp_path, rounds, learned):
    """No round is left that could be spent for nothing; but a run of which nothing came says so."""
    plan = make_plan(privacy={**PRIVACY, "rounds": len(rounds)})
    federation, settings = Rounds(*rounds), settings_for(tmp_path, plan)
    if learned:
        train(federation, settings, ServerFolder(tmp_path))
    else:
        with pytest.raises(RunStopped):
            train(federation, settings, ServerFolder(tmp_path))
    assert federation.n_rounds == len(rounds)


def test_rounds_of_phi_are_watched_like_those_of_p(tmp_path):
    plan = make_plan(privacy=PRIVACY, risk=make_risk(privacy={"rounds": 8}))
    federation = Rounds(GOOD, GOOD, GOOD, BAD, BAD)
    with pytest.raises(RunStopped):
        train(federation, settings_for(tmp_path, plan, public_rows()), ServerFolder(tmp_path))
    assert federation.n_rounds == 5


def test_enough_for_a_sum_go_on_however_many_refuse():
    """Of 100, 95 refuse; 5 would carry a sum of 2."""
    privacy = PLAN.privacy
    assert not Turnout(100, 5, Counter({RefusalCode.PAUSED: 95})).is_refused(privacy)
    assert Turnout(100, 1, Counter({RefusalCode.PAUSED: 99})).is_refused(privacy)
    assert not Turnout(0, 0, Counter()).is_refused(privacy) and not Turnout(0, 0, Counter()).is_silent(privacy)


def test_sums_that_somebody_spoils_every_time_stop_a_run_too(tmp_path):
    class Spoiled(Rounds):
        def collect(self, cohort, plan, request, kind):
            return np.full(kind.n_values, 1 << 30, np.uint32), super().collect(cohort, plan, request, kind)[1]

    federation = Spoiled()
    with pytest.raises(RunStopped, match="some that no honest device sends"):
        train(federation, settings_for(tmp_path, PLAN), ServerFolder(tmp_path))
    assert federation.traffic.dropped["round_too_long"] == UNUSED_ROUNDS == federation.n_rounds


def test_the_commonest_refusal_is_named():
    federation = Watched(
        federation_of({n: refuses(RefusalCode.STALE if n > 2 else RefusalCode.PAUSED) for n in range(8)})
    )
    kind, request = (
        PLAN.updates[0],
        {"audience": "", "run": RUN, "step": 1, "round": 1, "plan_sha256": PLAN.sha256, "theta": bytes(4 * 1441)},
    )
    for _ in range(REFUSED - 1):
        federation.collect(range(8), PLAN, request, kind)
        federation.expect_use(kind.privacy)
    federation.collect(range(8), PLAN, request, kind)
    with pytest.raises(RunStopped, match=IN_WORDS[RefusalCode.STALE][0]):
        federation.expect_use(kind.privacy)


def test_too_few_left_of_everybody_stop_a_run_at_once_and_a_small_cohort_by_chance_does_not(tmp_path):
    with pytest.raises(RunStopped, match="1 of 8 devices are left"):
        train(Rounds(left=1), settings_for(tmp_path / "everybody", PLAN), ServerFolder(tmp_path / "everybody"))
    assert ServerFolder(tmp_path / "everybody").charges(PLAN.sha256).count() == 1
    sampled = make_plan(privacy={**PRIVACY, "rounds": ROUNDS, "sampling_rate": 0.5})
    federation = Rounds(left=1)
    train(federation, settings_for(tmp_path / "sampled", sampled), ServerFolder(tmp_path / "sampled"))
    assert federation.n_rounds == ROUNDS


# ---- hosted devices

#: Under the default caps, but for one.
NOISY = ("caps.table=default", "privacy.noise_multiplier=4.0", "privacy.steps_per_clip=4096", "privacy.max_epsilon=inf")


@pytest.mark.parametrize("hosted", [None, on_two_hosts])
def test_hosted_devices_that_refuse_stop_a_run_by_the_same_rule(tmp_path, hosted):
    scenario = scenario_without_noise("caps.participations_per_plan=1", "privacy.rounds=8", *NOISY)
    how = [hosted] if hosted else []
    with pytest.raises(RunStopped, match=f"{N_USERS} of {N_USERS} devices refused the last round"):
        run_hosted(RunFolder(tmp_path), some_people(), scenario, *how)
    account = account_of(RunFolder(tmp_path).server)
    assert account["rounds_charged"] == 1 + REFUSED and math.isfinite(account["epsilon_to_public"])


@pytest.mark.parametrize("hosted", [None, on_two_hosts])
def test_a_plan_for_more_than_hosted_owners_allow_is_not_charged(tmp_path, hosted):
    scenario = scenario_without_noise("caps.clip_norm=0.01", *NOISY)
    with pytest.raises(RunError, match=f"0 of {N_USERS} devices took the plan, and {N_USERS} refused it"):
        run_hosted(RunFolder(tmp_path), some_people(), scenario, *([hosted] if hosted else []))
    server = RunFolder(tmp_path).server
    assert account_of(server)["rounds_charged"] == 0
    assert server.traffic()["dropped"] == {f"refusal_{int(RefusalCode.CLIP_NORM)}": N_USERS}
