"""The report and the table say what the results say, to anybody, without loading anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from shared.messages import REGISTER, REQUESTS
from simulations.baselines.interest_models import POOLED_DNN, POOLED_LR, RECENCY_FREQUENCY
from simulations.evaluation.results import Results, UtilityPoint
from simulations.report import alert_plots, plots, report
from simulations.report.format import THIN_SPACE, compact, duration, grouped, percent
from simulations.report.report import base_log_loss, odds_factor, render, write_report
from simulations.report.summary import IDEAL_SUM, ONE_KIND, result_rows
from tests.world.run_results import (
    LEARNS,
    baseline,
    changed,
    lapse,
    made_up,
    make_results,
    utility_point,
    with_everything,
    with_nothing_known,
)


class Outline(HTMLParser):
    """What a browser would make of a page: its text, its tags with their attributes, and tags left open."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


MADE: dict[str, Callable[[], Results]] = {
    "planted": make_results,
    "real": lambda: make_results(simulated=False),
    "nothing known": with_nothing_known,
    "everything": with_everything,
}


@cache
def made(name: str) -> str:
    return render(MADE[name]())


@pytest.fixture(params=list(MADE))
def page(request: pytest.FixtureRequest) -> str:
    return made(request.param)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages without their drawings, which take most of the time."""
    names = ("answer", "curve", "round", "roc", "calibration", "alerts", "detectors", "risk", "utility")
    drawn = {**dict.fromkeys(names, "(drawing)"), "users": ["(drawing)"] * 3}
    monkeypatch.setattr(report, "drawings", lambda _: drawn)


def test_a_page_says_what_the_server_learns(page: str) -> None:
    outline = Outline(page)
    assert not outline.open
    assert f"<strong>the server learns: {LEARNS}</strong>" in page
    assert "What never leaves" in outline.text
    for tag in ("html", "h1", "title"):
        assert sum(t == tag for t, _ in outline.tags) == 1


def test_a_run_of_hosted_devices_says_that_no_key_was_exchanged(undrawn: None) -> None:
    said = f"{LEARNS} ({IDEAL_SUM})"
    for fidelity, is_ideal in (("devices", False), ("hosts", True)):
        results = make_results(fidelity=fidelity)
        text = Outline(report.render(results)).text
        assert (said in text) == (dict(result_rows(results))["what the server learns"] == said) == is_ideal
        assert (IDEAL_SUM in text) == is_ideal and LEARNS in text


def test_a_page_loads_nothing(page: str) -> None:
    assert "http:" not in page and "https:" not in page and "@import" not in page
    loads = {"script", "img", "iframe", "object", "embed", "link", "image", "video", "audio", "base", "form"}
    for tag, attributes in Outline(page).tags:
        assert tag not in loads
        assert not {"src", "srcset", "action", "data"} & set(attributes)
        assert (attributes.get("href") or attributes.get("xlink:href") or "#").startswith("#")
    assert all(target.startswith("#") for target in re.findall(r"url\((.*?)\)", page))
    assert "default-src 'none'" in page


def test_no_two_parts_of_a_page_share_an_id_and_every_reference_is_there(page: str) -> None:
    tags = Outline(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = {a["xlink:href"] for _, a in tags if a.get("xlink:href")} | set(re.findall(r"url\((#.*?)\)", page))
    assert {name[1:] for name in used if name} <= set(ids)
    assert {a["aria-labelledby"] for _, a in tags if "aria-labelledby" in a} <= set(ids)


def test_figures_have_captions_and_labels_and_tables_have_headers(page: str) -> None:
    tags = Outline(page).tags
    count = {name: sum(tag == name for tag, _ in tags) for name in ("figure", "figcaption")}
    assert count["figure"] == count["figcaption"] >= 2
    assert all(a.get("role") == "img" and a.get("aria-label") for tag, a in tags if tag == "svg")
    assert all(a.get("scope") in {"col", "row", "rowgroup"} for tag, a in tags if tag == "th")


def test_the_badge_is_of_the_data() -> None:
    assert '<p class="badge simulated">SIMULATED DATA</p>' in made("planted")
    real = made("real")
    assert "SIMULATED DATA" not in real
    assert '<p class="badge">real purchase histories, replayed</p>' in real
    assert "Chen, D." in real  # the licence of this data set asks for its author's name


def test_planted_data_draw_a_user_and_real_data_never_do() -> None:
    planted, real = Outline(made("planted")), Outline(made("real"))
    assert "interest in “coats”" in planted.text
    assert "▲ a rise on day 11 (low risk level), ▼ a fall on day 20 (medium risk level)." in planted.text
    assert "planted fall" in planted.text
    assert "Only planted changes count as true" in planted.text
    assert "No user is drawn. These are real people's purchases" in real.text
    assert "Nobody planted anything" in real.text


def test_a_drawn_user_s_reasons_are_shown_as_sentences(undrawn: None) -> None:
    text = Outline(render(make_results())).text
    assert "on day 20 (this never leaves a device): visits fell: 0, usually 3; no alert if 3." in text
    assert "on day 11 (this never" not in text


def test_a_user_without_alerts_or_scores_can_be_drawn(undrawn: None) -> None:
    results = changed(make_results(), {"example_users.0.alerts": [], "example_users.0.p": [None] * 26})
    assert "fall alert" not in alert_plots.drawn_user(results, 0, wide=False)
    assert "The device called nothing." in Outline(render(results)).text


def test_several_users_are_drawn_each_with_what_was_planted() -> None:
    user = made_up()["example_users"][0]
    rise = {**user, "category": "hats", "direction": "rise"}
    missed = {**user, "category": "shoes", "found": False, "alerts": []}
    page = render(make_results(example_users=[user, rise, missed]))
    text = Outline(page).text
    assert "planted a lasting rise that begins on day 15" in text and "A planted rise, and what the device made" in text
    assert "A planted fall that the device missed." in text and "interest in “shoes”" in text
    assert page.count("planted fall</text>") == 4 and page.count("planted rise</text>") == 2


def test_a_plan_s_budget_is_held_against_everybody(undrawn: None) -> None:
    text = Outline(render(make_results())).text
    assert "at most 3 false alerts per user in 182 days, falls and rises together" in text
    assert "within the 14 days that could be judged" in text
    s = THIN_SPACE
    assert f"level of p against one's own12{s}%".replace(s, " ") in text.replace("own 12", "own12")


def test_louder_and_quieter_settings_are_drawn_of_every_detector() -> None:
    drawing = alert_plots.detector_curves(make_results(), wide=True)
    for words in ("level of p against one's own (this run)", "change rate (the article's)", "recall of falls"):
        assert words in drawing or words.replace("'", "&#x27;") in drawing or words.replace("'", "&apos;") in drawing
    found = make_results()
    quiet = {
        f"alerts.curves.detectors.{i}.points": [point.model_dump() for point in curve.points[2:]]
        for i, curve in enumerate(found.alerts.curves.detectors)
    }
    silent = changed(found, quiet)
    assert "recall of falls" in alert_plots.detector_curves(silent, wide=False)
    assert "on the same p of 6 users" in Outline(made("planted")).text


def test_who_is_about_to_leave_is_said_with_and_without_phi() -> None:
    text = Outline(made("everything")).text
    assert "Two of its numbers were learned in private rounds" in text and "Reliability of phi." in text
    assert f"12{THIN_SPACE}%, and 5{THIN_SPACE}% among top-value users".replace(THIN_SPACE, " ") in text
    assert "of top-value users" in text and "recall is the share of lapses warned of in time" in text
    without = Outline(render(make_results(simulated=False, lapse=lapse(phi=False)))).text
    assert "This plan learns no phi" in without and "Reliability of phi." not in without
    assert "Who is about to leave?" not in Outline(made("planted")).text


def test_the_report_counts_what_the_apps_would_have_done(undrawn: None) -> None:
    text = Outline(render(make_results())).text
    assert "What the apps would have done" in text and "small offer170" in text.replace(" 0", "0")


def test_what_cannot_be_computed_is_said_in_words() -> None:
    rows = dict(result_rows(with_nothing_known()))
    assert rows["interest AUC, on the devices"] == ONE_KIND and "beside it: recency" not in rows
    assert rows["fall alerts"] == "none in 14 days, and there was nothing to find"
    assert "–" not in "".join(rows.values())
    assert rows["epsilon to the public"] == "not private"
    text = Outline(made("nothing known")).text
    assert "No ROC curve" in text and "No calibration figure" in text and "No noise was added" in text
    few = "2 rounds were not opened: too few updates in their sums"
    dropped = f"1 reply was dropped: 1 × the device stayed silent, or it or its app failed. {few}."
    assert f"By the server: {dropped}" in text
    assert "None" not in text


def test_a_run_with_pooled_models_says_what_apart_and_private_cost() -> None:
    results = with_everything()
    rows = dict(result_rows(results))
    assert rows["gap to the better pooled model"] == "+0.0050 AUC (pooled DNN)"
    assert rows["AUC on users that never trained"] == "0.782 (3 users)"
    text = Outline(made("everything")).text
    assert "Gap: +0.0050 AUC" in text and "Users that never trained" in text and "For whom?" in text
    page = made("everything")
    assert '<td data-label="95 % interval">0.777 to 0.797</td><td data-label="AUC minus ours">+0.0050</td>' in page
    assert '<td data-label="95 % interval">−0.0050 to +0.0150</td><td data-label="log loss">0.520</td>' in page
    assert f'<td data-label="returning">20{THIN_SPACE}%</td><td data-label="AUC, ours">0.707</td>' in page


def test_a_run_without_pooled_models_leaves_their_sections_out() -> None:
    page = Outline(made("planted")).text
    for words in ("Gap:", "For whom?", "Utility against epsilon", "never trained"):
        assert words not in page
    assert "What is it worth beside other ways?" in page


def test_the_curve_is_drawn_with_the_rules_and_the_baselines_of_the_gap_only() -> None:
    assert plots.baselines_of_the_curve(with_everything()) == {
        POOLED_DNN: 0.787,
        POOLED_LR: 0.786,
        RECENCY_FREQUENCY: 0.755,
    }


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_utility_can_be_a_file(kind: str, tmp_path: Path) -> None:
    one, two = tmp_path / f"one.{kind}", tmp_path / f"two.{kind}"
    for file in (one, two):
        plots.save_utility_figure(with_everything().utility.points, file)
    assert one.read_bytes() == two.read_bytes()
    if kind == "svg":
        assert "var(--" not in one.read_text() and "pooled model, no privacy" in one.read_text()


def test_utility_says_that_it_is_not_of_this_run(undrawn: None) -> None:
    results = with_everything()
    text = Outline(render(results)).text
    assert "Not of this run: measured beforehand on everybody in this data set" in text and "dotted" in text
    text = Outline(render(changed(results, {"utility.published": False}))).text
    assert "a sweep over its scenario" in text and "measured beforehand" not in text and "dotted" not in text


def test_cpu_stands_beside_bytes_and_the_commit_with_the_versions(undrawn: None) -> None:
    results = with_everything()
    assert dict(result_rows(results))["CPU per device, simulated here"] == "1.23 ms a round, 0.0421 s in the whole run"
    text = Outline(render(results)).text
    assert "it worked 1.23 ms in a round of p" in text and "commit0123abc" in text
    unknown = changed(results, {"cpu": {"round_ms": None, "s_per_device": None}})
    assert "CPU" not in Outline(render(unknown)).text


def test_utility_of_one_point_can_be_drawn() -> None:
    private, quiet = (UtilityPoint(**utility_point(epsilon, 0.78, 0.001, None)) for epsilon in (0.75, None))
    assert "federated model" in plots.utility_figure([private], wide=True)
    assert "no noise" in plots.utility_figure([quiet], wide=False)


def test_values_are_escaped() -> None:
    evil = '<script>alert("x")</script> & $x$'
    results = changed(
        make_results(name=evil, about=evil, made_with={evil: evil}),
        {
            "example_users.0.category": evil,
            "baselines.3": {**baseline("recency", 0.7, ahead=-0.1), "name": evil},
            "alerts.detector": evil,
        },
    )
    outline = Outline(render(results))
    assert not any(tag == "script" for tag, _ in outline.tags)
    assert outline.text.count(evil) >= 6


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_report(make_results(), file)
    assert file.read_bytes() == made("planted").encode()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_report_that_cannot_be_made_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report.html"
    file.write_text("old")
    monkeypatch.setattr(report, "drawings", {}.__getitem__)
    with pytest.raises(TypeError):
        write_report(make_results(), file)
    assert file.read_text() == "old"


def test_every_message_of_the_register_can_be_listed(undrawn: None) -> None:
    counted = {name: {"messages": 3, "bytes": 60} for name in (*REGISTER, *REQUESTS)}
    results = changed(make_results(), {"traffic.by_message": counted})
    text = Outline(render(results)).text
    came, left = text.split("▲ left the devices")
    assert all(name in came for name in REQUESTS) and all(name in left for name in REGISTER)
    assert "says: step, alerts (direction, category, level, step, model_round)" in left


def test_the_result_table() -> None:
    s = THIN_SPACE
    assert result_rows(make_results()) == [
        ("devices and data", "8 devices, planted (simulated people)"),
        ("interest AUC, on the devices", "0.832"),
        ("beside it: recency + frequency (pooled LR)", "0.814"),
        ("beside it: frequency", "0.810"),
        ("beside it: recency", "0.762"),
        ("calibration error", "0.080"),
        ("detector that called", "level of p against one's own"),
        ("fall alerts", f"precision 25{s}%, recall 50{s}%, delay 11.5 days (median), 0.38 false per user in 14 days"),
        ("rise alerts", f"precision 25{s}%, recall 50{s}%, delay 11.5 days (median), 0.38 false per user in 14 days"),
        ("one simulated user was told", "fall in coats, day 20: visits fell: 0, usually 3; no alert if 3"),
        ("epsilon to the public", "9.08 (delta 1e-05)"),
        ("epsilon to the server and the seats", "the same: everybody is in every round, nothing rests on who was not"),
        ("of that, update alone", "9.08 (2 rounds, noise multiplier 1)"),
        ("by the Rényi bound, all together", "10.3"),
        ("if a sum is broken, one message", "90.8 update"),
        ("what the server learns", LEARNS),
        ("rounds are added up by", "3 helpers"),
        ("owners' caps on a device", "lifted in this scenario"),
        ("declined, consent aside", "none"),
        ("bytes per device and round", f"5{s}850 down, 5{s}837 up"),
        ("bytes per device, whole run", f"94{s}622 down, 46{s}964 up"),
        ("people and devices, on this disk", "1.26 MB, 158 kB for each"),
    ]
    text = Outline(made("planted")).text
    assert all(name in text and " ".join(value.split()) in text for name, value in result_rows(make_results()))


def test_reasons_are_shown_of_an_alert_that_is_right_and_of_simulated_people_only() -> None:
    row = "one simulated user was told"
    results = make_results()
    assert row in dict(result_rows(results))
    assert row not in dict(result_rows(changed(results, {"simulated": False})))
    alert = made_up()["example_users"][0]["alerts"][0]
    for wrong in ({"step": 14}, {"step": 24}, {"direction": "rise"}, {"reasons": []}):
        other = changed(results, {"example_users.0.alerts": [{**alert, **wrong}]})
        assert row not in dict(result_rows(other))


def test_a_report_has_tables_of_rises_and_of_what_was_never_bought_where_there_are() -> None:
    text = Outline(made("everything")).text
    assert "In 6 % of them a take-off followed" in text and "2 % of them are touched within 2 weeks" in text
    assert "a category that the user knew and that had at most 2 active ones" in text and "+0.0101 to +0.0145" in text
    for asked in ("What is about to take off?", "What will somebody touch for the first time?"):
        assert asked in text and asked not in Outline(made("planted")).text


def test_how_numbers_are_written() -> None:
    assert [percent(v) for v in (0.0, 0.004, 0.1, 1.0)] == [f"{n}{THIN_SPACE}%" for n in ("0", "0.4", "10", "100")]
    assert [duration(v, "week") for v in (0.0, 1.0, 1.5)] == ["0 weeks", "1 week", "1.5 weeks"]
    assert grouped(1_234_567.8) == f"1{THIN_SPACE}234{THIN_SPACE}568"
    assert [compact(v) for v in (0.7512, 24.3816, 1234.5)] == ["0.751", "24.4", f"1{THIN_SPACE}234"]
    odds = [None, "1", "2.1", f"8{THIN_SPACE}800", "more than a million"]
    assert [odds_factor(v) for v in (None, 0.0, 0.75, 9.0814, 50.0)] == odds
    assert base_log_loss(0.5) == pytest.approx(np.log(2)) and base_log_loss(1.0) == 0


def test_halves_of_the_alerts_share_a_scale_unless_one_would_vanish(undrawn: None) -> None:
    results = make_results()
    assert alert_plots.alert_scales(results) == {"fall": 3, "rise": 3}
    assert "different scales" not in render(results)
    results = changed(results, {"alerts.by_step.rise": [200] * 14})
    assert alert_plots.alert_scales(results) == {"fall": 2, "rise": 200}
    assert "different scales" in render(results)
