"""The bytes of a refusal: a code of a closed set, nothing else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from shared.codec import encode
from shared.errors import Refusal, RefusalCode
from shared.messages import REGISTER

from .privacy.request_signature import verify
from .vault.erasure import DUE, MARKER, TOLD, server_of
from .vault.keys import write_durably


def bare_refusal(code: RefusalCode) -> bytes:
    """A refusal as it leaves, whoever decided it."""
    return encode(REGISTER, "refusal", {"code": int(code)})


def answer_forgotten(folder: Path, data: bytes) -> bytes:
    """What is answered to the bytes of a request when the device is gone: `last_words` to its server, a refusal to anybody
    else, who cannot take the notice away."""
    try:
        verify(data, server_of((folder / MARKER).read_bytes()))
    except (Refusal, OSError, ValueError):
        return bare_refusal(RefusalCode.SIGNATURE)
    return last_words(folder)


def last_words(folder: Path) -> bytes:
    """What a forgotten device answers its server: the deletion notice the first time, a refusal ever after.

    The notice counts as sent before it is handed over: it goes out once or, if the process dies just then, not at all.
    """
    with suppress(OSError):
        marker = (folder / MARKER).read_bytes()
        if marker.startswith(DUE):
            write_durably(folder / MARKER, TOLD + marker[len(DUE) :])
            return encode(REGISTER, "deletion", {})
    return bare_refusal(RefusalCode.FORGOTTEN)
