"""NIST SP 800-226, the middle and the bottom of its pyramid; the top, what is guaranteed, stands in privacy.py."""

from __future__ import annotations

from client.privacy.caps import Caps

from ..case import RESULTS, Case
from ..fields import Field, FieldTable, missing
from ..grounds import chosen, of_code, quoted
from ..project_pages import stated
from .privacy import NOISE, SENSITIVITY

MECHANISMS = "shared/mechanisms.py"


def nist_tables(case: Case) -> list[FieldTable]:
    """How the guarantee is kept; then whom it trusts, who gets at what, and what is collected at all."""
    return [
        FieldTable("nist-800-226-middle", tuple(_kept(case))),
        FieldTable("nist-800-226-bottom", tuple(_below(case))),
    ]


def _kept(case: Case) -> list[Field]:
    accounting = "tests/server/privacy/test_accounting.py"
    return [
        of_code(
            "nist.sensitivity",
            "an integer vector of L2 norm at most steps_per_clip, rounding included, whatever went in",
            MECHANISMS,
            tests=(SENSITIVITY,),
        ),
        of_code(
            "nist.composition",
            "exact for Gaussian rounds and coins together; a Rényi bound beside it, for the discrete shares that devices add",
            "server/privacy/accounting.py",
            "server/privacy/composition.py",
            tests=(accounting, "tests/simulations/scenarios/test_shipped_epsilon.py"),
        ),
        of_code("nist.randomness", "the operating system's entropy, never a seed", MECHANISMS, tests=(NOISE,)),
        of_code(
            "nist.floating_point",
            "noise is made and added on integers; clipping rounds towards zero",
            MECHANISMS,
            tests=(NOISE, SENSITIVITY),
        ),
        of_code(
            "nist.form_of_replies",
            "a reply's form does not depend on behaviour",
            "client/gate.py",
            tests=("tests/promises/test_form.py",),
        ),
        missing(
            "nist.timing",
            "nobody has measured what the time of an answer tells: it depends on the device, its history and whether its app is open",
        ),
        chosen(case, "nist.privacy_unit_devices", "/plan/population", tests=("tests/server/test_enrolment.py",)),
        *_groups(case),
    ]


def _groups(case: Case) -> list[Field]:
    """How good p is for each group of people and categories, beside each other: bias is seen there."""
    groups = case.json_of(RESULTS)["groups"]
    if not groups:
        return [missing("nist.auc_of_group", "this run's results hold no groups")]
    return [
        quoted(case, f"nist.{measure}_of_group", f"/groups/{at}/{measure}", row=str(group["group"]))
        for measure in ("auc", "calibration_error")
        for at, group in enumerate(groups)
    ]


def _below(case: Case) -> list[Field]:
    return [
        *stated("nist.trust", "docs/privacy.md", "Who is trusted for what"),
        *stated("nist.party", "docs/deploying.md", "Server, helpers, and who signs"),
        of_code(
            "nist.access_to_devices",
            "the holder of the one Ed25519 key that the app pinned may ask; no message changes it",
            "client/profile.py",
            "client/privacy/request_signature.py",
            tests=("tests/client/privacy/test_request_signature.py",),
        ),
        of_code(
            "nist.access_to_server_folder",
            "files of a run are readable by their owner alone",
            "shared/files.py",
            tests=("tests/shared/test_private_folders.py",),
        ),
        missing("nist.transport", "TLS between devices and server is the operator's: nothing of a run shows it"),
        of_code(
            "nist.default_caps",
            {"total": Caps().total.plain(), "participations_per_plan": Caps().participations_per_plan},
            "client/privacy/caps.py",
            tests=("tests/client/privacy/test_ledger.py",),
            state="configured",
        ),
        chosen(case, "nist.caps_of_run", "/caps/table"),
    ]
