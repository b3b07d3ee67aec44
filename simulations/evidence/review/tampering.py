"""Copies of a run that somebody tampered with, as people would who want it to look better; and what the verifier finds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from server.run_log.log import LOG_FILE, RunLog
from server.signing import signing_key

from ...federation.run_folder import RunFolder
from ..verifier import Seen, check

#: Of the folder, what the log and its verifier speak of; everybody's events and devices are left where they are.
_LEFT_OUT: Final = ("population", "devices", "hosts", "flower", "app", "cpu", "helpers", "evidence")


def _smaller_epsilon(run: RunFolder) -> None:
    """The account tells a tenth of what was spent."""
    file = run.server.account_file
    account = json.loads(file.read_bytes())
    account["epsilon_to_public"] = (account["epsilon_to_public"] or 1.0) / 10
    file.write_text(json.dumps(account))


def _round_left_out(run: RunFolder) -> None:
    """The log forgets that one round was charged."""
    _rewrite(run, lambda lines: [line for i, line in enumerate(lines) if i != _first(lines, b'"kind":"charge"')])


def _another_model(run: RunFolder) -> None:
    """The model that is handed on is not the one that was trained."""
    file = run.server.folder / "checkpoint.npz"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def _signed_again(run: RunFolder) -> None:
    """The server itself, with its key, writes its log again so that one request was never made, and signs that."""
    _rewrite(run, lambda lines: [line for i, line in enumerate(lines) if i != _first(lines, b'"kind":"request"')])
    RunLog(run.server.folder, signing_key(run.signing_key_file)).sign()


#: What is done to a copy, in words; the last can be found by a witness alone.
TAMPERINGS: Final[Mapping[str, Callable[[RunFolder], None]]] = MappingProxyType(
    {
        "the account tells a tenth of the epsilon": _smaller_epsilon,
        "the log forgets a round that was charged": _round_left_out,
        "one bit of the model is another": _another_model,
        "the server forgets a request, and signs that with its own key": _signed_again,
    }
)


def found_in_copies(run: RunFolder, at: Path, seen: list[Seen]) -> dict[str, tuple[list[str], list[str]]]:
    """Of each tampering what is found without a witness, and with what a device saw; the copies are made below `at`."""
    out = {}
    for number, (words, tamper) in enumerate(TAMPERINGS.items()):
        place = at / str(number)
        shutil.copytree(run.path, place, ignore=shutil.ignore_patterns(*_LEFT_OUT, "*.db"))
        tamper(RunFolder(place))
        out[words] = (check(place), check(place, None, seen))
    return out


def _rewrite(run: RunFolder, change: Callable[[list[bytes]], list[bytes]]) -> None:
    file = run.server.folder / LOG_FILE
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))


def _first(lines: list[bytes], part: bytes) -> int:
    return next(number for number, line in enumerate(lines) if part in line)
