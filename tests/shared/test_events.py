import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.detection.risk_levels import Direction, RiskLevel
from client.device import Alert
from client.model.training_rows import Batches
from shared.errors import InputError
from shared.events import ENGAGEMENT, MAX_AMOUNT, MAX_CATEGORIES, BehaviourEvent, Catalogue, EventKind, Step
from shared.features import History


def test_five_kinds_from_light_to_strong():
    assert [kind.name for kind in EventKind] == ["VIEW", "CLICK", "FAVOURITE", "CART", "PURCHASE"]
    assert len(ENGAGEMENT) == len(EventKind)
    assert (np.diff(ENGAGEMENT) > 0).all() and ENGAGEMENT[EventKind.PURCHASE] == 1


@pytest.mark.parametrize(("step", "length_s"), [(Step.DAY, 86_400), (Step.WEEK, 604_800)])
def test_a_step_holds_its_first_second_and_not_the_next_one_s(step, length_s):
    assert step.at(0) == 0
    assert step.at(length_s - 0.001) == 0
    assert step.at(length_s) == 1
    assert step.at(-0.001) == -1


def test_catalogue_knows_its_names_in_order():
    catalogue = Catalogue(("a", "b"))
    assert (len(catalogue), catalogue.index("b")) == (2, 1)
    with pytest.raises(InputError, match="catalogue's 2 categories"):
        catalogue.index("c")


@pytest.mark.parametrize("names", [(), ("a", "a"), tuple(map(str, range(MAX_CATEGORIES + 1)))])
def test_catalogue_refuses_none_too_many_and_twice(names):
    with pytest.raises(InputError):
        Catalogue(names)


def test_catalogue_hash_changes_with_a_name_and_with_the_order():
    hashes = {Catalogue(n).sha256 for n in [("a", "b"), ("b", "a"), ("a", "c"), ("a",), ("ab",)]}
    assert len(hashes) == 5
    assert Catalogue(("a", "b")).sha256 == Catalogue(("a", "b")).sha256


@pytest.mark.parametrize(
    "event",
    [
        BehaviourEvent(EventKind.VIEW, 0, 0.0),
        BehaviourEvent(EventKind.PURCHASE, 3, 1e9, MAX_AMOUNT),
        BehaviourEvent(EventKind.PURCHASE, np.int64(2), np.float64(5), np.float32(1.5)),
        BehaviourEvent(EventKind.PURCHASE, 2, 5, 1),
        BehaviourEvent(EventKind.CART, 2, 5, 0),
    ],
)
def test_good_events_pass(event):
    event.check(4)


BAD_VALUES = {
    "kind": [5, -1, None, "VIEW", 1.0],
    "category": [-1, 4, 1.0, 1.5, True, None, "tea", math.nan],
    "time_s": [-1.0, math.nan, math.inf, -math.inf, None, "now", 10**400],
    "amount": [-0.01, MAX_AMOUNT * 1.01, math.nan, math.inf, None, "12.5", 10**400],
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in BAD_VALUES.items() for v in values])
def test_bad_events_are_refused_without_showing_the_value(field, value):
    fields = {"kind": EventKind.VIEW, "category": 1, "time_s": 77.125, "amount": 31.625, field: value}
    with pytest.raises(InputError) as refused:
        BehaviourEvent(**fields).check(4)
    text = str(refused.value)
    assert "77.125" not in text and "31.625" not in text
    if isinstance(value, str):
        assert value not in text.replace("time_s", "")


@given(st.sampled_from(EventKind), st.integers(0, 500), st.floats(0, 1e12), st.floats(0, MAX_AMOUNT))
def test_raw_behaviour_never_shows_in_a_repr(kind, category, time_s, amount):
    event = BehaviourEvent(kind, category, time_s, amount)
    assert repr(event) == str(event) == f"{event}" == "BehaviourEvent(<raw>)"


def test_other_raw_objects_show_at_most_their_shape():
    history = History(np.ones((2, 3), bool), np.full((2, 3), 7.5, np.float32), np.full((2, 3), 8.5, np.float32))
    work = Batches(*(np.full((1, 2), 9.5, np.float32) for _ in range(4)))
    alert = Alert(Direction.FALL, 3, RiskLevel.HIGH, 11, 2)
    assert repr(history) == "History(<raw> shape=(2, 3))"
    assert repr(work) == "Batches(<raw> shape=(1, 2))"
    assert repr(alert) == f"{alert}" == "Alert(<raw>)"
