"""README and docs say what docs/figures.json says, to the digits shown."""

import json
from pathlib import Path

import pytest

from simulations.figures import save_utility_panels
from simulations.learning_figures import utility_points
from simulations.published import FIGURES_FILE, UTILITY_FILE, Figure, publish, quotes, read

ROOT = Path(__file__).parent.parent
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def matches(written: str, value: float) -> bool:
    """Whether a number as written is `value` at the digits shown (per cent is written as such)."""
    digits = len(written.partition(".")[2])
    return any(f"{value * scale:.{digits}f}" == written for scale in (1, 100))


@pytest.mark.parametrize("text", TEXTS, ids=lambda file: file.name)
def test_every_quoted_figure_is_the_file_s(text):
    figures = read()
    for written, key in quotes(text.read_text(encoding="utf-8")):
        assert key in figures, f"{text.name} quotes {key}, which docs/figures.json does not hold"
        assert matches(written, figures[key].value), f"{text.name} says {written} for {key}, not {figures[key].value}"


def test_the_readme_quotes_figures():
    assert len(list(quotes((ROOT / "README.md").read_text(encoding="utf-8")))) >= 10


def test_every_figure_says_where_it_comes_from():
    for key, figure in read().items():
        assert figure.command and figure.commit and figure.unit, key


def test_a_wrong_or_missing_digit_is_noticed():
    assert list(quotes("AUC **0.785** <!-- a.b --> and 94 563 <!-- c -->")) == [("0.785", "a.b"), ("94563", "c")]
    assert matches("0.785", 0.7849) and not matches("0.785", 0.7839)
    assert matches("32", 0.3151) and not matches("33", 0.3151)
    assert matches("94563", 94563.0)


def test_the_picture_of_utility_shows_the_file_s_figures(tmp_path):
    """Drawn again from docs/figures.json it is the same: `python -m simulations.published --only utility` makes both."""
    again, figures = tmp_path / "again.svg", read()
    names = ("complete-journey", "online-retail-ii")
    save_utility_panels({name: utility_points(figures, name) for name in names}, again)
    assert again.read_bytes() == UTILITY_FILE.read_bytes()


def test_publishing_adds_and_replaces(tmp_path, monkeypatch):
    file = tmp_path / "figures.json"
    monkeypatch.setattr("simulations.published.FIGURES_FILE", file)
    figure = Figure(1.0, None, "s", "", "make demo", "abc")
    publish({"b": figure})
    publish({"a": figure, "b": Figure(2.0, 0.1, "s", "x", "make demo", "abc")})
    assert list(json.loads(file.read_text())) == ["a", "b"]
    assert file != FIGURES_FILE
