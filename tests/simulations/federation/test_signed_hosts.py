"""Hosted devices have the same server: a host verifies a message once for all of them, and works for nobody else."""

from dataclasses import replace

import numpy as np
import pytest

from client.privacy.request_signature import verify
from server.app import run
from server.settings import RunSettings
from server.signing import Signer, signing_key
from server.state import ServerFolder
from shared.errors import ConfigError, Refusal, RefusalCode
from simulations.federation import host_app as hosts
from simulations.federation.host_server_app import HostNodes
from simulations.federation.in_process import LocalGrid, context_of
from simulations.federation.run_folder import RunFolder
from simulations.federation.run_settings import run_settings
from simulations.people.planted import plant
from simulations.people.setup import Setup
from simulations.scenarios.config import load_scenario
from tests.world.signing import OTHER_PRIVATE_KEY

N_USERS, N_HOSTS = 12, 2
SCENARIO = [
    "simulation.fidelity=hosts",
    f"simulation.hosts={N_HOSTS}",
    f"data.users={N_USERS}",
    "simulation.query_every_steps=28",
    "privacy.rounds=2",
    "privacy.sampling_rate=1.0",
    "simulation.dropout=0.0",
    "caps.table=none",
    "privacy.max_epsilon=inf",
    "risk.rounds=0",
    "evaluation.every_steps=0",
    "counts.every_steps=0",
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> RunSettings:
    folder, people = RunFolder(tmp_path_factory.mktemp("run") / "run"), plant(N_USERS, 182, seed=1)
    setup = Setup.of(load_scenario("demo", SCENARIO), people)
    folder.prepare(setup, people)
    return run_settings(setup, folder)


def federation(settings: RunSettings, key, clock) -> tuple[HostNodes, LocalGrid]:
    def node(number: int):
        context = context_of(number, **{"partition-id": number, "num-partitions": N_HOSTS})
        context.run_config = {"simulation.folder": str(settings.folder.parent)}
        return lambda message: hosts.app(message, context)

    grid = LocalGrid({number: node(number) for number in range(N_HOSTS)})
    return HostNodes(grid, list(range(N_HOSTS)), N_USERS, Signer(key, clock)), grid


def test_a_run_of_hosts_signs_once_per_ask_and_each_host_verifies_once_per_message(settings, monkeypatch):
    verified: list[float] = []

    def counted(data, server_key):
        envelope = verify(data, server_key)
        verified.append(envelope.time_s)
        return envelope

    monkeypatch.setattr(hosts, "verify", counted)
    clock = settings.schedule.clock()
    nodes, grid = federation(settings, signing_key(settings.key_file), clock)
    run(nodes, settings, clock)
    assert len(verified) == len(grid.asked) and len({data for _, _, data in grid.asked}) * N_HOSTS == len(grid.asked)
    schedule = settings.schedule
    queries = sorted([*schedule.query_steps, *schedule.bit_steps])
    steps = [schedule.train_step] * 4 + queries  # an offer, 2 rounds, an offer
    assert verified[::N_HOSTS] == [(step + 1) * 86_400 for step in steps], "the time that simulated phones show"
    assert np.isfinite(ServerFolder(settings.folder).models()).all()
    each = next(len(data) for _, route, data in grid.asked if route == "query.alerts")
    assert nodes.traffic.sent_bytes["alerts_query"] == N_USERS * each * len(settings.schedule.query_steps)


def test_a_host_does_nothing_for_another_server(settings):
    clock = settings.schedule.clock()
    nodes, _ = federation(settings, OTHER_PRIVATE_KEY, clock)
    with pytest.raises(Refusal):
        run(nodes, settings, clock)


def test_a_host_does_nothing_for_another_audience(settings):
    clock = settings.schedule.clock()
    nodes, _ = federation(settings, signing_key(settings.key_file), clock)
    with pytest.raises(Refusal) as refused:
        run(nodes, replace(settings, audience="others"), clock)
    assert refused.value.code is RefusalCode.AUDIENCE


def test_a_run_goes_on_under_the_key_that_its_devices_pinned_only(settings):
    folder, scenario = RunFolder(settings.folder.parent), load_scenario("demo", SCENARIO)
    folder.expect_same_run(scenario)
    kept = settings.key_file.read_bytes()
    settings.key_file.unlink()
    with pytest.raises(ConfigError, match="key"):
        folder.expect_same_run(scenario)
    assert not settings.key_file.exists(), "and none is made"
    signing_key(settings.key_file)
    with pytest.raises(ConfigError, match="key"):
        folder.expect_same_run(scenario)
    settings.key_file.write_bytes(kept)
    folder.expect_same_run(scenario)
