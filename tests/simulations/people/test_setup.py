"""A scenario resolved against its people: what follows from both, made once."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from client.model.runtime import pinned_sha256
from client.privacy.caps import Caps
from client.vault.consent import Consent
from shared.errors import ConfigError
from shared.events import Catalogue, EventKind, Step
from shared.features import Group
from shared.randomised_response import BitSchedule
from simulations.people.datasets import DATASETS
from simulations.people.of_scenario import protocol_of
from simulations.people.planted import plant
from simulations.people.public_start import planted_rows, public_history
from simulations.people.setup import Crowd, Setup
from simulations.people.teaching import pretrain
from simulations.scenarios.config import DataSection, load_scenario, step_unit_of
from simulations.scenarios.planted_rates import PLANTED_RATES

CROWD = Crowd(300, Catalogue(("a", "b")))


def test_plan_schedule_and_caps_are_the_scenario_s_for_these_people():
    scenario = load_scenario("demo", ["simulation.query_every_steps=7", "bits.every_steps=14", "bits.epsilon=0.5"])
    setup = Setup.of(scenario, CROWD)
    assert setup.protocol == protocol_of(scenario) and setup.caps == scenario.caps.caps()
    assert (setup.plan.privacy.population, setup.n_users, setup.n_categories) == (300, 300, 2)
    assert setup.plan.catalogue_sha256 == CROWD.catalogue.sha256
    schedule, protocol = setup.schedule, setup.protocol
    assert (schedule.train_step, schedule.query_every_steps) == (protocol.train_at, 7)
    assert (schedule.first_query_step, schedule.last_query_step) == (protocol.test_steps[0] + 6, protocol.test_steps[1])
    assert schedule.bits == BitSchedule(500_000, 14) and len(schedule.bit_steps) == setup.plan.bits.coins
    assert schedule.replay_step_s == Step.DAY.seconds


def test_a_population_and_a_crowd_of_its_size_and_categories_are_the_same_people():
    people, scenario = plant(8, 182, seed=3), load_scenario("demo")
    assert Setup.of(scenario, people) == Setup.of(scenario, Crowd(8, people.catalogue))


def test_another_protocol_changes_the_plan_and_the_schedule_only():
    scenario = load_scenario("demo")
    own = Setup.of(scenario, CROWD)
    fold = Setup.of(scenario, CROWD, own.protocol.model_copy(update={"train_steps": (42, 60)}))
    assert fold.plan.training.history_steps == 19 != own.plan.training.history_steps
    assert fold.schedule.train_step == 67 and fold.scenario == own.scenario and fold.caps == own.caps


@pytest.mark.parametrize(
    ("name", "kinds", "rates"),
    [("demo", tuple(EventKind), ("day", False)), ("complete-journey", (EventKind.PURCHASE,), ("week", True))],
)
def test_a_scenario_that_asks_for_them_has_features_of_version_2(name, kinds, rates):
    first, second = (Setup.of(load_scenario(name, [f"features.version={n}"]), CROWD).plan for n in (1, 2))
    assert first == Setup.of(load_scenario(name), CROWD).plan, "the default"
    assert second.features == replace(first.features, more=second.features.more) and second.features.version == 2
    more = second.features.more
    assert (more.kinds, more.groups) == (kinds, tuple(Group)) and more.lapse_steps == second.detection.lapse_steps
    assert (more.r, more.alpha, more.a, more.b) == PLANTED_RATES[rates]
    assert second.network == replace(first.network, n_features=87)
    assert (first.model_sha256, second.model_sha256) == (pinned_sha256(1), pinned_sha256(2))
    with pytest.raises(ConfigError, match="features"):
        load_scenario(name, ["features.version=3"])


def test_purchases_are_interest_where_a_scenario_says_so_and_there_are_other_kinds():
    said = 'features.interest="purchases"', "features.version=2", "warm_start.users=40", "risk.public_users=40"
    setup = Setup.of(load_scenario("demo", said), CROWD)
    features = setup.plan.features
    assert features.interest == (EventKind.PURCHASE,) and features.more.kinds == tuple(EventKind)
    assert features.more.alpha == PLANTED_RATES["day", True][1]
    history = public_history(setup)
    np.testing.assert_array_equal(history.active, history.kinds[EventKind.PURCHASE] > 0)
    assert history.kinds[EventKind.VIEW].any() and planted_rows(setup).x.shape[1] == 87
    only = Setup.of(load_scenario("complete-journey", said), CROWD).plan.features
    assert only.interest == (), "there are purchases alone"


@pytest.mark.parametrize("name", ["demo", "complete-journey"])
def test_planted_people_teach_version_2_with_the_kinds_that_the_data_have(name):
    scenario = load_scenario(name, ["features.version=2", "warm_start.users=40", "risk.public_users=40"])
    setup = Setup.of(scenario, CROWD)
    rows, history = planted_rows(setup), public_history(setup)
    assert rows.x.shape[1] == 87 and np.isfinite(pretrain(setup.plan.network, rows, scenario.warm_start)).all()
    views = setup.plan.features.names.index("view_average_4")
    assert rows.x[:, views].any() == history.kinds[EventKind.VIEW].any() == (name == "demo")
    assert rows.x[:, setup.plan.features.names.index("purchase_freshness")].any()


def test_owners_are_those_of_the_scenario_s_shares_and_caps():
    shares = ["simulation.identified_share=1.0", "caps.table=default"]
    owners = Setup.of(load_scenario("complete-journey-eps1", shares), CROWD).owners()
    assert owners.who(Consent.IDENTIFIED).all() and len(owners.consents) == 300 and owners.caps == Caps()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("caps.total=[2.0, 1.0]", "0 <= period <= lifetime"),
        ("privacy.clip_norm=-1.0", "clip_norm"),
        ("bits={epsilon=1e9, every_steps=3}", "epsilon"),
    ],
)
def test_a_number_out_of_range_is_refused_when_the_setup_is_made(override, says):
    with pytest.raises(ConfigError, match=says):
        Setup.of(load_scenario("demo", [override]), CROWD)


def test_a_setup_goes_to_another_process():
    setup = Setup.of(load_scenario("demo"), CROWD)
    again = pickle.loads(pickle.dumps(setup))
    assert again == setup and again.plan.sha256 == setup.plan.sha256


def test_every_data_set_has_a_scenario_of_its_name_in_steps_of_its_own():
    assert get_args(DataSection.model_fields["name"].annotation) == ("planted", *DATASETS, "file")
    for name, info in DATASETS.items():
        assert step_unit_of(load_scenario(name)) is info.step
