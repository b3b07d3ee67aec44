"""Files for other programs: the registry's record keeps to its pinned schema and invents nothing; answers go by question."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from simulations.evidence.case import Case
from simulations.evidence.document import Document, document_of
from simulations.evidence.files.dpia import QUESTIONS, dpia_bytes
from simulations.evidence.files.registry import SCHEMA_COMMIT, record_of, registry_bytes
from simulations.evidence.grounds import INFINITE
from tests.world.ended_run import ended_run

SCHEMA = Path(__file__).resolve().parents[4] / "shared" / "evidence" / "deployments-schema.yaml"
needs_schema = pytest.mark.skipif(not SCHEMA.is_file(), reason="needs the registry's schema in ../shared/evidence")
DECLARED = {
    "data_curators": ["A Shop"], "intended_use": "early warning", "data_region": "EU", "data_sector": "Technology",
    "publication_date": "2026-03-01", "registry_authors": ["somebody"],
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return ended_run(tmp_path_factory.mktemp("run") / "run").path


def document(run: Path, answers: dict | None = None) -> Document:
    return document_of(Case.of(run, answers))


def leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in leaves(one)]
    return [leaf for one in value for leaf in leaves(one)] if isinstance(value, list) else [value]


@needs_schema
def test_the_record_keeps_to_the_registry_s_schema(run):
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    known = jsonschema.FormatChecker(["date"])
    record = yaml.safe_load(registry_bytes(document(run, DECLARED)))
    jsonschema.Draft202012Validator(schema, format_checker=known).validate(record)
    open_ = yaml.safe_load(registry_bytes(document(run)))
    jsonschema.validate(open_, schema)
    errors = list(jsonschema.Draft202012Validator(schema, format_checker=known).iter_errors(open_))
    assert [[*error.path][-1] for error in errors] == ["publication_date"], "a date that nobody declared is none"


def test_the_record_says_what_the_run_does_and_nothing_that_nobody_said(run):
    said = document(run)
    values = {answer.name: answer.value for answer in said.answers}
    record = record_of(said)
    assert yaml.safe_load(registry_bytes(said)) == record
    assert SCHEMA_COMMIT in registry_bytes(said).decode().splitlines()[0]
    parameters = record["deployment"]["privacy_loss"]["privacy_parameters"]
    assert parameters == {"epsilon": values["privacy.epsilon_to_public"], "delta": values["privacy.delta"]}
    basic = record["deployment"]["basic"]
    assert "SIMULATION" in basic["name"] and basic["publication_date"] == "<declared by operator: publication_date>"
    assert "data_product_sector" not in basic and all(leaf not in (None, "") for leaf in leaves(record))
    declared = record_of(document(run, DECLARED))["deployment"]["basic"]
    assert declared["data_curators"] == ["A Shop"] and declared["publication_date"] == "2026-03-01"


def test_an_epsilon_without_end_is_no_number_of_the_record(run):
    fields = json.loads(document(run).model_dump_json())
    for table in fields["tables"]:
        for answer in table["answers"]:
            if answer["key"] == "privacy.epsilon_to_public":
                answer["value"] = INFINITE
    loss = record_of(Document.model_validate(fields))["deployment"]["privacy_loss"]
    assert "epsilon" not in loss["privacy_parameters"] and INFINITE in loss["privacy_parameters_details"]


def test_hostile_answers_are_data_in_yaml(run):
    hostile = {"intended_use": "!!python/object:os.system 'x'\n- b: c # d", "data_curators": ["{{ 7 * 7 }}", "*anchor"]}
    basic = yaml.safe_load(registry_bytes(document(run, hostile)))["deployment"]["basic"]
    assert basic["intended_use"] == hostile["intended_use"] and basic["data_curators"] == hostile["data_curators"]


def test_every_question_of_an_assessment_has_answers_with_their_grounds(run):
    said = document(run, {"dpo_advice": "go on"})
    form = json.loads(dpia_bytes(said))
    assert list(form["questions"]) == list(QUESTIONS) and form["format"] == 1 and form["simulated"] is True
    for question in form["questions"].values():
        assert question["asks"] and question["cited"] and question["answers"]
        for answer in question["answers"].values():
            assert answer["why_missing"] if answer["state"] == "missing" else answer["sources"]
    assert form["questions"]["gdpr-35-2"]["answers"]["operator.dpo_advice"]["value"] == "go on"
    assert list(form["questions"]["gdpr-36"]["answers"]) == ["operator.prior_consultation"]
