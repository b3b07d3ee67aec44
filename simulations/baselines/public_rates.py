"""How planted people's interests come and go, as BG/NBD says it: public constants of features of version 2.

    python -m simulations.baselines.public_rates      writes simulations/scenarios/planted_rates.py again

Four parameters for each unit of time, of any activity and of purchases alone: a plan that asks for such features holds those of
its own steps, so devices read the same from what they know. No real person's data is in them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.events import EventKind, Step
from shared.features import History
from shared.files import replace_content

from ..people.planted import plant
from ..scenarios import planted_rates
from .bgnbd import BgNbd, fit_history

TABLE_FILE = Path(planted_rates.__file__)
USERS, DAYS, CATEGORIES, SEED = 1000, 364, 12, 100
TABLE = '''"""BG/NBD parameters of planted people's interests. Made by `python -m simulations.baselines.public_rates`."""

#: (r, alpha, a, b) by the unit of a step and whether activity means purchases alone; alpha is in steps.
PLANTED_RATES: dict[tuple[str, bool], tuple[float, float, float, float]] = {{
{rows}
}}
'''


def fitted(step: Step, purchases_only: bool) -> BgNbd:
    """The parameters of planted people in steps of this unit."""
    people = plant(USERS, DAYS, seed=SEED, n_categories=CATEGORIES)
    user = np.repeat(np.arange(people.n_users), np.diff(people.offsets))
    kept = people.kind == EventKind.PURCHASE if purchases_only else np.ones(len(user), bool)
    at = (people.time_s[kept] // step.seconds).astype(np.int64)
    shape = (people.n_users, CATEGORIES, DAYS * Step.DAY.seconds // step.seconds)
    index = (user[kept], people.category[kept], at)
    history = History.from_events(shape, index, people.kind[kept], people.amount[kept])
    return fit_history(history, history.n_steps - 1)


def table() -> str:
    """The table's file."""
    rows = []
    for step in Step:
        for only in (False, True):
            model = fitted(step, only)
            numbers = ", ".join(repr(float(f"{value:.3g}")) for value in (model.r, model.alpha, model.a, model.b))
            rows.append(f'    ("{step.value}", {only}): ({numbers}),')
    return TABLE.format(rows="\n".join(rows))


if __name__ == "__main__":
    replace_content(TABLE_FILE, table().encode())
