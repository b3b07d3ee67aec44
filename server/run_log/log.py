"""The log of a run: what its server did, one line each, in an order that it can no longer change once a device has seen the root.

Leaves are lines of canonical JSON (keys sorted, no spaces, ASCII, whole numbers and texts only), which people read as they are.
Nothing in them is about one device: no count of devices that answered, no list of them but by the hash that seats hold, too, which
fresh keys of every device go into, and so nobody can try lists out.

    begin     the run, the plan by hash, the key that signs
    epoch     the enrolment that devices hold: number, root, how many
    charge    a round is spent
    request   what was signed for devices or seats, by the hash of its body: a line for each that differs
    list      which list of devices a round was summed over
    sum       what it came to, by hash
    model     what was published after a round
    account   what all of it cost
    files     what lies in the run's folder, by hash
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.envelope import Head
from shared.errors import DataError
from shared.files import append_line, replace_content

from .note import signed_note
from .tree import GrowingTree

LOG_FILE: Final = "run_log.jsonl"
NOTE_FILE: Final = "run_log.checkpoint"
FORMAT: Final = 1


def leaf_of(kind: str, fields: dict[str, int | str]) -> bytes:
    """One leaf's bytes, a line without its end."""
    return json.dumps({"kind": kind, **fields}, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def digest(*parts: bytes) -> str:
    """SHA-256 of the parts, one behind the other, in hex."""
    return sha256(b"".join(parts)).hexdigest()


class RunLog:
    """The log in one folder. Each leaf is on disk, power loss included, before `add` returns, and so before any request is signed
    that names it. One writer at a time.

    Edge cases. A line that a killed process left without its end was never part of a head, and is taken away. What is done again
    by a process that goes on is logged again, but for rounds that are charged and lists that are final: they are there once.
    DataError for a file that holds anything else than leaves.
    """

    def __init__(self, folder: Path, key: Ed25519PrivateKey) -> None:
        self._file, self._note_file, self._key = folder / LOG_FILE, folder / NOTE_FILE, key
        self._cut_off()
        self._tree, self._once = GrowingTree(), set[bytes]()
        for leaf in self.leaves():
            self._tree.append(leaf)
            self._once.add(leaf)

    @property
    def head(self) -> Head:
        return Head(self._tree.size, self._tree.root)

    def leaves(self) -> Iterator[bytes]:
        """Every leaf, in order."""
        if self._file.exists():
            with self._file.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    yield _expect_leaf(line.rstrip(b"\n"), number)

    def add(self, kind: str, **fields: int | str) -> None:
        """One leaf more."""
        leaf = leaf_of(kind, fields)
        append_line(self._file, leaf.decode(), durable=True)
        self._tree.append(leaf)
        self._once.add(leaf)

    def add_once(self, kind: str, **fields: int | str) -> None:
        """One leaf more, unless the very same is there."""
        if leaf_of(kind, fields) not in self._once:
            self.add(kind, **fields)

    def begin(self, run: int, plan_sha256: bytes) -> None:
        """The run of this number begins, or goes on."""
        self.add_once(
            "begin", format=FORMAT, run=run, plan=plan_sha256.hex(), key=self._key.public_key().public_bytes_raw().hex()
        )

    def close(self, files: Mapping[str, Path]) -> None:
        """Say by hash what these files hold, by the name that a reviewer finds each under, and sign all of it. What is said last
        counts, so whoever changes a file says it again."""
        for name, file in files.items():
            self.add("file", name=name, sha256=digest(file.read_bytes()))
        self.add("files", number=len(files))
        self.sign()

    def sign(self) -> None:
        """Sign what the log is as of now."""
        replace_content(self._note_file, signed_note(*self.head, self._key), durable=True)

    def _cut_off(self) -> None:
        if not self._file.exists():
            return
        with self._file.open("rb+") as file:
            data = file.read()
            if not data.endswith(b"\n") and data:
                file.truncate(data.rfind(b"\n") + 1)
                os.fsync(file.fileno())


def _expect_leaf(line: bytes, number: int) -> bytes:
    try:
        fields: dict[str, Any] = json.loads(line)
        kind = fields.pop("kind")
        same = leaf_of(kind, fields) == line
    except (ValueError, KeyError, TypeError, AttributeError):
        same = False
    if not same:
        raise DataError(f"expected a leaf in line {number} of {LOG_FILE}, got something else")
    return line
