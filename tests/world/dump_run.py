"""Everything that a run without noise leaves to compare: what 50 users' devices computed, showed and spent, as arrays.

`python -m tests.world.dump_run FILE` writes both fidelities to FILE (.npz). tests/vectors/fifty_users.npz is such a file,
made by the code of commit e1f0571.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from client.device import Device
from client.privacy.ledger import ROWS, TOTAL, Ledger
from server.state import INTEREST, RISK
from simulations.federation.device_app import simulation_keys
from simulations.federation.equivalence import run_devices, run_hosted, scenario_without_noise, some_people
from simulations.federation.in_process import LocalHost
from simulations.federation.observations import read_notes
from simulations.federation.run_folder import RunFolder
from simulations.people.population import Population

#: Both parts of a training, falls and rises, people who tell and who do not: whatever a run has, but noise.
QUIET = (
    "detection.detector=risk",
    "detection.risk_line=0.2",
    "detection.rise_level=0.35",
    "risk.rounds=2",
    "risk.noise_multiplier=0.0",
    "risk.public_users=60",
    "simulation.identified_share=0.6",
    "simulation.randomised_share=0.2",
)

#: With noise no weight is the same twice; what is spent is. p until participations run out, phi until its cap does, and
#: coins. That commit ran a fourth round of phi, which everybody refused, too; today such a run stops there.
CAPPED = (
    "caps.participations_per_plan=2",
    "privacy.min_survivors=35",
    "privacy.max_colluders=0",
    "caps.risk_update=[2.02, 9.0]",
    "privacy.noise_multiplier=2.0",
    "privacy.steps_per_clip=4096",
    "risk.rounds=3",
    "risk.noise_multiplier=3.0",
    "risk.public_users=60",
    "simulation.identified_share=0.0",
    "simulation.randomised_share=0.6",
    "bits.every_steps=7",
)

#: The ledger lines of that commit, by name: lines that came later are left out, one that went is at nothing spent.
LINES = ("update", "risk_update", "metrics", "alert_bit")


def computed(run: RunFolder, people: Population) -> dict[str, np.ndarray]:
    """What devices and server of a run's folder computed: `theta` (R + 1, P) and `phi` (R + 1, W) after every round,
    `p` (K, T, C), `alerts` (n, 7): user, step, direction, category, level, segment, intervention."""
    server = run.server
    p, alerts = read_notes(run, np.arange(people.n_users), len(people.catalogue), people.n_steps)
    columns = np.column_stack([*vars(alerts).values()])[:, :7]
    return {"theta": server.models(INTEREST), "phi": server.models(RISK), "p": p, "alerts": columns}


def spent(run: RunFolder, n_users: int) -> dict[str, np.ndarray]:
    """What every user of a run's folder has spent: `curves` (K, 2, 1 + L, O) in total and by line, `period_start_s`
    (K,), and how often they took part in the run's plan, `participations` (K, L)."""
    if run.devices.exists():
        ledgers = [ledger_of(run.device(user)) for user in range(n_users)]
        curves = np.stack([ledger.spent.curves for ledger in ledgers])
        starts = np.array([int(ledger.spent.period_start_s) for ledger in ledgers])
        counts = [{line: n for (line, _), n in ledger.plans.items()} for ledger in ledgers]
    else:
        host = LocalHost(run).host.ledger
        curves, starts = host.spent.curves[host.account], host.spent.period_start_s[host.account]
        lines = [line for line, _ in host.plans]
        counts = [dict(zip(lines, host.participations[of].tolist(), strict=True)) for of in host.account]
    of_lines = [curves[:, :, ROWS[line]] if line in ROWS else np.zeros_like(curves[:, :, TOTAL]) for line in LINES]
    return {
        "curves": np.stack([curves[:, :, TOTAL], *of_lines], axis=2),
        "period_start_s": starts,
        "participations": np.array([[count.get(line, 0) for line in LINES] for count in counts], np.int32),
    }


def ledger_of(home: Path) -> Ledger:
    """What one simulated device has spent, read from its vault."""
    with Device.open(home, keys=simulation_keys(home)) as device:
        return device.gate.ledger


def dumped(folder: Path, fidelity: str) -> dict[str, np.ndarray]:
    """The results and spendings of a run in `folder`/quiet, and the spendings of one with caps in `folder`/capped
    (`capped_` before their names), of one fidelity."""
    simulate, people = {"devices": run_devices, "hosts": run_hosted}[fidelity], some_people()
    quiet, capped = RunFolder(folder / "quiet"), RunFolder(folder / "capped")
    simulate(quiet, people, scenario_without_noise(*QUIET))
    simulate(capped, people, scenario_without_noise(*CAPPED))
    of_capped = {f"capped_{name}": array for name, array in spent(capped, people.n_users).items()}
    return {**computed(quiet, people), **spent(quiet, people.n_users), **of_capped}


def leave_dump(fidelity: str, folder: Path) -> None:
    """Both runs of one fidelity in `folder`, and what is dumped of them in `folder`/dump.npz."""
    np.savez(folder / "dump.npz", allow_pickle=False, **dumped(folder, fidelity))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        runs = {fidelity: dumped(Path(home) / fidelity, fidelity) for fidelity in ("devices", "hosts")}
    arrays = {f"{fidelity}_{name}": array for fidelity, run in runs.items() for name, array in run.items()}
    np.savez_compressed(sys.argv[1], allow_pickle=False, **arrays)
