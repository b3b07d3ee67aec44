"""What TensorBoard and MLflow are given, read back by their own readers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigError, InputError
from simulations.evaluation.results import Results
from simulations.report import tracking
from simulations.report.tracking import EXPERIMENT, log_run, points_of, trackers
from tests.world.run_results import with_everything


@pytest.fixture(scope="module")
def results() -> Results:
    return with_everything()


@pytest.fixture
def progress(tmp_path: Path) -> Path:
    file = tmp_path / "told.jsonl"
    lines = [
        {"phase": "offer", "done": 1, "total": 1},
        *({"phase": "rounds", "done": i, "total": 3, "epsilon": 0.2 * i} for i in (1, 2, 3)),
        {"phase": "risk_rounds", "done": 1, "total": 1, "epsilon": None},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"phase": "rou')
    return file


def events_of(folder: Path) -> list[Any]:
    """Every event of the files in a folder, by the format's own protobuf."""
    proto = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = []
    for file in sorted(folder.glob("events.out.tfevents.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            found.append(proto.Event.FromString(data[at + 12 : at + 12 + length]))
            at += 12 + length + 4
    return found


def test_curves_come_by_round_and_numbers_once(results: Results, progress: Path):
    points = points_of(progress, results)
    curve = [(p.at, p.value) for p in points if p.tag == "learning/auc"]
    assert curve == [(each.round, each.auc) for each in results.learning_curve if each.auc is not None] and curve
    spent = [(p.at, round(p.value, 9)) for p in points if p.tag == "privacy/epsilon_after_rounds"]
    assert spent == [(1, 0.2), (2, 0.4), (3, 0.6)]
    final = {p.tag: p.value for p in points}
    assert final["bytes/up_per_device"] == results.traffic.up_bytes_per_device
    assert final["interest/auc"] == results.interest.auc
    assert any(tag.startswith("lapse_auc/") for tag in final) and any(tag.startswith("interest_auc/") for tag in final)


def test_event_files_hold_every_number(results: Results, progress: Path, tmp_path: Path):
    folder = tmp_path / "events"
    log_run(progress, results, trackers([f"tensorboard={folder}"]))
    values = [
        (value.tag, event.step, pytest.approx(value.simple_value, rel=1e-6))
        for event in events_of(folder)
        for value in event.summary.value
        if value.HasField("simple_value")
    ]
    assert values == [tuple(point) for point in points_of(progress, results)]


def test_an_mlflow_run_holds_every_number(
    results: Results, progress: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    log_run(progress, results, trackers([f"mlflow={uri}"]))
    client = mlflow.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["devices"] == str(results.devices)
    for point in points_of(progress, results):
        history = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, point.tag)}
        assert history[point.at] == pytest.approx(point.value)


@pytest.mark.parametrize("word", ["tensorboard", "tensorboard=", "wandb=here", "=x", ""])
def test_what_is_no_tracker_is_refused_before_a_run(word: str):
    with pytest.raises(ConfigError, match="tensorboard=DIR or mlflow=URI"):
        trackers([word])


def test_a_file_in_the_way_and_a_package_that_is_not_there_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="expected a folder"):
        trackers([f"tensorboard={tmp_path / 'file'}"])
    monkeypatch.setitem(tracking.PACKAGES, "mlflow", "no_such_package")
    with pytest.raises(ConfigError, match=r"pip install 'ebbtide\[mlflow\]'"):
        trackers(["mlflow=anywhere"])


def test_a_tracker_that_takes_nothing_says_so_and_that_the_run_is_whole(
    results: Results, progress: Path, tmp_path: Path
):
    place = tmp_path / "later"
    (tracker,) = trackers([f"tensorboard={place}"])
    place.write_text("somebody was quicker")
    with pytest.raises(InputError, match="the run has ended and its report is there"):
        log_run(progress, results, [tracker])
