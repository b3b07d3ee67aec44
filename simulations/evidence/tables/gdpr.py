"""GDPR: articles 35 (assessment), 30 (record), 13 and 22 (automated decisions). Risks stand in risks.py, withdrawal on its own."""

from __future__ import annotations

from client.detection.shapley import GROUPS
from client.privacy.caps import LedgerLine
from client.vault.consent import Consent
from client.vault.vault import TABLES
from shared.events import EventKind
from shared.messages import REGISTER

from ..case import SCENARIO, Case
from ..fields import Field, FieldTable
from ..grounds import chosen, declared, of_code, quoted
from .messages import HELD, every_field, register_file
from .stored import HELD as STORED_HELD
from .stored import VAULT, every_column


def gdpr_tables(case: Case) -> list[FieldTable]:
    """What is processed and why; whether it is needed; measures; who was asked; the record; automated decisions."""
    return [
        FieldTable("gdpr-35-7-a", tuple(_description(case))),
        FieldTable("gdpr-35-7-b", tuple(_necessity(case))),
        FieldTable("gdpr-35-7-d", tuple(_measures(case))),
        FieldTable("gdpr-35-2-9-36", tuple(_asked(case))),
        FieldTable("gdpr-30", tuple(_record(case))),
        FieldTable("gdpr-13-22", tuple(_decisions(case))),
    ]


def _description(case: Case) -> list[Field]:
    kinds = [kind.name.lower() for kind in EventKind]
    purposes = [
        of_code("processing.purpose", kind.purpose, register_file(kind), row=kind.name, tests=HELD)
        for kind in REGISTER.values()
    ]
    return [
        declared(case, "controller"),
        declared(case, "purpose"),
        declared(case, "legal_basis"),
        declared(case, "legitimate_interests"),
        quoted(case, "processing.about", "/about"),
        quoted(case, "processing.simulated", "/simulated"),
        quoted(case, "processing.data", "/data"),
        quoted(case, "processing.categories", "/categories"),
        of_code("processing.events", kinds, "shared/events.py"),
        of_code("processing.features", list(case.setup.plan.features.names), "shared/features/spec.py"),
        *purposes,
    ]


def _necessity(case: Case) -> list[Field]:
    fields = [field for kind in REGISTER.values() for _, field in every_field(kind)]
    columns = list(every_column())
    register = ("shared/messages.py", "shared/register/recipes.py", "shared/register/sums.py")
    vault = ("client/vault/schema.py", VAULT)
    names = case.setup.plan.features.names
    return [
        declared(case, "necessity"),
        of_code("necessity.message_fields", len(fields), *register, tests=HELD),
        of_code(
            "necessity.message_fields_without_purpose",
            sum(not field.purpose for field in fields),
            *register,
            tests=HELD,
        ),
        of_code("necessity.stored_columns", len(columns), *vault, tests=STORED_HELD),
        of_code(
            "necessity.stored_columns_without_purpose",
            sum(column.state == "missing" for column in columns),
            *vault,
            tests=STORED_HELD,
        ),
        of_code(
            "necessity.features_used", len(names), "shared/features/spec.py", tests=("tests/shared/test_features.py",)
        ),
        chosen(case, "necessity.history_steps", "/plan/history_steps"),
        chosen(case, "necessity.rows", "/plan/rows"),
        chosen(case, "necessity.step", "/step"),
    ]


def _measures(case: Case) -> list[Field]:
    durable = ("tests/promises/test_durability.py", "tests/client/test_gate.py")
    lines = [chosen(case, "measures.cap", f"/caps/lines/{line}", row=str(line)) for line in LedgerLine]
    return [
        declared(case, "security"),
        quoted(case, "measures.sum", "/sum", tests=("tests/server/sums/test_misbehaving.py",))
        if case.setup.plan.sum
        else quoted(case, "measures.sum", "/sum", why="the plan has no secure sum: no device sends an update"),
        of_code("measures.only_way_out", "every byte passes one gate", "client/gate.py", tests=durable),
        of_code(
            "measures.sealed",
            "every row on the device is sealed with AES-256-GCM",
            "client/vault/sealing.py",
            tests=("tests/promises/test_thief.py",),
        ),
        of_code(
            "measures.signed_requests",
            "a device looks at nothing that its server's pinned key did not sign (Ed25519)",
            "client/privacy/request_signature.py",
            tests=("tests/client/privacy/test_request_signature.py",),
        ),
        chosen(case, "measures.caps_total", "/caps/total", tests=("tests/client/privacy/test_ledger.py",)),
        chosen(case, "measures.caps_clip_norm", "/caps/clip_norm"),
        chosen(case, "measures.caps_participations", "/caps/participations_per_plan"),
        chosen(case, "measures.caps_period_days", "/caps/period_days"),
        *lines,
    ]


def _asked(case: Case) -> list[Field]:
    asked = ("dpo_advice", "views_of_users", "prior_consultation", "residual_risk", "assessment_date", "review")
    return [declared(case, question) for question in asked]


def _record(case: Case) -> list[Field]:
    until = [
        of_code("record.kept_until", table.until, VAULT, row=name, tests=STORED_HELD) for name, table in TABLES.items()
    ]
    return [
        declared(case, "data_protection_officer"),
        declared(case, "recipients"),
        declared(case, "transfers"),
        declared(case, "retention"),
        declared(case, "helpers"),
        declared(case, "enrolment_signer"),
        *until,
    ]


def _decisions(case: Case) -> list[Field]:
    explained = "tests/client/detection/test_explain.py"
    shares = ("identified_share", "randomised_share", "summed_share")
    return [
        declared(case, "consequences"),
        declared(case, "human_contact"),
        declared(case, "contact"),
        declared(case, "informing"),
        of_code(
            "decision.automated",
            "yes: an alert, and the intervention chosen for it, on the device itself",
            "client/detection/watch.py",
            "client/detection/policy.py",
            state="configured",
        ),
        chosen(case, "decision.detector", "/plan/detection/detector"),
        chosen(case, "decision.settings", "/plan/detection"),
        of_code("decision.logic", list(GROUPS), "client/detection/shapley.py", tests=(explained,)),
        of_code(
            "decision.explained",
            "each alert has up to two reasons in words, since when where its detector can tell, and what would have had to be different, "
            "for its user alone",
            "client/detection/explain.py",
            tests=(explained,),
        ),
        of_code(
            "decision.choices",
            [consent.value for consent in Consent],
            "client/vault/consent.py",
            tests=("tests/client/test_owner.py",),
        ),
        *(
            quoted(case, f"decision.{share}", f"/simulation/{share}", name=SCENARIO, state="configured")
            for share in shares
        ),
    ]
