"""What devices that cheat do to the model, and which rounds the server does not use: `python -m simulations.attacks.poisoning`.

A training of a scenario, its rounds of p alone, in which some devices run another client, which shares out what it likes in
every round that asks it. No vector can be read alone, so the server looks at sums (`server/bounds.py`): one that no honest
cohort comes to is not used, and nobody can say whose it was.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.table import Table

from shared.arrays import Ints, Words
from shared.mechanisms import clip_to_grid
from shared.plan import Plan, UpdateKind

from ..federation.host_training import SUMS, fresh_entropy
from ..federation.hosted.training_rows import TrainingRows
from ..people.of_scenario import population_of
from ..people.setup import Setup
from ..scenarios.config import load_scenario
from ..search.trial_federation import TrainingHost
from ..search.trials import Trials, repeated
from ..terminal.ending import end_with
from ..terminal.printing import say_table


@dataclass(frozen=True)
class Attack:
    """Devices that cheat: a `share` of all, or one (0). What each sends: `vector` of its own honest one, or instead of it a
    push of `clips` times the clip against what the honest ones of that round come to, as if it knew that, without noise."""

    name: str
    share: float = 0.0
    clips: float = 0.0
    vector: str = "push"

    def n_devices(self, of: int) -> int:
        return max(1, round(self.share * of)) if self.share or self.clips else 0


#: What is tried, by the key of its published figures.
ATTACKS: Mapping[str, Attack] = {
    "none": Attack("nobody cheats", vector="none"),
    **{f"one_{clips}": Attack(f"one device, {clips:,} x the clip", clips=clips) for clips in (1, 20, 100, 1000)},
    **{
        f"{vector}_{share:.0%}".rstrip("%"): Attack(f"{share:.0%} of devices, {words}", share, 1.0, vector)
        for vector, words in (
            ("push", "1 x the clip against all others"),
            ("sign", "their own update with its sign flipped"),
            ("label", "trained on flipped labels"),
            ("free", "nothing, and no noise (free riders)"),
        )
        for share in (0.05, 0.2)
    },
}


class PoisonedHost(TrainingHost):
    """A host some of whose devices cheat, and are never silent."""

    def __init__(
        self,
        attack: Attack,
        seed: int,
        rows: Mapping[str, TrainingRows],
        n_devices: int,
        folder: Path,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(rows, n_devices, folder, dropout)
        self._attack = attack
        chosen = np.random.default_rng(seed).permutation(n_devices)[: attack.n_devices(n_devices)]
        self._cheats = np.isin(np.arange(n_devices), chosen)

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, object], kind: UpdateKind
    ) -> tuple[Words, int]:
        devices = np.asarray(cohort, np.int64)
        cheats, honest = devices[self._cheats[devices]], devices[~self._cheats[devices]]
        total, survivors = super().collect(honest.tolist(), plan, request, kind)
        if cheats.size:
            total, survivors = total + self._cheated(cheats, honest, plan, request, kind), survivors + cheats.size
        return total, survivors

    def _cheated(
        self, devices: Ints, honest: Ints, plan: Plan, request: Mapping[str, object], kind: UpdateKind
    ) -> Words:
        """What these devices' vectors add to the sum."""
        rows, vector = self._rows[kind.request], self._attack.vector
        entropy = fresh_entropy(self._folder, request["round"])  # type: ignore[arg-type]
        if vector == "push":
            quiet = replace(plan, privacy=replace(plan.privacy, noise_multiplier=0.0))
            come_to = SUMS[kind.request](rows, honest, honest, quiet, request, entropy).view(np.int32)
            steps = round(self._attack.clips * plan.privacy.steps_per_clip)
            pushed = clip_to_grid(-1e6 * come_to.astype(np.float64), float(steps), steps).view(np.uint32)
            return pushed * np.uint32(len(devices))
        if vector == "free":
            return np.zeros(kind.n_values, np.uint32)
        if vector == "label":
            rows = TrainingRows(rows.x, 1 - rows.y, rows.offsets)
        total = SUMS[kind.request](rows, devices, devices, plan, request, entropy)
        return np.negative(total) if vector == "sign" else total


@dataclass(frozen=True)
class Harm:
    """What an attack came to in one training: test AUC, and the rounds whose sum was not used."""

    auc: float
    rounds_not_used: int


class Poisoning:
    """Trainings of one scenario under attack. `folder` is for training rows, and is the caller's to remove."""

    def __init__(self, name: str, overrides: Sequence[str], folder: Path) -> None:
        self.scenario = load_scenario(name, [*overrides, "risk.rounds=0", "privacy.max_epsilon=inf"])
        self._trials = Trials(population_of(self.scenario), folder)
        self.setup: Setup = self._trials.setup(self.scenario)

    def under(self, attack: Attack, seed: int) -> Harm:
        """One training under an attack, by devices and draws of this seed."""
        hosts: list[PoisonedHost] = []

        def host(rows: Mapping[str, TrainingRows], n_devices: int, folder: Path, dropout: float) -> TrainingHost:
            hosts.append(PoisonedHost(attack, seed, rows, n_devices, folder, dropout))
            return hosts[-1]

        setup = self._trials.setup(repeated(self.scenario, seed))
        trained = self._trials.train(setup, host=host)
        score = self._trials.score(setup.plan, trained.theta, setup.protocol.test_steps)
        return Harm(score.auc or math.nan, hosts[0].traffic.dropped["round_too_long"])


def table_of(name: str, harms: Mapping[str, Sequence[Harm]]) -> Table:
    """One row an attack, the mean of its trainings."""
    table = Table(title=f"{name}: devices that cheat in every round that asks them")
    for column in ("who, and what they send", "AUC", "rounds not used"):
        table.add_column(column, justify="left" if column.startswith("who") else "right")
    for key, runs in harms.items():
        auc, not_used = (float(np.mean([getattr(harm, field) for harm in runs])) for field in Harm.__dataclass_fields__)
        table.add_row(ATTACKS[key].name, f"{auc:.3f}", f"{not_used:.1f}")
    return table


def harms(
    name: str, overrides: Sequence[str] = (), seeds: int = 1, done: Callable[[str], None] = lambda _: None
) -> dict[str, list[Harm]]:
    """Every attack on a scenario, by key: one training for each seed."""
    with tempfile.TemporaryDirectory(prefix="ebbtide-poisoning-") as folder:
        world = Poisoning(name, overrides, Path(folder))
        out: dict[str, list[Harm]] = {}
        for key, attack in ATTACKS.items():
            out[key] = [world.under(attack, seed) for seed in range(seeds)]
            done(key)
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of one scenario."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="?", default="demo", help="a scenario by name or .toml file (demo)")
    parser.add_argument("--set", action="append", default=[], help="replace one value: section.key=value")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each attack (1)")
    chosen = parser.parse_args(arguments)
    found = harms(
        chosen.scenario, chosen.set, chosen.seeds, lambda key: print(f"{ATTACKS[key].name}: done", flush=True)
    )
    say_table(table_of(chosen.scenario, found))


if __name__ == "__main__":
    end_with(main)
