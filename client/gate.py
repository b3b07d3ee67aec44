"""THE ONLY DOOR OUT: whatever leaves a device is declared, allowed by consent, and encoded here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.codec import encode
from shared.errors import Refusal, RefusalCode, WireError
from shared.messages import REGISTER

from .consent import Consent


class Gate:
    """Turns a reply into bytes, or into the bytes of a refusal; counts both, and never raises.

    Guarantees. Every byte string it returns decodes under the register. Alerts leave only under `identified` consent:
    without it the list is emptied, so the reply has the form of a device that saw nothing. A reply that breaks the
    register (an undeclared field, a value out of bounds) becomes a refusal with code INTERNAL and no text.
    """

    def __init__(self, consent: Consent) -> None:
        self.consent = consent
        self.released: dict[str, int] = {}
        self.released_bytes = 0

    def release(self, name: str, fields: Mapping[str, Any]) -> bytes:
        """Bytes of one reply that may leave now."""
        if name == "alerts" and self.consent is not Consent.IDENTIFIED:
            fields = {**fields, "alerts": []}
        try:
            data = encode(REGISTER, name, fields)
        except WireError:
            return self.refuse(Refusal(RefusalCode.INTERNAL))
        return self._count(name, data)

    def refuse(self, refusal: Refusal) -> bytes:
        """Bytes of a refusal: its code, nothing else."""
        return self._count("refusal", encode(REGISTER, "refusal", {"code": int(refusal.code)}))

    def _count(self, name: str, data: bytes) -> bytes:
        self.released[name] = self.released.get(name, 0) + 1
        self.released_bytes += len(data)
        return data
