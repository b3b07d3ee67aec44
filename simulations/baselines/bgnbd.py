"""BG/NBD: the classic model of customers who buy at a steady rate until, after some purchase, they quietly leave.

While alive a customer buys at rate lambda (gamma over customers: shape r, rate alpha), and leaves after any purchase with
chance p (beta over customers: a, b). Four parameters by maximum likelihood on (x, t_x, T): repeat purchases, time of the
last one and age, all since the first purchase. Source: Fader, Hardie and Lee 2005, "Counting Your Customers" the Easy Way,
Marketing Science 24(2), section 4 and appendix; p_alive in its closed form as in their note on P(alive), 2008.

Here a customer is a (user, category), a purchase is an active step, and time is in steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import betaln, expit, gammaln

from shared.arrays import Bools, Doubles, Ints, as_declared, hold_declared
from shared.errors import InputError
from shared.features import History, last_active

#: Logarithms of the four parameters stay within this: data without repeats, or without leavers, have no finite optimum.
BOUND = 8.0


@dataclass(frozen=True)
class Purchases:
    """What BG/NBD knows of customers, three arrays of one shape; `x` is -1 where nothing was ever bought."""

    x: Doubles
    t_x: Doubles
    age: Doubles

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    @as_declared
    def of(cls, history: History, steps: Sequence[int] | Ints) -> Purchases:
        """Of every stream as of the close of each step: (..., S, C)."""
        at = np.asarray(steps, np.int64)
        bought = np.cumsum(history.active, axis=-1)[..., at]
        last = last_active(history.active)[..., at]
        first = np.where(bought > 0, history.active.argmax(axis=-1)[..., None], at)
        columns = bought - 1, np.where(bought > 0, last - first, 0), at - first
        return cls(*(np.moveaxis(column, -1, -2).astype(np.float64) for column in columns))


@dataclass(frozen=True)
class BgNbd:
    """Fitted parameters, all > 0."""

    r: float
    alpha: float
    a: float
    b: float

    @as_declared
    def log_likelihood(self, x: Doubles, t_x: Doubles, age: Doubles) -> Doubles:
        """Of each customer, in nats; arrays of one shape with 0 <= t_x <= age and x >= 0 (eq. 6 of the source)."""
        _expect_customers(x, t_x, age)
        return self._log_likelihood(x, t_x, age)

    def _log_likelihood(self, x: Doubles, t_x: Doubles, age: Doubles) -> Doubles:
        common = betaln(self.a, self.b + x) - betaln(self.a, self.b) + gammaln(self.r + x) - gammaln(self.r)
        common = common + self.r * np.log(self.alpha)
        alive = -(self.r + x) * np.log(self.alpha + age)
        out: Doubles = common + np.logaddexp(alive, self._left(x, t_x))
        return out

    def _left(self, x: Doubles, t_x: Doubles) -> Doubles:
        """Log of the part of the likelihood in which the last purchase was the final one; -inf without a repeat."""
        factor = np.log(self.a) - np.log(self.b + np.maximum(x, 1) - 1)
        out: Doubles = np.where(x > 0, factor - (self.r + x) * np.log(self.alpha + t_x), -np.inf)
        return out

    @as_declared
    def p_alive(self, x: Doubles, t_x: Doubles, age: Doubles) -> Doubles:
        """Chance that a customer has not left by `age`; 1 for one without a repeat purchase."""
        _expect_customers(x, t_x, age)
        alive = -(self.r + x) * np.log(self.alpha + age)
        out: Doubles = expit(alive - self._left(x, t_x))
        return out

    @as_declared
    def p_silent(self, x: Doubles, t_x: Doubles, age: Doubles, steps: float) -> Doubles:
        """Chance of no purchase in (age, age + steps]: gone, or alive and late (lambda is gamma given x and age)."""
        if not 0 <= steps < np.inf:
            raise InputError(f"expected steps >= 0, got {steps}")
        late = ((self.alpha + age) / (self.alpha + age + steps)) ** (self.r + x)
        out: Doubles = 1 - self.p_alive(x, t_x, age) * (1 - late)
        return out


def _expect_customers(x: Doubles, t_x: Doubles, age: Doubles) -> None:
    """InputError unless these are customers: arrays of one shape, finite, 0 <= t_x <= age, x >= 0."""
    if not x.shape == t_x.shape == age.shape:
        raise InputError(f"expected x, t_x and age of one shape, got {x.shape}, {t_x.shape} and {age.shape}")
    if not (np.isfinite(age).all() and ((x >= 0) & (x < np.inf) & (t_x >= 0) & (t_x <= age)).all()):
        raise InputError("expected finite customers with x >= 0 and 0 <= t_x <= age")


@as_declared
def fit(x: Doubles, t_x: Doubles, age: Doubles) -> BgNbd:
    """The most likely parameters for customers (n,), by L-BFGS-B on their logarithms; InputError without customers."""
    if not len(x):
        raise InputError("expected at least one customer, got 0")
    _expect_customers(x, t_x, age)
    kinds, times = np.unique(np.stack([x, t_x, age], axis=1), axis=0, return_counts=True)
    weight = times / times.sum()

    def loss(log_parameters: Doubles) -> float:
        return -float(weight @ BgNbd(*np.exp(log_parameters))._log_likelihood(*kinds.T))

    start = np.log([1.0, max(float(weight @ kinds[:, 2]) / 2, 1.0), 1.0, 4.0])
    found = minimize(
        loss, start, jac="3-point", method="L-BFGS-B", bounds=[(-BOUND, BOUND)] * 4, options={"ftol": 1e-13}
    )
    return BgNbd(*(float(value) for value in np.exp(found.x)))


@as_declared
def fit_history(history: History, step: int, chosen: Bools | None = None) -> BgNbd:
    """One model for the streams (K, C) that were active by the close of `step`, from steps up to it only; if `chosen`
    (K, C) is given, for those of them."""
    known = Purchases.of(history.until(step), [step])
    bought = (known.x >= 0) if chosen is None else (known.x >= 0) & chosen[..., None, :]
    return fit(known.x[bought], known.t_x[bought], known.age[bought])


def fit_categories(history: History, step: int) -> list[BgNbd | None]:
    """One model for each category of a history (K, C, T), from steps up to `step`; None where nobody was active in it by then."""
    alone = (history[:, category : category + 1] for category in range(history.n_categories))
    return [fit_history(one, step) if one.active[..., : step + 1].any() else None for one in alone]
