"""The answer in words: what stands first on the command line and in a report, whatever a run found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.baselines.interest_models import EBBTIDE
from simulations.evaluation.answer import AVERAGE, BG_NBD, OWN_SILENCE, SILENCE, TWO_WINDOWS
from simulations.evaluation.verdict import LEAST_TURNS, Lack
from simulations.report.answer_plot import answer_picture
from simulations.report.answer_words import LACKS, RULES, answer_in_words, paragraph
from simulations.report.format import THIN_SPACE
from simulations.report.report import render
from simulations.report.summary import SHORT, result_rows, short_rows
from tests.simulations.report.test_report import Outline
from tests.world.answers import NOTHING, answer, rule, worth
from tests.world.basics import examples
from tests.world.run_results import changed, made_up, make_results, results_of, with_everything, with_nothing_known


def said_of(**changes: Any) -> str:
    return paragraph(make_results(answer=answer(**changes)))


def test_every_verdict_says_what_to_do() -> None:
    assert said_of().startswith("Cannot tell: the difference to “silence” may be chance. The rule is free")
    assert said_of(verdict="use_it").startswith("Use it: at the same number of contacts it beats every simple rule")
    rules = {"rule": AVERAGE, "rules": [rule(AVERAGE, 125.0)]}
    said = said_of(verdict="use_rule", **rules)
    assert said.startswith("Use the rule on the device, no training needed: “average of activity over one window” (")
    assert "whose average activity over 6 days is lowest" in said
    assert "125 right warnings more a week than our 312 (95 % interval +25 to +225)" in said
    for lack, why in LACKS.items():
        assert said_of(verdict="not_enough", lack=lack).startswith(f"Not enough data to say: {why}.")
    assert set(LACKS) == set(get_args(Lack)) and set(RULES) == {AVERAGE, TWO_WINDOWS, SILENCE, OWN_SILENCE, BG_NBD}


def test_numbers_have_words_before_them() -> None:
    said = said_of().replace("\u202f", " ")
    assert (
        "Among 1 000 people the devices warn 1 250 times a week (here: 20 times in 2 weeks); 25 % (95 % interval 15 to 35)"
        in said
    )
    assert "Of the 10 times that somebody was about to leave a category it found 50 %" in said
    assert "half of them within 11.5 days of its beginning" in said
    assert "Privacy: epsilon 9.08 to whoever sees the models. A device pays 94.6 kB down and 47 kB up in all." in said
    lapse = said_of(ours=worth("ours", median_lead_steps=15.0))
    assert "half of them 15 days or more before the lapse was a fact" in lapse
    assert "over people alone" in said and "over people and 3 trainings" in said_of(trainings=3)
    apart = said_of(price={**answer()["price"], "auc_lost_to_pooled": 0.005})
    assert "cost 0.005 of AUC (how often two interests are put in the right order)" in apart


def test_the_next_step_is_a_command_or_more_data() -> None:
    said = answer_in_words(make_results()).next_step
    assert said == "ebbtide decide RUN --contacts-per-week 1250", "as many as were raised, per 1,000 people"
    assert answer_in_words(make_results(), "runs/mine").next_step.startswith("ebbtide decide runs/mine ")
    assert "more people" in answer_in_words(with_nothing_known()).next_step
    silent = {"verdict": "not_enough", "lack": "no_contacts", "weeks": 10.0}
    for turns, said in ((200, "ebbtide decide RUN --contacts-per-week 2500"), (LEAST_TURNS - 1, "more people")):
        results = make_results(answer=answer(**silent, ours=worth(EBBTIDE, 0, 0, 0, turns=turns)))
        assert said in answer_in_words(results).next_step


def test_the_command_line_has_a_dozen_rows_at_most() -> None:
    everything = with_everything()
    assert 6 <= len(short_rows(everything)) <= len(SHORT) == 12
    assert set(short_rows(everything)) <= set(result_rows(everything))


def test_the_answer_stands_before_every_table() -> None:
    for results in (make_results(), with_nothing_known(), make_results(simulated=False)):
        page = render(results)
        assert page.index('id="answer"') < page.index("<table")
        assert paragraph(results).split(". ")[0] in Outline(page).text
        assert page.count("<details>") == page.count("</details>") == page.count("</summary>") > 3


def test_variants_are_folded_away() -> None:
    page = render(with_everything())
    for words in ("Every score of lapses", "Epsilon by mechanism", "All numbers of the run", "By kind of user"):
        assert f"<summary>{words}" in page


def test_the_picture_has_ours_above_the_rule_and_is_not_drawn_of_nothing() -> None:
    drawn = answer_picture(make_results(), wide=False)
    assert drawn is not None and drawn.index("ours</text>") < drawn.index("silence</text>")
    assert answer_picture(with_nothing_known(), wide=True) is None
    alone = answer_picture(make_results(answer=answer(rule=None, rules=[])), wide=True)
    assert alone is not None and "silence" not in alone
    nobody = {"turns": 0, "found": 0, "recall": None}
    assert "found, and missed" not in answer_picture(
        make_results(answer=answer(ours=worth("ours", **nobody))), wide=True
    )


def emptied(section: Any, chosen: st.DataObject, path: str = "") -> Any:
    """A section in which some numbers that may be None are: those of `OPTIONAL`."""
    if isinstance(section, Mapping):
        return {
            key: None
            if key in OPTIONAL and ".ahead" not in path and chosen.draw(st.booleans(), label=f"{path}.{key}")
            else emptied(value, chosen, f"{path}.{key}")
            for key, value in section.items()
        }
    return (
        [emptied(value, chosen, f"{path}.{i}") for i, value in enumerate(section)]
        if isinstance(section, list)
        else section
    )


#: Keys of results whose value may be None.
OPTIONAL = {"auc", "base_rate", "log_loss", "calibration_error", "precision", "recall", "median_delay_steps"}
OPTIONAL |= {"median_lead_steps", "epsilon_to_public", "epsilon_to_server", "epsilon_bound", "epsilon_if_broken"}
OPTIONAL |= {"auc_lost_to_pooled", "budget", "rule", "lack", "federation"}
UNDRAWN = {
    "answer": None,
    **dict.fromkeys(("curve", "round", "roc", "calibration", "alerts", "detectors", "risk", "utility"), "x"),
}


@examples(25)
@given(st.data())
def test_no_number_that_is_missing_reads_as_none(data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulations.report.report.drawings", lambda _: {**UNDRAWN, "users": ["x"] * 3})
        results = results_of(emptied(made_up(), data))
        text = " ".join([Outline(render(results)).text, paragraph(results), *map(" ".join, short_rows(results))])
    assert "None" not in text and "nan" not in re.findall(r"\w+", text.lower())


SMALL: Mapping[str, Mapping[str, Any]] = {
    "no alerts but turns": {"answer.ours": {**NOTHING, "turns": 3}, "answer.rules": [], "answer.rule": None},
    "one turn, not found": {"answer.ours": worth("ours", turns=1, found=0)},
    "one contact": {"answer.ours": worth("ours", contacts=1, right=0)},
    "hosts": {"fidelity": "hosts", "sum": ""},
    "one user, one category": {"devices": 1, "categories": 1},
    "no messages": {"traffic.by_message": {}, "refused": {}},
}


@pytest.mark.parametrize("name", SMALL)
def test_small_cases_read_well(name: str) -> None:
    results = changed(make_results(), SMALL[name])
    said, text = paragraph(results), Outline(render(results)).text
    assert said.split(". ")[0] in text and "None" not in text and "–" not in said
    assert " 1 times" not in said and " 1 devices" not in text


def test_a_run_of_many_says_whom_its_tables_are_of() -> None:
    s, all_of_them, some = THIN_SPACE, make_results(), changed(make_results(), {"devices": 20_000, "looked_at": 5000})
    name, words = "users looked at", f"5{s}000 of 20{s}000, drawn at random"
    assert name not in dict(result_rows(all_of_them)) and name not in render(all_of_them)
    assert words in dict(result_rows(some))[name] and "alerts by day" in dict(result_rows(some))[name]
    assert f"It looks at 5{s}000 of 20{s}000 users, drawn at random." in answer_in_words(some).limits
    text = Outline(render(some)).text
    assert "of 5 000 users, drawn at random, the devices called" in text and "10 turns to find, 5 000 users" in text
