"""Where the bins of a private evaluation lie, how much a row in each weighs, and the clip: chosen on planted people, who are public.

    python -m simulations.search.score_cells

The numbers stand in `shared/register/recipes.py`, and are never changed there: another choice is another recipe. Two calendars count
alike, days (`demo`) and weeks (`complete-journey-eps1`): edges are quantiles of both together. The noise of an AUC is the sum over
cells of (slope of the AUC in the cell x noise of the cell)^2; with a weight w for each cell, so that its noise is 1 / w, and the
norm that clips fixed, it is least at w^2 = |slope| / (root mean square of a device's rows in the cell). To a power below 1 this
gives up a little there for people who are not as planted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from client.model.recipes import VECTORS, Seen
from shared.arrays import Doubles, Floats, Ints
from shared.events import Catalogue
from shared.features import History
from shared.network import forward
from shared.plan import Plan
from shared.register.queries import QueryPlan
from shared.register.recipes import N_BINS, SCORE_EDGES_MILLI, SCORE_WEIGHTS_CENTI

from ..people.labelled_rows import rows_of
from ..people.public_start import planted_history, pretrain, public_steps
from ..people.setup import Crowd, Setup
from ..scenarios.config import WarmStartSection, load_scenario

#: By calendar: the scenario, categories, how often it is asked for, in steps; whether people's purchases are all that counts; and
#: the clip that was chosen: where devices have as many rows as they may, it is larger.
CALENDARS = {"days": ("demo", 12, 28, False, 18.0), "weeks": ("complete-journey-eps1", 30, 4, True, 9.0)}
DEVICES, ROWS, TEACHERS = 2000, 64, 600
#: Scores of each calendar that edges are quantiles of; the power of weights; the least slope and mean square, as shares of the largest.
SCORES, POWER, LEAST = 50_000, 0.75, 0.02
CLIPS = (7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0)


@dataclass(frozen=True)
class Crowded:
    """Planted people of one calendar, whom a model of other planted people scores; `told` by whom, in their raw histograms."""

    setup: Setup
    query: QueryPlan
    theta: Floats
    scores: Floats
    history: History

    @property
    def plan(self) -> Plan:
        return self.setup.plan

    def seen(self, numbers: Ints, round_number: int = 1) -> Seen:
        """What some of them know at the step that is asked for."""

        def score(x: Floats) -> Floats:
            return forward(self.plan.network, self.theta, x)

        history, nothing = self.history[numbers], np.empty((0, 5), np.int64)
        return Seen(self.plan, self.query, history, score, nothing, numbers, round_number, self.history.n_steps - 1)

    def rows(self, numbers: Ints) -> Doubles:
        """Rows of each by label and bin, without weights: (K, 2, N_BINS)."""
        weighted = VECTORS["evaluation"](self.seen(numbers)).reshape(-1, 2, N_BINS)
        unweighted: Doubles = weighted / (np.array(SCORE_WEIGHTS_CENTI) / 100)
        return unweighted


def crowd(calendar: str, seed: int, devices: int = DEVICES) -> Crowded:
    """Planted people of a seed, taught by those of seed 100, as of the step of the first evaluation."""
    name, categories, every, purchases_only, clip_norm = CALENDARS[calendar]
    asked = [
        f"evaluation.every_steps={every}",
        f"evaluation.clip_norm={clip_norm}",
        "evaluation.answering=0.9",
        "privacy.max_epsilon=inf",
    ]
    names = Catalogue(tuple(f"category {i}" for i in range(categories)))
    setup = Setup.of(load_scenario(name, asked), Crowd(devices, names))
    query, protocol = setup.plan.queries[0], setup.protocol
    size = protocol, setup.step, categories
    teachers = planted_history(*size, TEACHERS, 100, purchases_only=purchases_only)
    taught = rows_of(teachers, setup.plan.features, protocol.horizon_steps, public_steps(protocol))
    theta = pretrain(setup.plan.network, taught, WarmStartSection(users=TEACHERS))
    scores = forward(setup.plan.network, theta, taught.x)
    step = next(at for at in range(protocol.train_at + 1, protocol.n_steps) if query.is_due(at))
    history = planted_history(*size, devices, seed, purchases_only=purchases_only).until(step)
    return Crowded(setup, query, theta, scores, history)


def edges_of(crowds: list[Crowded]) -> list[int]:
    """Quantiles of scores, in thousandths: as many from each calendar."""
    random = np.random.Generator(np.random.Philox(0))
    scores = np.concatenate([random.permutation(one.scores)[:SCORES] for one in crowds])
    return np.rint(1000 * np.quantile(scores, np.linspace(0, 1, N_BINS + 1)[1:-1])).astype(int).tolist()


def weights_of(crowds: list[Crowded]) -> list[list[int]]:
    """Of each label and bin, in hundredths, for the edges that the recipe has; of mean square 1."""
    slopes, sizes = np.zeros((2, N_BINS)), np.zeros((2, N_BINS))
    for one in crowds:
        rows = one.rows(np.arange(len(one.history.active)))
        slope, size = np.abs(auc_slope(rows.sum(axis=0))), np.sqrt((rows**2).mean(axis=0))
        slopes, sizes = slopes + slope / slope.max(), sizes + size / size.max()
    ratio = np.maximum(slopes, LEAST * slopes.max()) / np.maximum(sizes, LEAST * sizes.max())
    weights = np.sqrt(ratio) ** POWER
    return np.rint(100 * weights / np.sqrt((weights**2).mean())).astype(int).tolist()


def auc_slope(rows: Doubles) -> Doubles:
    """What one more row in each cell changes of the AUC of rows by label and bin: (2, N_BINS)."""
    negative, positive = rows
    below = (np.cumsum(negative) - negative / 2) / negative.sum()
    above = (positive.sum() - np.cumsum(positive) + positive / 2) / positive.sum()
    auc = float((positive * below).sum() / positive.sum())
    return np.stack([(above - auc) / negative.sum(), (below - auc) / positive.sum()])


def clipped_at(one: Crowded, clip_norm: float) -> QueryPlan:
    """The query of a calendar with another clip."""
    return replace(one.query, privacy=replace(one.query.privacy, clip_norm=clip_norm))


def main() -> None:
    """Print what is chosen, beside what the recipe has."""
    from ..published.private_auc import errors_of

    crowds = [crowd(calendar, seed=7) for calendar in CALENDARS]
    print("edges, thousandths:", edges_of(crowds), "recipe:", list(SCORE_EDGES_MILLI))
    print("weights, hundredths:", weights_of(crowds), "recipe:", [list(row) for row in SCORE_WEIGHTS_CENTI])
    for calendar, one in zip(CALENDARS, crowds, strict=True):
        for clip_norm in CLIPS:
            found = errors_of(one, query=clipped_at(one, clip_norm))
            print(
                f"{calendar}, clip {clip_norm:g}: RMS {found.rms:.4f}, clip {found.clip:.4f}, noise {found.noise:.4f}"
            )


if __name__ == "__main__":
    main()
