"""Epsilon of everything that a plan charges: of all together, and of each row of its table (`shared/charges.py`).

To whom                                                  | what holds
whoever sees the models and the rates                    | all of it, while who was in a cohort stays secret
the server, the seats, whoever knows who took part       | the same, without amplification: the sum is trusted, and of a
                                                         | cohort `max_colluders` may leave their noise out or tell it
whoever broke a sum                                      | one share of the noise, round by round (`lone_share.py`)

Coins are thrown on the device, and cost the same in all three. With everybody in every round the first two are one number.

With everybody in every round the first number is exact: composed, Gaussians are one Gaussian, and coins beside it have a
closed form (`shared.rdp.gaussian_epsilon`). With sampled cohorts it is a bound by Renyi DP, and is told as one. Beside
either stands the bound by Renyi DP for the very noise that devices add. Neighbours: one device's contributions become
null while it takes part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from shared import rdp
from shared.charges import Charge, charges_of
from shared.plan import BitsPlan, Plan, UpdateKind
from shared.secure_sum.assembly import sizes_of

from .composition import release_cost, slack
from .lone_share import lone_share_epsilon
from .votes import VotesCharge

#: Rows of a plan's table, each with how often it is counted; then of what was chosen by votes before its run.
Charged = tuple[Charge | VotesCharge, ...]


def epsilon_to_public(charged: Charged, delta: float) -> float:
    """To anybody who sees the models and the rates of all of these together, while cohorts stay secret.

    Guarantees. Never below the truth for the noise that devices add: see `slack`. Exact but for that if nobody is sampled,
    else a bound. Edge cases. Nothing costs 0; a row without noise, or a delta that the slack eats up, makes it infinite.
    """
    return epsilon_bound(charged, delta) if is_sampled(charged) else epsilon_unamplified(charged, delta)


def epsilon_unamplified(charged: Charged, delta: float) -> float:
    """To somebody who knows that a device took part so often, and sees only sums and rates: to the server and the seats.

    Guarantees. Exact but for the slack. Noise is that of `min_survivors - max_colluders` devices: so many of a cohort may
    collude with the server, and no more is counted on where more of them are honest. Edge cases. As `epsilon_to_public`.
    """

    def exact(spent: Charged, within: float) -> float:
        rows = [c for c in spent if isinstance(c, Charge)]
        rounds = [(c.mechanism, c.times) for c in rows if isinstance(c.mechanism, UpdateKind)]
        coins = [(c.mechanism.epsilon, c.times) for c in rows if isinstance(c.mechanism, BitsPlan)]
        votes = sum(c.times / c.noise_multiplier**2 for c in spent if isinstance(c, VotesCharge))
        mu = math.sqrt(votes + sum(times / kind.privacy.noise_multiplier**2 for kind, times in rounds))
        gaps = sum(times * _shares_cost(kind)[-1] for kind, times in rounds)
        return rdp.gaussian_epsilon(mu, within, coins) + float(gaps)

    return _within(charged, delta, exact)


def epsilon_bound(charged: Charged, delta: float) -> float:
    """To anybody who sees the models and the rates, by Renyi DP, for discrete shares as devices add them."""

    def by_renyi(spent: Charged, within: float) -> float:
        return float(rdp.epsilon(np.sum([c.times * release_cost(c) for c in spent], axis=0), within))

    return _within(charged, delta, by_renyi)


def is_sampled(charged: Charged) -> bool:
    """Whether epsilon rests on the secrecy of cohorts, and is a bound."""
    return any(charge.times and charge.privacy and charge.privacy.sampling_rate < 1 for charge in charged)


def _shares_cost(kind: UpdateKind) -> rdp.Curve:
    return rdp.shares_cost(kind.privacy.share_sigma, kind.privacy.honest, kind.n_values)


def _within(charged: Charged, delta: float, account: Callable[[Charged, float], float]) -> float:
    """What an account says at the part of delta that the slack leaves. Half of delta gives an epsilon that is large enough
    to know the slack by."""
    spent = tuple(charge for charge in charged if charge.times)
    if not spent:
        return 0.0
    if not all(charge.noisy for charge in spent):
        return math.inf
    aside = slack(spent, delta, account(spent, delta / 2))
    gaps = sum(charge.gap for charge in spent if isinstance(charge, VotesCharge))
    return account(spent, delta - aside) + gaps if aside <= delta / 2 else math.inf


class RoundAccountant:
    """Epsilon of a plan's sums so far: of the rounds of training, and of queries."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._counts = plan, [0] * len(plan.sums)

    def charge(self, rounds: int = 1, part: int = 0) -> None:
        """Count rounds of one part; never taken back."""
        self._counts[part] += rounds

    @property
    def rounds(self) -> int:
        """Rounds of the first part."""
        return self._counts[0]

    @property
    def epsilon(self) -> float:
        """Epsilon of the rounds so far at the plan's delta; infinite without noise, 0 before the first round."""
        return epsilon_to_public(self.charged[: len(self._counts)], self._plan.privacy.delta)

    @property
    def charged(self) -> Charged:
        """The plan's table with the sums that were charged, and all of its coins."""
        table = charges_of(self._plan)
        rounds = tuple(replace(row, times=n) for row, n in zip(table, self._counts, strict=False))
        return rounds + table[len(rounds) :]

    def rounds_of(self, part: int) -> int:
        """Rounds of one part."""
        return self._counts[part]

    def affords_another(self, part: int = 0) -> bool:
        """Whether one more round of a part stays within max_epsilon. The first part gives way: it has what all else that the
        plan charges leaves."""
        return part > 0 or self.rounds < affordable_rounds(self._plan)


@lru_cache(maxsize=16)
def affordable_rounds(plan: Plan) -> int:
    """How many rounds of p, with everything else that the plan charges, stay within its max_epsilon."""
    first, *others = charges_of(plan)
    low, high = 0, first.times + 1
    while high - low > 1:
        middle = (low + high) // 2
        epsilon = epsilon_to_public((replace(first, times=middle), *others), plan.privacy.delta)
        low, high = (middle, high) if epsilon <= plan.privacy.max_epsilon else (low, middle)
    return low


def to_server(plan: Plan, charged: Charged, delta: float) -> str:
    """What the server learns, in words: of updates, and of randomised bits."""
    parts = [_of_rounds(plan)]
    for charge in charged:
        if charge.times and isinstance(charge, Charge) and isinstance(coin := charge.mechanism, BitsPlan):
            each = f"{charge.times} coin{'s' if charge.times > 1 else ''} of epsilon {coin.epsilon:g} each"
            parts.append(f"randomised bits: {each}, {epsilon_to_public((charge,), delta):.3g} together")
    return "; ".join(parts)


def _of_rounds(plan: Plan) -> str:
    """What the server learns of a plan's rounds: their sums, as long as those who make them are honest."""
    if plan.sum is None:
        return "nothing of updates: without a secure sum no device sends one"
    noisy = all(kind.privacy.noise_multiplier > 0 for kind in plan.sums)
    fewest = min(kind.privacy.min_survivors for kind in plan.sums)
    what = f"the {'noisy ' if noisy else ''}sum of each round over at least {fewest} devices"
    honest = []
    if plan.sum.helpers:
        honest.append(f"one of {plan.sum.helpers} helpers is honest")
    if plan.sum.seats:
        most = sizes_of(plan.sum).most_corrupt
        honest.append(f"at most {most} of {plan.sum.drawn} devices drawn as its seats are hostile")
    return f"{what}{'' if noisy else ', without noise'}, if {', or '.join(honest)}"


@dataclass(frozen=True)
class ChargedLine:
    """One row of the table, for people: how often it was charged, how much noise each time (or the coin's epsilon), and what
    it alone comes to (None: infinite): to whoever sees the models, to the server and the seats, and, one release of it, to
    whoever broke the sum; votes are in no sum that could be broken."""

    line: str
    times: int
    noise_multiplier: float | None
    coin_epsilon: float | None
    epsilon_to_public: float | None
    epsilon_to_server: float | None
    epsilon_if_broken: float | None
    holds_against_server: bool


def charged_lines(charged: Charged, delta: float) -> list[ChargedLine]:
    """The table, row by row."""
    return [
        ChargedLine(
            line=row.line,
            times=row.times,
            noise_multiplier=_noise_of(row),
            coin_epsilon=row.mechanism.epsilon
            if isinstance(row, Charge) and isinstance(row.mechanism, BitsPlan)
            else None,
            epsilon_to_public=finite(epsilon_to_public((row,), delta)),
            epsilon_to_server=finite(epsilon_unamplified((row,), delta)),
            epsilon_if_broken=finite(
                epsilon_if_broken(row) if isinstance(row, Charge) else epsilon_unamplified((row,), delta)
            ),
            holds_against_server=row.holds_against_server,
        )
        for row in charged
    ]


def _noise_of(row: Charge | VotesCharge) -> float | None:
    if isinstance(row, VotesCharge):
        return row.noise_multiplier
    return row.privacy.noise_multiplier if row.privacy else None


def epsilon_if_broken(row: Charge) -> float:
    """One release of a row to somebody who broke the sum: a lone share of the noise; a coin, which needs no sum."""
    kind = row.mechanism
    return lone_share_epsilon(kind.privacy, kind.n_values) if isinstance(kind, UpdateKind) else kind.epsilon


def account_of(plan: Plan, charged: Charged) -> dict[str, Any]:
    """All that is said about epsilon of what was charged under a plan, as JSON."""
    delta = plan.privacy.delta
    return {
        "delta": delta,
        "epsilon_to_public": finite(epsilon_to_public(charged, delta)),
        "by_bound": is_sampled(charged),
        "epsilon_bound": finite(epsilon_bound(charged, delta)),
        "epsilon_to_server": finite(epsilon_unamplified(charged, delta)),
        "to_server": to_server(plan, charged, delta),
        "lines": [asdict(line) for line in charged_lines(charged, delta)],
    }


def finite(epsilon: float) -> float | None:
    """None for an infinite epsilon, which JSON does not know."""
    return epsilon if math.isfinite(epsilon) else None
