"""GDPR 35(7)(c): the risks to people, each with what an attack on it came to, and what bounds that."""

from __future__ import annotations

from ..case import ACCOUNT, Case
from ..fields import Field, FieldTable
from ..grounds import declared, epsilon, figure, figures, of_code
from ..project_pages import stated

#: What is tried with a sum by a server: as attacks on it are named in the figures.
_SERVER, _LOSS = "attack.server.", "attack.member.planned."


def risk_tables(case: Case) -> list[FieldTable]:
    """Re-identification by the server, membership, poisoning, theft, linkage."""
    return [FieldTable("gdpr-35-7-c", tuple(_risks(case)))]


def _risks(case: Case) -> list[Field]:
    refused = [key for key in figures() if key.startswith(_SERVER) and key.endswith(".refused")]
    poisoned = [key for key in figures() if key.startswith("poison.demo.") and key.endswith(".auc")]
    return [
        declared(case, "risk_severity"),
        epsilon(case, "risk.server_bound", ACCOUNT, "/epsilon_to_server"),
        *(figure("risk.server_refused", key) for key in refused or [f"{_SERVER}alone.refused"]),
        *(figure("risk.server_gains", key.replace(".refused", ".epsilon")) for key in refused),
        figure("risk.membership", f"{_LOSS}auc"),
        figure("risk.membership", f"{_LOSS}found"),
        *(figure("risk.poisoning", key) for key in poisoned or ["poison.demo.none.sum.auc"]),
        of_code(
            "risk.theft",
            "without the passphrase nothing of what a user did; what shows is told in the page",
            "docs/data-on-device.md",
            tests=("tests/promises/test_thief.py", "tests/client/vault/test_store_faults.py"),
        ),
        figure("risk.lost_on_a_crash", "vault.kill9_runs"),
        of_code(
            "risk.linkage",
            "keys that a device signs and seals with are drawn for one epoch and destroyed after it; the transport's node id stays, "
            "and is what the server knows a device by",
            "client/privacy/membership.py",
            "server/enrolment.py",
            tests=("tests/client/privacy/test_membership.py", "tests/server/test_enrolment.py"),
        ),
        *stated("risk.edge_case", "docs/privacy.md", "Edge cases"),
    ]
