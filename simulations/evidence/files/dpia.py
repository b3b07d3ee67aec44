"""dpia.json: the answers to an assessment's questions, keyed by question, for tools that keep assessments.

The form is our own: `format`, then `questions`, an object by the question's id. Each says what is asked and cited, and has
`answers`, an object by the name of the field: its state, value, why it is missing, and the names of its sources. Tools have forms of
their own; whoever imports it maps ids to their fields.
"""

from __future__ import annotations

import json
from typing import Any, Final

from ..document import Document, Requirement

FORMAT: Final = 1
#: By id: what the law cites it as, what is asked, and the tables that answer it.
QUESTIONS: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "gdpr-35-7-a": (
        "GDPR 35(7)(a)", "a systematic description of the processing, its purposes, and the interests pursued",
        ("gdpr-35-7-a", "messages-leaving", "messages-asked"),
    ),
    "gdpr-35-7-b": (
        "GDPR 35(7)(b)", "an assessment of necessity and proportionality in relation to the purposes",
        ("gdpr-35-7-b", "stored-tables", "stored-columns"),
    ),
    "gdpr-35-7-c": ("GDPR 35(7)(c)", "an assessment of the risks to rights and freedoms", ("gdpr-35-7-c", "robustness", "identifiers")),
    "gdpr-35-7-d": (
        "GDPR 35(7)(d)", "the measures envisaged to address the risks",
        ("gdpr-35-7-d", "nist-800-226-top", "nist-800-226-middle", "nist-800-226-bottom", "controls"),
    ),
    "gdpr-35-2": ("GDPR 35(2)", "the advice of the data protection officer", ("gdpr-35-2-9-36",)),
    "gdpr-35-9": ("GDPR 35(9)", "the views of data subjects or their representatives", ("gdpr-35-2-9-36",)),
    "gdpr-36": ("GDPR 36", "prior consultation of the authority", ("gdpr-35-2-9-36",)),
    "pipl-55": ("PIPL 55", "which circumstances make an assessment due", ("pipl-55",)),
    "pipl-56": (
        "PIPL 56", "purpose and manner, effect on people and risks, measures; and how long the report is kept",
        ("pipl-56", "nist-800-226-top"),
    ),
}  # fmt: skip
#: Of a table that several questions share, what belongs to one.
_ONLY: Final = {
    "gdpr-35-2": ("operator.dpo_advice",),
    "gdpr-35-9": ("operator.views_of_users",),
    "gdpr-36": ("operator.prior_consultation",),
}


def dpia_bytes(document: Document) -> bytes:
    """The answers as a JSON file."""
    return (json.dumps(dpia_of(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def dpia_of(document: Document) -> dict[str, Any]:
    """The answers, by question."""
    tables = {table.key: table for table in document.tables}
    questions = {}
    for key, (cited, asks, answered_by) in QUESTIONS.items():
        answers: dict[str, Any] = {}
        for name in answered_by:
            if name in tables:
                answers |= _answers(tables[name], _ONLY.get(key))
        questions[key] = {"cited": cited, "asks": asks, "answers": answers}
    head = {"format": FORMAT, "form": "ebbtide dpia answers", "run": document.run, "simulated": document.simulated}
    return {**head, "commit": document.commit, "questions": questions}


def _answers(table: Requirement, only: tuple[str, ...] | None) -> dict[str, Any]:
    return {
        answer.name: {
            "state": answer.state,
            "value": answer.value,
            "why_missing": answer.why,
            "sources": [source.name + (f"#{source.at}" if source.at else "") for source in answer.sources],
        }
        for answer in table.answers
        if only is None or answer.key in only
    }
