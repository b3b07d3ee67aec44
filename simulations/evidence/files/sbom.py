"""The bill of materials of what ran: CycloneDX 1.6 (ECMA-424), as JSON; the same bytes for the same packages and commit.

Nothing is asked of a network: it is what `simulations/evidence/installed.py` reads. The serial number follows from the content, and there
is no time in it.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from ...provenance import ROOT, commit
from ..installed import OURS, Package, on_device, packages

CONSTRAINTS: Final = "constraints.txt"
_VERSION: Final = "1.6"


def sbom() -> bytes:
    """The file's bytes, sorted and indented."""
    content = _content(packages())
    digest = sha256(json.dumps(content, sort_keys=True).encode()).digest()
    content["serialNumber"] = f"urn:uuid:{UUID(bytes=digest[:16], version=5)}"
    return (json.dumps(content, sort_keys=True, indent=1) + "\n").encode()


def _content(found: tuple[Package, ...]) -> dict[str, Any]:
    ours = next((one for one in found if one.name == OURS), Package(OURS, "unknown", "", False, ()))
    properties = [{"name": "ebbtide:commit", "value": commit()}]
    if (constraints := ROOT / CONSTRAINTS).is_file():
        properties.append(
            {"name": f"ebbtide:{CONSTRAINTS}:sha256", "value": sha256(constraints.read_bytes()).hexdigest()}
        )
    return {
        "bomFormat": "CycloneDX",
        "specVersion": _VERSION,
        "version": 1,
        "metadata": {"component": {**_component(ours), "type": "application"}, "properties": properties},
        "components": [_component(one) for one in found if one.name != OURS],
        "dependencies": [
            {"ref": _purl(one), "dependsOn": [_purl(other) for other in found if other.name in one.needs]}
            for one in found
        ],
    }


def _component(package: Package) -> dict[str, Any]:
    out: dict[str, Any] = {
        "type": "library",
        "bom-ref": _purl(package),
        "name": package.name,
        "version": package.version,
        "purl": _purl(package),
    }
    if package.name in on_device():
        out["properties"] = [{"name": "ebbtide:on-device", "value": "true"}]
    if package.is_spdx:
        out["licenses"] = [{"expression": package.licence}]
    elif package.licence:
        out["licenses"] = [{"license": {"name": package.licence}}]
    return out


def _purl(package: Package) -> str:
    """A package's address: kind, name, version, and no server."""
    return f"pkg:pypi/{package.name}@{package.version}"
