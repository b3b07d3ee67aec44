"""Users on two hosts, through the apps that Flower would run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from server.signing import Signer, signing_key
from shared.clock import Clock
from simulations.federation import host_app as hosts
from simulations.federation.equivalence import N_USERS
from simulations.federation.host_app import Host
from simulations.federation.host_server_app import HostNodes
from simulations.federation.in_process_grid import LocalGrid, context_of
from simulations.federation.run_folder import SIGNING_KEY_FILE

N_HOSTS = 2


def signer_of(folder: Path, clock: Clock) -> Signer:
    """The server of a run folder, whose key its devices pin."""
    return Signer(signing_key(folder / SIGNING_KEY_FILE), clock)


def on_two_hosts(folder: Path, clock: Clock) -> HostNodes:
    """The server's side of a run folder whose users two nodes host."""
    contexts = [context_of(i, **{"partition-id": i, "num-partitions": N_HOSTS}) for i in range(N_HOSTS)]
    for context in contexts:
        context.run_config = {"simulation.folder": str(folder)}
    grid = LocalGrid({i: partial(hosts.app, context=context) for i, context in enumerate(contexts)})
    return HostNodes(grid, list(range(N_HOSTS)), N_USERS, signer_of(folder, clock))


def both_hosts(folder: Path) -> list[Host]:
    return [Host(folder, i, N_HOSTS) for i in range(N_HOSTS)]


def spent_on(folder: Path) -> np.ndarray:
    """What every user has spent: (K, 2, lines, O)."""
    return np.concatenate([host.ledger.spent_of(np.arange(host.n_users)).curves for host in both_hosts(folder)])
