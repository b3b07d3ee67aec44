"""A bot that only looks, in a shop whose plan says which kinds of events are interest, and in one whose plan does not."""

import numpy as np
import pytest

from shared.events import EventKind
from simulations.attacks import added_views
from simulations.attacks.added_views import FIRST, FORMS, START, Shop, moved, with_views
from simulations.published.attacks import views_numbers

N_USERS = 60


@pytest.fixture(scope="module", autouse=True)
def few():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"TEACHERS": 150, "EPOCHS": 4, "USERS": N_USERS, "PER_DAY": (3,), "DRAWS": 50}.items():
            patch.setattr(added_views, name, value)
        yield


@pytest.fixture(scope="module")
def small(few):
    return views_numbers()


@pytest.fixture(scope="module")
def shop(few):
    return Shop.of("all", N_USERS, 0)


def test_a_bot_moves_an_interest_in_purchases_less_where_purchases_are_interest(small):
    today, only, aware = (small[f"views.{form}.3.p.most_low"].value for form in FORMS)
    assert today > 0.1, "today one counter holds all kinds"
    assert small["views.purchases.3.p.most_high"].value == small["views.purchases.3.phi.most_high"].value == 0
    assert small["views.purchases.3.rho.most_high"].value == only == 0
    assert 0 < aware < small["views.aware.3.p.most_high"].value < today
    for turn in ("falls", "rises"):
        assert small[f"views.purchases.3.{turn}"].value == small[f"views.purchases.0.{turn}"].value
    assert "views.aware.3.rises" not in small, "who learns no head of take-offs has none"


def test_every_number_stands_inside_of_its_interval(small):
    found = [key for key in small if f"{key}_low" in small]
    assert len(found) == 3 + 2 * (2 * 2 + 3) + (2 + 2)
    assert all(small[f"{key}_low"].value <= small[key].value <= small[f"{key}_high"].value for key in found)


def test_the_attack_adds_views_and_nothing_else(shop):
    category = added_views.most_bought(shop.history)
    assert (category >= 0).mean() > 0.5
    after = with_views(shop.history, category, 10)
    users, more = np.arange(N_USERS), after.kinds.astype(int) - shop.history.kinds
    assert (more[EventKind.VIEW, users, category, FIRST : FIRST + added_views.DAYS] == 10).all()
    assert more.sum() == 10 * added_views.DAYS * N_USERS
    np.testing.assert_allclose((after.count - shop.history.count).sum(), 2.0 * added_views.DAYS * N_USERS, rtol=1e-3)
    assert (after.amount == shop.history.amount).all() and (after.active == (after.count > 0)).all()


def test_the_quiet_category_is_quiet_and_was_bought_from(shop):
    category = added_views.quiet_one(shop.history, 28)
    users = np.flatnonzero(category >= 0)
    assert users.size > N_USERS // 3
    mine = shop.history[users, category[users]]
    assert (mine.active[:, FIRST - 28 : FIRST].sum(axis=-1) <= 2).all()
    assert (mine.kinds[EventKind.PURCHASE, :, :FIRST] > 0).any(axis=-1).all()


def test_who_has_no_such_category_is_left_out(shop):
    usual, category = shop.read(shop.history), added_views.most_bought(shop.history)
    category[::2] = -1
    found = moved(shop, category, 3, usual)
    assert len(found.falls) == (category >= 0).sum() == len(found.moves["p"])
    assert (shop.steps >= FIRST).sum() == found.moves["p"].shape[1] and START < FIRST
