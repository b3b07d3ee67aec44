"""Controls: what the project's pages say MUST hold, the tests that they name for it, and how these went when they last ran.

The pages are the source: a sentence with MUST, and the next tests that its paragraph, point or row names. Results are the tests' own
report (JUnit XML), which `make test` leaves in `runs/`, and which says of which commit it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from shared.files import text_of

from ..case import PROJECT, Case, code
from ..fields import Field, FieldTable, Source, missing

PAGES: Final = ("ARCHITECTURE.md", "docs/privacy.md")
REPORT: Final = PROJECT / "runs" / "tests.xml"
#: A report of tests is no longer than this; expat, which reads it, bounds what entities grow to.
_MOST_BYTES: Final = 1 << 28
_TEST = re.compile(r"\(?\b(tests/[\w/]+\.py(?:::\w+)?)")
#: Behind which a sentence ends: a point, and what closes what is bold or in brackets.
_END = re.compile(r"(?<=[.])\s+|(?<=[.]\*\*)\s+|(?<=[.][)])\s+")
#: Words that are said of the word.
_THE_WORD = re.compile(r"\b(?:[Ee]very|[Ee]ach) MUST\b")


@dataclass(frozen=True)
class Control:
    """What must hold, in the words of a page, and the tests that it names, as pytest does."""

    page: str
    says: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """How tests went, by (module, name): "passed", "failed" or "skipped"; and of which commit, as far as the report knows."""

    commit: str
    outcomes: Mapping[tuple[str, str], str]

    def of(self, test: str) -> dict[str, str]:
        """Of the tests that a page names, a file or one test of it, how each went, by its name."""
        file, _, name = test.partition("::")
        module = file.removesuffix(".py").replace("/", ".")
        return {
            f"{module}::{one}": outcome
            for (where, one), outcome in self.outcomes.items()
            if (where == module or where.startswith(f"{module}.")) and (not name or one.split("[")[0] == name)
        }


def controls_tables(case: Case, report: Path = REPORT) -> list[FieldTable]:
    """A field for each control; `report`: of the tests."""
    went = read_report(report)
    found = [control for page in PAGES for control in controls_of(page)]
    fields = [_field(control, went, report) for control in found]
    return [
        FieldTable("controls", tuple(fields or [missing("controls", "the pages that state them are in a checkout")]))
    ]


def controls_of(page: str) -> list[Control]:
    """The controls that a page states, in its order; none if it is not here."""
    file = PROJECT / page
    return list(stated_in(page, text_of(file))) if file.is_file() else []


def stated_in(page: str, text: str) -> Iterator[Control]:
    """The controls of a page's text."""
    for block in _blocks(text):
        sentences = _END.split(block)
        for at, sentence in enumerate(sentences):
            if re.search(r"\b(?:MUST|MAY)\b", sentence) and not _THE_WORD.search(sentence):
                named = (_TEST.findall(later) for later in sentences[at:])
                yield Control(page, _plain(sentence), tuple(next((tests for tests in named if tests), ())))


def read_report(file: Path) -> Report | None:
    """The report in a file; None if there is none, or nothing that can be read."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            return None
        root = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    suites = [root] if root.tag == "testsuite" else root.findall("testsuite")
    outcomes = {
        (case.get("classname", ""), case.get("name", "")): _outcome(case)
        for suite in suites
        for case in suite.iter("testcase")
    }
    names = [suite.get("name", "").partition("@")[2] for suite in suites]
    return Report(next((name for name in names if name), "unknown"), outcomes) if outcomes else None


def _outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def _field(control: Control, went: Report | None, report: Path) -> Field:
    row = f"{control.page}: {control.says}"
    if not control.tests:
        return missing("control", "the page names no test that holds it", row)
    if went is None:
        return missing("control", f"no report of the tests: `make test` writes {_name_of(report)}", row)
    results = {test: went.of(test) for test in control.tests}
    if not all(results.values()):
        return missing(
            "control", "a test that the page names is not in the tests' last report: `make test` runs all", row
        )
    outcomes = {name: outcome for of in results.values() for name, outcome in of.items()}
    sources = (code(control.page), *(_test(test) for test in control.tests), *_report_source(report))
    return Field("control", "measured", _told(control, went, outcomes), sources, row)


def _told(control: Control, went: Report, outcomes: Mapping[str, str]) -> dict[str, Any]:
    """The last result, in numbers; failed and skipped tests by name."""
    count = {outcome: sum(one == outcome for one in outcomes.values()) for outcome in ("passed", "failed", "skipped")}
    worst = next((outcome for outcome in ("failed", "skipped") if count[outcome]), "passed")
    named = {
        f"{which}_tests": sorted(name for name, one in outcomes.items() if one == which)
        for which in ("failed", "skipped")
    }
    return {
        "result": worst,
        **count,
        **{name: tests for name, tests in named.items() if tests},
        "tests": list(control.tests),
        "commit": went.commit,
    }


def _test(name: str) -> Source:
    file = PROJECT / name.partition("::")[0]
    return Source("test", name, code(name.partition("::")[0]).sha256 if file.is_file() else None)


def _report_source(report: Path) -> tuple[Source, ...]:
    """The report, if it lies in the project; else the command that wrote it."""
    if report.is_relative_to(PROJECT):
        return (code(report.relative_to(PROJECT).as_posix()),)
    return (Source("command", "make test"),)


def _name_of(report: Path) -> str:
    return report.relative_to(PROJECT).as_posix() if report.is_relative_to(PROJECT) else report.name


def _blocks(text: str) -> Iterator[str]:
    """The paragraphs, points and table rows of a page, each in one line."""
    block: list[str] = []
    fenced = False
    for line in [*text.splitlines(), ""]:
        fenced ^= line.startswith("```")
        begins = not line.strip() or line.startswith(("|", "#", "```")) or re.match(r"\s*(?:[-*]|\d+\.) ", line)
        if begins and block:
            yield " ".join(block)
            block = []
        if line.strip() and not fenced and not line.startswith("#"):
            block.append(line.strip())


def _plain(sentence: str) -> str:
    """A sentence of a page as text: no marks, no cited tests, one cell of a table.

    >>> _plain("- **Once.** A round MUST be answered once (tests/client/test_gate.py).")
    'Once. A round MUST be answered once.'
    """
    cells = [cell for cell in sentence.split(" | ") if re.search(r"\b(?:MUST|MAY)\b", cell)]
    text = re.sub(r"\s*\(tests/[^)]*\)", "", cells[0])
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"\*\*|`|(?<!\w)\*|\*(?!\w)", "", text)
    return re.sub(r"^(?:[-|]|\d+\.)\s+|\s*\|$", "", text).strip()
