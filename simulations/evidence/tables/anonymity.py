"""Claims that are not made, and why: a section of its own, so that silence is not taken for one."""

from __future__ import annotations

from dataclasses import dataclass

from ..case import Case
from ..fields import FieldTable
from ..grounds import of_code

PRIVACY, ATTACKS, SUM = "docs/privacy.md", "docs/attacks.md", "docs/secure-sum.md"


@dataclass(frozen=True)
class Unclaimed:
    """A claim that is not made, why, and the page, of `pages`, on which more of it stands."""

    claim: str
    why: str
    pages: tuple[str, ...]


UNCLAIMED = {
    "anonymous-model": Unclaimed(
        "the model is anonymous (EDPB opinion 28/2024)",
        "epsilon bounds what one device changes; that nobody can be identified by any means reasonably likely to be used is "
        "another question, and attacks that find little prove little",
        (PRIVACY, ATTACKS),
    ),
    "anonymous-alerts": Unclaimed(
        "identified alerts are protected by epsilon",
        "they leave by dated and revocable consent alone, under the device's node id",
        (PRIVACY,),
    ),
    "taking-part": Unclaimed(
        "it is hidden that a device takes part",
        "the server knows whom it asked and who answered, when and from which address; neighbours are two worlds in both of which "
        "the device takes part",
        (PRIVACY,),
    ),
    "person": Unclaimed(
        "the guarantee is for a person",
        "it is for one device: of two devices of one person both are counted, each on its own",
        (PRIVACY,),
    ),
    "server-after-breach": Unclaimed(
        "it holds against a server with every helper on its side",
        "then each vector stands behind its own share of the noise alone; what that comes to is in the account, line by line",
        (PRIVACY, ATTACKS),
    ),
    "reviewed": Unclaimed(
        "somebody else has reviewed the secure sum",
        "nobody but its authors has reviewed the composition of its parts, which are other people's",
        (SUM,),
    ),
    "choices": Unclaimed(
        "epsilon covers how settings were chosen",
        "rounds, rates, windows, clips and detectors were tuned on private data, outside of any account",
        (PRIVACY,),
    ),
    "disk": Unclaimed(
        "a stolen phone is protected by hardware",
        "rows are sealed under a passphrase as long as no Keystore or Keychain stands behind the key provider",
        (PRIVACY, "docs/data-on-device.md"),
    ),
    "audit": Unclaimed(
        "an audit that finds nothing shows that nothing leaks",
        "it bounds epsilon from below, with a stated power; the account bounds it from above",
        (ATTACKS,),
    ),
    "law": Unclaimed(
        "the operator complies with a law",
        "these are facts for an assessment, not advice and not the assessment; counsel reads them, and the operator answers the rest",
        (PRIVACY,),
    ),
}  # fmt: skip
SIMULATED = Unclaimed(
    "real people took part",
    "this run is a simulation on one machine: what it measures of people is about made-up ones, or a replay of a log",
    ("docs/protocol.md",),
)


def unclaimed_tables(case: Case) -> list[FieldTable]:
    """The claims that are not made of this run."""
    every = {**UNCLAIMED, "simulation": SIMULATED}
    return [
        FieldTable(
            "claims-not-made",
            tuple(
                of_code(
                    "claim.not_made", {"claim": one.claim, "why": one.why}, *one.pages, row=name, state="configured"
                )
                for name, one in every.items()
            ),
        )
    ]
