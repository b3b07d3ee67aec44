"""`ebbtide decide` on wrong arguments and wrong runs: one line, exit code 2, nothing written."""

import pytest

from simulations.cli.main import main
from simulations.federation.run_folder import RunFolder
from simulations.scenarios.config import load_scenario


@pytest.fixture
def begun(tmp_path):
    """The folder of a run that has not ended."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.scenario_file.write_text(load_scenario("demo").model_dump_json(), encoding="utf-8")
    return run.path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "got neither"),
        (["--contacts-per-week", "9", "--offer-cost", "1", "--saved-value", "9"], "got both"),
        (["--contacts-per-week", "-3"], "above 0, got -3"),
        (["--contacts-per-week", "nan"], "above 0, got nan"),
        (["--offer-cost", "1"], "--saved-value"),
        (["--offer-cost", "0", "--saved-value", "9"], "--offer-cost above 0"),
        (["--contacts-per-week", "9", "--save-share", "2"], "--save-share in (0, 1]"),
        (["--contacts-per-week", "9", "--out", "here.txt"], "ends in .toml"),
        (["--contacts-per-week", "9", "--write"], "--write with --scenario"),
        (["--contacts-per-week", "9"], "expected a run that has ended"),
    ],
)
def test_it_says_in_a_line_what_is_wrong(begun, capsys, options, said):
    before = sorted(begun.iterdir())
    with pytest.raises(SystemExit) as ended:
        main(["decide", str(begun), *options])
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert said in " ".join(printed.err.split()) and "Traceback" not in printed.err
    assert sorted(begun.iterdir()) == before


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["decide", str(tmp_path), "--contacts-per-week", "9"])
    assert ended.value.code == 2 and "expected the folder of a run" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())
