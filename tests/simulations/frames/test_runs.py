"""A run in Python: what it says as data frames, with rules of one's own, and what its progress file holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ebbtide
from shared.errors import ConfigError, InputError
from simulations.cli import main as cli
from simulations.evaluation import results_file
from simulations.federation.run_folder import RunFolder

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
        assert list(warnings) == ["user", "category", "time", "step", "direction", "level", "right"]
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
        shown = run._repr_html_()
        assert "demo" in shown and str(run.report) in shown and run.report.exists()
        assert repr(run) == f"Run({str(run.folder)!r})" and run.summary
        assert "yours: share" in run.report.read_text(encoding="utf-8")

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
