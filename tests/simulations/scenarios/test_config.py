"""Scenario files: what comes along is valid, and what is wrong is one clear line."""

import dataclasses
import math
from typing import get_args

import pytest
from scipy.stats import binom

from server.optimizer import ServerSettings
from shared.errors import ConfigError
from shared.events import Catalogue
from shared.plan import DETECTORS, Detection, LocalTraining, PrivacyPlan
from simulations.people.of_scenario import protocol_of
from simulations.scenarios.config import (
    PLANTED_PROTOCOL,
    SCENARIOS,
    DetectionSection,
    PrivacySection,
    Scenario,
    ServerSection,
    TrainingSection,
    load_scenario,
    with_path,
)

#: How many users the real data sets have.
N_USERS = {"complete-journey": 2456, "online-retail-ii": 4718, "ta-feng": 30_859, "ta-feng-days": 30_859}
NAMES = sorted(file.stem for file in SCENARIOS.glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_that_comes_along_gives_a_plan(name):
    scenario = load_scenario(name)
    plan = scenario.plan(protocol_of(scenario), Catalogue(("a", "b")), scenario.data.users or 2000, bytes(32))
    assert scenario.name == name
    assert plan.privacy.rounds == scenario.privacy.rounds
    assert plan.detection.lapse_steps == protocol_of(scenario).lapse_steps


@pytest.mark.parametrize("name", NAMES)
def test_a_round_of_a_shipped_scenario_is_hardly_ever_abandoned(name):
    """Everybody in every round, one in ten silent: fewer than `min_survivors` answer one round in a thousand at most.
    Of those, one in twenty of all devices may add no noise."""
    scenario = load_scenario(name)
    n_devices = scenario.data.users or N_USERS[scenario.data.name]
    plan = scenario.plan(protocol_of(scenario), Catalogue(("a", "b")), n_devices, bytes(32))
    assert scenario.simulation.dropout == scenario.privacy.dropout == 0.1
    for privacy in [kind.privacy for kind in plan.updates]:
        assert privacy.sampling_rate == 1
        assert binom.cdf(privacy.min_survivors - 1, n_devices, 0.9) <= 1e-3
        assert privacy.max_colluders == math.ceil(0.05 * n_devices)


def test_a_scenario_may_say_how_many_must_answer_and_how_many_may_collude():
    scenario = load_scenario("demo", ["privacy.min_survivors=200", "privacy.max_colluders=0"])
    privacy = scenario.plan(PLANTED_PROTOCOL, Catalogue(("a", "b")), 300, bytes(32)).privacy
    assert (privacy.min_survivors, privacy.max_colluders) == (200, 0)
    for n_devices in (1, 2, 5):
        few = load_scenario("demo").plan(PLANTED_PROTOCOL, Catalogue(("a", "b")), n_devices, bytes(32)).privacy
        assert few.min_survivors - few.max_colluders >= 1, "somebody's noise counts"


#: Sections, what they fill, and the fields that follow from something else than the section.
FILLED = [
    (TrainingSection, LocalTraining, set()),
    (PrivacySection, PrivacyPlan, {"population"}),
    (ServerSection, ServerSettings, set()),
    (DetectionSection, Detection, {"lapse_steps"}),
]


@pytest.mark.parametrize(("section", "filled", "elsewhere"), FILLED)
def test_a_section_has_the_fields_of_what_it_fills_and_their_defaults(section, filled, elsewhere):
    """But `history_steps`, of which 0 stands for all train steps, `takeoff_line`, of which it stands for none, and `max_colluders`, which
    follows from the devices."""
    fields = {field.name: field.default for field in dataclasses.fields(filled)}
    assert set(fields) - elsewhere <= set(section.model_fields)
    assert not elsewhere & set(section.model_fields)
    for name in set(fields) - elsewhere - {"history_steps", "takeoff_line", "max_colluders"}:
        if fields[name] is not dataclasses.MISSING:
            assert section.model_fields[name].default == fields[name], name


def test_a_scenario_may_name_every_detector():
    assert get_args(DetectionSection.model_fields["detector"].annotation) == DETECTORS


@pytest.mark.parametrize("name", NAMES)
def test_label_windows_of_train_and_test_never_overlap(name):
    protocol = protocol_of(load_scenario(name))
    assert protocol.train_at == protocol.train_steps[1] + protocol.horizon_steps < protocol.test_steps[0]
    assert protocol.test_steps[1] + protocol.horizon_steps < protocol.n_steps
    assert protocol.alert_steps[0] >= protocol.test_steps[0]
    assert protocol.lapse_train_steps[0] <= protocol.lapse_train_steps[1]
    assert protocol.lapse_train_steps[1] + protocol.lapse_steps <= protocol.alert_steps[0]
    assert protocol.alert_steps[0] <= protocol.lapse_test_steps[1] < protocol.n_steps - protocol.lapse_steps


def test_overrides_replace_one_value_and_keep_the_rest():
    scenario = load_scenario("demo", ["privacy.rounds=7", "data.path=some/where", "privacy.max_epsilon=inf"])
    assert (scenario.privacy.rounds, scenario.data.path, scenario.privacy.max_epsilon) == (7, "some/where", math.inf)
    assert scenario.detection == load_scenario("demo").detection


def test_a_path_is_one_more_override_whatever_is_in_it():
    told = with_path(["data.users=9"], 'a "b"')
    assert told == ["data.users=9", 'data.path="a \\"b\\""'] and with_path(None, "") == []
    assert load_scenario("demo", told).data.path == 'a "b"'


def test_a_scenario_goes_round_as_json_infinity_included():
    scenario = load_scenario("demo")
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("privacy.clipnorm=1", "unknown key privacy.clipnorm; expected one of clip_norm"),
        ("privacy.rounds=many", "privacy.rounds: input should be a valid integer, got 'many'"),
        ("privacy.rounds=1.5", "privacy.rounds"),
        ("data.users=-1", "data.users: input should be greater than or equal to 0, got -1"),
        ("data.name=elsewhere", "data.name: input should be 'planted'"),
        ("nowhere.key=1", "unknown key nowhere"),
        ("name=1", "name"),
        ("rounds", "expected --set section.key=value, got 'rounds'"),
        ("=3", "expected --set section.key=value"),
        ("name.deeper=1", "name is not a table"),
    ],
)
def test_a_wrong_override_is_one_clear_line(override, says):
    with pytest.raises(ConfigError) as caught:
        load_scenario("demo", [override])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["clip_norm", "noise_multiplier", "sampling_rate", "delta", "max_epsilon"])
def test_a_negative_number_of_privacy_is_refused_with_its_value(key):
    scenario = load_scenario("demo", [f"privacy.{key}=-0.5"])
    with pytest.raises(ConfigError, match=f"{key}.*got -0.5"):
        scenario.plan(protocol_of(scenario), Catalogue(("a",)), 300, bytes(32))


def test_unknown_scenarios_and_broken_files_say_what_there_is(tmp_path):
    with pytest.raises(ConfigError, match="expected a scenario .*demo.* got 'nothing'"):
        load_scenario("nothing")
    (tmp_path / "broken.toml").write_text("name = [")
    with pytest.raises(ConfigError, match="broken.toml is not valid TOML"):
        load_scenario(str(tmp_path / "broken.toml"))
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(ConfigError, match="missing key name"):
        load_scenario(str(tmp_path / "empty.toml"))


def test_a_section_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        PrivacySection().rounds = 3


def test_a_path_of_bytes_that_are_no_text_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"expected --path as text, got '/data/\\udce9'"):
        with_path([], "/data/\udce9")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_a_scenario_is_read_however_an_editor_saved_it_or_refused_by_name(tmp_path, encoding):
    file = tmp_path / "mine [x].toml"
    file.write_bytes((SCENARIOS / "demo.toml").read_bytes() + "# é\n".encode())
    text = file.read_text(encoding="utf-8")
    file.write_bytes(text.encode(encoding))
    if encoding == "latin-1":
        with pytest.raises(ConfigError, match="mine \\[x\\].toml is not valid TOML: expected a text in UTF-8"):
            load_scenario(str(file))
    else:
        assert load_scenario(str(file)) == load_scenario("demo")
