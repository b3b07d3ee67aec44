"""A run's curves and numbers for the trackers that people have: TensorBoard's event files, and MLflow.

What is written is in results.json and in the run's `server/progress.jsonl`, nothing else: no user, no alert, no event. Both writers are
optional installations. MLflow's own messages home stay off.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from shared.errors import ConfigError
from shared.files import whole_lines

from ..evaluation.results import Results

EXPERIMENT: Final = "ebbtide"
PACKAGES: Final = {"tensorboard": "tensorboardX", "mlflow": "mlflow"}


class Point(NamedTuple):
    """One number of a run under its tag, at a round or, of what there is once, at 0."""

    tag: str
    at: int
    value: float


@dataclass(frozen=True)
class Tracker:
    """Where the numbers of a run go: the folder of event files, or MLflow's tracking URI."""

    kind: Literal["tensorboard", "mlflow"]
    where: str


def trackers(words: Sequence[str]) -> list[Tracker]:
    """The places that these words name. ConfigError, before anything runs, if one is no tracker or is not installed."""
    found = []
    for word in words:
        kind, _, where = word.partition("=")
        if kind not in PACKAGES or not where:
            raise ConfigError(f"expected --log tensorboard=DIR or mlflow=URI, got {word!r}")
        tracker = Tracker("mlflow" if kind == "mlflow" else "tensorboard", where)
        _library(tracker)
        if kind == "tensorboard" and Path(where).exists() and not Path(where).is_dir():
            raise ConfigError(f"expected a folder for event files, got the file {where}")
        found.append(tracker)
    return found


def log_run(progress_file: Path, results: Results, places: Sequence[Tracker]) -> None:
    """Write a run's numbers to each of these places. ConfigError if one does not take them; the run itself is whole by then."""
    for place in places:
        write = _to_mlflow if place.kind == "mlflow" else _to_tensorboard
        try:
            write(place, results, points_of(progress_file, results))
        except Exception as error:  # another library's, of any kind
            raise ConfigError(
                f"the run has ended and its report is there, but {place.kind}={place.where} did not take its numbers: "
                f"{type(error).__name__}; ebbtide evaluate RUN --log writes them again"
            ) from None


def points_of(progress_file: Path, results: Results) -> list[Point]:
    """Curves by round, then the final numbers."""
    out = [Point("learning/auc", each.round, each.auc) for each in results.learning_curve if each.auc is not None]
    for line in whole_lines(progress_file):
        with suppress(ValueError, LookupError, TypeError):  # a killed writer leaves half a line
            entry = json.loads(line)
            if (epsilon := entry.get("epsilon")) is not None:
                out.append(Point(f"privacy/epsilon_after_{entry['phase']}", int(entry["done"]), float(epsilon)))
    privacy, traffic = results.privacy, results.traffic
    final: dict[str, float | None] = {
        "interest/auc": results.interest.auc,
        "interest/log_loss": results.interest.log_loss,
        "interest/calibration_error": results.interest.calibration_error,
        "privacy/epsilon_to_public": privacy.epsilon_to_public,
        "privacy/epsilon_to_server": privacy.epsilon_to_server,
        "privacy/delta": privacy.delta,
        "bytes/down_per_device": traffic.down_bytes_per_device,
        "bytes/up_per_device": traffic.up_bytes_per_device,
        "bytes/round_down": traffic.round_down_bytes,
        "bytes/round_up": traffic.round_up_bytes,
        "seconds/federation": results.seconds.federation,
        **{f"alerts/{way}_{name}": value for way in ("fall", "rise") for name, value in _judged(results, way).items()},
    }
    for table, rows in (("lapse", results.lapse), ("takeoff", results.rises)):
        final.update({f"{table}_auc/{_tag(row.name)}": row.auc for row in (rows.table if rows else ())})
    final.update({f"interest_auc/{_tag(row.name)}": row.auc for row in results.baselines})
    return out + [Point(tag, 0, value) for tag, value in final.items() if value is not None and math.isfinite(value)]


def _judged(results: Results, way: Literal["fall", "rise"]) -> Mapping[str, float | None]:
    found = results.alerts.of(way)
    return {
        name: getattr(found, name) for name in ("alerts", "precision", "recall", "median_delay_steps", "false_per_user")
    }


def _tag(name: str) -> str:
    """A row's name with letters that every tracker takes."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)


def _parameters(results: Results) -> dict[str, Any]:
    """What was asked for, flat."""
    plan = {
        key: value for key, value in results.plan.model_dump(mode="json").items() if key not in ("seed", "detection")
    }
    about = ("name", "data", "devices", "categories", "step", "fidelity", "commit")
    return {**{key: getattr(results, key) for key in about}, **plan}


def _to_tensorboard(place: Tracker, results: Results, points: Sequence[Point]) -> None:
    writer = _library(place).SummaryWriter(logdir=place.where)
    try:
        told = "\n".join(f"    {key}: {value}" for key, value in _parameters(results).items())
        writer.add_text("run", told, 0)
        for point in points:
            writer.add_scalar(point.tag, point.value, point.at)
    finally:
        writer.close()


def _to_mlflow(place: Tracker, results: Results, points: Sequence[Point]) -> None:
    mlflow = _library(place)
    client = mlflow.MlflowClient(tracking_uri=place.where)
    found = client.get_experiment_by_name(EXPERIMENT)
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
    run = client.create_run(experiment, run_name=results.name)
    for key, value in _parameters(results).items():
        client.log_param(run.info.run_id, key, value)
    for point in points:
        client.log_metric(run.info.run_id, point.tag, point.value, step=point.at)
    client.set_terminated(run.info.run_id)


def _library(place: Tracker) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        return importlib.import_module(PACKAGES[place.kind])
    except ImportError:
        raise ConfigError(f"--log {place.kind}= needs a package: pip install 'ebbtide[{place.kind}]'") from None
