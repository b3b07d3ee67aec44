"""The operator's answers: a template that answers nothing, and one line for whatever is no answer, without a word of it."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from simulations.evidence.declarations import MOST_LETTERS, MOST_TEXTS, QUESTIONS, answers_in, checked, template
from tests.world.basics import examples

EXAMPLES = {"text": "a text", "texts": ["one", "two"], "yes or no": True}


def test_the_template_answers_nothing_and_without_its_marks_everything(tmp_path):
    file = tmp_path / "operator.toml"
    file.write_text(template(), encoding="utf-8")
    assert answers_in(file) == {}
    bare = "\n".join(
        line[1:] if line.startswith("#") and line[1:2].isalpha() else line for line in template().splitlines()
    )
    file.write_text(bare, encoding="utf-8")
    assert list(answers_in(file)) == list(QUESTIONS) == list(tomllib.loads(bare))
    assert answers_in(file)["assessment_date"] == "2026-01-31"


@pytest.mark.parametrize(
    "line, expected",
    [
        ('controler = "secret"', "unknown key controler"),
        ('"a b" = "secret"', "unknown key a key of another form"),
        ("controller = 7", "controller: expected a text of 1 to 2,000"),
        ('controller = ["secret"]', "controller: expected a text"),
        ('controller = ""', "controller: expected a text of 1 to 2,000 characters, got an empty one"),
        ('controller = "   "', "got an empty one"),
        (f'controller = "{"s" * 2001}"', "controller: expected a text of 1 to 2,000 characters, got 2,001"),
        (r'controller = "secret\u0007"', "got control characters"),
        (r'controller = "secret\u202e"', "got control characters"),
        (r'recipients = ["fine", "\u001b[31m"]', "recipients: expected a list of 1 to 50"),
        ("recipients = []", "recipients: expected a list"),
        ('recipients = "secret"', "recipients: expected a list"),
        ('assessment_date = "2026-01-01"', "assessment_date: expected a date"),
        ("assessment_date = 2026-01-01T10:00:00", "assessment_date: expected a date"),
        ("pipl_sensitive = 1", "pipl_sensitive: expected true or false"),
        ('data_sector = "Magic"', "data_sector: expected one of Technology, "),
        ("[controller]\na = 1", "controller: expected a text"),
        ("controller = ", "expected answers in TOML"),
        ("controller = " + "[" * 5000, "expected answers in TOML"),
        ("\udcff", "expected answers in TOML, in UTF-8"),
    ],
)
def test_what_is_no_answer_is_named_in_one_line(line, expected, tmp_path):
    file = tmp_path / "operator.toml"
    file.write_text(line, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ConfigError) as refused:
        answers_in(file)
    said = str(refused.value)
    assert expected in said and "\n" not in said and "secret" not in said


def test_a_file_that_is_not_there_or_too_long_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="expected a file with answers"):
        answers_in(tmp_path / "none.toml")
    file = tmp_path / "long.toml"
    file.write_text("#" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="at most 1,048,576 bytes"):
        answers_in(file)


def test_lists_and_texts_are_bounded():
    assert checked({"recipients": ["x" * MOST_LETTERS] * MOST_TEXTS}, "here")
    for many in (["x"] * (MOST_TEXTS + 1), ["x" * (MOST_LETTERS + 1)], ["x", 1], ["x", ""]):
        with pytest.raises(ConfigError):
            checked({"recipients": many}, "here")
    assert checked({"controller": "one\ntwo, and ünï 中文"}, "here") == {"controller": "one\ntwo, and ünï 中文"}


@examples(100)
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_whatever_a_value_is_it_is_an_answer_or_refused_by_name(value):
    for key, question in QUESTIONS.items():
        try:
            answer = checked({key: value}, "here")[key]
        except ConfigError as error:
            assert str(error).startswith(f"here: {key}: expected {question.expects}")
        else:
            assert answer == value and question.kind != "date"
