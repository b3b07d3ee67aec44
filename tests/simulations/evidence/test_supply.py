"""What the project runs on: every package that its requirements lead to, with its licence; a bill of materials that others read."""

import json
import tomllib
from importlib.metadata import distribution
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from simulations.evidence.case import Case
from simulations.evidence.files import sbom as bill
from simulations.evidence.files.sbom import sbom
from simulations.evidence.installed import EXTRAS, OURS, canonical, licence_of, on_device, packages
from simulations.evidence.tables.supply import supply_tables
from tests.world.cited import ROOT


def required() -> set[str]:
    """What pyproject asks for, for a run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    return {canonical(Requirement(line).name) for line in asked} - {OURS}


def test_every_package_that_a_run_needs_is_there_with_the_version_that_is_installed():
    found = {package.name: package for package in packages()}
    assert next(iter(found)) == OURS and required() <= set(found)
    assert all(package.version == distribution(package.name).version for package in found.values())
    assert {"ray", "cffi", "pydantic-core"} <= set(found), "what is needed by what is needed"
    assert not {"pytest", "hypothesis", "mypy", "ruff", "mlflow-skinny"} & set(found), "what tests need is not shipped"
    for package in found.values():
        assert set(package.needs) <= set(found) and package.name not in package.needs
    assert {"numpy", "cryptography", "flwr"} <= set(found[OURS].needs)


def test_a_device_needs_few_of_them():
    assert {OURS, "numpy", "cryptography", "cffi", "ai-edge-litert"} <= on_device()
    assert not {"flwr", "ray", "pandas", "scipy", "sqlalchemy"} & on_device()
    marked = [one["name"] for one in json.loads(sbom())["components"] if "properties" in one]
    assert set(marked) == on_device() - {OURS}


def test_every_version_is_one_that_constraints_name():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonical(name): version for name, version in (line.split("==") for line in lines if "==" in line)}
    ours = [package for package in packages() if package.name != OURS]
    assert [p.name for p in ours if pinned.get(p.name) not in (p.version, None)] == []
    assert [p.name for p in ours if p.name not in pinned] == []


def about(**fields: list[str]):
    return SimpleNamespace(metadata=SimpleNamespace(get_all=lambda n: fields.get(n)))


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License-Expression": ["MIT OR Apache-2.0"], "License": ["other"]}, ("MIT OR Apache-2.0", True)),
        ({"License-Expression": ["(MIT AND 0BSD) OR Zlib"]}, ("(MIT AND 0BSD) OR Zlib", True)),
        ({"License-Expression": ["what we like!"]}, ("what we like!", False)),
        ({"Classifier": ["License :: OSI Approved :: BSD License", "Topic :: X"], "License": ["x" * 900]}, ("BSD License", False)),
        ({"Classifier": ["License :: OSI Approved"], "License": ["Apache  2.0\n"]}, ("Apache 2.0", False)),
        ({"License": ["Copyright (c) 2001 " * 10]}, ("", False)),
        ({}, ("", False)),
    ],
)  # fmt: skip
def test_a_licence_is_told_as_its_package_says_it(fields, licence):
    key = {name.replace("_", "-"): value for name, value in fields.items()}
    assert licence_of(about(**key)) == licence


def test_nearly_every_package_says_its_licence():
    silent = [package.name for package in packages() if not package.licence]
    assert len(silent) <= 3, silent


# ---- the bill of materials


def test_the_same_packages_and_commit_give_the_same_bytes_and_others_another_serial_number(monkeypatch):
    data = sbom()
    assert data == sbom() and b"timestamp" not in data and b"://" not in data
    monkeypatch.setattr(bill, "commit", lambda: "0123abc")
    other = json.loads(sbom())
    assert other["serialNumber"] != json.loads(data)["serialNumber"]
    assert {"name": "ebbtide:commit", "value": "0123abc"} in other["metadata"]["properties"]


def test_it_names_every_package_once_and_what_each_needs():
    document = json.loads(sbom())
    refs = [document["metadata"]["component"]["bom-ref"], *(one["bom-ref"] for one in document["components"])]
    assert len(set(refs)) == len(refs) == len(packages())
    assert [one["ref"] for one in document["dependencies"]] == refs
    assert all(set(one["dependsOn"]) <= set(refs) for one in document["dependencies"])
    assert refs[0].startswith("pkg:pypi/ebbtide@")


def test_it_is_cyclonedx_as_others_read_it():
    validation = pytest.importorskip("cyclonedx.validation.json", reason="cyclonedx-python-lib is not installed")
    schema = pytest.importorskip("cyclonedx.schema")
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    assert validator.validate_str(sbom().decode()) is None
    broken = json.loads(sbom())
    broken["components"][0]["type"] = "nothing of the kind"
    assert validator.validate_str(json.dumps(broken)) is not None, "it would notice"


# ---- the fields


def test_every_package_is_a_field_and_one_without_a_licence_is_missing(tmp_path):
    (tmp_path / "results.json").write_text('{"commit": "0123abc"}')
    case = Case(SimpleNamespace(path=tmp_path), None, True)
    (table,) = supply_tables(case)
    fields = {field.name: field for field in table.fields}
    assert fields["supply.commit_of_run"].value == "0123abc"
    assert fields["supply.constraints"].state == "configured" and fields["supply.constraints"].value["packages"] > 50
    for package in packages():
        field = fields[f"supply.package[{package.name}]"]
        assert field.state == ("measured" if package.licence else "missing")
        assert field.state == "missing" or field.value == {
            "version": package.version,
            "licence": package.licence,
            "on_device": package.name in on_device(),
        }
