"""Epochs, proofs and draws of version 1, right ones and refused ones: tests/vectors/v1/secure_sum/enrolment.json.

    python -m tests.vectors.make_secure_sum_enrolment

writes it; a test holds it. Seeds are fixed here, and Ed25519 signs alike every time (RFC 8032), so all of it is made again alike.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.codec import encode
from shared.secure_sum import epoch as module
from shared.secure_sum.draw import drawn, kept
from shared.secure_sum.epoch import Epoch, sign
from shared.secure_sum.merkle import prove, root
from tests.world.listed import (
    AUDIENCE,
    BEGINS_S,
    ENROLMENT_KEY,
    OFFLINE_KEY,
    OTHER_OFFLINE_KEY,
    helpers,
    leaves,
    make_epoch,
)

FILE = Path(__file__).parent / "v1" / "secure_sum" / "enrolment.json"
NOW_S = BEGINS_S + 5
#: Devices, helpers, seats that are drawn and kept; and positions that are proven.
WORLDS = ((1, 3, 1, 1, [0]), (3, 2, 3, 3, [0, 2]), (20, 0, 12, 8, [3, 4, 19]), (500, 5, 40, 28, [0, 250, 251, 499]))


def enrolment() -> dict[str, Any]:
    """All of it, as JSON has it: bytes in hex."""
    worlds = [(leaves(n), n_helpers, *rest) for n, n_helpers, *rest in WORLDS]
    return {
        "version": 1,
        "enrolment_key": ENROLMENT_KEY.hex(),
        "epochs": [_good(*world) for world in worlds],
        "refused": [
            {"why": why, "refusal": refusal, "now_s": now_s, "audience": audience, "signed": signed.hex()}
            for why, refusal, now_s, audience, signed in _refused(make_epoch(5))
        ],
        "refused_proofs": _refused_proofs(),
    }


def _good(devices: list[bytes], n_helpers: int, n_drawn: int, n_seats: int, proven: list[int]) -> dict[str, Any]:
    listed = sorted(devices)
    epoch = make_epoch(len(listed), root=root(listed), helpers=tuple(helpers(n_helpers)))
    draws = []
    for kind, number in (("update", 1), ("update", 64), ("risk_update", 1)):
        seats = drawn(epoch, kind, number, n_drawn)
        absent = sorted(seats[: n_drawn - n_seats : 2]) if n_drawn < len(listed) else []
        named = {"kind": kind, "round": number, "drawn": list(seats), "absent": absent}
        draws.append(named | {"kept": list(kept(seats, absent, n_seats, len(listed)))})
    return {
        "audience": AUDIENCE,
        "now_s": NOW_S,
        "signed": sign(epoch, OFFLINE_KEY).hex(),
        "sha256": epoch.sha256.hex(),
        "root": epoch.root.hex(),
        "n_devices": epoch.n_devices,
        "n_helpers": n_helpers,
        "draws": draws,
        "proofs": [_proof(listed, proven), _proof(listed, proven[-1:])],
    }


def _proof(listed: list[bytes], positions: list[int]) -> dict[str, Any]:
    return {"members": {str(at): listed[at].hex() for at in positions}, "proof": prove(listed, positions).hex()}


def _refused(epoch: Epoch) -> list[tuple[str, str, int, str, bytes]]:
    right = sign(epoch, OFFLINE_KEY)
    other = encode(
        module._SIGNED,
        "signed_epoch",
        {
            "epoch": replace(epoch, seed=bytes(32)).canonical,
            "signature": OFFLINE_KEY.sign(module.TAG + epoch.canonical),
        },
    )
    untagged = encode(
        module._SIGNED, "signed_epoch", {"epoch": epoch.canonical, "signature": OFFLINE_KEY.sign(epoch.canonical)}
    )
    return [
        ("signed by another key", "EpochForged", NOW_S, AUDIENCE, sign(epoch, OTHER_OFFLINE_KEY)),
        ("another seed under the signature", "EpochForged", NOW_S, AUDIENCE, other),
        ("signed without the tag", "EpochForged", NOW_S, AUDIENCE, untagged),
        ("for another audience", "EpochElsewhere", NOW_S, "south", right),
        ("before its window", "EpochNotBegun", BEGINS_S - 1, AUDIENCE, right),
        ("behind its window", "EpochEnded", epoch.ends_s, AUDIENCE, right),
        ("cut", "WireError", NOW_S, AUDIENCE, right[:-1]),
        ("a byte more", "WireError", NOW_S, AUDIENCE, right + b"\0"),
    ]


def _refused_proofs() -> list[dict[str, Any]]:
    listed = sorted(leaves(20))
    right = prove(listed, [3, 4])
    members = {3: listed[3], 4: listed[4]}
    cases = (
        ("another leaf", {3: listed[3], 4: listed[5]}, right),
        ("leaves in each other's place", {3: listed[4], 4: listed[3]}, right),
        ("a hash too few", members, right[:-32]),
        ("a hash too many", members, right + bytes(32)),
        ("hashes in another order", members, right[32:64] + right[:32] + right[64:]),
        ("behind the list", {20: listed[3]}, prove(listed, [3])),
    )
    return [
        {
            "why": why,
            "refusal": "ProofError",
            "root": root(listed).hex(),
            "n_devices": len(listed),
            "members": {str(at): leaf.hex() for at, leaf in shown.items()},
            "proof": proof.hex(),
        }
        for why, shown, proof in cases
    ]


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(enrolment(), indent=1) + "\n", encoding="utf-8")
