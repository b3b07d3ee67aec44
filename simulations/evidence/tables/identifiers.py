"""What identifies whom: each identifier, where it lies, who sees it, and for how long; in messages, as the register has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from shared.messages import REGISTER
from shared.register.kinds import Bytes

from ..case import Case
from ..fields import Field, FieldTable, missing
from ..grounds import of_code
from .messages import HELD, every_field, register_file


@dataclass(frozen=True)
class Identifier:
    """What tells a device, a person or a run from others. `until`: when it is gone."""

    of: str
    lies: str
    seen_by: str
    until: str


#: Name: what it is, the files that make or keep it, the tests that hold it to that.
KNOWN: dict[str, tuple[Identifier, tuple[str, ...], tuple[str, ...]]] = {
    "device-number": (
        Identifier("a device", "its vault, sealed", "nobody else: no message carries it", "forget"),
        ("client/profile.py",),
        ("tests/client/test_gate.py",),
    ),
    "node": (
        Identifier(
            "a device", "the transport, and the server's folder", "the server, beside all that the device answers",
            "the operator's retention; a device that was forgotten is never asked again",
        ),
        ("server/enrolment.py", "server/inbox.py"),
        ("tests/server/test_enrolment.py", "tests/server/test_inbox.py"),
    ),
    "epoch-identity": (
        Identifier(
            "a device in one epoch", "its vault; the signed list", "the server, seats and helpers, who signs the list",
            "the epoch's end, 31 days at most; the list stays with who signed it",
        ),
        ("client/privacy/membership.py", "shared/secure_sum/epoch.py"),
        ("tests/client/privacy/test_membership.py",),
    ),
    "epoch-seat": (
        Identifier("a device in one epoch", "its vault; the signed list", "as the identity", "the epoch's end"),
        ("client/privacy/membership.py",),
        ("tests/client/privacy/test_membership.py",),
    ),
    "audience": (
        Identifier("a deployment or group of devices", "the vault; every request", "everybody in it", "forget"),
        ("client/profile.py",),
        ("tests/client/test_gate.py",),
    ),
    "server-key": (
        Identifier("the server", "every vault that pinned it; server.pub", "everybody", "forget"),
        ("client/profile.py", "server/signing.py"),
        ("tests/client/privacy/test_request_signature.py",),
    ),
    "run": (
        Identifier("a run of the server: the second at which it began", "requests; the log", "everybody asked", "with the log"),
        ("server/state.py",),
        ("tests/server/test_run_begun.py",),
    ),
    "place": (
        Identifier("a device's files", "its vault, sealed, as a hash", "nobody else", "forget"),
        ("client/place.py",),
        ("tests/client/test_anew.py",),
    ),
    "alerts": (
        Identifier(
            "what a user is interested in, by category and time", "the server's inbox, under the node's id",
            "the server, of users who agreed to identified alerts", "the operator's retention; deleted by nobody else",
        ),
        ("server/inbox.py",),
        ("tests/server/test_inbox.py",),
    ),
}  # fmt: skip


def identifier_tables(_: Case) -> list[FieldTable]:
    """Identifiers that are known; then whatever in a message could be one: keys, hashes and signatures."""
    known = [
        of_code("identifier.known", asdict(what), *files, row=name, tests=tests)
        for name, (what, files, tests) in KNOWN.items()
    ]
    address = missing(
        "identifier.known", "network addresses are the transport's: what is logged of them is the operator's", "address"
    )
    return [FieldTable("identifiers", (*known, address, *_in_messages()))]


def _in_messages() -> Iterator[Field]:
    """Of each short byte string that may leave a device, what it can tell: a key, a hash or a signature is one."""
    for kind in REGISTER.values():
        for row, declared in every_field(kind):
            if isinstance(declared.type, Bytes) and declared.type.high <= 64:
                value = {"sensitivity": declared.sensitivity, "purpose": declared.purpose}
                yield of_code("identifier.in_message", value, register_file(kind), row=row, tests=HELD)
