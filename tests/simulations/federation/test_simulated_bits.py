"""Randomised bits end to end: asked for at due steps, answered by those who agreed, whatever their devices saw."""

import json

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from client.device import Device
from client.privacy.caps import LedgerLine
from client.privacy.ledger import LIFETIME, PERIOD, ROWS
from client.vault.consent import Consent
from server.bits import rate_of_answering
from server.channel import Traffic
from shared import rdp
from shared.randomised_response import BitSchedule
from shared.register.bounds import MAX_BIT_EPSILON_MICRO
from simulations.evaluation.aggregates.bit_rates import rates_with_truth
from simulations.federation.device_app import simulation_keys
from simulations.federation.equivalence import N_USERS, run_devices, run_hosted, scenario_without_noise, some_people
from simulations.federation.observations import read_notes
from simulations.federation.run_folder import RunFolder
from tests.world.hosted import both_hosts, on_two_hosts, spent_on

#: A coin so loud that it lies once in 5e8 draws; due at steps 114, 119, 124 and 129 of the queries up to 132.
LOUD = [
    f"bits.epsilon={MAX_BIT_EPSILON_MICRO / 1e6}",
    "bits.every_steps=5",
    "simulation.identified_share=0.3",
    "simulation.randomised_share=0.5",
    "detection.fall_margin=0.02",
]
DUE = [114, 119, 124, 129]
WAYS = ("devices", "hosts")
#: Messages that only real sums have.


@pytest.fixture(scope="module")
def people():
    return some_people()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, people):
    folder, scenario = tmp_path_factory.mktemp("bits"), scenario_without_noise(*LOUD)
    both = {name: RunFolder(folder / name) for name in WAYS}
    run_devices(both["devices"], people, scenario)
    run_hosted(both["hosts"], people, scenario, on_two_hosts)
    return both


def account_of(run) -> dict:
    return json.loads(run.server.account_file.read_text())


def received(run) -> dict[int, list[tuple[int, int]]]:
    """(user, bit) by step, as they lie in the server's table."""
    with create_engine(f"sqlite:///{run.server.inbox_file}").connect() as connection:
        rows = connection.execute(text("select step, node, bit from bits order by step, node")).all()
    return {step: [(node, bit) for at, node, bit in rows if at == step] for step in {row[0] for row in rows}}


def test_both_fidelities_tell_the_truth_of_the_steps_that_a_bit_covers(runs, people):
    """From everybody who agreed and from nobody else, at every due step, whether or not there was an alert."""
    bits = {name: received(runs[name]) for name in WAYS}
    assert bits["devices"] == bits["hosts"]
    assert sorted(bits["hosts"]) == DUE
    agreed = np.flatnonzero(runs["hosts"].owners().who(Consent.RANDOMISED))
    assert 15 < len(agreed) < 35
    _, alerts = read_notes(runs["devices"], np.arange(people.n_users), len(people.catalogue), people.n_steps)
    told = set()
    for step, answers in bits["hosts"].items():
        covered = range(step - 4, step + 1)
        alerted = {int(u) for u, at in zip(alerts.user, alerts.step, strict=True) if at in covered}
        assert answers == [(u, int(u in alerted)) for u in agreed.tolist()]
        told |= {bit for _, bit in answers}
    assert told == {0, 1}


def test_results_put_the_true_share_beside_each_rate(runs, people):
    """With a coin that does not lie, they are the same."""
    _, alerts = read_notes(runs["hosts"], np.arange(people.n_users), len(people.catalogue), people.n_steps)
    agreed = runs["hosts"].owners().who(Consent.RANDOMISED)
    found = rates_with_truth(account_of(runs["hosts"])["bits"], alerts, agreed)
    assert found.agreed == agreed.sum() and len(found.rates) == len(DUE)
    for rate in found.rates:
        assert rate.true_rate == pytest.approx(rate.estimate, abs=1e-6)
    assert len({rate.true_rate for rate in found.rates}) > 1


#: What devices of their own exchange so that rounds are sums; hosts, whose sums are ideal, do not.
OF_SUMS = (
    "enrolment_query",
    "enrolment",
    "epoch_offer",
    "epoch_receipt",
    "opinion_request",
    "opinion",
    "sum_request",
    "seat_sum",
)


def counted(of):
    """What was counted, but for the messages of sums."""
    return {name: n for name, n in of.items() if n and name not in OF_SUMS}


def test_what_is_counted_is_the_same_in_both_fidelities(runs):
    accounts = [account_of(runs[name]) for name in WAYS]
    assert accounts[0]["bits"] == accounts[1]["bits"]
    traffic, other = ({way: counted(of) for way, of in runs[name].server.traffic().items()} for name in WAYS)
    sent, sent_other = traffic.pop("sent_bytes"), other.pop("sent_bytes")
    assert traffic == other
    for name, size in sent_other.items():  # these hosts' server keeps no log, whose head every envelope would name
        assert 0 < sent[name] - size <= 64 * traffic["sent"][name]
    bits = accounts[0]["bits"]
    agreed = bits["rates"][0]["answers"]
    assert traffic["received"]["alert_bit"] == 4 * agreed
    assert traffic["sent"]["bits_query"] == 4 * N_USERS
    assert traffic["received"]["refusal"] == 4 * (N_USERS - agreed)
    assert traffic["dropped"] == {"refusal_7": 4 * (N_USERS - agreed)}, "no consent"
    assert [rate["step"] for rate in bits["rates"]] == DUE


def test_the_identified_ones_still_tell_each_alert_once(runs):
    """Queries for bits close steps between two queries for alerts: nothing is lost, and nothing told twice."""
    accounts = [account_of(runs[name]) for name in WAYS]
    assert accounts[0]["identified_alerts"] == accounts[1]["identified_alerts"] > 0
    tables = []
    for name in WAYS:
        with create_engine(f"sqlite:///{runs[name].server.inbox_file}").connect() as connection:
            query = "select node, direction, category, step, level, model_round from alerts order by 1, 2, 3, 4"
            tables.append(connection.execute(text(query)).all())
    assert tables[0] == tables[1]


def test_every_coin_is_in_the_ledger_of_the_device_that_threw_it(runs):
    owners, cost = runs["hosts"].owners(), rdp.coin(MAX_BIT_EPSILON_MICRO / 1e6)
    spent = spent_on(runs["hosts"])
    for user in range(N_USERS):
        home = runs["devices"].device(user)
        with Device.open(home, keys=simulation_keys(home), caps=owners.caps) as device:
            ledger = device.gate.ledger
        coins = 4 if owners.consent_of(user) is Consent.RANDOMISED else 0
        assert ledger.releases[LedgerLine.ALERT_BIT] == coins
        for scope in (PERIOD, LIFETIME):
            np.testing.assert_allclose(ledger._curve(scope, LedgerLine.ALERT_BIT), coins * cost, rtol=1e-12)
        np.testing.assert_array_equal(spent[user], ledger.spent.curves)


def test_the_account_names_the_coins_beside_what_the_server_learns_of_rounds(runs):
    account = account_of(runs["hosts"])
    assert account["to_server"].endswith(
        "devices, without noise, if one of 3 helpers is honest; randomised bits: 4 coins of epsilon 20 each, 80 together"
    )
    assert account["bits"]["epsilon_together"] == pytest.approx(80, rel=1e-3)
    (_, coins) = account["lines"]
    assert (coins["line"], coins["times"], coins["holds_against_server"]) == ("alert_bit", 4, True)
    assert account["epsilon_to_public"] is None, "p was learned without noise"


def test_a_host_asked_again_answers_the_same_and_pays_once(runs):
    host = both_hosts(runs["hosts"])[1]
    asked = {"step": DUE[-1], "epsilon_micro": MAX_BIT_EPSILON_MICRO, "every_steps": 5}
    before = host.ledger
    answers = host.answers("bits_query", asked)
    mine = [(user, bit) for user, bit in received(runs["hosts"])[DUE[-1]] if user >= host.first_user]
    assert sorted((device, reply["bit"]) for device, reply in answers.read(Traffic())) == mine
    assert answers.refused[7] + len(answers.devices) == host.n_users
    np.testing.assert_array_equal(host.ledger.spent.curves, before.spent.curves)


def test_a_server_that_asks_for_more_than_owners_allow_gets_refusals_and_spends_nothing(tmp_path, people):
    """Default caps on bits pay for one coin of epsilon 1 every 91 days."""
    allowed = ["caps.alert_bit=[2.0, 8.0]", "bits.epsilon=1.0", "simulation.randomised_share=0.5"]
    run, scenario = RunFolder(tmp_path), scenario_without_noise(*LOUD, *allowed)
    run_hosted(run, people, scenario, on_two_hosts)
    account = account_of(run)
    agreed = int(run.owners().who(Consent.RANDOMISED).sum())
    assert account["bits"]["rates"] == []
    assert run.server.traffic()["dropped"] == {
        "refusal_7": 4 * (N_USERS - agreed),
        "refusal_15": 4 * agreed,
    }
    assert not spent_on(run)[:, :, ROWS[LedgerLine.ALERT_BIT]].any()


def test_rates_of_a_run_are_debiased_with_their_interval(tmp_path, people):
    run, scenario = RunFolder(tmp_path), scenario_without_noise(*LOUD, "bits.epsilon=1.5")
    run_hosted(run, people, scenario)
    answers = received(run)
    for rate in account_of(run)["bits"]["rates"]:
        said = [bit for _, bit in answers[rate["step"]]]
        expected = rate_of_answering(sum(said), len(said), BitSchedule(1_500_000, 5).epsilon_micro)
        assert (rate["estimate"], rate["low"], rate["high"]) == (expected.estimate, expected.low, expected.high)
        assert rate["low"] < rate["estimate"] < rate["high"]
