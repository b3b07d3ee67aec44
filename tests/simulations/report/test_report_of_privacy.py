"""What a report says of privacy: epsilon to each who could look, and what attacks find beside it."""

from __future__ import annotations

import pytest

from simulations.report import report
from simulations.report.attacks import attacks
from simulations.report.figures_json import Published
from simulations.report.report import render
from simulations.report.summary import result_rows
from tests.simulations.report.test_report import Outline, undrawn
from tests.world.run_results import changed, make_results

__all__ = ["undrawn"]


def test_epsilon_is_told_to_whoever_sees_the_models_to_the_server_and_for_a_broken_sum(undrawn: None) -> None:
    sampled = changed(make_results(), {"privacy.by_bound": True, "privacy.epsilon_to_server": 24.3816})
    assert dict(result_rows(sampled))["epsilon to the server and the seats"] == "24.4 (a device in every round)"
    for results, said in ((sampled, "for a device in every round"), (make_results(), "The same number")):
        text = Outline(render(results)).text
        assert said in text and "if a sum is broken, one message" in text and "90.8" in text


def test_attacks_are_shown_beside_what_is_stated(undrawn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def number(value: float, baseline: str) -> Published:
        return Published(value, None, "epsilon", baseline, "", "")

    known = {
        "attack.told.demo.sum": number(0.477, "an opened sum: stated 1.02"),
        "attack.told.demo.sum.stated": number(1.0234, "an opened sum"),
        "attack.told.demo.sum.none": number(9.4, "no noise: stated 1.02"),
        "attack.told.demo.sum.none.stated": number(1.0234, "no noise"),
        "attack.told.elsewhere.sum": number(7.7, "other people"),
        "attack.told.elsewhere.sum.stated": number(7.7, "other people"),
        **{
            f"attack.update.bare.{m}": number(0.83, "unmasked; by chance 0.1")
            for m in ("rows", "returned", "told_apart")
        },
        **{f"attack.member.planned.{m}": number(0.541, "ours; by chance 0.5") for m in ("auc", "found")},
        **{f"attack.server.alone.{m}": number(1.0, "drops all (few)") for m in ("refused", "epsilon")},
    }
    found = attacks(known)
    assert found is not None
    assert [(row.about, row.stated, row.measured, row.weakened) for row in found.told] == [
        ("an opened sum", 1.0234, 0.477, False),
        ("no noise", 1.0234, 9.4, True),
    ]
    monkeypatch.setattr(report, "attacks", lambda: found)
    outline = Outline(render(make_results()))
    assert not outline.open
    for said in ("What attacks find", "0.477", "1.02", "9.4", "0.83", "0.541", "drops all (few)"):
        assert said in outline.text
    assert "other people" not in outline.text and "by chance 0." not in outline.text


def test_a_report_without_figures_has_no_attacks(undrawn: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert attacks({}) is None
    monkeypatch.setattr(report, "attacks", lambda: None)
    outline = Outline(render(make_results()))
    assert not outline.open and "What attacks find" not in outline.text
