"""Hosted devices keep the same account as real ones: the same charges, the same refusals, round for round."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.device import Device
from client.privacy.caps import DEFAULT_LINES, OF_A_PLAN, Cap, Caps, LedgerLine
from client.privacy.ledger import AGREEMENT_S, ALLOWED, MAX_PLANS, Ledger
from server.channel import Channel, Traffic
from server.device_nodes import DeviceNodes
from server.enrolment import Enrolment
from server.settings import RunSettings
from server.sums.enrolling import enrolled
from server.sums.secure_sum import SecureSum
from shared import rdp
from shared.clock import ReplayClock
from shared.codec import pack_floats
from shared.errors import InputError, Refusal, RefusalCode
from shared.lapse_risk import N_COEFFICIENTS, READINGS
from shared.register.sums import SUM_REQUESTS
from simulations.federation.device_app import simulation_keys
from simulations.federation.equivalence import N_USERS, device_node, scenario_without_noise, settings_for, some_people
from simulations.federation.host_answers import as_pairs, count_refusals
from simulations.federation.host_ledger import HostLedger, refused_of
from simulations.federation.in_process import LocalGrid, LocalHost
from simulations.federation.run_folder import AUDIENCE, RunFolder
from simulations.federation.sums.enroller import enrolling
from simulations.federation.sums.helper_nodes import identities
from tests.world.basics import examples
from tests.world.hosted import both_hosts, on_two_hosts, participations_of, signer_of, spent_of

CAPS = Caps(
    {
        **DEFAULT_LINES,
        LedgerLine.UPDATE: Cap(2.0, 5.0),
        LedgerLine.PHI: Cap(1.5, 2.0),
        LedgerLine.ALERT_BIT: Cap(1.2, 2.0),
    },
    Cap(3.0, 6.0),
    participations_per_plan=4,
)
PLANS = [bytes([i]) * 32 for i in range(3)]
COSTS = {line: rdp.gaussian(4.0) if line in OF_A_PLAN else rdp.coin(0.5) for line in LedgerLine}
#: One costly, one of no cost at all, one that is no cost.
OTHER_COSTS = [rdp.gaussian(1.5), rdp.zero(), -COSTS[LedgerLine.UPDATE]]

releases = st.tuples(
    st.sampled_from(list(LedgerLine)),
    st.sets(st.integers(0, 5), min_size=1),
    st.integers(0, 2),
    st.sampled_from([None, None, None, None, *range(len(OTHER_COSTS))]),
)
moments = st.tuples(
    st.tuples(st.integers(0, 3), st.sampled_from([0, AGREEMENT_S, 2 * AGREEMENT_S])),
    st.sets(st.integers(0, 5), min_size=1),
)


def charged_alone(ledgers: list[Ledger], who, line, cost, plan) -> list[int]:
    """What each device says, asked by itself; `ledgers` move on."""
    said = []
    for device in who:
        try:
            ledgers[device] = ledgers[device].charge(line, cost, plan)
            said.append(ALLOWED)
        except Refusal as refusal:
            said.append(int(refusal.code))
    return said


def expect_same(host: HostLedger, ledgers: list[Ledger]) -> None:
    spent = spent_of(host)
    for i, ledger in enumerate(ledgers):
        np.testing.assert_array_equal(spent.curves[i], ledger.spent.curves)
        assert spent.period_start_s[i] == ledger.spent.period_start_s
        for line in OF_A_PLAN:
            for plan in PLANS:
                assert participations_of(host, line, plan)[i] == ledger.plans.get((line, plan), 0)


@examples(150)
@given(st.lists(releases | moments, max_size=25))
def test_any_sequence_of_releases_charges_a_hosted_device_as_one_of_its_own(tmp_path_factory, sequence):
    """Through a file now and then: what was charged is what is read again."""
    file = tmp_path_factory.mktemp("host") / "spent"
    ledgers, host = [Ledger.from_bytes(None, CAPS)] * 6, HostLedger.empty(6, CAPS)
    for at, step in enumerate(sequence):
        if len(step) == 2:
            (periods, apart_s), met = step
            signed_s = 1e9 + periods * CAPS.period_s
            for device in met:
                ledgers[device] = ledgers[device].advance(signed_s + apart_s, signed_s)
            host = host.advance(np.array(sorted(met)), signed_s + apart_s, signed_s)
        else:
            line, who, plan, other = step
            cost = COSTS[line] if other is None else OTHER_COSTS[other]
            plan = PLANS[plan] if line in OF_A_PLAN else None
            host, codes = host.charge(np.array(sorted(who)), line, cost, plan)
            assert codes.tolist() == charged_alone(ledgers, sorted(who), line, cost, plan)
        if at % 3 == 0:
            host.save(file)
            host = HostLedger.load(file, 6, CAPS)
        expect_same(host, ledgers)
        distinct = {
            (ledger.spent.curves.tobytes(), str(ledger.spent.period_start_s), str(ledger.plans)) for ledger in ledgers
        }
        assert len(host.participations) <= len(distinct)


def test_devices_that_spent_alike_share_one_account():
    """After any number of rounds there are as many accounts as different numbers of participations."""
    random, host = np.random.default_rng(1), HostLedger.empty(10_000, Caps())
    counts = np.zeros(10_000, int)
    for _ in range(30):
        cohort = np.flatnonzero(random.random(10_000) < 0.2)
        host, codes = host.charge(cohort, LedgerLine.UPDATE, rdp.gaussian(18.4), PLANS[0])
        counts[cohort[codes == ALLOWED]] += 1
        assert set(codes.tolist()) <= {ALLOWED, RefusalCode.PARTICIPATIONS}
    assert counts.max() == Caps().participations_per_plan
    assert len(host.participations) == len(np.unique(counts))
    np.testing.assert_array_equal(participations_of(host, LedgerLine.UPDATE, PLANS[0]), counts)


@pytest.mark.parametrize(
    ("who", "line", "plan"),
    [
        ([1, 1], LedgerLine.UPDATE, PLANS[0]),
        ([1], LedgerLine.UPDATE, None),
        ([1], LedgerLine.UPDATE, b"x"),
        ([1], LedgerLine.ALERT_BIT, PLANS[0]),
    ],
)
def test_what_no_round_can_be_is_an_error(who, line, plan):
    with pytest.raises(InputError):
        HostLedger.empty(3, CAPS).charge(np.array(who), line, rdp.zero(), plan)


def test_a_hosted_device_remembers_as_many_plans_as_one_of_its_own():
    """Device 1 has served fewer, and takes another."""
    host, tiny, everybody = HostLedger.empty(2, Caps()), rdp.gaussian(1e5), np.arange(2)
    plans = [number.to_bytes(32, "big") for number in range(MAX_PLANS + 1)]
    for plan in plans[:-1]:
        host, _ = host.charge(everybody[: 1 + (plan != plans[0])], LedgerLine.UPDATE, tiny, plan)
    host, codes = host.charge(everybody, LedgerLine.UPDATE, tiny, plans[-1])
    assert codes.tolist() == [RefusalCode.PARTICIPATIONS, ALLOWED]
    assert host.charge(everybody[:1], LedgerLine.UPDATE, tiny, plans[0])[1] == ALLOWED, "a known plan goes on"


def test_nobody_asked_is_nobody_charged():
    host, codes = HostLedger.empty(3, CAPS).charge(
        np.empty(0, np.int64), LedgerLine.UPDATE, COSTS[LedgerLine.UPDATE], PLANS[0]
    )
    assert not codes.size and not spent_of(host).curves.any()


def test_refusals_are_counted_as_devices_own_are():
    refused = refused_of(np.array([0, 11, 12, 11, 0], np.uint8))
    assert refused == {11: 2, 12: 1} and as_pairs(refused).tolist() == [[11, 2], [12, 1]]
    assert as_pairs({}).shape == (0, 2)
    traffic = Traffic()
    count_refusals(traffic, refused)
    assert traffic.dropped == {"refusal_11": 2, "refusal_12": 1} and traffic.received["refusal"] == 3


#: p until participations run out, phi until its cap does; everything within a total that some devices reach first.
TIGHT = [
    "caps.participations_per_plan=3",
    "caps.update=[20.0, 20.0]",
    "caps.risk_update=[2.1, 9.0]",
    "caps.total=[4.5, 4.5]",
    "privacy.noise_multiplier=2.0",
    "privacy.steps_per_clip=4096",
    "privacy.sampling_rate=0.6",
    "privacy.max_colluders=0",
    "risk.rounds=4",
    "risk.noise_multiplier=3.0",
    "risk.public_users=60",
]


def both_ways(folder, people, scenario) -> tuple[dict, RunSettings]:
    """The same users as devices of their own, and on two hosts: both federations over the apps that Flower would run."""
    runs = {name: RunFolder(folder / name) for name in ("devices", "hosts")}
    for run in runs.values():
        settings = settings_for(run, people, scenario)
    clock = ReplayClock(float((settings.schedule.train_step + 1) * people.step.seconds))
    alone = enrolled_devices(runs["devices"], settings, clock)
    return {"devices": alone, "hosts": on_two_hosts(runs["hosts"], clock)}, settings


def enrolled_devices(run: RunFolder, settings: RunSettings, clock: ReplayClock) -> DeviceNodes:
    """Every user as a device of its own, enrolled, with the helpers of the plan."""
    helpers = identities(run, settings.plan.sum.helpers)
    nodes = range(N_USERS + len(helpers))
    grid = LocalGrid({number: device_node(run, number, N_USERS) for number in nodes})
    channel = Channel(grid, Traffic(), signer_of(run, clock), Enrolment())
    own = replace(settings, folder=run.server_path, helpers=helpers, run=1)
    with enrolling(run, settings.plan, clock.now_s()):
        roll = enrolled(channel, nodes, own, run.server)
    return DeviceNodes(channel, channel.enrolment.nodes, SecureSum(channel, roll, run.server.lists().keep))


def counted(side) -> dict:
    """What was counted, but for the messages of keys and seats: hosts' sums are ideal."""
    of_sums = {name for kind in SUM_REQUESTS for name in (kind.name, kind.reply)}
    return {way: {k: n for k, n in of.items() if n and k not in of_sums} for way, of in side.traffic.to_map().items()}


@pytest.mark.slow
def test_50_devices_and_hosts_of_the_same_50_users_make_the_same_charges_and_refusals(tmp_path):
    """The same cohorts under the same tight caps; in the end every device's ledger, read from its vault, is that of its
    twin on a host, to the last bit."""
    people = some_people()
    sides, settings = both_ways(tmp_path, people, scenario_without_noise(*TIGHT))
    plan = settings.plan
    asked = {"audience": AUDIENCE, "run": 1, "step": 111, "round": 0, "theta": pack_floats(settings.theta)}
    for side in sides.values():
        side.offer({**asked, "plan": plan.canonical, "risk": b"", "model": settings.model})
    random, seen = np.random.default_rng(5), Counter()
    p, phi = plan.updates
    learn = {
        "basis": pack_floats(np.ones((len(READINGS), N_COEFFICIENTS), np.float32)),
        "coefficients": pack_floats(np.ones(N_COEFFICIENTS, np.float32)),
    }
    for round_number, part in enumerate([p] * 6 + [phi] * 4 + [p], start=1):
        cohort = np.flatnonzero(random.random(N_USERS) < 0.6).tolist()
        request = {**asked, "round": round_number, "plan_sha256": plan.sha256, **(learn if part is phi else {})}
        survivors, refusals = [], []
        for side in sides.values():
            before = Counter(side.traffic.dropped)
            survivors.append(side.collect(cohort, plan, request, part)[1])
            refusals.append(Counter(side.traffic.dropped) - before)
        assert survivors[0] == survivors[1] == len(cohort) - refusals[0].total()
        assert refusals[0] == refusals[1]
        seen += refusals[0]
    assert set(seen) == {"refusal_11", "refusal_12", "refusal_13"}, "every kind of cap was met"
    assert counted(sides["devices"]) == counted(sides["hosts"])
    for twins in both_hosts(RunFolder(tmp_path / "hosts")):
        spent = spent_of(twins.ledger)
        for at in range(twins.n_users):
            home = RunFolder(tmp_path / "devices").device(twins.first_user + at)
            with Device.open(home, keys=simulation_keys(home)) as device:
                ledger = device.gate.ledger
            np.testing.assert_array_equal(spent.curves[at], ledger.spent.curves)
            assert spent.period_start_s[at] == ledger.spent.period_start_s == 112 * people.step.seconds
            for line in (LedgerLine.UPDATE, LedgerLine.PHI):
                found = participations_of(twins.ledger, line, plan.sha256)[at]
                assert found == ledger.plans.get((line, plan.sha256), 0)


def test_a_killed_worker_leaves_the_charge(tmp_path, monkeypatch):
    """The ledger is on disk before anything of the sum is computed."""
    people, scenario = some_people(), scenario_without_noise(*TIGHT)
    run = RunFolder(tmp_path)
    settings = settings_for(run, people, scenario)
    side = LocalHost(run)
    plan = settings.plan
    offer = {"step": 111, "round": 0, "plan": plan.canonical, "theta": pack_floats(settings.theta), "risk": b""}
    side.offer(offer)
    request = {"step": 111, "plan_sha256": plan.sha256, "round": 1, "theta": pack_floats(settings.theta)}

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("simulations.federation.host_training.sum_of_updates", killed)
    with pytest.raises(KeyboardInterrupt):
        side.collect(range(10), plan, request, plan.updates[0])
    again = LocalHost(run).host.ledger
    counts = participations_of(again, LedgerLine.UPDATE, plan.sha256)
    assert counts.tolist() == [1] * 10 + [0] * (N_USERS - 10)
