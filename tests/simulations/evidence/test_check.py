"""`--check` makes every answer again: whatever is changed in a document, its files, the run or the code is named."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from server.state import TRAFFIC_FILE
from shared.errors import InputError
from simulations.evidence import case
from simulations.evidence.case import ACCOUNT, KEY, LOG, NOTE, RESULTS, SCENARIO, Case
from simulations.evidence.check import check, differences
from simulations.evidence.document import Answer, Document, bytes_of, document_of, read
from simulations.evidence.folder import write_folder
from simulations.evidence.writers import files_of
from simulations.federation.run_folder import RunFolder
from tests.world.basics import SOAK
from tests.world.ended_run import ended_run

ANSWERS = {"controller": "A Shop", "assessment_date": "2026-01-31", "recipients": ["nobody"], "pipl_sensitive": False}


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Path:
    """A run's folder with its evidence."""
    run = ended_run(tmp_path_factory.mktemp("run") / "run").path
    its = Case.of(run, ANSWERS)
    write_folder(run / "evidence", files_of(its, document_of(its)))
    return run


@pytest.fixture
def copy(told, tmp_path) -> Path:
    return Path(shutil.copytree(told, tmp_path / "copy"))


def findings(run: Path) -> list[str]:
    return [*check(run, run / "evidence").found]


def changed(run: Path, change) -> None:
    """The document with its plain form changed, as somebody would with an editor, who also makes the other files of it again."""
    file = run / "evidence" / "evidence.json"
    fields = json.loads(file.read_text(encoding="utf-8"))
    change(fields)
    document = Document.model_validate(fields)
    write_folder(run / "evidence", files_of(Case.of(run), document))
    assert file.read_bytes() == bytes_of(document)


def answers_of(fields: dict) -> list[dict]:
    return [answer for table in fields["tables"] for answer in table["answers"]]


def test_an_untouched_folder_holds_with_the_answers_that_it_holds(told):
    assert findings(told) == []
    assert read(told / "evidence" / "evidence.json").counts.declared == len(ANSWERS) + 1


def other(value):
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "!"
        case list():
            return [*value, 1]
        case dict():
            return {**value, "more": 1}
    raise AssertionError


def with_answers(document: Document, table: int, answers: list[Answer]) -> Document:
    tables = [*document.tables]
    tables[table] = tables[table].model_copy(update={"answers": answers})
    return document.model_copy(update={"tables": tables})


def test_every_answer_that_is_changed_is_named(told):
    """Measured and configured answers of the document in turn, a fifth of them or all: another value, another hash, another ground,
    left out."""
    whole, again, tried = read(told / "evidence" / "evidence.json"), document_of(Case.of(told, ANSWERS)), 0
    assert differences(whole, again) == []
    for number, table in enumerate(whole.tables):
        for at, answer in enumerate(table.answers):
            if answer.state not in ("measured", "configured") or (at % 5 and not SOAK):
                continue
            hashes = [source.model_copy(update={"sha256": "0" * 64}) for source in answer.sources]
            for change in (
                {"value": other(answer.value)},
                {"sources": hashes},
                {"state": "declared"},
                {"state": "missing", "value": None, "why": "because", "sources": []},
            ):
                answers = [*table.answers]
                answers[at] = Answer.model_validate({**dict(answer), **change})
                found = differences(with_answers(whole, number, answers), again)
                assert [line for line in found if line.startswith(f"{answer.name}: ")], (answer.name, change)
                tried += 1
            found = differences(with_answers(whole, number, [*table.answers[:at], *table.answers[at + 1 :]]), again)
            assert [line for line in found if line.startswith(f"{answer.name}: left out")]
    assert tried > 600


@pytest.mark.parametrize(
    "name, change",
    [
        ("privacy.epsilon_to_public", lambda answer: answer.update(value=0.1)),
        ("compute.parameters", lambda answer: answer.update(value=answer["value"] + 1)),
        ("stored.column[events.sealed]", lambda answer: answer.update(value="nothing")),
        ("reproduce.commit", lambda answer: answer.update(value="0000000")),
    ],
)
def test_a_changed_answer_with_files_made_of_it_is_named_by_the_whole_check(copy, name, change):
    changed(
        copy,
        lambda fields: change(
            next(a for a in answers_of(fields) if (a["key"] + (f"[{a['row']}]" if a["row"] else "")) == name)
        ),
    )
    assert [line for line in findings(copy) if line.startswith(f"{name}: ")]


def test_an_answer_more_and_one_twice_are_named(copy):
    def more(fields):
        fields["tables"][0]["answers"].append({**answers_of(fields)[0], "key": "invented"})

    changed(copy, more)
    assert any(line == "invented: nothing says this" for line in findings(copy))
    changed(copy, lambda fields: fields["tables"][0]["answers"].append(answers_of(fields)[0]))
    assert any("two answers have one name" in line for line in findings(copy))


def test_a_measured_answer_cannot_be_declared_instead_and_no_question_invented(copy):
    def swapped(fields):
        for answer in answers_of(fields):
            if answer["key"] == "privacy.epsilon_to_public":
                answer.update(
                    state="declared",
                    value=0.01,
                    sources=[{"kind": "operator", "name": "x", "sha256": None, "at": None}],
                )
            if answer["key"] == "operator.contact":
                answer.update(key="operator.invented", state="declared", value="x", why="",
                              sources=[{"kind": "operator", "name": "x", "sha256": None, "at": None}])  # fmt: skip

    changed(copy, swapped)
    found = findings(copy)
    assert any(line.startswith("privacy.epsilon_to_public: told as declared") for line in found)
    assert any(line.startswith("operator.invented: declared, and no answer") for line in found)


HEADS = {"run": "another", "commit": "0000000", "simulated": False, "blanks": [], "plan_sha256": "00", "about": "x"}


@pytest.mark.parametrize("key", HEADS)
def test_what_stands_at_the_head_is_the_run_s(copy, key):
    changed(copy, lambda fields: fields.update({key: HEADS[key]}))
    assert f"evidence.json: {key} is not the run's" in findings(copy)


def test_counts_and_the_order_of_tables_are_made_again(copy):
    def counted(fields):
        fields["counts"]["missing"] -= 1
        fields["tables"].reverse()

    changed(copy, counted)
    assert findings(copy)


@pytest.mark.parametrize(
    "name, expected",
    [
        (RESULTS, "log: results.json is not what the log says"),
        (SCENARIO, "log: scenario.json is not what the log says"),
        (ACCOUNT, "account.json is not what the log says"),
        (LOG, "log: "),
        (NOTE, "log: run_log.checkpoint"),
        (KEY, "log: "),
    ],
)
def test_a_changed_source_of_the_run_is_named(copy, name, expected):
    file = copy / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert any(expected in line for line in findings(copy))


def test_a_source_that_is_changed_and_vouched_for_again_is_named_by_each_answer_that_quotes_it(copy, monkeypatch):
    """Who holds the server's key can sign another log: then the answers tell."""
    run = RunFolder(copy)
    results = json.loads(run.results_file.read_text())
    results["plan"]["parameters"] += 1
    run.results_file.write_text(json.dumps(results))
    run.vouch()
    found = findings(copy)
    assert any(line.startswith("compute.parameters: not what results.json says") for line in found)
    assert any(line.startswith("privacy.clip_norm: results.json is another file than it was") for line in found)
    assert any("log is not the run's" in line for line in found)


@pytest.mark.parametrize("name", [RESULTS, SCENARIO, "population/population.json", f"server/{TRAFFIC_FILE}"])
def test_a_source_that_is_gone_is_told_and_nothing_raised(copy, name):
    (copy / name).unlink()
    if name == SCENARIO:
        with pytest.raises(InputError):
            findings(copy)
    else:
        assert findings(copy)


def test_a_changed_missing_or_additional_file_of_the_evidence_is_named(copy):
    folder = copy / "evidence"
    registry = folder / "registry.yaml"
    registry.write_bytes(registry.read_bytes().replace(b"Draft", b"Approved"))
    (folder / "dpia.json").unlink()
    (folder / "more.html").write_text("x")
    assert findings(copy) == [
        "registry.yaml: not what the run and the answers give", "dpia.json: missing", "more.html: not a file of the evidence",
    ]  # fmt: skip


def test_a_changed_file_of_the_code_is_named(copy, tmp_path, monkeypatch):
    """The hash of the code that an answer was read from is a part of the answer."""
    other_code = tmp_path / "code"
    for room in ("client", "server", "shared", "simulations", "docs"):
        shutil.copytree(case.PROJECT / room, other_code / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(case.PROJECT / "constraints.txt", other_code)
    (other_code / "client" / "gate.py").write_text("# another gate\n")
    for module in ("case", "tables.controls", "grounds", "project_pages", "tables.reproduce"):
        monkeypatch.setattr(f"simulations.evidence.{module}.PROJECT", other_code)
    assert "measures.only_way_out: client/gate.py is another file than it was" in findings(copy)


def test_other_packages_are_told_where_all_says_the_same_of_them_and_found_where_one_was_changed(copy):
    """Evidence of a machine with another numpy cannot be made again here; a list that was changed alone is a change."""
    listed = copy / "evidence" / "sbom.json"
    whole = listed.read_bytes()
    numpy = version("numpy")
    listed.write_bytes(whole.replace(numpy.encode(), b"1.0.0"))
    assert findings(copy) == ["sbom.json: not what the run and the answers give"]
    listed.write_bytes(whole)

    def installed(fields):
        for answer in answers_of(fields):
            if answer["key"] == "supply.package" and answer["row"] == "numpy":
                answer["value"]["version"] = "1.0.0"

    changed(copy, installed)
    assert any(line.startswith("supply.package[numpy]: ") for line in findings(copy))
    listed.write_bytes(whole.replace(numpy.encode(), b"1.0.0"))
    checked = check(copy, copy / "evidence")
    assert checked.found == () and any(line.startswith("supply.package: other packages") for line in checked.elsewhere)


@pytest.mark.parametrize("what", ["no run", "no evidence"])
def test_without_a_run_or_evidence_there_is_nothing_to_check(told, tmp_path, what):
    with pytest.raises(InputError):
        check(tmp_path if what == "no run" else told, told / "evidence" if what == "no run" else tmp_path)
