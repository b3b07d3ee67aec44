"""What randomised bits are worth: a run's rates with the true ones, and how often intervals hold the truth."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from server.bits import rate_of_answering
from shared.arrays import Bools, as_declared
from shared.mechanisms import Entropy
from shared.plan import MICRO
from shared.randomised_response import BitSchedule, randomised_response

from ...federation.alert_table import Alerts
from ..results import BitRates, TrueRate

REPETITIONS = 1000
ANSWERS = 1000
TRUE_RATE = 0.1
EPSILON = 1.0


@as_declared
def rates_with_truth(bits: Mapping[str, Any], alerts: Alerts, agreed: Bools) -> BitRates:
    """A run's account of bits, with the true share of alerted devices for each rate: of all who agreed to bits (K,),
    whether or not their device answered. Only a simulation knows it."""
    schedule = BitSchedule(round(bits["epsilon"] * MICRO), bits["every_steps"])
    rates = []
    for rate in bits["rates"]:
        covered = schedule.covered(rate["step"])
        within = (alerts.step >= covered.start) & (alerts.step < covered.stop)
        alerted = np.bincount(alerts.user[within], minlength=len(agreed)) > 0
        rates.append(TrueRate(**rate, true_rate=float(alerted[agreed].mean()) if agreed.any() else None))
    return BitRates(**{**bits, "rates": rates}, agreed=int(agreed.sum()))


def coverage(
    rate: float = TRUE_RATE, answers: int = ANSWERS, repetitions: int = REPETITIONS, entropy: Entropy = os.urandom
) -> float:
    """The share of repetitions in which the 95 % interval contains the true rate: each device throws its own coin, as
    devices do."""
    coin, alerted = round(EPSILON * MICRO), np.arange(answers) < round(rate * answers)
    inside = 0
    for _ in range(repetitions):
        ones = int(randomised_response(alerted, coin, entropy).sum())
        found = rate_of_answering(ones, answers, coin)
        inside += bool(found.low <= alerted.mean() <= found.high)
    return inside / repetitions
