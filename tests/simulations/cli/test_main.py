"""The `ebbtide` command: bad input is one line and exit code 2; a run that fails is 1; help teaches."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.progress import Progress

from server.heads.learners import CrowdLearner, CurvatureLearner, HeadLearner
from server.training import InterestLearner, RiskLearner
from simulations.cli import main as cli
from simulations.cli.progress import PHASES, bars, phase_bars, trial_bar

ROOT_COMMANDS = ("simulate", "evaluate", "epsilon", "export", "data")


@pytest.fixture
def ebbtide(monkeypatch, tmp_path, capsys):
    """Run the command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ebbtide", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


BAD = {
    "unknown key": ("simulate", "--set", "privacy.clipnorm=1"),
    "wrong type": ("simulate", "--set", "privacy.rounds=many"),
    "negative clip": ("simulate", "--set", "privacy.clip_norm=-1"),
    "budget exceeded": (
        "simulate",
        "--set",
        "privacy.max_epsilon=0.1",
        "--set",
        "privacy.noise_multiplier=4",
        "--users",
        "50",
    ),
    "empty population": ("simulate", "--users", "0"),
    "missing data": ("simulate", "--data", "online-retail-ii", "--path", "nowhere"),
    "data without a path": ("simulate", "--data", "online-retail-ii"),
    "unknown data": ("simulate", "--data", "elsewhere"),
    "unknown scenario": ("simulate", "nothing"),
    "unknown data set": ("data", "elsewhere"),
    "no run": ("evaluate", "nowhere"),
    "export without TensorFlow": ("export", "model.tflite"),
    "epsilon above its cap": ("epsilon", "--set", "privacy.max_epsilon=0.1", "--set", "privacy.noise_multiplier=4"),
    "unknown option": ("simulate", "--nonsense"),
    "not a number": ("simulate", "--users", "many"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_clear_line_and_exit_code_2(ebbtide, case):
    code, _, err = ebbtide(*BAD[case])
    assert code == 2
    assert "Traceback" not in err
    said = [line for line in err.splitlines() if line.startswith("ebbtide: ") or "rror" in line]
    assert len(said) == 1, err


def test_what_export_asks_for_can_be_made(ebbtide):
    """The target that it names is one of the Makefile's."""
    asked = re.search(r"make ([^\s,]+)", ebbtide(*BAD["export without TensorFlow"])[2])[1]
    makefile = (Path(cli.__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(asked)}:", makefile, re.M)


def test_a_command_that_is_nearly_one_is_suggested_once(ebbtide):
    code, _, err = ebbtide("simulat")
    assert code == 2 and err.count("Did you mean 'simulate'?") == 1


def test_data_that_is_opened_tells_its_terms_first(ebbtide):
    code, out, err = ebbtide("data", "open", "online-retail-ii")
    assert code == 2 and "CC BY 4.0" in out and "needs the path" in err


def test_damaged_parquet_is_named(ebbtide, tmp_path):
    (tmp_path / "transactions.parquet").write_bytes(b"PAR1 nothing")
    (tmp_path / "product_categories.csv").write_text("stock_code,category\n")
    code, _, err = ebbtide("simulate", "--data", "online-retail-ii", "--path", str(tmp_path))
    assert code == 2
    assert "transactions.parquet" in err or "product_categories.csv" in err
    assert "Traceback" not in err


def test_the_budget_error_says_what_to_change(ebbtide):
    _, _, err = ebbtide(*BAD["budget exceeded"])
    assert "expected epsilon <= 0.1" in err
    assert "noise_multiplier" in err


def test_a_run_never_empties_a_folder_that_is_not_a_run(ebbtide, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    code, _, err = ebbtide("simulate", "--users", "5", "--out", str(tmp_path / "mine"))
    assert code == 2
    assert "expected an empty folder or an earlier run" in err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_epsilon_prints_what_a_plan_costs_and_what_the_server_learns(ebbtide):
    code, out, _ = ebbtide("epsilon", "--devices", "10000", "--set", "privacy.noise_multiplier=4")
    assert code == 0
    assert re.search(r"the noisy sum of each round over at least \d+\s+devices, if one of 3 helpers is honest", out)
    assert "delta 1e-05" in out


def test_data_lists_what_there_is_with_terms(ebbtide):
    code, out, _ = ebbtide("data")
    assert code == 0
    for word in ("planted", "SIMULATED", "complete-journey", "online-retail-ii", "CC BY", "ta-feng", "not stated"):
        assert word in out


def test_every_phase_that_a_run_reports_has_a_bar():
    room = Path(cli.__file__).parents[1]
    files = [*(room.parent / "server").glob("*.py"), room / "federation" / "host_server_app.py", room / "run.py"]
    told = {phase for file in files for phase in re.findall(r'(?:report|on_progress)\("(\w+)"', file.read_text())}
    told |= {learner.phase for learner in (InterestLearner, RiskLearner, CrowdLearner, CurvatureLearner, HeadLearner)}
    assert told == set(PHASES)
    with phase_bars() as on_progress:
        for phase in told:
            on_progress(phase, 1, 2)


def test_bars_of_phases_stop_one_another_and_others_run_side_by_side(monkeypatch):
    stopped = []
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(Progress, "stop_task", lambda self, task: stopped.append(task))
    with bars() as on_progress:
        for what in ("one", "two", "one"):
            on_progress(what, 1, 2)
    assert stopped == []
    with phase_bars() as on_progress:
        on_progress("people", 1, 1)
        on_progress("rounds", 1, 2)
    assert len(stopped) == 1
    with trial_bar() as on_trial:
        on_trial(0, 3)
        on_trial(3, 3)


@pytest.mark.parametrize("arguments", [["data"], ["epsilon", "nothing"], ["simulate", "--nonsense"], ["--help"]])
def test_python_m_does_what_the_command_does(arguments, tmp_path):
    command = [str(Path(sys.executable).parent / "ebbtide"), *arguments]
    module = [sys.executable, "-m", "simulations.cli", *arguments]
    ours, theirs = (subprocess.run(c, capture_output=True, text=True, cwd=tmp_path) for c in (module, command))
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    assert ours.returncode == (0 if arguments[0] in ("data", "--help") else 2) and ours.stdout + ours.stderr


def test_the_command_says_how_many_threads_before_numpy_is_loaded():
    """OpenBLAS reads the number when it is loaded; another number of threads gives other last digits."""
    look = "import sys, simulations.cli.main; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look]).returncode == 0


def test_help_says_what_an_argument_is(ebbtide):
    assert "A scenario that comes along" in " ".join(ebbtide("simulate", "--help")[1].split())


@pytest.mark.parametrize("command", ["", *ROOT_COMMANDS])
def test_help_teaches(ebbtide, command):
    code, out, err = ebbtide(*command.split(), "--help")
    assert code == 0
    assert len(out + err) > 300
