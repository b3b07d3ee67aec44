"""A report's picture of utility comes from a sweep in the run's folder, else from what is published for its data."""

import json

from simulations.evaluation.results import Utility, UtilityPoint
from simulations.federation.run_folder import RunFolder
from simulations.report.figures_json import read
from simulations.report.utility import UTILITY_EPSILONS, utility_of


def test_published_points_are_those_of_the_data_set(tmp_path):
    found = utility_of(RunFolder(tmp_path), "complete-journey")
    assert found.published and [point.epsilon for point in found.points] == [*UTILITY_EPSILONS, None]
    first = read()["utility.complete-journey.eps_0.25"]
    assert (found.points[0].auc_mean, found.points[0].auc_sd) == (first.value, first.spread)


def test_a_data_set_without_published_points_has_none(tmp_path):
    assert utility_of(RunFolder(tmp_path), "planted") is None


def test_a_sweep_in_the_run_s_folder_comes_first(tmp_path):
    row = {"epsilon_to_public": 1.5, "auc_mean": 0.7, "auc_sd": 0.01, "pooled_auc": 0.71, "rounds": 3}
    file = RunFolder(tmp_path).swept_file
    file.parent.mkdir()
    file.write_text(json.dumps({"over": {"epsilon": ["1.5"]}, "rows": [row]}))
    for data in ("planted", "complete-journey"):
        point = UtilityPoint(epsilon=1.5, auc_mean=0.7, auc_sd=0.01, pooled_auc=0.71, start_auc=None)
        assert utility_of(RunFolder(tmp_path), data) == Utility(points=[point], published=False)
    file.write_text(json.dumps({"over": {"epsilon": ["1.5"], "data.users": ["30"]}, "rows": [row]}))
    assert utility_of(RunFolder(tmp_path), "planted") is None, "its points differ in more than noise"
