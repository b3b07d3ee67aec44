"""What heads look at: 28 numbers of one interest at one step, of which the last is 1.

Three logits of planted networks (interest, lapse, take-off), what features of version 2 say of averages, rates, of having left and of
silence, how much there was lately whatever the user's age, and how popular the category is. A closed list: another one has
another version (`shared/register/heads_plan.py`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..arrays import Floats, Ints, as_declared
from ..features import FeatureSpec, Group
from ..features.spec import age_of
from ..lapse_risk import logit
from ..register.heads_plan import N_INPUTS

#: The networks whose logits are read, each taught by planted people of its own rows.
NETWORKS = ("interest", "lapse", "takeoff")
#: The groups of features that are read.
GROUPS = (Group.AVERAGES, Group.RATES, Group.LEAVING)
#: Added to a level before its log is taken: one active step in a hundred.
LEAST_LEVEL = 0.01
#: Standardised inputs are held in this.
BOUND = 4.0


def input_names(features: FeatureSpec) -> tuple[str, ...]:
    """The inputs in the order of their last axis."""
    return (*(f"logit_{name}" for name in NETWORKS), *_columns(features), "log_level", "popularity", "constant")


@lru_cache(maxsize=16)
def _columns(features: FeatureSpec) -> tuple[str, ...]:
    """The features that are inputs as they are. What drifts with a user's age alone is none of them."""
    read = (name for group in GROUPS for name in features.names_of(group) if name != "user_log_age")
    return (*read, "log_recency")


@lru_cache(maxsize=16)
def _places(features: FeatureSpec) -> Ints:
    return np.array([features.names.index(name) for name in _columns(features)])


@as_declared
def raw_inputs(features: FeatureSpec, x: Floats, p: Floats, popularity: Floats) -> Floats:
    """Inputs (..., n, 27), all but the constant, before they are standardised: of rows x (..., n, F), of p (3, ..., n) by the
    planted networks and of the log popularity (..., n) of each row's category."""
    out = np.empty((*x.shape[:-1], N_INPUTS - 1), np.float32)
    n = len(NETWORKS)
    for i in range(n):
        out[..., i] = logit(p[i]) / 2
    out[..., n:-2] = x[..., _places(features)]
    out[..., -2] = log_level(features, x)
    out[..., -1] = popularity
    return out


@as_declared
def log_level(features: FeatureSpec, x: Floats) -> Floats:
    """The log of the activity's average over 2 W steps as it is, from 0 when its user was first seen: (...,). The features' own
    average is corrected for that, and so says of a new user's only visit as much as of an old one's many."""
    span = features.spans[2]
    age = age_of(x[..., features.names.index("user_log_age")].astype(np.float64))
    average = x[..., features.names.index(f"average_{span}")]
    level = average * (1 - (1 - 2 / (span + 1)) ** (age + 1))
    return np.log(np.maximum(level, 0) + LEAST_LEVEL).astype(np.float32)
