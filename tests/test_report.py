"""The report and the table say what the results say, to anybody, without loading anything."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.messages import REGISTER, REQUESTS
from simulations import figures, report
from simulations.report import base_log_loss, odds_factor, render, write_report
from simulations.table import THIN_SPACE, compact, duration, grouped, percent, result_rows

NOT_PROTECTED = "not protected (no secure aggregation yet)"
Results = dict[str, Any]


def judged(alerts: int = 20, **changes: Any) -> Results:
    figures = {"precision": 0.25, "recall": 0.5, "median_delay_steps": 11.5, "false_per_user": 0.375}
    return {"alerts": alerts, "turns": 10, **figures, **changes}


def make_results(*, simulated: bool = True, **changes: Any) -> Results:
    """Results of a small run, of planted data or of purchases; the arguments replace whole sections."""
    nothing = {"precision": None, "recall": 0.0, "median_delay_steps": None, "false_per_user": 0.0}
    beside = {"change rate (the article's)": judged(33), "silence of 10 steps": judged(0, **nothing)}
    p = [None] * 10 + [0.9] * 8 + [0.7, 0.5, 0.3, 0.2, 0.1, 0.1] + [None] * 2
    return {
        "name": "small",
        "about": "eight people",
        "simulated": simulated,
        "data": "planted" if simulated else "online-retail-ii",
        "devices": 8,
        "categories": 4,
        "step": "day" if simulated else "week",
        "fidelity": "devices",
        "identified_share": 0.3,
        "protocol": {
            "window_steps": 6,
            "horizon_steps": 3,
            "lapse_steps": 5,
            "train_steps": [6, 9],
            "test_steps": [10, 23],
            "alert_steps": [10, 23],
        },
        "plan": {
            "horizon_steps": 3,
            "parameters": 1441,
            "hidden": [32, 16],
            "clip_norm": 0.1,
            "noise_multiplier": 1.0,
            "sampling_rate": 0.2,
            "rounds": 2,
            "population": 8,
            "min_survivors": 2,
            "max_colluders": 0,
            "steps_per_clip": 4096,
            "delta": 1e-5,
            "learning_rate": 0.3,
            "detection": {
                "detector": "own_level",
                "rate_window_steps": 2,
                "rate_threshold": 0.05,
                "fall_level": 0.15,
                "rise_level": 0.85,
                "own_span_steps": 42,
                "fall_margin": 1.5,
                "rise_margin": 2.0,
                "min_active_steps": 4,
                "lapse_steps": 5,
                "quiet_steps": 5,
            },
            "sha256": "ab" * 32,
        },
        "interest": {
            "rows": 1234,
            "base_rate": 0.5,
            "auc": 0.83186,
            "log_loss": 0.52372,
            "calibration_error": 0.07952,
            "rows_without_score": 0,
            "baselines": {"recency": 0.762, "frequency": 0.81, "recency + frequency (pooled LR)": 0.8142},
            "roc": {"false_positive_rate": [0.0, 0.2, 1.0], "true_positive_rate": [0.0, 0.7, 1.0]},
            "calibration": [{"mean_p": d / 10, "share": d / 11} for d in range(1, 10)],
        },
        "learning_curve": [{"round": i, "auc": 0.4 + 0.2 * i} for i in range(3)],
        "alerts": {
            "detector": "level of p against one's own",
            "steps": 14,
            "first_step": 10,
            "by_step": {"fall": [1, 2] * 7, "rise": [0, 3] * 7},
            "fall": {**judged(21), "beside": beside},
            "rise": {**judged(), "beside": beside},
        },
        "privacy": {
            "rounds_charged": 2,
            "rounds_planned": 2,
            "delta": 1e-5,
            "epsilon_rdp": 10.3185,
            "epsilon_to_public": 9.0814,
            "epsilon_unamplified": 24.3816,
            "likely_participations": 16,
            "to_server": NOT_PROTECTED,
            "plan_sha256": "ab" * 32,
            "identified_alerts": 135,
        },
        "traffic": {
            "round_down_bytes": 5850.4,
            "round_up_bytes": 5837.4,
            "query_up_bytes": 27.5,
            "down_bytes_per_device": 94621.9,
            "up_bytes_per_device": 46963.6,
            "by_message": {
                "model_offer": {"messages": 16, "bytes": 381_680},
                "train_request": {"messages": 5, "bytes": 29_252},
                "update": {"messages": 5, "bytes": 29_187},
                "alerts": {"messages": 72, "bytes": 1_980},
            },
            "dropped": {},
        },
        "example_user": {
            "category": "coats",
            "count": [1.0, 0.4, 0.0, 2.2] * 6 + [0.0, 0.0],
            "p": p,
            "change_step": 15,
            "alerts": [{"step": 20, "direction": "fall", "level": 1}, {"step": 11, "direction": "rise", "level": 0}],
        }
        if simulated
        else None,
        "seconds": {"federation": 71.3},
        "made_with": {"ebbtide": "0.1.0", "python": "3.11"},
        **changes,
    }


def with_nothing_known() -> Results:
    """A run that cost no privacy budget to speak of and found nothing: every figure that may be None is."""
    results = copy.deepcopy(make_results(example_user=None))
    results["interest"].update(auc=None, baselines={"recency": None, "frequency": None}, calibration=[])
    results["interest"]["roc"] = {"false_positive_rate": [float("nan")], "true_positive_rate": [0.0]}
    results["learning_curve"] = [{"round": i, "auc": None} for i in range(3)]
    empty = judged(0, turns=0, precision=None, recall=None, median_delay_steps=None, false_per_user=0.0)
    results["alerts"].update(by_step={"fall": [0] * 14, "rise": [0] * 14})
    results["alerts"].update({way: {**empty, "beside": {}} for way in ("fall", "rise")})
    results["privacy"].update(epsilon_to_public=None, epsilon_unamplified=None, epsilon_rdp=None)
    results["traffic"]["dropped"] = {"round_few_survivors": 2, "error": 1}
    results["seconds"] = {}
    return results


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
    names = ("curve", "roc", "calibration", "alerts", "user")
    monkeypatch.setattr(report, "drawings", lambda _: dict.fromkeys(names, "(drawing)"))


def test_a_page_says_that_the_server_sees_everything_and_prints_every_row(page: str) -> None:
    outline = Outline(page)
    assert not outline.open
    assert f"<strong>to the server: {NOT_PROTECTED}</strong>" in page
    assert "What never leaves" in outline.text
    for tag in ("html", "h1", "title"):
        assert sum(t == tag for t, _ in outline.tags) == 1


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
    assert "planted change" in planted.text
    assert "Only planted changes count as true" in planted.text
    assert "No user is drawn. These are real people's purchases" in real.text
    assert "Nobody planted anything" in real.text


def test_a_user_without_alerts_or_scores_can_be_drawn(undrawn: None) -> None:
    user = {**make_results()["example_user"], "alerts": [], "p": [None] * 26}
    results = make_results(example_user=user)
    assert "fall alert" not in figures.example_user(results, wide=False)
    assert "The device called nothing." in Outline(render(results)).text


def test_what_cannot_be_computed_reads_as_a_dash() -> None:
    rows = dict(result_rows(with_nothing_known()))
    assert rows["interest AUC, on the devices"] == rows["beside it: recency"] == "–"
    assert rows["fall alerts"] == "precision –, recall –, delay – (median), 0.00 false per user in 14 days"
    assert rows["epsilon to the public"] == "not private (no noise)"
    text = Outline(made("nothing known")).text
    assert "No ROC curve" in text and "No calibration figure" in text
    assert "No noise was added" in text
    assert "Dropped by the server: 2 × round few survivors, 1 × error." in text
    assert "nan" not in re.findall(r"\w+", text.lower()) and "None" not in text


def test_values_are_escaped() -> None:
    evil = '<script>alert("x")</script> & $x$'
    results = make_results(name=evil, about=evil)
    results["example_user"]["category"] = evil
    results["interest"]["baselines"][evil] = 0.7
    results["alerts"]["detector"] = evil
    results["made_with"][evil] = evil
    outline = Outline(render(results))
    assert not any(tag == "script" for tag, _ in outline.tags)
    assert outline.text.count(evil) >= 6


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_report(make_results(), file)
    assert file.read_bytes() == made("planted").encode()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_report_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("old")
    broken = make_results()
    del broken["privacy"]["to_server"]
    with pytest.raises(KeyError):
        write_report(broken, file)
    assert file.read_text() == "old"


def test_every_message_of_the_register_can_be_listed(undrawn: None) -> None:
    results = make_results()
    results["traffic"]["by_message"] = {name: {"messages": 3, "bytes": 60} for name in (*REGISTER, *REQUESTS)}
    text = Outline(render(results)).text
    came, left = text.split("▲ left the devices")
    assert all(name in came for name in REQUESTS) and all(name in left for name in REGISTER)
    assert "says: step, alerts (direction, category, level, step, model_round)" in left


def test_the_result_table() -> None:
    s = THIN_SPACE
    assert result_rows(make_results()) == [
        ("devices and data", "8 devices, planted (simulated people)"),
        ("interest AUC, on the devices", "0.832"),
        ("beside it: recency", "0.762"),
        ("beside it: frequency", "0.810"),
        ("beside it: recency + frequency (pooled LR)", "0.814"),
        ("calibration error", "0.080"),
        ("fall alerts", f"precision 25{s}%, recall 50{s}%, delay 11.5 days (median), 0.38 false per user in 14 days"),
        ("rise alerts", f"precision 25{s}%, recall 50{s}%, delay 11.5 days (median), 0.38 false per user in 14 days"),
        ("epsilon to the public", "9.08 (delta 1e-05)"),
        ("to the server", NOT_PROTECTED),
        ("bytes per device and round", f"5{s}850 down, 5{s}837 up"),
        ("bytes per device, whole run", f"94{s}622 down, 46{s}964 up"),
    ]
    text = Outline(made("planted")).text
    assert all(name in text and " ".join(value.split()) in text for name, value in result_rows(make_results()))


def test_how_numbers_are_written() -> None:
    assert [percent(v) for v in (0.0, 0.004, 0.1, 1.0)] == [f"{n}{THIN_SPACE}%" for n in ("0", "0.4", "10", "100")]
    assert [duration(v, "week") for v in (0.0, 1.0, 1.5)] == ["0 weeks", "1 week", "1.5 weeks"]
    assert grouped(1_234_567.8) == f"1{THIN_SPACE}234{THIN_SPACE}568"
    assert [compact(v) for v in (0.7512, 24.3816, 1234.5)] == ["0.751", "24.4", f"1{THIN_SPACE}234"]
    assert [odds_factor(v) for v in (None, 0.0, 0.75, 9.0814, 50.0)] == [
        None,
        "1",
        "2.1",
        f"8{THIN_SPACE}800",
        "more than a million",
    ]
    assert base_log_loss(0.5) == pytest.approx(np.log(2)) and base_log_loss(1.0) == 0


def test_the_change_rate_is_over_the_window() -> None:
    rate = figures.change_rate(np.array([np.nan, 0.3, 0.4, 0.6, 0.5]), 2)
    np.testing.assert_allclose(rate, [np.nan, np.nan, np.nan, 0.15, 0.05])
    assert np.isnan(figures.change_rate(np.array([0.1, 0.2]), 5)).all()


def test_halves_of_the_alerts_share_a_scale_unless_one_would_vanish(undrawn: None) -> None:
    results = make_results()
    assert figures.alert_scales(results) == {"fall": 3, "rise": 3}
    assert "different scales" not in render(results)
    results["alerts"]["by_step"]["rise"] = [200] * 14
    assert figures.alert_scales(results) == {"fall": 2, "rise": 200}
    assert "different scales" in render(results)
