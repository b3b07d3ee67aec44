"""Users on two hosts, through the apps that Flower would run."""

from __future__ import annotations

from functools import partial

import numpy as np

from client.privacy.caps import LedgerLine
from client.privacy.ledger import Spent
from server.signing import Signer, signing_key
from shared.clock import Clock
from simulations.federation import host_app as hosts
from simulations.federation.equivalence import N_USERS
from simulations.federation.host_app import Host
from simulations.federation.host_ledger import HostLedger
from simulations.federation.host_server_app import HostNodes
from simulations.federation.in_process import LocalGrid, context_of
from simulations.federation.run_folder import RunFolder

N_HOSTS = 2


def signer_of(run: RunFolder, clock: Clock) -> Signer:
    """The server of a run folder, whose key its devices pin."""
    return Signer(signing_key(run.signing_key_file), clock)


def on_two_hosts(run: RunFolder, clock: Clock) -> HostNodes:
    """The server's side of a run folder whose users two nodes host."""
    contexts = [context_of(i, **{"partition-id": i, "num-partitions": N_HOSTS}) for i in range(N_HOSTS)]
    for context in contexts:
        context.run_config = {"simulation.folder": str(run.path)}
    grid = LocalGrid({i: partial(hosts.app, context=context) for i, context in enumerate(contexts)})
    return HostNodes(grid, list(range(N_HOSTS)), N_USERS, signer_of(run, clock))


def both_hosts(run: RunFolder) -> list[Host]:
    return [Host(run, i, N_HOSTS) for i in range(N_HOSTS)]


def spent_of(ledger: HostLedger) -> Spent:
    """What each device of a host has spent: (K, ...)."""
    return Spent(ledger.spent.curves[ledger.account], ledger.spent.period_start_s[ledger.account])


def participations_of(ledger: HostLedger, line: LedgerLine, plan_sha256: bytes) -> np.ndarray:
    """How often each device of a host took part: (K,)."""
    if (line, plan_sha256) not in ledger.plans:
        return np.zeros(len(ledger.account), np.int64)
    return ledger.participations[ledger.account, ledger.plans.index((line, plan_sha256))]


def spent_on(run: RunFolder) -> np.ndarray:
    """What every user has spent: (K, 2, lines, O)."""
    return np.concatenate([spent_of(host.ledger).curves for host in both_hosts(run)])
