"""registry.yaml: a run as a record of the public registry of deployments of differential privacy.

The fields are those of `schemas/deployments-schema.yaml` of opendp/deployments-registry-data at the commit below. What only the
operator knows, and has not declared, stands as that and is never invented: whoever hands the record in fills it first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from ..document import OPERATOR, Document
from ..grounds import INFINITE

SCHEMA_COMMIT: Final = "3e9c812"
_HEAD = (
    f"# A record for the registry of deployments of differential privacy: fields of opendp/deployments-registry-data, commit "
    f"{SCHEMA_COMMIT},\n# schemas/deployments-schema.yaml. Made by `ebbtide evidence`; the grounds of each value are in evidence.json.\n"
)


def registry_bytes(document: Document) -> bytes:
    """The record as a YAML file."""
    text: str = yaml.safe_dump(record_of(document), sort_keys=False, allow_unicode=True, width=110)
    return (_HEAD + text).encode()


def record_of(document: Document) -> dict[str, Any]:
    """The record, of tier 3 and a draft."""
    return {
        "url_slug": _slug(f"ebbtide-{'simulated-' if document.simulated else ''}{document.run}"),
        "status": "Draft",
        "tier": 3,
        "deployment": {
            "basic": _basic(document),
            "dp_variant": {
                "variant_name": "Approximate DP",
                "data_domain": f"all devices enrolled under the plan {document.plan_sha256}",
                "unprotected_quantities": _rows(document, "privacy.not_covered"),
            },
            "privacy_loss": _loss(document),
            "deployment_model": {
                "model_name": "Federated",
                "actors": _rows(document, "nist.trust"),
                "release_type": "Many releases",
                "release_type_details": _caps(document),
                "data_source_type": "Dynamic",
                "access_type": "Non-interactive",
            },
            "accounting": {
                "post_processing": "the server's optimiser, and averages of its iterates",
                "composition": _said(document, "nist.composition"),
            },
            "implementation": {
                "preprocessing_and_hyperparameter_tuning": _said(document, "claim.not_made[choices]", "why"),
                "mechanisms": _rows(document, "privacy.mechanism", values=True),
                "justification": "docs/privacy.md and docs/learning.md of the project",
            },
            "administrative": {
                "sources": f"commit {document.commit}; docs/figures.json, docs/attacks.md",
                "notes": _notes(document),
                "registry_authors": _declared(document, "registry_authors", many=True),
            },
        },
    }


def _basic(document: Document) -> dict[str, Any]:
    kind = "SIMULATION" if document.simulated else "a log replayed on one machine"
    about = f"{document.about}; {_said(document, 'compute.parameters')} parameters, {_said(document, 'privacy.rounds_charged')} rounds"
    basic = {
        "name": f"Ebbtide interest model, {document.run} ({kind}, not a deployment)",
        "data_curators": _declared(document, "data_curators", many=True),
        "intended_use": _declared(document, "intended_use"),
        "data_product_type": "Machine learning model",
        "data_product_region": _declared(document, "data_region"),
        "description": about,
        "publication_date": _declared(document, "publication_date"),
    }
    sector = _values(document).get(f"{OPERATOR}data_sector")
    return basic | ({"data_product_sector": sector} if sector else {})


def _loss(document: Document) -> dict[str, Any]:
    values = _values(document)
    epsilon, delta = values["privacy.epsilon_to_public"], values["privacy.delta"]
    parameters = {"delta": delta} if epsilon == INFINITE else {"epsilon": epsilon, "delta": delta}
    endless = f"epsilon is {INFINITE}; " if epsilon == INFINITE else ""
    return {
        "privacy_unit": "device",
        "privacy_unit_details": _rows(document, "privacy.statement", values=True),
        "privacy_parameters": parameters,
        "privacy_parameters_details": f"{endless}to the server: {values['privacy.to_server']}",
    }


def _caps(document: Document) -> str:
    period, life = _values(document)["measures.caps_total"]
    days = _values(document)["measures.caps_period_days"]
    if period is None:
        return "each device has a ledger; the caps of this run's owners have no end"
    return f"each device's ledger allows epsilon {period:g} in {days} days and {life if life is None else f'{life:g}'} in its life"


def _notes(document: Document) -> str:
    open_ = [
        key for key in document.blanks if key in ("data_curators", "intended_use", "data_region", "publication_date")
    ]
    return (
        f"to be declared by the operator: {', '.join(open_)}" if open_ else "every field of the operator's is declared"
    )


def _values(document: Document) -> Mapping[str, Any]:
    return {answer.name: answer.value for answer in document.answers if answer.state != "missing"}


def _said(document: Document, name: str, part: str = "") -> str:
    value = _values(document).get(name, "not known: see evidence.json")
    return str(value[part] if part and isinstance(value, Mapping) else value)


def _rows(document: Document, key: str, *, values: bool = False) -> str:
    found = [answer for answer in document.answers if answer.key == key and answer.state != "missing"]
    said = [str(answer.value) if values else answer.row for answer in found]
    return ("\n\n" if values else "; ").join(said) or "not known: see evidence.json"


def _declared(document: Document, question: str, *, many: bool = False) -> Any:
    unknown = f"<declared by operator: {question}>"
    return _values(document).get(f"{OPERATOR}{question}", [unknown] if many else unknown)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
