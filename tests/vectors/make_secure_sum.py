"""The vectors of the secure sum, version 1: what every build of devices, helpers and servers has to agree on, to the byte.

    python -m tests.vectors.make_secure_sum

writes tests/vectors/v1/secure_sum/ anew, and changes nothing unless the code sends, sums or refuses something else than it did. Then
it is another version: what devices in the field speak stays readable as it was.

good files: `sent` holds what each device sends, by what (`entropy` are the 32 bytes of its ephemeral key, then those of the key
of its masks), `answers` what each seat and pad answers, `tests` the test words that it tells before; `opened` is the sum. With 500
devices there are hashes in their places, of the bytes one behind the other, and keys follow from `seed` (tests/shared/secure_sum/parts.py).
`refused.json`: what a seat is asked instead of what is right, and the name by which it refuses. `draws.json`: who is drawn.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from shared.errors import InputError
from shared.secure_sum.draw import drawn, kept
from shared.secure_sum.entry import SumList
from shared.secure_sum.epoch import Epoch, sign
from tests.shared.secure_sum.cases import REFUSED, SEALED, WORLD, asked, honest
from tests.shared.secure_sum.parts import Person, Sent, World
from tests.world.basics import replayed_entropy

FOLDER = Path(__file__).parent / "v1" / "secure_sum"
#: By file: the world, and which devices are gone.
GOOD = {
    "helpers_3_devices_3": (World(3, seed="vectors 1"), ()),
    "helpers_2_devices_20_gone": (World(20, 2, prime=2147483659, seed="vectors 2"), (0, 7)),
    "seats_12_devices_20_gone": (World(20, 0, (12, 7, 9), seed="vectors 3"), (1, 3, 18, 19)),
    "seats_12_pads_2_devices_20": (World(20, 2, (12, 7, 9), seed="vectors 4"), ()),
    "helpers_5_devices_500_gone": (World(500, 5, seed="vectors 5"), tuple(range(0, 500, 10))),
    "seats_20_pad_1_devices_500_gone": (World(500, 1, (20, 11, 14), seed="vectors 6"), tuple(range(0, 500, 3))),
}
LONGEST_WRITTEN_OUT = 20


def good(world: World, gone: tuple[int, ...]) -> dict[str, Any]:
    """One sum, from what devices send to what is opened."""
    sent = [world.sent(at) for at in range(world.n_devices) if at not in gone]
    listed, places = SumList.of(world.header, [one.entry for one in sent]), range(len(world.holders))
    told = {place: world.duty(place).opinion(world.request(sent, place)) for place in places}
    answers = world.answered(sent, places)
    out = {
        "version": 1,
        "seed": world.seed,
        "epoch": _signed(world.epoch),
        "epoch_sha256": world.epoch.sha256.hex(),
        "header": world.header.canonical.hex(),
        "header_sha256": world.header.sha256.hex(),
        "list_sha256": listed.sha256.hex(),
        "opened": world.opened(sent, answers).values.tolist(),
    }
    written = {
        "sent": [_sent(world, one) for one in sent],
        "proof": world.request(sent, 0)["proof"].hex(),
        "answers": [
            {
                **_keys(world.holders[place]),
                "values": answer.values.hex(),
                "signature": answer.signature.hex(),
                "tests": told[place]["tests"].hex(),
            }
            for place, answer in answers.items()
        ],
    }
    if world.n_devices <= LONGEST_WRITTEN_OUT:
        return out | written
    parts = {
        "entries": [listed.canonical],
        "sealed": [one.sealed for one in sent],
        "answers": [answer.values + answer.signature for answer in answers.values()],
        "tests": [said["tests"] for said in told.values()],
    }
    return out | {f"{name}_sha256": sha256(b"".join(part)).hexdigest() for name, part in parts.items()}


def _signed(epoch: Epoch) -> str:
    """As it travels, signed by a key of the vectors."""
    return sign(epoch, Person("vectors offline").identity).hex()


def _keys(one: Person) -> dict[str, str]:
    return {"identity": one.identity.private_bytes_raw().hex(), "seat": one.seat.private_bytes_raw().hex()}


def _sent(world: World, one: Sent) -> dict[str, Any]:
    at = one.entry.index
    entropy = replayed_entropy(f"{world.seed} {at}")
    return {
        "index": at,
        **_keys(world.devices[at]),
        "entropy": [entropy(32).hex(), entropy(32).hex()],
        "values": world.values()[at].tolist(),
        "ephemeral": one.entry.ephemeral.hex(),
        "sealed": one.sealed.hex(),
        "signature": one.entry.signature.hex(),
    }


def refused() -> dict[str, Any]:
    """What is right for one seat to be asked, and every case, by what differs from it."""
    right = asked(honest())
    cases = {}
    for name, (make, reason) in REFUSED.items():
        request = make()
        instead = {key: value.hex() for key, value in request.items() if key != "epoch" and value != right[key]}
        cases[name] = {"refused": reason, "instead": instead}
    return {
        "version": 1,
        "epoch": _signed(WORLD.epoch),
        **_keys(WORLD.holders[SEALED]),
        "right": {key: value.hex() for key, value in right.items() if key != "epoch"},
        "second_list": {key: value.hex() for key, value in asked(honest()[1:]).items() if key != "epoch"},
        "cases": cases,
    }


def draws() -> dict[str, Any]:
    """Who is drawn of 300 devices, and which seats are left when some are named absent, or why not."""
    epoch = World(300, 2, seed="vectors 7").epoch
    found = {
        f"{kind} {number}": drawn(epoch, kind, number, 20) for kind in ("update", "risk_update") for number in (1, 64)
    }
    first = found["update 1"]
    named = {
        "nobody absent": (),
        "as many as there are to spare": sorted(first[:6]),
        "too many": sorted(first[:7]),
        "not drawn": [next(at for at in range(300) if at not in first)],
        "out of order": sorted(first[:2], reverse=True),
        "twice": [first[0], first[0]],
    }
    return {
        "version": 1,
        "epoch": _signed(epoch),
        "drawn": found,
        "seats": 14,
        "absent": {name: {"absent": list(absent), "kept": _kept(first, absent)} for name, absent in named.items()},
    }


def _kept(first: tuple[int, ...], absent: Any) -> list[int] | None:
    try:
        return list(kept(first, absent, 14, 300))
    except InputError:
        return None


def made() -> dict[str, str]:
    """Every file, by its name."""
    content = {name: good(*case) for name, case in GOOD.items()} | {"refused": refused(), "draws": draws()}
    return {f"{name}.json": json.dumps(fields, indent=1) + "\n" for name, fields in content.items()}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in made().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
