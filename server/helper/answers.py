"""What a helper answers: the bytes of a request that its server signed in, the bytes of a reply out. It knows nothing of plans, models
or people: it adds up shares over a list, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.clock import Clock
from shared.codec import decode, encode
from shared.envelope import signed_bytes, unwrap
from shared.errors import RefusalCode, SumError, WireError
from shared.messages import REGISTER, REQUESTS
from shared.secure_sum.duty import Duty
from shared.secure_sum.epoch import Epoch, verified

from ..signing import public_bytes, signing_key
from .store import HelperStore

KEY_FILE = "identity.pem"
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Helper:
    """One helper: its store and identity, the one server that it answers, the one key whose word on enrolment counts, and the
    audience whose sums it adds up."""

    store: HelperStore
    identity: Ed25519PrivateKey
    server_key: bytes
    enrolment_key: bytes
    audience: str
    clock: Clock

    @classmethod
    def open(cls, folder: Path, server_key: bytes, enrolment_key: bytes, audience: str, clock: Clock) -> Helper:
        """The helper that lives in a folder; made there, key and store, if there is none yet."""
        store = HelperStore(folder)
        return cls(store, signing_key(folder / KEY_FILE), server_key, enrolment_key, audience, clock)

    def answer(self, data: bytes, expected: str) -> bytes:
        """The bytes of a reply to an `expected` request. Never raises: what is wrong is refused by a code."""
        try:
            return self._answered(data, expected)
        except SumError as error:
            code = {"epoch": RefusalCode.EPOCH, "second_list": RefusalCode.SECOND_LIST}.get(
                error.reason, RefusalCode.LIST
            )
        except WireError:
            code = RefusalCode.MALFORMED
        except Exception:
            code = RefusalCode.INTERNAL
        return encode(REGISTER, "refusal", {"code": int(code)})

    def _answered(self, data: bytes, expected: str) -> bytes:
        try:
            envelope = unwrap(data)
            signed = signed_bytes(envelope.body, envelope.time_s, envelope.head)
            Ed25519PublicKey.from_public_bytes(self.server_key).verify(envelope.signature, signed)
        except (WireError, InvalidSignature):
            return encode(REGISTER, "refusal", {"code": int(RefusalCode.SIGNATURE)})
        name, request = decode(REQUESTS, envelope.body)
        if name != expected or name not in HANDLERS:
            return encode(REGISTER, "refusal", {"code": int(RefusalCode.UNDECLARED)})
        if request["audience"] != self.audience:
            return encode(REGISTER, "refusal", {"code": int(RefusalCode.AUDIENCE)})
        return encode(REGISTER, REQUESTS[name].reply, HANDLERS[name](self, request))

    # ---- one for each request

    def _enrolment(self, request: Fields) -> dict[str, Any]:
        seat = self.store.seat_key(request["epoch"]).public_key().public_bytes_raw()
        return {"epoch": request["epoch"], "identity": public_bytes(self.identity), "seat": seat}

    def _join(self, request: Fields) -> dict[str, Any]:
        epoch = self._verified(request["signed"])
        self.store.keep_epoch(epoch.number, request["signed"])
        return {"epoch": epoch.number}

    def _opinion(self, request: Fields) -> dict[str, Any]:
        return self._duty(request["epoch"]).opinion(request)

    def _sum(self, request: Fields) -> dict[str, Any]:
        answer = self._duty(request["epoch"]).answer(request)
        self.store.write_answer(request["epoch"], answer.slot, answer.list_sha256)
        return answer.fields

    def _duty(self, number: int) -> Duty:
        epoch, seat = self._verified(self.store.signed_epoch(number)), self.store.seat_key(number)
        leaf = public_bytes(self.identity) + seat.public_key().public_bytes_raw()
        return Duty(epoch, leaf, self.identity, seat, self.store)

    def _verified(self, signed: bytes) -> Epoch:
        try:
            return verified(signed, self.enrolment_key, self.clock.now_s(), self.audience)
        except WireError:
            raise SumError("epoch", "expected an epoch that the enrolment's key signed, and that runs now") from None


HANDLERS: Mapping[str, Callable[[Helper, Fields], dict[str, Any]]] = {
    "enrolment_query": Helper._enrolment,
    "epoch_offer": Helper._join,
    "opinion_request": Helper._opinion,
    "sum_request": Helper._sum,
}
