"""What is said of a run before it has ended is what would have been said afterwards."""

from __future__ import annotations

import numpy as np

from simulations.evaluation.beforehand import beforehand
from simulations.evaluation.evaluate import evaluate
from simulations.people.setup import Setup
from tests.world.basics import some_people  # noqa: F401
