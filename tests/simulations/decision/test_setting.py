"""A decision goes into a scenario file and changes nothing else in it."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from simulations.decision.setting import toml_of, with_settings, write_setting
from simulations.scenarios.config import SCENARIOS, load_scenario
from tests.world.basics import examples

SHIPPED = sorted(SCENARIOS.glob("*.toml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_other_line_stays_with_its_comment(file):
    before = file.read_text(encoding="utf-8")
    after = with_settings(before, "detection", {"detector": "risk", "risk_line": 0.31}, "why")
    gone = set(before.splitlines()) - set(after.splitlines())
    assert all(line.split("=")[0].strip() in ("detector", "risk_line") for line in gone)
    assert after.count("# why") == 1
    assert tomllib.loads(after)["detection"]["risk_line"] == 0.31


@given(st.floats(1e-6, 1 - 1e-6))
@examples(50)
def test_a_line_comes_back_as_it_was(line):
    text = with_settings('name = "a"\r\n[data]\r\nusers = 9 # few\r\n', "detection", {"risk_line": line}, "why")
    assert tomllib.loads(text)["detection"] == {"risk_line": line} and "users = 9 # few\r\n" in text


def test_a_comment_behind_a_replaced_value_stays():
    text = with_settings("[detection]\nrisk_line = 0.5 # mine\n", "detection", {"risk_line": 0.25}, "why")
    assert "risk_line = 0.25 # mine" in text


@pytest.mark.parametrize("text", ["detection = {risk_line = 0.5}\n", "detection.risk_line = 0.5\n"])
def test_other_spellings_are_refused_not_broken(text):
    with pytest.raises(ConfigError, match="by hand"):
        with_settings(text, "detection", {"risk_line": 0.25}, "why")


def test_what_a_run_was_asked_for_is_a_scenario_again(tmp_path):
    asked = load_scenario("demo")
    write_setting({"detector": "risk", "risk_line": 0.3}, "why", asked, tmp_path / "a.toml")
    again = load_scenario(str(tmp_path / "a.toml"))
    assert again.detection.risk_line == 0.3
    assert again.model_copy(update={"detection": asked.detection}) == asked
    assert toml_of(asked)
