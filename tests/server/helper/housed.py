"""A helper as shipped, in a folder of its own, that takes part in a world's sums."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.helper.answers import Helper
from server.signing import public_bytes
from shared.clock import ReplayClock
from shared.codec import decode
from shared.errors import RefusalCode, SumError
from shared.messages import REGISTER
from shared.plan import SumPlan, UpdateKind
from shared.secure_sum.entry import SumList
from shared.secure_sum.epoch import Epoch, sign
from shared.secure_sum.header import Header
from shared.secure_sum.leaves import leaf_of
from shared.secure_sum.share import box_bytes
from tests.world.basics import make_plan
from tests.world.seats import ENROLMENT_KEY, ENROLMENT_PRIVATE, FIRST_HELPER, NOW_S, Party, World
from tests.world.signing import SERVER_KEY, body_of, signed

N_VALUES, N_DEVICES = 20, 5
PLAN = make_plan(privacy={"noise_multiplier": 0.0, "population": 8, "min_survivors": 3}, sum=SumPlan(2))
KIND = UpdateKind("train_request", PLAN.privacy, N_VALUES)


def open_helper(folder: Path, now_s: float = NOW_S, audience: str = "") -> Helper:
    return Helper.open(folder, SERVER_KEY, ENROLMENT_KEY, audience, ReplayClock(now_s))


def says(helper: Helper, name: str, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(name, fields) of what a helper replies to a right request of the tests' server."""
    return decode(REGISTER, helper.answer(signed(body_of(name, request)), name))


def refuses(helper: Helper, name: str, request: Mapping[str, Any]) -> RefusalCode:
    said, fields = says(helper, name, request)
    assert said == "refusal", said
    return RefusalCode(fields["code"])


def offer_of(epoch: Epoch) -> dict[str, Any]:
    return {"epoch": epoch.number, "signed": sign(epoch, ENROLMENT_PRIVATE)}


class Housed(Party):
    """A helper with a folder, in epoch 1; `asked` keeps what it was asked last, by name."""

    def __init__(self, folder: Path) -> None:
        super().__init__("housed")
        self.folder, self.asked = folder, dict[str, dict[str, Any]]()
        self.helper = open_helper(folder)
        seat = self.helper.store.seat_key(1).public_key().public_bytes_raw()
        self.leaf = leaf_of(public_bytes(self.helper.identity), seat)

    def serve(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        self.asked[name] = dict(request)
        said, fields = says(self.helper, name, request)
        if said == "refusal":
            raise SumError("refused", "expected an answer")
        return fields


def world_with(folder: Path) -> tuple[World, Housed]:
    """A world one of whose two helpers lives in a folder, and has taken the epoch."""
    housed = Housed(folder)
    world = World(PLAN, N_DEVICES, kind=KIND, helpers={FIRST_HELPER: housed, FIRST_HELPER + 1: Party("other")})
    assert says(housed.helper, "epoch_offer", offer_of(world.epoch)) == ("epoch_receipt", {"epoch": 1})
    return world, housed


def without_first(world: World, housed: Housed, request: Mapping[str, Any]) -> dict[str, Any]:
    """The request for the sum over all but the first of the devices."""
    header = Header.from_bytes(request["header"])
    listed = SumList.from_bytes(header, request["entries"])
    shorter = SumList.of(header, listed.entries[1:])
    boxes = request["boxes"][box_bytes(header) :] if header.position_of(housed.leaf) >= header.t_priv else b""
    proof = world.roll.proof([entry.index for entry in shorter.entries])
    return {**request, "entries": shorter.canonical, "proof": proof, "boxes": boxes}
