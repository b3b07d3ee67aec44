"""The bytes of a refusal: a code of a closed set, nothing else."""

from __future__ import annotations

from shared.codec import encode
from shared.errors import RefusalCode
from shared.messages import REGISTER


def bare_refusal(code: RefusalCode) -> bytes:
    """A refusal as it leaves, whoever decided it."""
    return encode(REGISTER, "refusal", {"code": int(code)})
