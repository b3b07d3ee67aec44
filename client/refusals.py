"""The bytes of a refusal: a code of a closed set, nothing else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from shared.codec import encode
from shared.errors import Refusal, RefusalCode, SumError
from shared.messages import REGISTER

from .privacy.request_signature import verify
from .vault.erasure import DUE, MARKER, PAST_MARKER, TOLD, server_of
from .vault.keys import sync_folder, write_durably

#: By the reason of a `SumError`; what is not here is wrong with the list that a seat was asked to add up.
_OF_SUMS = {
    "cohort": RefusalCode.PLAN_REFUSED,
    "epoch": RefusalCode.EPOCH,
    "helpers": RefusalCode.SEATS,
    "key": RefusalCode.SEATS,
    "plan": RefusalCode.PLAN_REFUSED,
    "seat": RefusalCode.SEATS,
    "seats": RefusalCode.SEATS,
    "second_list": RefusalCode.SECOND_LIST,
    "sizes": RefusalCode.SEATS,
}


def bare_refusal(code: RefusalCode) -> bytes:
    """A refusal as it leaves, whoever decided it."""
    return encode(REGISTER, "refusal", {"code": int(code)})


def code_of(error: SumError) -> RefusalCode:
    """What a device says of something that has no place in a secure sum."""
    return _OF_SUMS.get(error.reason, RefusalCode.LIST)


def answer_forgotten(folder: Path, data: bytes) -> bytes:
    """What is answered to the bytes of a request when the device is gone: `last_words` to its server, a refusal to anybody
    else, who cannot take the notice away."""
    try:
        verify(data, server_of((folder / MARKER).read_bytes()))
    except (Refusal, OSError, ValueError):
        return bare_refusal(RefusalCode.SIGNATURE)
    return last_words(folder)


def past_words(folder: Path, server_key: bytes) -> bytes | None:
    """The deletion notice of a device that was forgotten before another one began in its folder: once, for its server; None
    when there is none to give."""
    past = folder / PAST_MARKER
    with suppress(OSError):
        if server_of(past.read_bytes()) == server_key:
            past.unlink()
            sync_folder(folder)
            return encode(REGISTER, "deletion", {})
    return None


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
