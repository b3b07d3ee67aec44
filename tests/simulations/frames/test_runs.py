"""A run in Python: what it says as data frames, with rules of one's own, and what its progress file holds."""

from __future__ import annotations

import html
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ebbtide
from shared.errors import ConfigError, InputError
from simulations.cli import main as cli
from simulations.evaluation import results_file
from simulations.federation.run_folder import RunFolder
from simulations.report.answer_words import answer_in_words
from simulations.report.summary import short_rows
from tests.world.frames import COLUMNS, shop

ROOT = Path(__file__).parents[3]
SMALL = {
    "privacy.rounds": 2,
    "privacy.noise_multiplier": 1.0,
    "privacy.max_epsilon": 1000.0,
    "risk.rounds": 1,
    "risk.noise_multiplier": 1.0,
    "bits.every_steps": 0,
    "evaluation.every_steps": 0,
    "counts.every_steps": 0,
    "caps.table": "none",
    "simulation.fidelity": "hosts",
}
RULES = """
import numpy as np

def silence(history):
    steps = history.active.shape[-1]
    return steps - 1 - np.where(history.active, np.arange(steps), -1).max(axis=-1)

def broken(history):
    if history.active.shape[0] > 8:
        raise KeyError("user 4711")
    return silence(history)
"""


def share(history: Any) -> Any:
    """Active days of the last four weeks."""
    return history.active[..., -28:].mean(axis=-1)


def make_run(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    run = ebbtide.simulate(
        ebbtide.planted(60),
        folder=folder / "run",
        set=SMALL,
        rivals={
            "share": ebbtide.rival(share, of="interest"),
            "same every day": lambda past: np.ones(past.active.shape[:2]),
        },
        progress=lambda phase, done, total: told.append((phase, done, total)),
    )
    (folder / "told.json").write_text(json.dumps([told, run.folder.name]))


@pytest.fixture(scope="module")
def folder(made_once: Any) -> Path:
    return Path(made_once("library-run", make_run))


@pytest.fixture(scope="module")
def run(folder: Path) -> ebbtide.Run:
    return ebbtide.load(folder / "run")


@pytest.mark.slow
class TestRun:
    def test_warnings_are_those_that_the_report_counts(self, run: ebbtide.Run) -> None:
        warnings = run.warnings
        assert list(warnings) == ["user", "category", "time", "step", "direction", "level", "began", "right"]
        found, first = run.results.alerts, run.results.alerts.first_step
        inside = warnings[(warnings["step"] >= first) & (warnings["step"] < first + found.steps)]
        for way, quality in (("fall", found.fall), ("rise", found.rise)):
            mine = inside[inside["direction"] == way]
            assert len(mine) == quality.alerts and mine["right"].notna().all()
            assert quality.precision is None or mine["right"].mean() == pytest.approx(quality.precision)
        assert len(inside) and warnings["user"].between(0, 59).all() and warnings["time"].isna().all()

    def test_curve_and_rivals_are_those_of_the_results(self, run: ebbtide.Run) -> None:
        assert run.learning_curve["auc"].tolist() == [each.auc for each in run.results.learning_curve]
        table = run.rivals
        assert set(table["question"]) == {"interest", "lapse", "take-off"}
        yours = table[table["kind"] == "yours"]
        where = {(row.question, row.name) for row in yours.itertuples()}
        assert where == {
            ("interest", "yours: share"),
            ("interest", "yours: same every day"),
            *(
                (question, f"yours: {name}")
                for question in ("lapse", "take-off")
                for name in ("share", "same every day")
            ),
        } - {("interest", "yours: same every day")}  # one of leaving is no probability of coming back
        assert yours[["auc", "low", "high", "ahead", "ahead_low", "ahead_high"]].notna().all(axis=None)
        same = yours[yours["name"] == "yours: same every day"]
        assert (same["auc"] == 0.5).all()
        shares = yours[(yours["name"] == "yours: share") & (yours["question"] != "interest")]
        assert (shares["auc"] > 0.5).all(), "turned the right way round for both"

    def test_a_notebook_shows_it_and_the_report_is_there(self, run: ebbtide.Run) -> None:
        shown, said = run._repr_html_(), answer_in_words(run.results)
        assert "SIMULATED" in shown and "demo" in shown and str(run.report) in shown and run.report.exists()
        assert html.escape(said.verdict) in shown and said.verdict in run.answer and said.limits in run.answer
        assert ("<svg" in shown) == bool(run.results.answer.ours.contacts)
        assert all(html.escape(value) in shown for _, value in short_rows(run.results))
        assert repr(run) == f"Run({str(run.folder)!r})" and run.summary
        assert "yours: share" in run.report.read_text(encoding="utf-8")

    def test_a_decision_is_the_command_s(
        self, run: ebbtide.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        decided, file = run.decide(offer_cost=1, saved_value=50, save_share=0.2), tmp_path / "mine.toml"
        wish = ["--offer-cost", "1", "--saved-value", "50", "--save-share", "0.2"]
        cli.main(["decide", str(run.folder), *wish, "--overwrite", "--out", str(file)])
        said = " ".join(capsys.readouterr().out.split())
        assert " ".join(decided.paragraph.split()) in said
        chosen = tomllib.loads(file.read_text())["detection"]
        assert decided.settings == {f"detection.{key}": chosen[key] for key in ("detector", "risk_line")}
        assert set(chosen) >= {"detector", "risk_line"}
        worth = decided.worth
        assert len(worth) == 4 and worth["name"].iloc[0] == "Ebbtide"
        for count in ("contacts", "right", "wrong", "missed", "money"):
            expected, low, high = (worth[f"{count}{end}"] for end in ("", "_low", "_high"))
            assert (low <= expected).all() and (expected <= high).all() and worth[f"{count}_came"].notna().all()
        assert (worth["contacts_came"] - worth["right_came"] - worth["wrong_came"]).abs().max() < 1e-9
        shown = decided._repr_html_()
        assert html.escape(decided.paragraph) in shown and "Risk is not effect" in shown
        fewer = run.decide(contacts_per_week=20)
        assert "money" not in fewer.worth and "Risk is not effect" not in fewer._repr_html_()

    def test_a_decision_that_nothing_is_asked_of_is_refused(self, run: ebbtide.Run) -> None:
        with pytest.raises(ConfigError, match="got neither"):
            run.decide()

    def test_progress_lines_are_as_their_page_says(self, run: ebbtide.Run, folder: Path) -> None:
        page = (ROOT / "docs" / "progress.md").read_text(encoding="utf-8")
        phases = re.findall(r"^\| `(\w+)` \| (?!text|whole|number)", page, re.M)
        lines = [json.loads(line) for line in RunFolder(run.folder).server.progress_file.read_text().splitlines()]
        assert list(dict.fromkeys(line["phase"] for line in lines)) == phases
        for line in lines:
            learned = line["phase"] in ("rounds", "risk_rounds")
            assert set(line) == {"phase", "done", "total"} | ({"epsilon"} if learned else set())
            assert isinstance(line["done"], int) and isinstance(line["total"], int) and line["total"] >= 1
            assert not learned or line["epsilon"] is None or line["epsilon"] > 0
        assert [line["done"] for line in lines if line["phase"] == "rounds"] == [1, 2]
        told, _ = json.loads((folder / "told.json").read_text())
        own = [each for each in told if each[0] not in ("people", "warm_start", "results")]
        assert own == [[line["phase"], line["done"], line["total"]] for line in lines]

    def test_another_rule_is_put_beside_it_from_the_command_line(
        self, run: ebbtide.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rules, events = tmp_path / "rules.py", tmp_path / "events"
        rules.write_text(RULES)
        kept = RunFolder(run.folder).rivals_file.read_bytes()
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main(["evaluate", str(run.folder), "--rival", f"{rules}:broken"])
            said = capsys.readouterr().err
            assert (
                ended.value.code == 2 and "'broken' ended with KeyError at rules.py:10" in said and "4711" not in said
            )
            assert RunFolder(run.folder).rivals_file.read_bytes() == kept
            arguments = ["--rival", f"days of silence={rules}:silence", "--log", f"tensorboard={events}"]
            cli.main(["evaluate", str(run.folder), *arguments])
            results = results_file.read(RunFolder(run.folder).results_file)
            assert results.lapse is not None
            names = [row.name for row in results.lapse.table if row.kind == "yours"]
            assert names == ["yours: days of silence"] and list(events.glob("events.out.tfevents.*"))
        finally:
            RunFolder(run.folder).rivals_file.write_bytes(kept)
            cli.main(["evaluate", str(run.folder)])


OWN = {**SMALL, "warm_start.users": 50}


class Stop(Exception):
    pass


def stop_before_training(phase: str, done: int, total: int) -> None:
    if phase == "warm_start":
        raise Stop


def scored(df: Any) -> Any:
    """A shop's log with a score on every row: how far into the log it lies, and its negative."""
    age = (df["when"] - df["when"].min()).dt.total_seconds()
    return df.assign(late=age, early=-age)


def test_a_run_of_a_frame_is_gone_on_with_by_the_same_people_only(tmp_path: Path) -> None:
    people, folder = ebbtide.people(shop(40), **COLUMNS), tmp_path / "run"
    with pytest.raises(Stop):
        ebbtide.simulate(people, folder=folder, set=OWN, progress=stop_before_training)
    others = ebbtide.people(shop(40, seed=8), **COLUMNS)
    assert RunFolder(folder).begun and others.scenario == people.scenario
    with pytest.raises(ConfigError, match="expected the people that .* began with, got others"):
        ebbtide.simulate(others, folder=folder, set=OWN, resume=True, progress=stop_before_training)
    with pytest.raises(ConfigError, match="expected the scenario that .* began with"):
        ebbtide.simulate(people, folder=folder, set={**OWN, "privacy.rounds": 3}, resume=True)
    with pytest.raises(Stop):
        ebbtide.simulate(people, folder=folder, set=OWN, resume=True, progress=stop_before_training)
    assert RunFolder(folder).begun
    with pytest.raises(ConfigError, match="can be gone on with"):
        ebbtide.simulate(people, folder=folder, set=OWN, progress=stop_before_training)


def test_a_run_of_a_frame_is_not_gone_on_with_as_one_of_another_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, given = tmp_path / "run", [part for key, value in OWN.items() for part in ("--set", f"{key}={value}")]
    with pytest.raises(Stop):
        people = ebbtide.people(shop(40), **COLUMNS)
        ebbtide.simulate(people, folder=folder, set=OWN, progress=stop_before_training)
    with pytest.raises(SystemExit) as ended:
        cli.main(["simulate", "--data", "other.csv", "--out", str(folder), "--resume", *given])
    said = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 2 and "expected an interrupted run of other.csv to go on with" in said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_columns_of_scores_go_all_the_way_to_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a frame whose run was cut off and is gone on with from the command line, and of a file."""
    df, names = scored(shop(60)), {"leaving late": "late", "our model": "early"}
    people = ebbtide.people(df, **COLUMNS, scores=names)
    frame = tmp_path / "frame"
    with pytest.raises(Stop):
        ebbtide.simulate(people, folder=frame, set=OWN, progress=stop_before_training)
    given = [part for key, value in OWN.items() for part in ("--set", f"{key}={value}")]
    cli.main(["simulate", "--data", "dataframe.parquet", "--out", str(frame), "--resume", *given])
    file = tmp_path / "shop.parquet"
    df.to_parquet(file)
    columns = {**COLUMNS, "scores": names}
    keys = [f"data.file.{key}={json.dumps(value)}" for key, value in columns.items() if key != "scores"]
    keys += [f"data.file.scores.{name}={json.dumps(column)}" for name, column in names.items()]
    settings = [part for key in keys for part in ("--set", key)]
    cli.main(["simulate", "--data", str(file), "--out", str(tmp_path / "file"), *settings, *given])
    capsys.readouterr()
    for folder in (frame, tmp_path / "file"):
        table = ebbtide.load(folder).rivals
        yours = table[table["kind"] == "yours"]
        lapses = yours[yours["question"] == "lapse"].set_index("name")
        assert set(lapses.index) == {"yours: leaving late", "yours: our model"}
        assert lapses["auc"].nunique() == 1, (
            "one says that late rows leave, the other that early ones come back: the same"
        )
        assert not (yours["question"] == "interest").any(), "no probability of coming back"
        assert {"yours: leaving late", "yours: our model"} <= set(yours[yours["question"] == "take-off"]["name"])
        assert "yours: our model" in ebbtide.load(folder).report.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_people_of_a_frame_carry_another_scenario_out(tmp_path: Path) -> None:
    people = ebbtide.people(shop(40), **COLUMNS)
    plan = {key: value for key, value in OWN.items() if key != "privacy.rounds"}
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\n[data]\nname = "planted"\nusers = 300\n[privacy]\nrounds = 3\n', encoding="utf-8"
    )
    run = ebbtide.simulate(
        people, scenario=str(tmp_path / "mine.toml"), set=plan, folder=tmp_path / "run", progress=False
    )
    assert run.learning_curve["round"].max() == 3 and run.results.devices == 40 and not run.results.simulated
    assert run.results.protocol == people.scenario.protocol and run.results.name == people.scenario.name


def test_a_rule_that_fails_ends_a_run_before_it_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    arguments = ["--users", "20", "--out", str(tmp_path / "run"), "--rival", f"{tmp_path / 'rules.py'}:broken"]
    values = {key: value for key, value in SMALL.items() if not key.startswith("simulation")}
    given = [part for key, value in values.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    with pytest.raises(SystemExit) as ended:
        cli.main(["simulate", "demo", *arguments, *given])
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert said.count("ebbtide: ") == 1 and "rival 'broken' ended with KeyError at rules.py:10 at step" in said
    assert not RunFolder(tmp_path / "run").begun


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_what_is_no_run_is_not_opened(tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigError, match="expected the folder of a run"):
        ebbtide.load(tmp_path / place)


def test_what_cannot_be_is_refused_before_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="beside people"):
        ebbtide.simulate("demo", scenario="demo", folder=tmp_path / "run")
    with pytest.raises(InputError, match="expected a function as rival 'mine'"):
        ebbtide.simulate("demo", rivals={"mine": 3}, folder=tmp_path / "run")  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="unknown key privacy.roundz"):
        ebbtide.simulate(ebbtide.planted(20), set={"privacy.roundz": 3}, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
