"""What one update tells of a device if it is seen alone, behind its own noise, or in a sum: `python -m simulations.attacks.unmasked`.

Planted (simulated) people, one round of the demo. Who looks knows the model that was sent out, and the code of devices. Three
things are tried: to read the device's training rows off the gradient of the first layer, which is a sum of these rows (Zhu, Liu and
Han 2019, section 4; Geiping et al. 2020, proposition 3.1); to read how often interests returned off the bias of the last; and to tell whose
update it is, by somebody who has everybody's data.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.table import Table

from shared.arrays import Doubles, Ints, as_declared, hold_declared
from shared.mechanisms import DiscreteGaussian, from_grid
from shared.network import NetworkSpec
from shared.plan import PrivacyPlan

from ..federation.host_training import fresh_entropy, sum_of_updates
from ..federation.hosted.training_rows import TrainingRows
from ..people.of_scenario import population_of
from ..people.setup import Setup
from ..scenarios.config import load_scenario
from ..search.trials import Trials
from ..terminal.ending import end_with
from ..terminal.printing import say_table

#: What is seen of a device, by key: in words, and behind how many shares of noise. None: as many as a sum counts on.
VIEWS: dict[str, tuple[str, int | None]] = {
    "bare": ("one clipped update, unmasked", 0),
    "share": ("one clipped update with its own share of noise", 1),
    "sum": ("an opened sum, by who knows all other updates in it", None),
}


@dataclass(frozen=True)
class Seen:
    """What devices do in round 1, each for itself: clipped vectors in clips (D, P), the mean of each one's training rows (D, F), and
    the share of these that are followed by a return (D,)."""

    vectors: Doubles
    rows: Doubles
    returned: Doubles
    network: NetworkSpec
    privacy: PrivacyPlan

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    def of(cls, scenario: str, overrides: Sequence[str], folder: Path) -> Seen:
        """All devices of a scenario that have rows."""
        chosen = load_scenario(scenario, overrides)
        trials = Trials(population_of(chosen), folder)
        setup = trials.setup(chosen)
        TrainingRows.write(folder, trials.history.until(setup.protocol.train_at), setup.plan)
        return cls._of_rows(TrainingRows.load(folder), setup, trials, folder)

    @classmethod
    def _of_rows(cls, rows: TrainingRows, setup: Setup, trials: Trials, folder: Path) -> Seen:
        plan = replace(setup.plan, privacy=replace(setup.plan.privacy, noise_multiplier=0.0, max_epsilon=np.inf))
        theta, entropy = trials.start(setup), fresh_entropy(folder)
        devices = np.flatnonzero(np.diff(rows.offsets) > 0)
        spans = [slice(int(rows.offsets[d]), int(rows.offsets[d + 1])) for d in devices]
        vectors = [sum_of_updates(rows, one, one, plan, theta, 1, entropy) for one in devices[:, None]]
        return cls(
            from_grid(np.stack(vectors), 1 / plan.privacy.steps_per_clip),
            np.array([rows.x[span].mean(axis=0, dtype=np.float64) for span in spans]),
            np.array([rows.y[span].mean(dtype=np.float64) for span in spans]),
            plan.network,
            setup.plan.privacy,
        )

    def behind(self, shares: int) -> Doubles:
        """The vectors with so many devices' noise on each, in clips: (D, P)."""
        noise = DiscreteGaussian(self.privacy.share_sigma)
        out = self.vectors.copy()
        for _ in range(shares):
            out += from_grid(noise.sample_words(out.shape), 1 / self.privacy.steps_per_clip)
        return out


@dataclass(frozen=True)
class Recovered:
    """How much of it comes out: the correlation over devices of what is read off and what is true, of the mean training row (mean
    over features) and of how often interests returned; and the share of devices whose update is told from all others'."""

    rows: float
    returned: float
    told_apart: float


def recovered(seen: Seen, shares: int | None) -> Recovered:
    """What is recovered of vectors behind so many shares of noise (None: as many as the plan's sums count on)."""
    vectors = seen.behind(seen.privacy.honest if shares is None else shares)
    read = rows_read(seen.network, vectors)
    by_feature = [correlation(read[:, i], seen.rows[:, i]) for i in range(read.shape[1])]
    last_bias = -vectors[:, -1]  # descent: a higher rate of returns pushes the bias up
    return Recovered(
        float(np.mean(by_feature)),
        abs(correlation(last_bias, seen.returned)),
        float(np.mean(whose(vectors, seen.vectors) == np.arange(len(vectors)))),
    )


@as_declared
def rows_read(network: NetworkSpec, vectors: Doubles) -> Doubles:
    """The mean training row (D, F) that updates (D, P) tell of. What a row adds to the kernel of a hidden unit of the first layer is the
    row times what it adds to the unit's bias: so it is the slope of kernel over bias, over all units, by least squares."""
    kernel, bias, *_ = network.split(vectors)
    scale = np.maximum((bias**2).sum(axis=-1, keepdims=True), 1e-30)
    out: Doubles = (kernel * bias[:, None, :]).sum(axis=-1) / scale
    return out


@as_declared
def whose(vectors: Doubles, candidates: Doubles) -> Ints:
    """For each vector (D, P) the nearest of the candidates (E, P), which under Gaussian noise is the likeliest: (D,)."""
    nearest: Ints = np.argmin((candidates**2).sum(axis=1) - 2 * vectors @ candidates.T, axis=1)
    return nearest


@as_declared
def correlation(a: Doubles, b: Doubles) -> float:
    """Spearman's, by ranks; 0 where one of them is constant: a single outlier among ratios decides nothing."""
    ranks = [np.unique(v, return_inverse=True)[1].astype(np.float64) for v in (a, b)]
    spread = np.std(ranks[0]) * np.std(ranks[1])
    return float(np.mean((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())) / spread) if spread else 0.0


def recovered_by_view(scenario: str = "demo", overrides: Sequence[str] = ()) -> tuple[int, dict[str, Recovered]]:
    """How many devices there are to tell apart, and what is recovered in each view, by key."""
    with tempfile.TemporaryDirectory(prefix="ebbtide-unmasked-") as folder:
        seen = Seen.of(scenario, overrides, Path(folder))
    return len(seen.vectors), {key: recovered(seen, shares) for key, (_, shares) in VIEWS.items()}


def main() -> None:
    """Print what is recovered."""
    n_devices, found = recovered_by_view()
    table = Table(title=f"{n_devices} planted (simulated) devices: what one update tells")
    for column in ("what is seen", "training rows, correlation", "returns, correlation", "whose it is"):
        table.add_column(column, justify="left" if column == "what is seen" else "right")
    for key, one in found.items():
        table.add_row(VIEWS[key][0], f"{one.rows:.2f}", f"{one.returned:.2f}", f"{one.told_apart:.1%}")
    say_table(table)


if __name__ == "__main__":
    end_with(main)
