"""Every answer has a ground and a source; what is told of the register and the vault comes from them; nothing of anybody is told."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

import jsonschema
import pytest

import simulations.evidence.tables.messages as messages
from client.vault.schema import SEALED_COLUMNS
from client.vault.vault import TABLES
from server.state import ACCOUNT_FILE, TRAFFIC_FILE
from shared.messages import REGISTER
from shared.register.kinds import Field as Declared
from shared.register.kinds import Int, Spends, reply_kind
from simulations.evaluation import results_file
from simulations.evidence.case import PROJECT, Case, value_at
from simulations.evidence.declarations import QUESTIONS
from simulations.evidence.document import SCHEMA_FILE, Document, bytes_of, document_of, read, schema, schema_text
from simulations.evidence.grounds import INFINITE
from simulations.evidence.tables import stored
from simulations.evidence.writers import files_of
from simulations.federation.run_folder import RunFolder
from tests.world.ended_run import ended_run

#: Words of EVIDENCE's rows: each requirement that is cited has a table.
REQUIREMENTS = {
    "gdpr-35-7-a", "gdpr-35-7-b", "gdpr-35-7-c", "gdpr-35-7-d", "gdpr-35-2-9-36", "gdpr-30", "gdpr-13-22", "pipl-55", "pipl-56",
    "nist-800-226-top", "nist-800-226-middle", "nist-800-226-bottom", "edpb-28-2024", "iso-31700-1", "dp-registry", "reproduce",
    "identifiers", "claims-not-made", "robustness", "low-compute", "messages-leaving", "messages-asked", "stored-tables",
    "stored-columns", "privacy-account",
}  # fmt: skip
CANARY = 987654321
#: What follows from what its pointer points at, and is made again by the check: odds of an epsilon, a sentence of two numbers.
FOLLOWS = {"withdrawal.odds", "withdrawal.odds_in_words", "withdrawal.sentence"}


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> Path:
    return ended_run(tmp_path_factory.mktemp("run") / "run").path


@pytest.fixture(scope="module")
def document(ended) -> Document:
    return document_of(Case.of(ended))


def test_every_requirement_is_there_and_no_answer_is_blank(document):
    assert {table.key for table in document.tables} >= REQUIREMENTS
    assert all(table.answers for table in document.tables)
    for answer in document.answers:
        if answer.state == "missing":
            assert answer.value is None and answer.why and not answer.sources
        else:
            assert answer.value not in (None, "", [], {}) and answer.sources and not answer.why
    total = sum(document.counts.model_dump().values())
    assert total == len(list(document.answers)) == sum(sum(t.counts.model_dump().values()) for t in document.tables)


def test_what_the_operator_has_not_said_is_missing_by_its_key(document):
    assert document.blanks == list(QUESTIONS) and document.counts.declared == 0
    missing = {answer.key: answer for answer in document.answers if answer.key.startswith("operator.")}
    assert set(missing) == {f"operator.{key}" for key in QUESTIONS}
    assert all(f"`{key.removeprefix('operator.')}`" in answer.why for key, answer in missing.items())


def test_an_answer_is_declared_and_says_whose_word_it_is(ended):
    said = document_of(
        Case.of(ended, {"controller": "A Shop, 1 Street", "assessment_date": "2024-02-29", "pipl_sensitive": False})
    )
    found = {answer.name: answer for answer in said.answers}
    assert found["operator.controller"].value == "A Shop, 1 Street"
    assert found["operator.pipl_sensitive"].value is False
    assert found["pipl.keep_until"].value == "2027-03-01", "three years at least"
    assert {s.kind for name in ("operator.controller", "pipl.keep_until") for s in found[name].sources} == {"operator"}
    assert said.counts.declared == 4 and "controller" not in said.blanks


def test_from_every_answer_one_walks_to_its_source_and_finds_it_there(document, ended):
    """Pointers point at the value, hashes are those of the files, tests and code are there."""
    walked = 0
    for answer in document.answers:
        for source in answer.sources:
            place = {"file": ended, "code": PROJECT, "test": PROJECT}.get(source.kind)
            if place is None:
                continue
            file = place / source.name.partition("::")[0]
            assert file.is_file(), f"{answer.name}: {source.name}"
            if source.kind != "test":
                assert sha256(file.read_bytes()).hexdigest() == source.sha256
            if source.at is not None:
                value = value_at(json.loads(file.read_bytes()), source.at)
                said = answer.value == (INFINITE if value is None else value)
                assert said or answer.name in FOLLOWS, answer.name
                walked += 1
    assert walked > 100


def test_the_same_run_and_answers_give_the_same_bytes(ended):
    first, second = (files_of(case, document_of(case)) for case in (Case.of(ended), Case.of(ended)))
    assert first == second and len(first) >= 3


def test_a_message_more_in_the_register_is_a_row_more(ended, monkeypatch):
    kind = reply_kind(
        "weather",
        Spends.NOTHING,
        cost="nothing",
        purpose="a test of this",
        sky=Declared(Int(0, 3), "none: public", "clouds"),
    )
    before = {table.key: len(table.answers) for table in document_of(Case.of(ended)).tables}
    more = MappingProxyType({**REGISTER, "weather": kind})
    for place in ("messages", "gdpr", "identifiers"):
        monkeypatch.setattr(f"simulations.evidence.tables.{place}.REGISTER", more)
    after = document_of(Case.of(ended))
    rows = {answer.name for answer in after.answers}
    assert "message.field[weather.sky]" in rows and "processing.purpose[weather]" in rows
    assert {table.key for table in after.tables if len(table.answers) > before[table.key]} == {
        "messages-leaving",
        "gdpr-35-7-a",
    }


def test_a_field_of_a_message_without_a_purpose_is_missing_and_counted(ended, monkeypatch):
    kind = reply_kind(
        "weather", Spends.NOTHING, cost="nothing", purpose="a test", sky=Declared(Int(0, 3), "none: public", "")
    )
    for place in ("messages", "gdpr"):
        monkeypatch.setattr(f"simulations.evidence.tables.{place}.REGISTER", MappingProxyType({"weather": kind}))
    found = {answer.name: answer for answer in document_of(Case.of(ended)).answers}
    assert found["message.field[weather.sky]"].state == "missing"
    assert found["necessity.message_fields_without_purpose"].value == 1
    assert messages.register_file(kind) == "shared/messages.py"


def test_every_column_of_the_vault_has_its_purpose_and_one_without_is_missing(document, monkeypatch):
    columns = {answer.row for answer in document.answers if answer.key == "stored.column"}
    assert columns >= {f"{table}.{column.name}" for table in TABLES for column in SEALED_COLUMNS}
    assert {answer.state for answer in document.answers if answer.key == "stored.column"} == {"measured"}
    bare = (*SEALED_COLUMNS, SEALED_COLUMNS[0]._replace(name="seen", purpose=""))
    monkeypatch.setattr(stored, "SEALED_COLUMNS", bare)
    missing = {field.row for field in stored.every_column() if field.state == "missing"}
    assert missing == {f"{table}.seen" for table in ("heads", *TABLES)}


def test_a_table_of_the_vault_without_a_purpose_is_missing(monkeypatch):
    monkeypatch.setattr(stored, "TABLES", {"profile": replace(TABLES["profile"], purpose="")})
    assert [field.row for field in stored.every_column() if field.state == "missing"] == ["profile.sealed"]


def planted(folder: RunFolder) -> None:
    """Every count of devices, rows and messages, and all that is told of drawn users, is the canary from now on."""
    results = json.loads(folder.results_file.read_text())
    counts = {"messages": CANARY, "bytes": CANARY}
    results["traffic"]["by_message"] = {name: counts for name in ("update", "alerts", "refusal")}
    results["traffic"]["dropped"] = {"error": CANARY}
    results["refused"] = {"consent": CANARY}
    results["privacy"]["identified_alerts"] = CANARY
    for sums in results["sums"]:
        sums["asked"] = sums["answered"] = CANARY
    for rate in (results["bits"] or {}).get("rates", []):
        rate["answers"] = CANARY
    for group in results["groups"]:
        group["rows"] = group["members"] = group["smallest"] = group["largest"] = CANARY
    for user in results["example_users"]:
        user["change_step"] = user["last_step_in_time"] = CANARY
        user["count"] = [float(CANARY)] * len(user["count"])
    folder.results_file.write_text(json.dumps(results))
    results_file.read(folder.results_file)
    account_file = folder.server_path / ACCOUNT_FILE
    account = json.loads(account_file.read_text())
    for sums in account["sums"]:
        sums["asked"] = sums["answered"] = CANARY
    for rate in (account["bits"] or {}).get("rates", []):
        rate["answers"] = CANARY
    account_file.write_text(json.dumps(account))
    (folder.server_path / TRAFFIC_FILE).write_text(json.dumps({"received": {"update": CANARY}}))


def test_no_realised_cohort_no_count_of_messages_and_nothing_of_a_user_is_told(tmp_path, monkeypatch):
    folder = ended_run(tmp_path / "run")
    planted(folder)
    monkeypatch.setattr(
        "simulations.evidence.document.check_log", lambda run: []
    )  # of what was planted, the log is another's
    case = Case.of(folder.path)
    told = b"\n".join(files_of(case, document_of(case)).values())
    assert str(CANARY).encode() not in told and b"/privacy/epsilon_to_public" in told


def test_a_run_whose_log_does_not_hold_gets_no_evidence(tmp_path):
    folder = ended_run(tmp_path / "run")
    folder.scenario_file.write_text(folder.scenario_file.read_text() + " ")
    with pytest.raises(Exception, match="log holds"):
        document_of(Case.of(folder.path))


def test_the_schema_is_that_of_the_page_and_a_document_keeps_to_it(document, tmp_path):
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(document.model_dump(mode="json"), schema())
    (tmp_path / "evidence.json").write_bytes(bytes_of(document))
    assert read(tmp_path / "evidence.json") == document


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', "\x00"])
def test_what_is_no_document_is_refused_in_one_line(text, tmp_path):
    (tmp_path / "evidence.json").write_text(text)
    with pytest.raises(Exception, match=r"^expected evidence [^\n]*$"):
        read(tmp_path / "evidence.json")
