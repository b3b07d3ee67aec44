"""Supply: what the project runs on, package by package, with version and licence; which versions were asked for; which code ran."""

from __future__ import annotations

from shared.files import text_of

from ...provenance import ROOT, commit
from ..case import RESULTS, Case, code
from ..fields import Field, FieldTable, Source, missing
from ..files.sbom import CONSTRAINTS
from ..installed import OURS, Package, on_device, packages


def supply_tables(case: Case) -> list[FieldTable]:
    """Commits, pinned versions, then a field for each package that is installed and needed."""
    return [FieldTable("supply", (*_of_the_code(case), *(_of(package) for package in packages())))]


def _of_the_code(case: Case) -> list[Field]:
    here = commit()
    fields = [
        _of_run(case),
        missing("supply.commit", "this code lies in no clone")
        if here == "unknown"
        else Field("supply.commit", "measured", here, (Source("command", "git rev-parse --short HEAD"),)),
    ]
    if (ROOT / CONSTRAINTS).is_file():
        pinned = [line for line in text_of(ROOT / CONSTRAINTS).splitlines() if "==" in line]
        versions = dict(line.split("==", 1) for line in pinned)
        value = {"packages": len(versions), "sha256": code(CONSTRAINTS).sha256}
        return [*fields, Field("supply.constraints", "configured", value, (code(CONSTRAINTS),))]
    return [*fields, missing("supply.constraints", f"{CONSTRAINTS} is in a checkout")]


def _of(package: Package) -> Field:
    if not package.licence and package.name != OURS:
        return missing("supply.package", f"version {package.version} says no licence of its own", package.name)
    value = {"version": package.version, "licence": package.licence, "on_device": package.name in on_device()}
    source = Source("command", f"python -m pip show {package.name}")
    return Field("supply.package", "measured", value, (source,), package.name)


def _of_run(case: Case) -> Field:
    """The commits that worked in the run's folder, as its results say."""
    key, at = "supply.commit_of_run", "/commit"
    said = case.json_of(RESULTS).get("commit")
    return case.at(key, RESULTS, at) if said else missing(key, f"{RESULTS} names no commit")
