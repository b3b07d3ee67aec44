"""Controls come from the pages, name tests that are there, and are told with how these went, whatever that is."""

from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from simulations.evidence.tables import controls
from simulations.evidence.tables.controls import PAGES, controls_of, controls_tables, read_report, stated_in
from tests.world.cited import ROOT

PAGE = """# A page

Every MUST names its test. What is here MUST be a control, also *over*
two lines (tests/a/test_one.py,
tests/b/test_two.py). Nothing more.

- **Once.** A thing MUST happen. It is tested later (tests/a/test_one.py::test_it).
  That MUST be too; `x` says so.
1. A second point MAY not.

| a | It MUST hold (tests/a/test_one.py) | more |
| --- | --- | --- |
| b | nothing | (tests/a/test_one.py) |

```
what MUST not be read
```
"""


def test_a_control_is_a_sentence_with_the_next_tests_of_its_block():
    found = [(one.says, one.tests) for one in stated_in("page.md", PAGE)]
    assert found == [
        ("What is here MUST be a control, also over two lines.", ("tests/a/test_one.py", "tests/b/test_two.py")),
        ("A thing MUST happen.", ("tests/a/test_one.py::test_it",)),
        ("That MUST be too; x says so.", ()),
        ("A second point MAY not.", ()),
        ("It MUST hold", ("tests/a/test_one.py",)),
    ]


@pytest.mark.parametrize("page", PAGES)
def test_every_control_of_a_page_names_tests_that_are_there(page):
    found = controls_of(page)
    assert len(found) > 10 and len({one.says for one in found}) == len(found)
    for one in found:
        assert one.tests, one.says
        assert all((ROOT / test.partition("::")[0]).is_file() for test in one.tests)
    text = (ROOT / page).read_text(encoding="utf-8")
    words = text.count("MUST") + text.count(" MAY ")
    about = text.count("every MUST")
    assert sum(one.says.count("MUST") + one.says.count(" MAY ") for one in found) == words - about, "none is left out"


def report_of(file: Path, outcomes: dict[str, str], name: str = "ebbtide@0123abc") -> Path:
    """A report as pytest writes it."""
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(root, "testsuite", name=name)
    for test, outcome in outcomes.items():
        module, _, one = test.partition("::")
        case = ElementTree.SubElement(suite, "testcase", classname=module, name=one)
        if outcome != "passed":
            ElementTree.SubElement(case, outcome)
    ElementTree.ElementTree(root).write(file)
    return file


@pytest.fixture
def one_control(monkeypatch):
    """A page of one control, of one file of tests and one test of another file."""
    tests = ("tests/promises/test_noise.py", "tests/promises/test_form.py::test_one")
    monkeypatch.setattr(controls, "PAGES", ("docs/privacy.md",))
    monkeypatch.setattr(controls, "controls_of", lambda page: [controls.Control(page, "It MUST hold.", tests)])


def told(report: Path):
    (table,) = controls_tables(SimpleNamespace(), report)
    (field,) = table.fields
    assert field.row == "docs/privacy.md: It MUST hold."
    return field


NOISE, FORM = "tests.promises.test_noise", "tests.promises.test_form"
PASSED = {f"{NOISE}::test_a": "passed", f"{NOISE}.TestOf::test_b": "passed", f"{FORM}::test_one[x]": "passed"}


def test_how_tests_went_is_told_as_it_is(one_control, tmp_path):
    value = told(report_of(tmp_path / "r.xml", {**PASSED, f"{FORM}::test_other": "failure"})).value
    assert (value["result"], value["passed"], value["failed"], value["commit"]) == ("passed", 3, 0, "0123abc")
    for outcome, result in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        field = told(report_of(tmp_path / "r.xml", {**PASSED, f"{FORM}::test_one[y]": outcome}))
        assert field.state == "measured" and field.value["result"] == result
        assert field.value[f"{result}_tests"] == [f"{FORM}::test_one[y]"]
    both = {**PASSED, f"{NOISE}::test_c": "skipped", f"{NOISE}::test_d": "failure"}
    assert told(report_of(tmp_path / "r.xml", both)).value["result"] == "failed", "the worse of both"


@pytest.mark.parametrize("left_out", [NOISE, FORM])
def test_a_test_that_the_report_does_not_know_is_missing(one_control, tmp_path, left_out):
    fewer = {test: outcome for test, outcome in PASSED.items() if not test.startswith(left_out)}
    field = told(report_of(tmp_path / "r.xml", fewer))
    assert field.state == "missing" and "last report" in field.why


def test_without_a_report_or_with_a_damaged_one_every_control_is_missing(one_control, tmp_path):
    for data in (None, b"", b"<testsuites>", b"no xml", b"<testsuites/>", b"<a><b/></a>"):
        file = tmp_path / "r.xml"
        if data is not None:
            file.write_bytes(data)
        assert read_report(file) is None
        field = told(file)
        assert field.state == "missing" and "make test" in field.why


def test_a_control_without_a_test_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(controls, "PAGES", ("docs/privacy.md",))
    monkeypatch.setattr(controls, "controls_of", lambda page: [controls.Control(page, "It MUST hold.", ())])
    assert told(report_of(tmp_path / "r.xml", PASSED)).state == "missing"


def test_a_report_that_pytest_writes_is_read(pytestconfig, tmp_path):
    """Of a session of its own, with the options that the Makefile gives."""
    import subprocess
    import sys

    test = tmp_path / "test_three.py"
    test.write_text(
        "import pytest\ndef test_good(): pass\ndef test_bad(): assert False\n@pytest.mark.skip\ndef test_not(): pass\n"
    )
    file = tmp_path / "tests.xml"
    options = [
        "--junitxml",
        str(file),
        "-o",
        "junit_suite_name=ebbtide@0123abc-dirty",
        "-p",
        "no:cacheprovider",
        "--rootdir",
    ]
    subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path), str(test)], capture_output=True, check=False
    )
    report = read_report(file)
    assert report is not None and report.commit == "0123abc-dirty"
    assert sorted(report.outcomes.values()) == ["failed", "passed", "skipped"]


def test_the_makefile_leaves_the_report_where_it_is_looked_for():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"--junitxml {controls.REPORT.relative_to(ROOT).as_posix()}" in text and "ebbtide@" in text
