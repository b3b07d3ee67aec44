"""What opened sums say: AUC against scikit-learn's, intervals that hold, bins, counts."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from server.insights.readings import WEIGHTS, auc_of, counts_of, reading_of
from shared.register.recipes import N_BINS
from tests.world.queries import counts, evaluation


def binned(random, n=3000, gain=2.0):
    """Bins and labels of rows that a score tells apart, and their weighted histogram."""
    bins = random.integers(0, N_BINS, n)
    y = random.random(n) < 1 / (1 + np.exp(-gain * (bins / N_BINS - 0.5) * 4))
    rows = np.zeros((2, N_BINS))
    np.add.at(rows, (y.astype(int), bins), 1.0)
    return bins, y, (rows * WEIGHTS).ravel()


def test_without_noise_it_is_the_auc_of_binned_scores():
    bins, y, values = binned(np.random.default_rng(1))
    told = auc_of(values, 0.0)
    assert told.estimate == pytest.approx(roc_auc_score(y, bins), abs=1e-12) and told.low == told.high == told.estimate


def test_the_interval_holds_the_auc_without_noise_in_95_of_100_sums():
    random = np.random.default_rng(2)
    _, _, values = binned(random)
    clear, sd, n = auc_of(values, 0.0).estimate, 10.0, 1000
    told = [auc_of(values + random.normal(0, sd, values.size), sd) for _ in range(n)]
    held = np.mean([one.low <= clear <= one.high for one in told])
    assert held == pytest.approx(0.95, abs=0.03)  # four standard errors
    assert np.mean([one.high - one.low for one in told]) < 0.1


def test_noise_that_outweighs_a_label_leaves_no_auc():
    _, _, values = binned(np.random.default_rng(3), n=20)
    assert auc_of(values, 1000.0) is None and auc_of(np.zeros(2 * N_BINS), 0.0) is None
    said = reading_of(evaluation(), values, 1000.0)
    assert said["auc"] is None and {one["share"] for one in said["bins"]} == {None}


def test_bins_are_calibrated_as_the_rows_are():
    bins, y, values = binned(np.random.default_rng(4))
    said = reading_of(evaluation(), values, 0.0)
    assert said["rows"] == pytest.approx(len(y)) and said["bins"][0]["from"] == 0.0 and said["bins"][-1]["to"] == 1.0
    for at, one in enumerate(said["bins"]):
        assert (one["rows"], one["share"]) == pytest.approx(((bins == at).sum(), y[bins == at].mean()))
        assert one["error"] == 0.0
    assert counts_of(values).sum() == pytest.approx(len(y))


def test_a_bin_s_error_is_that_of_its_share():
    random = np.random.default_rng(5)
    _, _, values = binned(random, n=40_000)
    sd = 20.0
    shares = [
        reading_of(evaluation(), values + random.normal(0, sd, values.size), sd)["bins"][9]["share"] for _ in range(400)
    ]
    assert reading_of(evaluation(), values, sd)["bins"][9]["error"] == pytest.approx(np.std(shares), rel=0.15)


def test_counts_are_told_by_category_direction_and_level():
    table = np.arange(24.0).reshape(4, 2, 3)
    said = reading_of(counts(), table.ravel(), 3.0)
    assert said["counts"] == table.tolist() and said["by_direction_and_level"] == table.sum(axis=0).tolist()
    assert (said["error"], said["error_over_categories"]) == (3.0, 6.0)
