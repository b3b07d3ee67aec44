"""Planted shops: the same for the same seed, weekly purchases only, and as their laws say."""

import numpy as np
import pytest

from shared.errors import InputError
from shared.events import EventKind, Step
from simulations.people.labelled_rows import history_of
from simulations.people.planted_shops import KINDS, draw_shop, plant_shop


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_shop_and_people(kind):
    shop = draw_shop(kind, 5)
    one, other = (plant_shop(shop, 60, 40, seed=2) for _ in range(2))
    again = draw_shop(kind, 5)
    assert repr(again) == repr(shop) and repr(draw_shop(kind, 6)) != repr(shop)
    assert one.simulated and one.step is Step.WEEK and (one.kind == EventKind.PURCHASE).all()
    assert (np.diff(one.offsets) > 0).all()
    for key in ("time_s", "category", "amount"):
        assert (getattr(one, key) == getattr(other, key)).all()


def test_only_in_a_fading_shop_do_last_baskets_foretell_the_end():
    ratio = {}
    for kind in KINDS:
        history = history_of(plant_shop(draw_shop(kind, 1), 600, 80, seed=4))
        last = 79 - history.active[..., ::-1].argmax(axis=-1)
        user, category = np.nonzero(history.active.any(axis=-1) & (last < 60) & (history.active.sum(axis=-1) > 8))
        final = history.count[user, category, last[user, category]]
        usual = history.count[user, category].sum(axis=-1) / history.active[user, category].sum(axis=-1)
        ratio[kind] = float(np.median(final / usual))
    assert ratio["fading"] < 0.5 < 0.8 < ratio["steady"]


def test_late_weeks_are_much_like_early_ones():
    for kind in KINDS:
        busy = history_of(plant_shop(draw_shop(kind, 2), 1500, 90, seed=1)).active.sum(axis=(0, 1))
        assert 0.6 < busy[70:].mean() / busy[10:30].mean() < 1.6


def test_another_kind_is_refused():
    with pytest.raises(InputError, match="steady, fading, got 'busy'"):
        draw_shop("busy", 1)
