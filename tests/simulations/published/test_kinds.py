"""People who look no more at a category before they stop to buy there, and what warns of it first."""

import numpy as np
import pytest

from shared.events import EventKind
from simulations.people.of_scenario import protocol_of
from simulations.people.planted import plant
from simulations.published import kinds
from simulations.scenarios.config import load_scenario

PROTOCOL = protocol_of(load_scenario(kinds.SCENARIO))


def of(side, seed=0):
    people = plant(150, PROTOCOL.n_steps * 7, seed=1, n_categories=kinds.CATEGORIES)
    return kinds.leaving(people, PROTOCOL, np.random.Generator(np.random.Philox(seed)), side)


def test_looking_ends_weeks_before_buying_on_the_same_streams_of_both_sides():
    (whole, streams), (bought, same) = of("kinds"), of("purchases")
    for ours, theirs in zip(streams, same, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    user, category, end = streams
    assert len(user) > 10
    looked = np.delete(whole.kinds, EventKind.PURCHASE, axis=0).sum(axis=0)
    for u, c, e in zip(user, category, end, strict=True):
        assert not whole.active[u, c, e:].any() and whole.active[u, c, : e - kinds.LEAD_WEEKS].any()
        assert not looked[u, c, e - kinds.LEAD_WEEKS :].any(), "nothing is looked at any more"
        between = whole.kinds[EventKind.PURCHASE, u, c, e - kinds.LEAD_WEEKS : e] > 0
        assert between.sum() >= kinds.BETWEEN, "and it is bought all the same"
    np.testing.assert_array_equal(bought.active, whole.kinds[EventKind.PURCHASE] > 0)
    others = np.ones(whole.active.shape[:2], bool)
    others[user, category] = False
    assert looked[others].any()


def test_who_sees_more_kinds_warns_no_later_at_as_many_other_falls(monkeypatch):
    monkeypatch.setattr(kinds, "USERS", 200)
    found = kinds.kinds_numbers(overrides=["warm_start.users=300"])
    assert found["kinds.earlier"].value >= 0
    assert found["kinds.earlier_low"].value <= found["kinds.earlier"].value <= found["kinds.earlier_high"].value
    assert found["kinds.warned.kinds"].value > found["kinds.warned.purchases"].value
    lines = found["kinds.line_alike"].value
    assert lines in kinds.LINES and (
        found["kinds.other_falls.alike"].value >= found["kinds.other_falls.kinds"].value or lines == kinds.LINES[-1]
    )


def test_the_interval_of_a_median_is_over_users():
    user, value = np.repeat([0, 1, 2, 3], [1, 1, 1, 60]), np.array([0, 0, 0, *[5] * 60])
    low, high = kinds._over_users(user, value)
    assert (low, high) == pytest.approx((0, 5)), "one user has nearly all rows"
