"""A log of one's own through the command line: from file to report, and what is wrong with it in one line."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.privacy.accounting import account_of
from shared.charges import charges_of
from shared.errors import ConfigError
from shared.events import Step
from shared.rdp import gaussian_epsilon
from simulations.cli.main import main
from simulations.evaluation.evaluate import whole_account
from simulations.federation.run_folder import RunFolder
from simulations.people.of_scenario import population_of, whole
from simulations.people.own_data.made import made_for
from simulations.people.own_data.of_file import is_resolved
from simulations.people.population import Population
from simulations.people.population_files import INDEX_FILE
from simulations.people.setup import Setup
from simulations.run import as_begun
from simulations.scenarios.config import load_scenario
from simulations.scenarios.own_data import FileSection
from tests.world.shop_logs import HEADER, in_a_logs_order, write_shop_log

USER_TIME = "user_id,category,event_time\n"
LINE = "1,shoes,2026-01-05T10:00:00\n"


def often(n_users: int, n_days: int) -> str:
    """Users who come every third day."""
    return USER_TIME + "".join(
        f"{u},shoes,{np.datetime64('2026-01-05') + day}T10:{u % 60:02}:00\n"
        for day in range(0, n_days, 3)
        for u in range(n_users)
    )


def scenario(text: str, log: str = "good.csv") -> str:
    return f'name = "mine"\n[data]\nname = "file"\npath = "{log}"\nusers = 0\n{text}'


PROTOCOL = """[protocol]
window_steps = 21
short_steps = [1, 3, 7, 14]
horizon_steps = 7
lapse_steps = 14
train_steps = [21, 40]
test_steps = [48, 80]
alert_steps = [48, 70]
lapse_train_steps = [21, 30]
n_steps = 90
"""
DAYS = '[data.file]\nstep = "day"\n'
#: What is given to --data or as a scenario (.toml), and what the one line must say.
DAMAGED: dict[str, tuple[str, str | bytes, str]] = {
    "nothing there": ("gone.csv", "", "not there"),
    "empty": ("empty.csv", b"", "empty.csv"),
    "a header alone": ("head.csv", USER_TIME, "head.csv"),
    "no log at all": ("noise.parquet", b"PAR1 nothing of the kind", "noise.parquet"),
    "bytes": ("bytes.csv", bytes(range(256)) * 9, "bytes.csv"),
    "no times": ("untimed.csv", "user_id,category\n1,shoes\n2,bags\n", "time"),
    "no users": ("nobody.csv", "category,event_time\nshoes,2026-01-05\n", "user"),
    "times that are none": ("when.csv", USER_TIME + "1,shoes,yesterday\n2,bags,soon\n", "when.csv"),
    "too short": ("short.csv", often(300, 12), "4 weeks or more"),
    "nobody comes back": ("once.csv", USER_TIME + "".join(f"{u},shoes,2026-0{1 + u % 6}-05\n" for u in range(300)), "come back"),
    "too few people": ("few.csv", often(20, 90), "150 people or more"),
    "one person": ("one.csv", often(1, 90), "150 people or more"),
    "no path": ("mine.toml", 'name = "mine"\n[data]\nname = "file"\n', "data.path"),
    "a column that is not there": ("mine.toml", scenario('[data.file]\nuser = "who"\n'), "who"),
    "an unknown key": ("mine.toml", scenario('[data.file]\nperson = "user_id"\n'), "unknown key data.file.person"),
    "an unknown step": ("mine.toml", scenario('[data.file]\nstep = "month"\n'), "data.file.step"),
    "a zone of no place": ("mine.toml", scenario('[data.file]\nzone = "Moon/Base"\n'), "zone"),
    "ranges beyond the end": ("mine.toml", scenario(DAYS + PROTOCOL.replace("= 90", "= 400")), "the days of your data"),
    "a first day beyond the end": (
        "mine.toml",
        scenario(DAYS + 'first_day = "2027-01-05"\n' + PROTOCOL),
        "data.file.first_day",
    ),
    "a protocol of no unit": ("mine.toml", scenario(PROTOCOL), "data.file.step"),
    "alerts that nobody can judge": (
        "mine.toml",
        scenario(DAYS + PROTOCOL.replace("alert_steps = [48, 70]", "alert_steps = [48, 80]")),
        "alert_steps that end by step 75",
    ),
    "more people than there are": ("mine.toml", scenario("").replace("users = 0", "users = 5000"), "data.users <= 200"),
    "a table for another data set": ("mine.toml", scenario(DAYS).replace('name = "file"', 'name = "planted"'), "[data.file]"),
    "a missing category file": (
        "mine.toml",
        scenario('[data.file]\ncategories = "file"\ncategory_file = "none.csv"\nitem = "category"\n'),
        "none.csv",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("log") / "good.csv"
    write_shop_log(file, 200, 90)
    return file.read_text(encoding="utf-8")


@pytest.fixture
def ebbtide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """A command in a folder of its own: code, output, errors."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ebbtide", *arguments])
        code: Any = 0
        try:
            main(list(arguments))
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    yield run
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_log_or_scenario_is_one_line_and_leaves_nothing(
    case: str, ebbtide: Callable[..., tuple[int, str, str]], tmp_path: Path, good: str
) -> None:
    name, content, said = DAMAGED[case]
    (tmp_path / "good.csv").write_text(good, encoding="utf-8")
    if content or case == "empty":
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = sorted(tmp_path.rglob("*"))
    code, _, err = ebbtide("simulate", *([name] if name.endswith(".toml") else ["--data", name]))
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith("ebbtide: ") and said in err, err
    assert sorted(tmp_path.rglob("*")) == before


def test_two_places_of_one_log_are_refused(ebbtide: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, _, err = ebbtide("simulate", "--data", "a.csv", "--path", "b.csv")
    assert code == 2 and "one place of your data" in err
    code, _, err = ebbtide("simulate", "--data", "complete-journy")
    assert code == 2 and "complete-journey" in err and "not there" in err
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_of_a_log_needs_one_that_began(
    ebbtide: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(HEADER)
    code, _, err = ebbtide("simulate", "--data", "a.csv", "--resume")
    assert code == 2 and "expected an interrupted run of a.csv" in err


def test_a_run_that_is_gone_on_with_keeps_what_it_once_took_from_its_log(
    ebbtide: Callable[..., tuple[int, str, str]], tmp_path: Path, good: str
) -> None:
    """Begun, cut off, and the log is longer by then: the same scenario and the same people, with or without its own protocol."""
    log, begun, again = tmp_path / "good.csv", tmp_path / "begun.toml", tmp_path / "again.toml"
    log.write_text(good, encoding="utf-8")
    begun.write_text(scenario(""), encoding="utf-8")
    asked = load_scenario(str(begun))
    run = RunFolder(tmp_path / "run")
    first = whole(asked)
    people = population_of(first)
    run.prepare(Setup.of(first, people), people)
    log.write_text(often(300, 180), encoding="utf-8")
    kept = run.begun_scenario()
    assert kept == first and whole(asked) != first
    assert as_begun(asked, kept) == first
    assert as_begun(first, kept) == first
    again.write_text(scenario('[data.file]\nzone = "Asia/Tokyo"\n'), encoding="utf-8")
    with pytest.raises(ConfigError, match="expected the scenario that .* began with"):
        run.expect_same_run(as_begun(load_scenario(str(again)), kept))
    assert as_begun(load_scenario("demo"), kept) == load_scenario("demo")


def test_a_private_choice_is_drawn_once_and_every_epsilon_counts_it(
    ebbtide: Callable[..., tuple[int, str, str]], tmp_path: Path, good: str
) -> None:
    """The scenario that was written, a run that is gone on with and its people all have the names that were drawn first."""
    (tmp_path / "good.csv").write_text(good, encoding="utf-8")
    code, out, err = ebbtide("data", "check", "good.csv", "--set", "data.file.top_epsilon=3", "--out", "mine.toml")
    assert code == 0 and "and the choice of categories cost epsilon" in " ".join(out.split()), err
    written = load_scenario(str(tmp_path / "mine.toml"))
    assert written.data.file is not None and (chosen := written.data.file.chosen)
    assert "# `chosen` was drawn once" in (tmp_path / "mine.toml").read_text(encoding="utf-8")
    assert is_resolved(written) and whole(written) == written
    people = population_of(written)
    assert people.catalogue.names == (*chosen, "everything else")
    setup = Setup.of(written, people)
    (run := RunFolder(tmp_path / "run")).prepare(setup, people)
    asked = written.model_copy(
        update={"data": written.data.model_copy(update={"file": FileSection(top_epsilon=3)}), "protocol": None}
    )
    assert (kept := run.begun_scenario()) == written and as_begun(asked, kept) == written
    composed, alone = (account_of(setup.plan, rows) for rows in (setup.charged, charges_of(setup.plan)))
    assert composed["lines"][:-1] == alone["lines"] and composed["lines"][-1]["line"] == "choice of categories"
    served = {**alone, "rounds_charged": 12}
    assert whole_account(setup, served) == {**composed, "rounds_charged": 12}
    mu = math.sqrt(sum(row["times"] / row["noise_multiplier"] ** 2 for row in composed["lines"]))
    assert composed["epsilon_to_public"] == pytest.approx(gaussian_epsilon(mu, composed["delta"]), rel=2e-3)
    assert composed["epsilon_to_public"] > alone["epsilon_to_public"]
    code, out, err = ebbtide("epsilon", "mine.toml", "--devices", "200")
    assert code == 0 and "choice of categories" in " ".join(out.split()), err
    assert f"{composed['epsilon_to_public']:.3g}" in out and "once, before the run" in " ".join(out.split())
    (tmp_path / "bare.toml").write_text(scenario("[data.file]\ntop_epsilon = 3\n"), encoding="utf-8")
    code, _, err = ebbtide("epsilon", "bare.toml", "--devices", "200")
    assert code == 2 and "expected data.file.chosen beside top_epsilon" in err


def test_a_runs_people_are_those_of_the_planted_loader_bit_for_bit(tmp_path: Path) -> None:
    """What a run folder keeps of them is the same file by file, but for the population's name."""
    planted = write_shop_log(tmp_path / "shop.csv", 200, 91)
    made = made_for(str(tmp_path / "shop.csv"), None, ["data.file.duplicates=keep"])
    people = population_of(made.scenario)
    run = RunFolder(tmp_path / "run")
    run.prepare(Setup.of(made.scenario, people), people)
    in_a_logs_order(planted).save(tmp_path / "expected")
    found, expected = (
        json.loads((folder / INDEX_FILE).read_text())["population"]
        for folder in (run.population, tmp_path / "expected")
    )
    assert {**found, "name": ""} == {**expected, "name": ""}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_searches_take_the_scenario_of_a_log(
    ebbtide: Callable[..., tuple[int, str, str]], tmp_path: Path, good: str
) -> None:
    (tmp_path / "good.csv").write_text(good, encoding="utf-8")
    few = (
        '[simulation]\nfidelity = "hosts"\n[warm_start]\nusers = 100\n[privacy]\nnoise_multiplier = 5.0\nrounds = 2\n'
        "[risk]\nrounds = 1\nnoise_multiplier = 9.0\npublic_users = 100\n"
    )
    (tmp_path / "mine.toml").write_text(scenario(few), encoding="utf-8")
    code, out, err = ebbtide("epsilon", "mine.toml", "--devices", "200")
    assert code == 0 and "all of it" in out, err
    code, out, err = ebbtide("choose", "mine.toml", "--starts", "1", "--out", "chosen.json")
    assert code == 0 and json.loads((tmp_path / "chosen.json").read_text())["data"] == "your data: good.csv", err
    code, out, err = ebbtide("sweep", "mine.toml", "--over", "data.users=100,150", "--repeat", "1", "--out", "sweep")
    assert (
        code == 0 and json.loads((tmp_path / "sweep" / "results.json").read_text())["data"] == "your data: good.csv"
    ), err
    code, out, err = ebbtide("tune", "mine.toml", "--grid", "training.rows=8", "--folds", "1", "--seeds", "1")
    assert code == 0, err
    tuned = load_scenario(str(tmp_path / "tuned.toml"))
    assert is_resolved(tuned) and whole(tuned) == tuned


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_shop_log_comes_to_its_report_by_two_commands(
    ebbtide: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    """From the file to the report, and again from the run's own file; the people are those that were planted."""
    planted = write_shop_log(tmp_path / "my shop.csv", 320, 182)
    few = ("--set", "privacy.rounds=2", "--set", "risk.rounds=1", "--set", "warm_start.users=200")
    code, out, err = ebbtide("simulate", "--data", "my shop.csv", *few)
    assert code == 0, err
    assert "half of all returns" in out and "epsilon" in out and "your data: my shop.csv" in out
    run = tmp_path / "runs" / "my-shop"
    people = Population.load(run / "population", mmap=False)
    order = [people.catalogue.names.index(name) for name in planted.catalogue.names]
    assert (people.step, people.n_steps, people.simulated) == (Step.DAY, 182, False)
    assert people.n_users == planted.n_users
    assert abs(people.n_events - planted.n_events) <= 0.01 * planted.n_events, "lines that are the same twice"
    assert set(order) == set(range(len(order)))
    results = json.loads((run / "results.json").read_text())
    assert results["data"] == "your data: my shop.csv" and results["interest"]["auc"] > 0.7
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "your data: my shop.csv" in page
    assert "published data set" not in page and "real purchase histories" not in page
    (tmp_path / "my shop.csv").write_text(HEADER)  # a log that has changed is not looked at again
    code, _, err = ebbtide("evaluate", str(run))
    assert code == 0, err
    assert json.loads((run / "results.json").read_text())["interest"]["auc"] == results["interest"]["auc"]
