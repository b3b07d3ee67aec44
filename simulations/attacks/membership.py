"""Whether the published model tells who taught it: `python -m simulations.attacks.membership`.

Planted (simulated) people, of whom chance lets half train. Who attacks knows everybody's rows, and has models of other trainings to
compare with: a person is taken for trained the more their loss falls short of what it is under models that they did not teach
(Carlini et al. 2022, "Membership Inference Attacks From First Principles", section 6.1, without its Gaussian fit). What counts is
how many are found while next to nobody is taken for trained who is not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from shared.arrays import Bools, Doubles, as_declared

from ..audit.membership import FALSE_RATE, Found, judged, losses_of
from ..people.of_scenario import population_of
from ..scenarios.config import Scenario, load_scenario
from ..search.trials import Trials, repeated
from ..terminal.ending import end_with
from ..terminal.printing import say_table

TRAININGS = 12
_ALL = ("data.held_out_share=0.5", "risk.rounds=0", "privacy.max_epsilon=inf")
#: What is attacked, by key: in words, and what of the demo is changed.
MODELS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "planned": ("the demo's model", ()),
    "none": ("the same without noise", ("privacy.noise_multiplier=0.0",)),
    "bare": (
        "40 people, 100 rounds, neither noise nor clip",
        ("data.users=40", "privacy.noise_multiplier=0.0", "privacy.clip_norm=100.0", "privacy.rounds=100"),
    ),
}


def attacked(
    key: str, trainings: int = TRAININGS, done: Callable[[], object] = lambda: None, more: Sequence[str] = ()
) -> Found:
    """Trainings of one kind, each attacked with the others to compare with."""
    scenario = load_scenario("demo", [*_ALL, *MODELS[key][1], *more])
    with tempfile.TemporaryDirectory(prefix="ebbtide-membership-") as folder:
        trials = Trials(population_of(scenario), Path(folder))
        losses, out = [], []
        for seed in range(trainings):
            one = _with_halves(repeated(scenario, seed), seed)
            setup = trials.setup(one)
            rows = trials.rows(setup.plan.features, setup.plan.horizon_steps, setup.protocol.train_steps)
            theta = trials.train(setup).theta
            losses.append(losses_of(setup.plan.network, theta, rows, trials.population.n_users))
            out.append(trials.held_out(one))
            done()
    held_out = np.array(out)
    return judged(scores_of(np.array(losses), held_out), held_out)


def _with_halves(scenario: Scenario, seed: int) -> Scenario:
    """The scenario with other people held out; who there is does not change any more."""
    return scenario.model_copy(update={"data": scenario.data.model_copy(update={"seed": 1000 + seed})})


@as_declared
def scores_of(losses: Doubles, held_out: Bools) -> Doubles:
    """How much smaller each user's loss is than under the other trainings that held them out: (T, K), of losses and masks (T, K).
    NaN where no other did."""
    out = np.full(losses.shape, np.nan)
    for i in range(len(losses)):
        others = held_out.copy()
        others[i] = False
        n = others.sum(axis=0)
        usual = np.where(others, losses, 0.0).sum(axis=0) / np.where(n, n, np.nan)
        out[i] = usual - losses[i]
    return out


def main(trainings: int = TRAININGS) -> None:
    """Print what membership inference finds."""
    table = Table(title=f"Who taught the model? {trainings} trainings, half of the people held out of each")
    for column in ("model", "AUC", f"found at {FALSE_RATE:.0%} false"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for key, (name, _) in MODELS.items():
        one = attacked(key, trainings)
        table.add_row(name, f"{np.mean(one.aucs):.3f}", f"{one.found:.1%}")
    say_table(table)


if __name__ == "__main__":
    end_with(main)
