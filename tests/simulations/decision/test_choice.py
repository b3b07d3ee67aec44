"""A line follows from earlier weeks alone; more contacts find no fewer; what is written down is what devices then do."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.features import History
from simulations.decision.choice import OURS, RULES, Judged, Wish, decide_on, setting, worthwhile_line
from simulations.decision.page import page
from simulations.decision.weeks import latest_steps
from simulations.decision.words import head, paragraph, rows
from simulations.evaluation.alert_quality import alert_steps
from simulations.people.labelled_rows import history_of
from simulations.people.planted_shops import draw_shop, plant_shop
from simulations.people.setup import Setup
from simulations.search.choose_detector import public_weights
from simulations.search.shop_trials import WEEKS, falls_of, scenario_of
from simulations.search.trials import Trained
from tests.world.basics import examples


@pytest.fixture(scope="module")
def shop():
    """A small fading shop, its setup and the weights of planted people alone: nothing is trained."""
    people = plant_shop(draw_shop("fading", 3), 300, WEEKS, seed=3)
    scenario = scenario_of("fading")
    warm = scenario.warm_start.model_copy(update={"users": 150})
    setup = Setup.of(scenario.model_copy(update={"warm_start": warm}), people)
    return setup, history_of(people), public_weights(setup)


@pytest.fixture(scope="module")
def judged(shop):
    setup, history, weights = shop
    return Judged.of(history, setup, *weights)


def decided(judged, **wish):
    return decide_on(judged, Wish(**wish), has_phi=False, simulated=True)


def test_more_contacts_find_no_fewer(judged):
    found = [decided(judged, contacts_per_week=n).ours for n in (5.0, 15.0, 40.0)]
    for key in ("contacts", "right"):
        values = [getattr(one, key).value for one in found]
        assert values == sorted(values)
    assert [one.missed.value for one in found] == sorted((one.missed.value for one in found), reverse=True)


def test_about_as_many_are_expected_as_were_asked_for(judged):
    assert decided(judged, contacts_per_week=20.0).ours.contacts.value == pytest.approx(20, rel=0.15)


def test_a_dearer_offer_contacts_no_more_and_a_dearest_nobody(judged):
    found = [decided(judged, offer_cost=cost, saved_value=100.0) for cost in (0.5, 2.0, 5.0, 11.0)]
    contacts = [one.ours.contacts.value for one in found]
    assert contacts == sorted(contacts, reverse=True) and contacts[0] > 0
    assert found[-1].value is None and contacts[-1] == 0 and paragraph(found[-1]).startswith("Contact nobody")


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.9), st.floats(0.01, 0.9))
@examples(30)
def test_a_worthwhile_line_rises_with_what_has_to_be_sure(seed, one, other):
    random = np.random.Generator(np.random.Philox(seed))
    score = random.random(200)
    y = random.random(200) < score
    low, high = sorted((one, other))
    assert worthwhile_line(score, y, low) <= worthwhile_line(score, y, high)


def test_the_line_raises_as_many_warnings_on_devices(shop, judged):
    setup, history, (theta, risk) = shop
    found = decided(judged, contacts_per_week=20.0)
    changes = {**setting(found, setup.plan.detection), "rise_level": 1.0}
    tuned = replace(setup, plan=replace(setup.plan, detection=replace(setup.plan.detection, **changes)))
    falls = falls_of(history, tuned, Trained(theta, risk, 0, 0))
    per_week = len(falls) * 1000 / 300 / len(alert_steps(setup.protocol))
    assert per_week == pytest.approx(found.ours.happened["contacts"], rel=0.15)


def test_nothing_after_training_moves_the_line_or_what_is_expected(shop, judged):
    setup, history, weights = shop
    future = history.active.copy()
    future[..., setup.protocol.train_at + 1 :] = False
    later = History(future, history.count * future, history.amount * future)
    with_none = decided(Judged.of(later, setup, *weights), contacts_per_week=20.0)
    as_it_was = decided(judged, contacts_per_week=20.0)
    assert with_none.value == as_it_was.value
    for name in (OURS, *RULES):
        for count in ("right", "wrong", "missed"):
            assert with_none.worth[name].of(count) == as_it_was.worth[name].of(count)


def test_it_is_said_first_in_words(judged):
    found = decided(judged, offer_cost=1.0, saved_value=100.0)
    text = paragraph(found)
    assert (
        text.startswith(f"Warn at fall_level = {found.value:g}: ") and "an assumption" in text and "best rule" in text
    )
    assert [row[0] for row in rows(found)] == [OURS, *RULES] and all(row[5] for row in rows(found))
    assert text.endswith("All of this is SIMULATED data.") and text.count("SIMULATED") == 1
    html = page(found)
    assert html.index("Warn at") < html.index("<svg") < html.index("<table") and "Risk is not effect" in html


def test_columns_are_only_those_that_say_something(judged):
    for wish, columns in (({"offer_cost": 1.0, "saved_value": 100.0}, 6), ({"contacts_per_week": 20.0}, 5)):
        found = decided(judged, **wish)
        assert {len(row) for row in (head(found), *rows(found))} == {columns}
        assert all(cell for row in rows(found) for cell in row)


def test_the_line_keeps_its_share_when_scores_move(judged):
    n_early = len(judged.earlier.period.steps)
    moved = judged.known[OURS].copy()
    moved[:, n_early:] += 0.25  # scores of the latest steps, as if histories had grown
    line = float(np.nanquantile(judged.known[OURS][:, :n_early], 0.97))
    there = replace(judged, known={**judged.known, OURS: moved})
    assert there.latest_line(OURS, line) > judged.latest_line(OURS, line)
    latest = moved[:, latest_steps(judged.setup.protocol).judged - judged.earlier.period.first :]
    above = (latest >= there.latest_line(OURS, line)).sum() / np.isfinite(latest).sum()
    assert above == pytest.approx(0.03, abs=0.01)


def test_a_shop_without_a_lapse_is_not_decided_on(shop):
    setup, history, weights = shop
    always = np.ones_like(history.active)
    with pytest.raises(ConfigError, match="10 lapses or more"):
        Judged.of(History(always, always * np.float32(1), always * np.float32(0)), setup, *weights)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({}, "got neither"),
        ({"contacts_per_week": 9.0, "offer_cost": 1.0, "saved_value": 2.0}, "got both"),
        ({"offer_cost": 1.0}, "got no --saved-value"),
        ({"contacts_per_week": -1.0}, "above 0, got -1"),
        ({"contacts_per_week": float("nan")}, "above 0, got nan"),
        ({"offer_cost": 1.0, "saved_value": float("inf")}, "above 0, got inf"),
        ({"contacts_per_week": 9.0, "save_share": 1.5}, "in (0, 1], got 1.5"),
    ],
)
def test_wrong_wishes_are_refused_in_a_line(wish, said):
    with pytest.raises(ConfigError) as refused:
        Wish(**wish)
    assert said in str(refused.value) and "\n" not in str(refused.value)
