"""What a life of data holds from consent to the end of service (ISO 31700-1), and the anonymity that is not claimed (EDPB 28/2024)."""

from __future__ import annotations

from client.profile import Profile
from client.vault.consent import Consent

from ..case import AUDIT, Case
from ..fields import Field, FieldTable
from ..grounds import declared, figure, of_code, quoted

OWNER = "tests/client/test_owner.py"


def lifecycle_tables(case: Case) -> list[FieldTable]:
    """EDPB opinion 28/2024: what was tested of anonymity; ISO 31700-1: defaults, controls, retirement."""
    return [
        FieldTable("edpb-28-2024", tuple(_anonymity(case))),
        FieldTable("iso-31700-1", tuple(_lifecycle(case))),
    ]


def _anonymity(case: Case) -> list[Field]:
    return [
        of_code(
            "edpb.claim",
            "not made: a model that many devices taught is not called anonymous, at whatever epsilon",
            "docs/privacy.md",
            state="configured",
        ),
        quoted(
            case,
            "edpb.membership_of_run",
            "/membership",
            name=AUDIT,
            why="nobody was held out of the training, whom an attack could compare with",
        ),
        *(figure("edpb.membership", f"attack.member.{model}.{what}") for model in MODELS for what in ("auc", "found")),
    ]


MODELS = ("planned", "none", "bare")


def _lifecycle(case: Case) -> list[Field]:
    erased = "tests/promises/test_forget.py"
    return [
        declared(case, "end_of_service"),
        of_code(
            "iso.default_consent", Profile.consent.value, "client/profile.py", tests=("tests/client/test_device.py",)
        ),
        of_code(
            "iso.consent_choices",
            {choice.value: _covers(choice) for choice in Consent},
            "client/vault/consent.py",
            tests=(OWNER,),
        ),
        of_code(
            "iso.pause",
            "the user pauses: no round is answered, events still count, on the device",
            "client/owner.py",
            tests=(OWNER,),
        ),
        of_code("iso.what_left", "the user sees everything that left, decoded", "client/owner.py", tests=(OWNER,)),
        of_code(
            "iso.forget",
            "the user has the device forgotten: the key is destroyed first, the server told once",
            "client/owner.py",
            "client/vault/erasure.py",
            tests=(erased,),
        ),
        of_code(
            "iso.restriction_holds",
            "what is stricter holds from before it is written down",
            "client/owner.py",
            tests=(OWNER, "tests/promises/test_durability.py"),
        ),
        of_code(
            "iso.retirement_of_keys",
            "keys of an epoch are destroyed when it is over",
            "client/privacy/membership.py",
            tests=("tests/client/privacy/test_membership.py",),
        ),
    ]


def _covers(choice: Consent) -> list[str]:
    return ["training"] + [
        other.value for other in Consent if other is not Consent.LOCAL and choice.covers(other.value)
    ]
