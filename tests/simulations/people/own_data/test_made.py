"""What is made of nothing but a log: a scenario that its checks let pass, and a file of it that says the same."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.privacy.accounting import account_of
from shared.charges import charges_of
from shared.errors import ConfigError
from shared.events import Catalogue, Step
from simulations.federation.checks import check_setup
from simulations.people.of_scenario import open_scenario, population_of, whole
from simulations.people.own_data.made import FEWEST, PLENTY, made_for, name_of, plan_fields, with_caps
from simulations.people.own_data.of_file import is_resolved
from simulations.people.setup import Crowd, Setup
from simulations.scenarios.config import PLANTED_PROTOCOL, Scenario, scenario_of
from simulations.scenarios.written import scenario_text
from tests.world.basics import examples
from tests.world.shop_logs import write_shop_log


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("log") / "Shop Log.csv"
    write_shop_log(file, 200, 120)
    return file


@given(st.integers(FEWEST, 2_000_000), st.sampled_from([Step.DAY, Step.WEEK]))
@examples(12)
def test_a_plan_for_any_number_of_people_passes_every_check(n_people: int, step: Step) -> None:
    about = {
        "name": "any",
        "data": {"name": "file", "users": 0, "file": {"step": step.value, "first_day": "2026-01-05"}},
        "protocol": {**PLANTED_PROTOCOL.model_dump(), "alert_steps": (112, 160)},
    }
    fields = with_caps({**about, **plan_fields(n_people, step, 182, 30, 63)}, (), n_people)
    setup = Setup.of(scenario_of(fields, (), "plan"), Crowd(n_people, Catalogue(("any",))))
    check_setup(setup)
    if PLENTY <= n_people <= 10_000:
        assert account_of(setup.plan, charges_of(setup.plan))["epsilon_to_public"] <= 1
    if n_people >= PLENTY:
        assert "caps" not in fields, "the default table allows it"


def test_a_log_makes_a_scenario_and_its_file_says_the_very_same(shop: Path, tmp_path: Path) -> None:
    made = made_for(str(shop))
    scenario = made.scenario
    assert scenario.name == "shop-log" and is_resolved(scenario)
    file = tmp_path / "back.toml"
    file.write_text(made.text, encoding="utf-8")
    assert open_scenario(str(file)) == scenario, "comments aside"
    assert whole(scenario) == scenario, "nothing of it is derived anew"
    assert made.text.count("#") >= 15
    told = " ".join(made.lines)
    for word in ("200 people", "half of all returns", "epsilon", "roughly"):
        assert word in told
    people = population_of(scenario)
    assert (people.n_users, people.n_steps, people.simulated) == (200, 120, False)


def test_what_was_set_by_hand_stays(shop: Path) -> None:
    made = made_for(str(shop), 160, ["privacy.rounds=3", "protocol.lapse_steps=15", "data.file.zone=Europe/Paris"])
    scenario = made.scenario
    assert scenario.data.users == 160 and scenario.privacy.rounds == 3
    assert scenario.protocol is not None and scenario.protocol.lapse_steps == 15
    assert scenario.data.file is not None and scenario.data.file.zone == "Europe/Paris"


def test_too_few_people_are_told_how_many_would_do(shop: Path) -> None:
    with pytest.raises(ConfigError, match="expected 150 people or more for private training, got 20"):
        made_for(str(shop), 20)
    assert made_for(str(shop), 20, ["privacy.noise_multiplier=1"]).scenario.data.users == 20
    with pytest.raises(ConfigError, match="expected data.users <= 200, the people of your data, got 201"):
        made_for(str(shop), 201)


@given(st.text(max_size=80))
@examples(100)
def test_any_file_name_makes_a_name_of_a_scenario(text: str) -> None:
    Scenario(name=name_of("folder/" + text.replace("\0", "")))


@given(st.text(max_size=40), st.dictionaries(st.text(min_size=1, max_size=12), st.just("view"), max_size=3))
@examples(100)
def test_whatever_a_log_calls_things_the_file_of_its_scenario_can_be_read(text: str, events: dict[str, str]) -> None:
    data = {"name": "file", "path": text, "file": {"user": text, "events": events}}
    scenario = scenario_of({"name": "any", "about": text, "data": data}, (), "any")
    written = scenario_text(scenario, {"": (text,), "data": (text, "two\nlines")})
    assert scenario_of(tomllib.loads(written), (), "any") == scenario
