"""The bench runs, says what it measured, and its baselines do the work they claim."""

import io
import json

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from client.detection.watch import MARKS
from client.model.runtime import Model, pinned_model
from client.model.scorer import Scorer
from simulations.attacks.hostile_behaviour import World
from simulations.bench import federation
from simulations.bench.__main__ import _ratio_to_per_client, app
from simulations.bench.bare_loop import BareLoop
from simulations.bench.baselines import ratio
from simulations.bench.detectors import detector_numbers
from simulations.bench.explain import explained, first_alerts
from simulations.bench.federation import BENCH_PROTOCOL, bench_scenario, training_seconds
from simulations.bench.life import CASES, compared, life_numbers
from simulations.bench.measurements import Measurement, table_of, write_results
from simulations.bench.sums import sum_numbers
from simulations.bench.training_step import CASES as STEP_CASES
from simulations.bench.training_step import training_step_numbers
from simulations.bench.warning import warning_numbers
from simulations.federation.host_folder import HostFolder
from simulations.federation.host_training import sum_of_updates
from simulations.federation.hosted.training_rows import TrainingRows
from simulations.federation.run_folder import RESULTS_FILE
from simulations.life.compiled import IS_COMPILED
from simulations.people.labelled_rows import history_of
from simulations.people.planted import plant
from simulations.people.setup import Setup
from simulations.scenarios.config import load_scenario
from tests.world.basics import SOAK

runner = CliRunner()


def host_folder(folder, n_devices):
    """A host's rows and plan, as `Host.install` leaves them."""
    people = plant(n_devices, BENCH_PROTOCOL.n_steps, seed=1)
    plan = Setup.of(bench_scenario(n_devices, 1), people).plan
    TrainingRows.write(folder, history_of(people).until(BENCH_PROTOCOL.train_at), plan)
    HostFolder(folder).plan_file.write_bytes(plan.canonical)
    return plan


def test_the_bench_s_devices_have_about_64_rows_and_all_take_part(tmp_path):
    plan = host_folder(tmp_path, 300)
    rows = np.diff(TrainingRows.load(tmp_path).offsets)
    assert 64 <= rows.mean() <= 96
    assert plan.privacy.sampling_rate == 1 and plan.training.rows == 64 and plan.privacy.share_sigma >= 2


def test_the_bare_loop_answers_each_round_and_leaves_nothing_running(tmp_path):
    folders = [tmp_path / str(i) for i in range(2)]
    for folder in folders:
        folder.mkdir()
        host_folder(folder, 20)
    with BareLoop(folders) as loop:
        assert all(loop.seconds(r) > 0 for r in (1, 2))
        workers = list(loop._workers)
    assert all(worker.poll() is not None for worker in workers)


def test_many_hosted_devices_draw_what_each_alone_would(tmp_path):
    """The host's one moving Philox gives every device its own stream: devices together are devices alone."""
    plan = host_folder(tmp_path, 30)
    rows, theta, everybody = TrainingRows.load(tmp_path), plan.network.initial_theta(0), np.arange(30)
    # `bytes` as entropy gives every device the same noise, so it cancels.
    together = sum_of_updates(rows, everybody, everybody + 7, plan, theta, 3, bytes)
    alone = [
        sum_of_updates(rows, everybody[i : i + 1], everybody[i : i + 1] + 7, plan, theta, 3, bytes) for i in everybody
    ]
    apart = (together - np.sum(alone, axis=0, dtype=np.uint32)).view(np.int32)
    assert np.abs(apart).max() <= 30, "rounding of the grid, a step a device"


def test_a_figure_says_its_median_spread_and_whether_the_target_is_met():
    figure = Measurement.of("k", "what", [3.0, 1.0, 2.0], "s", at_most=2.5)
    assert (figure.value, figure.met, figure.to_map()["spread"]) == (2.0, True, [1.0, 3.0])
    assert Measurement.of("k", "what", [3.0], "x", at_least=10.0).met is False
    assert Measurement.of("k", "what", [3.0], "x").met is None
    assert Measurement("k", "what", (), "", skipped="absent", at_least=1.0).met is None


def test_a_ratio_of_medians_with_the_worst_and_the_best():
    assert ratio([20.0, 10.0, 40.0], [2.0, 1.0, 4.0]) == [10.0, 2.5, 40.0]


def test_the_ratio_to_flower_s_own_simulation_needs_both():
    ours = Measurement.of("hosts.devices_per_s", "ours", [8000.0, 10_000.0, 9000.0], "devices/s")
    theirs = Measurement.of("per_client.devices_per_s", "theirs", [90.0], "devices/s")
    (found,) = _ratio_to_per_client({figure.key: figure for figure in (ours, theirs)})
    assert found.key == "hosts.ratio_to_per_client" and found.value == 100.0
    assert found.beside == "Flower's simulation, a node per device, 90 devices/s"
    assert _ratio_to_per_client({ours.key: ours}) == _ratio_to_per_client({theirs.key: theirs}) == []


@pytest.mark.parametrize(("name", "rounds"), [("complete-journey", 60), ("online-retail-ii", 60)])
def test_the_training_that_is_timed_is_the_shipped_one_at_60_rounds(name, rounds, tmp_path, monkeypatch):
    """Only its rounds, its cap on epsilon and the number of hosts differ from the scenario that docs/results.md quotes."""
    timed = []

    def no_run(scenario, folder, on_progress, *, serverapp):
        timed.append(scenario)
        (folder / "times.json").write_text(json.dumps({"round_s": [1.0, 2.5]}))

    monkeypatch.setattr(federation, "run_hosts", no_run)
    assert training_seconds(name, "", 60, tmp_path, lambda *_: None) == 3.5
    (scenario,), shipped = timed, load_scenario(f"{name}-eps7")
    assert scenario.privacy.rounds == rounds and scenario.privacy.sampling_rate == 1
    assert scenario.warm_start.users == 3000 and scenario.data.users == 0 and scenario.risk == shipped.risk
    free = {"rounds", "max_epsilon"}
    assert scenario.privacy.model_dump(exclude=free) == shipped.privacy.model_dump(exclude=free)
    assert scenario.training == shipped.training and scenario.server == shipped.server


def test_the_table_shows_what_was_skipped_and_results_hold_no_path(tmp_path):
    figures = [Measurement.of("a", "first", [1.0], "s"), Measurement("b", "second", (), "", skipped="not here")]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table_of(figures))
    assert "not here" in console.export_text()
    write_results(figures, {"cores": 1}, tmp_path / "sub" / RESULTS_FILE)
    text = (tmp_path / "sub" / RESULTS_FILE).read_text()
    assert str(tmp_path) not in text and json.loads(text)["figures"]["b"]["skipped"] == "not here"
    assert json.loads(text)["commit"]


@pytest.mark.parametrize(
    "parts",
    [
        ["device"],
        ["detectors"],
        ["vault"],
        ["explain"],
        ["training-step"],
        *([["throughput", "memory", "per-client"], ["flower", "demo"]] if SOAK else []),
    ],
)
def test_quick_bench_prints_a_table_and_writes_results(tmp_path, parts):
    arguments = [word for part in parts for word in ("--only", part)]
    done = runner.invoke(app, ["--quick", *arguments, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / RESULTS_FILE).read_text())["figures"]
    assert len(figures) >= len(parts) and all("value" in f or "skipped" in f for f in figures.values())


def test_whole_watches_are_counted_and_hold_the_detector_s_memory():
    found = {f.key: f.value for f in detector_numbers(1)}
    assert found["detector.state_bytes"] == 68 and found["detector.risk.state_bytes"] == 4
    for name in ("", "rate.", "level.", "own_level.", "risk."):
        state, hosted, lone = (found[f"detector.{name}{what}_bytes"] for what in ("state", "hosted", "watch"))
        assert state <= 100 and hosted >= state + 8 and lone >= hosted + MARKS * state
    assert found["detector.watch_bytes"] <= 300 and found["detector.risk.watch_bytes"] <= 32


def test_lives_are_compared_step_by_step_both_ways():
    """Loops that are not compiled are slow, but right."""
    world, keys = World.make(1, 0), set()
    for case in CASES:
        figures = compared(world, case, 20, 1, 6)
        apart = [figure for figure in figures if "_apart" in figure.key]
        assert len(apart) == 3 and all(figure.met for figure in apart)
        assert not apart[0].what.endswith("of 0"), "there are alerts"
        keys |= {figure.key for figure in figures}
    assert {"life.device_steps_ratio", "life.device_steps_ratio_30", "life.p_apart_heads_30"} < keys and len(keys) == 24


def test_lives_are_not_measured_without_numba():
    assert IS_COMPILED or all("numba" in figure.skipped for figure in life_numbers(1, 1))


def test_the_training_step_is_compared_both_ways_in_the_same_run(tmp_path):
    figures = {figure.key: figure for figure in training_step_numbers(70, 1, tmp_path)}
    if not IS_COMPILED:
        assert "numba" in figures["hosts.ratio_to_arrays"].skipped
        return
    names = ("loops_per_s", "arrays_per_s", "ratio_to_arrays", "loops_apart")
    assert set(figures) == {f"hosts.{name}{end}" for name in names for end in STEP_CASES}
    assert all(figures[f"hosts.loops_apart{end}"].met for end in STEP_CASES)
    assert "devices/s of one core" in figures["hosts.ratio_to_arrays"].beside


def test_explanations_are_of_alerts_that_devices_raise():
    world = World.make(12, 0)
    scorer = Scorer(Model(pinned_model()), world.theta)
    alerts = list(first_alerts(world, scorer))
    assert 1 <= len(alerts) <= 12
    for alert in alerts:
        assert alert.watch.last_step[0] == alert.step == alert.history.n_steps - 1
        assert alert.watch.quiet_until[alert.direction, alert.category] > alert.step, "it has just spoken"
    told = [explained(world, scorer, alert) for alert in alerts]
    assert any(told.counterfactual for told in told), "some are replayed to an end"


def test_help_teaches():
    text = runner.invoke(app, ["--help"]).output
    words = (
        "detectors",
        "vault",
        "explain",
        "life",
        "training-step",
        "throughput",
        "per-client",
        "memory",
        "training",
        "UCI 502",
        "Start-up is never counted",
    )
    for word in words:
        assert word in " ".join(text.replace("│", " ").split())


def test_a_sum_is_measured_on_the_device_on_the_worst_seat_and_beside_flower():
    figures = {figure.key: figure for figure in sum_numbers(1, 20)}
    assert figures["sum.bytes_up_helpers"].met and figures["sum.bytes_up_seats"].met, (
        "bytes do not depend on the machine"
    )
    of_seat = figures["sum.seat_kb_down_n500"].value * 1e3
    assert of_seat > 2 * 20 * (196 + 153), (
        "two lists, whose entries have 196 bytes, each with a box of more than its share"
    )
    assert {"sum.cpu_ratio_to_flower", "sum.seat_s_n500", "sum.device_ms"} < set(figures)
    assert all(value > 0 for figure in figures.values() for value in figure.values)


def test_a_warning_is_timed_under_heads_and_without_on_devices_that_close_every_step():
    figures = {figure.key: figure for figure in warning_numbers(1)}
    assert set(figures) == {f"alert.{name}" for name in ("ms", "version_1_ms", "ratio", "kb_per_category", "kb_ratio")}
    assert figures["alert.kb_ratio"].met, "bytes do not depend on the machine"
    assert figures["alert.ms"].value > 0.5, "features, chances, detector and a row on disk take that at least"
