"""What p would be without Ebbtide: models that see everybody's rows in one place, rules, and each device on its own.

All are fitted on the train rows of the same protocol and judged on the same test rows. Settings were fixed once, for
both real data sets, and where test weeks were looked at it was in favour of the baseline. Pooled models learn from at
most SAMPLE rows, trees from fewer, drawn by the seed: on all rows of complete-journey or online-retail-ii linear and
boosted models gain less than .001 of AUC, and the network, which then trains for longer, loses in later weeks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container
from functools import partial
from typing import Any, Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from shared.arrays import Bools, Floats, as_declared
from shared.network import NetworkSpec, forward, sigmoid
from shared.plan import Plan

from ..people.labelled_rows import Rows
from ..people.teaching import pretrain
from ..scenarios.config import WarmStartSection

SAMPLE: Final = 300_000
BOOSTED_SAMPLE: Final = 150_000
FOREST_SAMPLE: Final = 60_000

#: Kinds of a row in the table.
OURS: Final = "ours"
POOLED: Final = "pooled, sees all data"
RULE: Final = "rule"
ALONE: Final = "own data only"
BARE: Final = "own data, a bare sum"

EBBTIDE: Final = "Ebbtide, on the devices"
NO_NOISE: Final = "federated, no noise"
POOLED_LR: Final = "pooled logistic regression"
POOLED_DNN: Final = "pooled DNN"
POOLED_NUMPY: Final = "pooled DNN, numpy"
FOREST: Final = "pooled random forest"
BOOSTED: Final = "pooled boosted trees"
RECENCY_FREQUENCY: Final = "recency + frequency (pooled LR)"
BY_ITSELF: Final = "each device on its own"

#: Seeds of the pooled network whose p are averaged, batches that each sees, rows in one, and passes over few rows.
DNN_SEEDS: Final = 1
DNN_BATCHES: Final = 1500
DNN_BATCH_ROWS: Final = 1024
DNN_MOST_PASSES: Final = 40

#: Models that a gap is measured to: the best of them.
GAP_BASELINES: Final = (POOLED_LR, POOLED_DNN, POOLED_NUMPY)

#: Ridge of a device on its own, per summed log loss; Newton steps; cells of a batch of devices.
OWN_L2: Final = 200.0
OWN_STEPS: Final = 6
OWN_CELLS: Final = 4_000_000


def pooled_baselines(train: Rows, test: Rows, plan: Plan, seed: int) -> dict[str, Floats]:
    """p (n,) of every baseline on the test rows, by name; the same for the same arguments.

    The pooled networks are that of the plan: in scikit-learn (Adam, L2, a fixed number of batches; mean p of DNN_SEEDS
    networks), and in the numpy that hosts train with.
    Not early stopping on held-out rows: those come from the same weeks as the others, and on online-retail-ii it
    trained on until the AUC of later weeks had fallen from .777 to .65.
    """
    return {**rules(train, test, plan), **models(train, test, plan, seed)}


def rules(train: Rows, test: Rows, plan: Plan) -> dict[str, Floats]:
    """p of the simple rules: a logistic regression on one or two counters only turns their order into a p."""
    columns = {
        "recency": ["recency"],
        "frequency": [f"active_{plan.features.window_steps}"],
        RECENCY_FREQUENCY: ["recency", f"active_{plan.features.window_steps}"],
    }
    out = {}
    for name, features in columns.items():
        simple = [plan.features.names.index(feature) for feature in features]
        out[name] = _fitted(LogisticRegression(), train.x[:, simple], train.y)(test.x[:, simple])
    return out


#: What a model that was fitted says of rows: p (n,).
Predict = Callable[[Rows], Floats]


def gap_baselines(train: Rows, test: Rows, plan: Plan, seed: int) -> dict[str, Floats]:
    """p of GAP_BASELINES, the pooled models that a gap is measured to."""
    return models(train, test, plan, seed, every=False)


class NumpyNetwork:
    """The very network that devices run, full size and in one place, as scikit-learn's models are used: trained on as
    many batches as the other pooled network, with the rate, decay and L2 that a planted start is trained with."""

    def __init__(self, network: NetworkSpec, seed: int) -> None:
        self._network, self._seed = network, seed

    @as_declared
    def fit(self, x: Floats, y: Bools) -> NumpyNetwork:
        nobody = np.zeros(len(y), np.int64)
        settings = WarmStartSection(seed=self._seed, epochs=_passes(len(y)))
        self._theta = pretrain(self._network, Rows(x, y, nobody, nobody, nobody), settings)
        return self

    @as_declared
    def predict_proba(self, x: Floats) -> Floats:
        p = forward(self._network, self._theta, x)
        return np.stack([1 - p, p], axis=1)


def _sample(train: Rows, seed: int) -> tuple[Floats, Bools]:
    """The rows that pooled models learn from, in the order in which they take them."""
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(train.y))
    return train.x[order[:SAMPLE]], train.y[order[:SAMPLE]]


def models(train: Rows, test: Rows, plan: Plan, seed: int, *, every: bool = True) -> dict[str, Floats]:
    """p of the models that see all data, and of every device on its own; of GAP_BASELINES only, the fastest, unless `every`."""
    return {name: predict(test) for name, predict in fitted_models(train, plan, seed, every=every).items()}


def fitted_models(
    train: Rows, plan: Plan, seed: int, *, every: bool = True, without: Container[str] = ()
) -> dict[str, Predict]:
    """The same models, fitted once, for any rows that are to be judged; those in `without` are not fitted."""
    x, y = _sample(train, seed)
    some, few = slice(BOOSTED_SAMPLE), slice(FOREST_SAMPLE)

    def network() -> Callable[[Floats], Floats]:
        parts = [_fitted(_network(plan, seed + i, len(y)), x, y) for i in range(DNN_SEEDS)]
        return lambda other: np.asarray(np.mean([predict(other) for predict in parts], axis=0, dtype=np.float32))

    def boosted() -> Callable[[Floats], Floats]:
        trees = HistGradientBoostingClassifier(
            learning_rate=0.06, max_iter=100, max_leaf_nodes=15, min_samples_leaf=100, early_stopping=False
        )
        return _fitted(trees, x[some], y[some])

    def forest() -> Callable[[Floats], Floats]:
        trees = RandomForestClassifier(60, min_samples_leaf=30, random_state=seed, n_jobs=1)
        return _fitted(trees, x[few], y[few])

    made = {
        POOLED_LR: lambda: _fitted(LogisticRegression(max_iter=200), x, y),
        POOLED_DNN: network,
        POOLED_NUMPY: lambda: _fitted(NumpyNetwork(plan.network, seed), x, y),
        **({BOOSTED: boosted, FOREST: forest} if every else {}),
    }
    with threadpool_limits(1):  # on a busy machine, threads that wait for each other cost ten times the work
        out = {name: _of_features(fit()) for name, fit in made.items() if name not in without}
    return {**out, BY_ITSELF: partial(each_on_its_own, train)} if every and BY_ITSELF not in without else out


def _of_features(predict: Callable[[Floats], Floats]) -> Predict:
    def of_rows(rows: Rows) -> Floats:
        with threadpool_limits(1):
            return predict(rows.x)

    return of_rows


def _network(plan: Plan, seed: int, n_rows: int) -> MLPClassifier:
    """The plan's network for scikit-learn, which says in passes over the rows how long to train."""
    return MLPClassifier(
        plan.network.hidden,
        alpha=1e-3,
        batch_size=max(1, min(DNN_BATCH_ROWS, n_rows)),
        learning_rate_init=5e-4,
        max_iter=_passes(n_rows),
        tol=0,
        n_iter_no_change=DNN_MOST_PASSES,
        random_state=seed,
    )


def _passes(n_rows: int) -> int:
    """Passes over the rows that make DNN_BATCHES batches."""
    passes = round(DNN_BATCHES * min(DNN_BATCH_ROWS, n_rows) / max(n_rows, 1))
    return min(max(passes, 1), DNN_MOST_PASSES)


def _fitted(model: Any, x: Floats, y: Bools) -> Callable[[Floats], Floats]:
    """What a scikit-learn model fitted to x and y says of other rows: p (n,); the base rate where there is nothing to tell apart,
    .5 without rows."""
    if not y.any() or y.all():
        return lambda other: np.full(len(other), y.mean() if len(y) else 0.5, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)

    def predict(other: Floats) -> Floats:
        p = model.predict_proba(other)[:, 1] if len(other) else np.empty(0)
        return np.asarray(p, dtype=np.float32)

    return predict


def each_on_its_own(train: Rows, test: Rows) -> Floats:
    """p on the test rows if every device fits a logistic regression to its own train rows and asks nobody.

    Around the user's own base rate, (positives + 1) / (rows + 2), weights are held near 0 by a strong ridge: without it
    a device has too few rows for 27 features. A user with one kind of outcome stays near the base rate, one without
    train rows gets .5.
    """
    n_users = int(max(train.user.max(initial=-1), test.user.max(initial=-1))) + 1
    order = np.argsort(train.user, kind="stable")
    rows = np.bincount(train.user, minlength=n_users)
    first = np.cumsum(rows) - rows
    positive = np.bincount(train.user, weights=train.y, minlength=n_users)
    base = np.log((positive + 1) / (rows - positive + 1)).astype(np.float32)
    centre = np.zeros((n_users, train.x.shape[1]), np.float32)
    weight = np.zeros((n_users, train.x.shape[1]), np.float32)
    waiting = np.argsort(rows, kind="stable")
    waiting = waiting[rows[waiting] > 0]
    while waiting.size:
        most = max(1, OWN_CELLS // int(rows[waiting[-1]] * train.x.shape[1]))
        users, waiting = waiting[-most:], waiting[:-most]
        at = np.arange(rows[users].max())
        there = at < rows[users][:, None]
        mine = order[first[users][:, None] + np.minimum(at, rows[users][:, None] - 1)]
        x = train.x[mine]
        centre[users] = (x * there[..., None]).sum(axis=1) / rows[users][:, None]
        x = (x - centre[users][:, None]) * there[..., None]
        weight[users] = _ridge(x, train.y[mine].astype(np.float32), base[users], there)
    logit = np.einsum("nf,nf->n", test.x - centre[test.user], weight[test.user]) + base[test.user]
    return sigmoid(logit.astype(np.float32))


def _ridge(x: Floats, y: Floats, base: Floats, there: Bools) -> Floats:
    """Weights (K, F) of K logistic regressions with offset `base` (K,) on rows x (K, n, F) that are `there` (K, n)."""
    weight = np.zeros((len(x), x.shape[2]), np.float32)
    ridge = np.float32(OWN_L2) * np.eye(x.shape[2], dtype=np.float32)
    for _ in range(OWN_STEPS):
        p = sigmoid((x @ weight[..., None])[..., 0] + base[:, None])
        slope = (((p - y) * there)[:, None, :] @ x)[:, 0] + np.float32(OWN_L2) * weight
        bend = np.swapaxes(x * (p * (1 - p) * there)[..., None], 1, 2) @ x + ridge
        weight -= np.linalg.solve(bend, slope[..., None])[..., 0]
    return weight


#: What kind each row of the table is; one that comes from elsewhere and is not here counts as pooled.
KINDS: Final[dict[str, str]] = {
    EBBTIDE: OURS,
    NO_NOISE: BARE,
    "recency": RULE,
    "frequency": RULE,
    RECENCY_FREQUENCY: RULE,
    POOLED_LR: POOLED,
    POOLED_DNN: POOLED,
    POOLED_NUMPY: POOLED,
    BOOSTED: POOLED,
    FOREST: POOLED,
    BY_ITSELF: ALONE,
}
