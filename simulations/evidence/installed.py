"""What this project runs on: every package that is installed and that its own requirements lead to, with version and licence.

Versions and licences are read from what is installed here, not from what was once asked for; what this project asks for itself, from
its pyproject.toml where it runs from a checkout. Markers of requirements are those of this Python and machine.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackageMetadata, PackageNotFoundError, distribution
from typing import Final

from packaging.requirements import Requirement

from shared.files import text_of

from ..provenance import ROOT

OURS: Final = "ebbtide"
#: Extras that a device needs, for it runs models; and those of a whole run.
DEVICE: Final = ("litert",)
EXTRAS: Final = (*DEVICE, "server", "simulations")
#: A licence that is told in more letters than this is its text, not its name.
_MOST_LETTERS: Final = 64
_SPDX: Final = re.compile(r"[A-Za-z0-9.+-]+(?: (?:AND|OR|WITH) [A-Za-z0-9.+()-]+)*")
_OSI: Final = "License :: "


@dataclass(frozen=True)
class Package:
    """One package. `licence`: an expression of SPDX if `is_spdx`, else in the words of the package, "" if it says none; `needs`:
    those of the others that it requires, by name, sorted."""

    name: str
    version: str
    licence: str
    is_spdx: bool
    needs: tuple[str, ...]


@cache
def packages(extras: tuple[str, ...] = EXTRAS) -> tuple[Package, ...]:
    """This project with these extras first, then every package that it needs, by name; nothing of what is required and not
    installed. Empty if the project itself is not installed."""
    found: dict[tuple[str, frozenset[str]], tuple[Distribution, list[tuple[str, frozenset[str]]]]] = {}
    waiting = [(OURS, frozenset(extras))]
    while waiting:
        asked = waiting.pop()
        if asked in found:
            continue
        try:
            installed = distribution(asked[0])
        except PackageNotFoundError:
            continue
        requires = _own_requirements() if asked[0] == OURS else None
        needs = list(_needs(requires or installed.requires or (), asked[1]))
        found[asked] = installed, needs
        waiting += needs
    here = {name for name, _ in found}
    needed: dict[str, set[str]] = {name: set() for name in here}
    for (name, _), (_, needs) in found.items():
        needed[name] |= {need for need, _ in needs if need in here and need != name}
    installed_as = {name: one for (name, _), (one, _) in found.items()}
    made = [
        _package(name, installed_as[name], needed[name]) for name in sorted(here, key=lambda name: (name != OURS, name))
    ]
    return tuple(made)


@cache
def on_device() -> frozenset[str]:
    """The names of the packages that a device needs."""
    return frozenset(package.name for package in packages(DEVICE))


def _own_requirements() -> list[str]:
    """What this project's pyproject.toml asks for, each with the extra that it is for; nothing outside of a checkout."""
    file = ROOT / "pyproject.toml"
    if not file.is_file():
        return []
    project = tomllib.loads(text_of(file))["project"]
    out: list[str] = list(project["dependencies"])
    for extra, lines in project["optional-dependencies"].items():
        for line in lines:
            bare, _, marker = line.partition(";")
            both = f"({marker.strip()}) and extra == '{extra}'" if marker else f"extra == '{extra}'"
            out.append(f"{bare.strip()} ; {both}")
    return out


def _needs(requires: Iterable[str], extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """What follows from the requirements of a package with these extras, on this machine: names, and extras of those."""
    for text in requires:
        needed = Requirement(text)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonical(needed.name), frozenset(needed.extras)


def canonical(name: str) -> str:
    """A package's name in its one spelling (PEP 503).

    >>> canonical("Typing_Extensions")
    'typing-extensions'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _package(name: str, installed: Distribution, needs: set[str]) -> Package:
    licence, is_spdx = licence_of(installed)
    return Package(name, installed.version, licence, is_spdx, tuple(sorted(needs)))


def licence_of(installed: Distribution) -> tuple[str, bool]:
    """A package's licence as it says it, and whether that is an expression of SPDX; "" if it says none. First the expression, then
    its classifiers, then the field that may hold anything, unless it holds a whole text."""
    about = installed.metadata
    if expression := _only(about, "License-Expression").strip():
        return expression, bool(_SPDX.fullmatch(expression.replace("(", "").replace(")", "")))
    classified = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or () if line.startswith(_OSI)]
    named = [one for one in dict.fromkeys(classified) if one != "OSI Approved"]
    if named:
        return ", ".join(sorted(named)), False
    said = " ".join(_only(about, "License").split())
    return (said, False) if len(said) <= _MOST_LETTERS else ("", False)


def _only(about: PackageMetadata, name: str) -> str:
    """What a package says under a name, "" if nothing."""
    said = about.get_all(name)
    return said[0] if said else ""
