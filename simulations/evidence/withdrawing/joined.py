"""In how many rounds of a run its devices took part, as their own journals say; of hosted devices, who keep none, their ledgers.

The server need not know it, and what is told here is the median of a few devices that chance draws: neither who they are, nor how
large a cohort was.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

from client.privacy.caps import LedgerLine
from client.vault.journal import Total
from client.vault.vault import Limits, Vault
from shared.arrays import Ints, as_declared
from shared.plan import Plan

from ...federation.device_app import PASSPHRASE_FILE, simulation_keys
from ...federation.host_app import Host
from ...federation.run_folder import RunFolder


@as_declared
def rounds_joined(run: RunFolder, plan: Plan, users: Ints) -> dict[str, float]:
    """By kind of sum, the median number of sums that the devices of these users (D,) sent something into; of devices that were never
    opened, none."""
    kinds = [kind.reply for kind in plan.sums]
    if run.every_host():
        counts = _of_hosts(run, plan, users)
    else:
        journals = [_of_journal(run, user) for user in users.tolist()]
        counts = {kind: [journal.get(kind, Total()).n for journal in journals] for kind in kinds}
    return {kind: float(np.median(counts[kind])) for kind in kinds}


def _of_journal(run: RunFolder, user: int) -> Mapping[str, Total]:
    """What left one device, by kind; read from a copy, for a vault that opens tidies up."""
    home = run.device(user)
    if not (home / PASSPHRASE_FILE).is_file():
        return {}
    with tempfile.TemporaryDirectory(prefix="ebbtide-journal-") as place:
        copy = Path(shutil.copytree(home, Path(place) / "device"))
        with closing(Vault(copy, simulation_keys(copy), Limits(waits_for_disk=False))) as vault:
            totals = dict(vault.journal.checkpoint().totals)
            for entry in vault.journal.entries():
                totals[entry.kind] = totals.get(entry.kind, Total()).plus(entry)
    return totals


def _of_hosts(run: RunFolder, plan: Plan, users: Ints) -> dict[str, list[int]]:
    n_hosts = len(run.every_host())
    hosts = [Host(run, number, n_hosts) for number in range(n_hosts)]
    counts = {}
    for kind in plan.sums:
        of_all = np.concatenate([_participations(host, LedgerLine(kind.reply), plan.sha256) for host in hosts])
        counts[kind.reply] = of_all[users].tolist()
    return counts


def _participations(host: Host, line: LedgerLine, plan_sha256: bytes) -> Ints:
    """How often each device of a host took part: (K,)."""
    ledger = host.ledger
    if (line, plan_sha256) not in ledger.plans:
        return np.zeros(host.n_users, np.int64)
    at = ledger.plans.index((line, plan_sha256))
    taken_part: Ints = ledger.participations[ledger.account, at].astype(np.int64)
    return taken_part
