"""DataFrames of made-up people, as a shop's own log would come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from simulations.frames.people import KINDS
from simulations.people.planted import plant
from simulations.people.population import Population

FIRST_DAY = "2026-01-05"
COLUMNS = {"user": "customer", "time": "when", "category": "dept", "event": "what", "amount": "paid"}


def frame_of(people: Population) -> Any:
    """Everybody's events, a row each, under a shop's own column names."""
    user = np.repeat(np.arange(people.n_users), np.diff(people.offsets))
    return pd.DataFrame(
        {
            "customer": [f"c-{each:05d}" for each in user],
            "when": pd.Timestamp(FIRST_DAY) + pd.to_timedelta(np.floor(people.time_s), unit="s"),
            "dept": np.array(people.catalogue.names)[people.category],
            "what": np.array(KINDS)[people.kind],
            "paid": people.amount,
        }
    )


def shop(users: int = 30, days: int = 120, seed: int = 7) -> Any:
    """The log of a small shop."""
    return frame_of(plant(users, days, seed=seed))
