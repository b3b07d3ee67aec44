"""Check the log of an Ebbtide run, and the files that it vouches for: `python verifier.py RUN [--key KEY] [--witness FILE ...]`.

One file that needs Python 3.11 and `cryptography`, and nothing of the project: a reviewer can read it in ten minutes, copy it
anywhere and run it there. What it checks:

- every line of the log is a leaf in its one spelling, and the leaves come in an order that a run can have;
- the signed checkpoint is of just these leaves (Merkle tree as in RFC 6962, section 2.1; Ed25519, RFC 8032), under the key that
  devices pinned (--key: 64 hex digits, or a file of 32 bytes; without it, the key that lies in the run's folder, which whoever
  gave you the folder may have changed);
- the files that the log names have the hashes that it names, and the account has as many rounds as the log charged;
- what devices saw: every line of a --witness file (JSON: {"size": leaves, "root": hex}) is the root that this log had at that
  size. A log that was cut off, rewritten or forked after a device was asked anything fails here, whatever is signed.

Ends with 0 if all of it holds, 1 if anything does not, with a line for each; 2 if there is nothing to check.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LOG_FILE, NOTE_FILE, ACCOUNT_FILE = "run_log.jsonl", "run_log.checkpoint", "account.json"
ORIGIN, KEY_NAME = "ebbtide run log", "ebbtide-server"
MOST_BYTES = 1 << 30
#: What a device saw: so many leaves, under this root.
Seen = tuple[int, bytes]
#: The fields of every kind of leaf, and what type each is of.
KINDS: dict[str, dict[str, type]] = {
    "begin": {"format": int, "run": int, "plan": str, "key": str},
    "epoch": {"epoch": int, "root": str, "devices": int},
    "charge": {"round": int, "line": str},
    "request": {"name": str, "sha256": str},
    "list": {"header": str, "sha256": str},
    "sum": {"round": int, "sha256": str},
    "model": {"part": str, "number": int, "sha256": str},
    "account": {"sha256": str},
    "file": {"name": str, "sha256": str},
    "files": {"number": int},
}

# ---- Merkle trees as in RFC 6962, section 2.1


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def roots(leaves: Sequence[bytes]) -> Iterator[bytes]:
    """The root of the first 0, 1, 2 ... leaves."""
    peaks: list[bytes] = []
    yield sha256(b"").digest()
    for size, leaf in enumerate(leaves):
        peak, left = leaf_hash(leaf), size
        while left & 1:
            peak, left = node_hash(peaks.pop(), peak), left >> 1
        peaks.append(peak)
        root = peaks[-1]
        for above in reversed(peaks[:-1]):
            root = node_hash(above, root)
        yield root


def includes(root: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that a leaf is number `index` of the `size` leaves under a root (section 2.1.1)."""
    if not 0 <= index < size:
        return False
    found, at, last = leaf_hash(leaf), index, size - 1
    for other in proof:
        if not last:
            return False
        if at & 1 or at == last:
            found = node_hash(other, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, other)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def goes_on(old_root: bytes, old_size: int, new_root: bytes, new_size: int, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the leaves under the new root begin with those under the old one (section 2.1.2)."""
    if not 0 < old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for other in path[1:]:
        if not last:
            return False
        if at & 1 or at == last:
            old, new = node_hash(other, old), node_hash(other, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, other)
        at, last = at >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


# ---- what is found


class Found(list[str]):
    """What does not hold, a line each."""

    def expect(self, condition: bool, otherwise: str) -> bool:
        if not condition:
            self.append(otherwise)
        return condition


def read_log(file: Path, found: Found) -> list[bytes]:
    """The leaves of a log, each checked to be one."""
    data = file.read_bytes()
    found.expect(data.endswith(b"\n"), f"{LOG_FILE} ends in the middle of a line")
    leaves = data.split(b"\n")[:-1] if data.endswith(b"\n") else data.split(b"\n")
    for number, leaf in enumerate(leaves, 1):
        fields = fields_of(leaf)
        kind = fields.get("kind")
        types = KINDS.get(kind) if isinstance(kind, str) else None
        good = types is not None and {k: type(v) for k, v in fields.items() if k != "kind"} == types
        found.expect(good, f"line {number} of {LOG_FILE} is no leaf of a run")
    return leaves


def fields_of(leaf: bytes) -> dict[str, Any]:
    """The fields of a leaf; none if it is not in its one spelling."""
    try:
        fields = json.loads(leaf)
        same = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() == leaf
    except (ValueError, RecursionError):
        return {}
    return fields if same and isinstance(fields, dict) else {}


def check_note(note: str, size: int, root: bytes, key: bytes, found: Found) -> None:
    """The checkpoint is signed by the key, and is of these leaves."""
    text, gap, signed = note.partition("\n\n")
    text += "\n"
    prefix = f"— {KEY_NAME} "
    try:
        signature = base64.b64decode(signed.removesuffix("\n").removeprefix(prefix), validate=True)
        whole = gap == "\n\n" and signed == f"{prefix}{base64.b64encode(signature).decode()}\n"
        named = signature[:4] == sha256(KEY_NAME.encode() + b"\n\x01" + key).digest()[:4]
        Ed25519PublicKey.from_public_bytes(key).verify(signature[4:], text.encode())
    except (ValueError, InvalidSignature):
        whole = named = False
    if found.expect(whole and named, f"{NOTE_FILE} is not signed by the server's key"):
        expected = f"{ORIGIN}\n{size}\n{base64.b64encode(root).decode()}\n"
        found.expect(
            text == expected, f"{NOTE_FILE} is of another log than {LOG_FILE}, or of more or fewer lines of it"
        )


def check_order(leaves: Sequence[dict[str, Any]], key: bytes, found: Found) -> None:
    """The leaves come as a run's: it begins once, in the end as in the beginning; what is spent comes before what it is spent on."""
    charged, models, lists, begun = set[int](), dict[str, int](), dict[str, str](), dict[str, Any]()
    for number, leaf in enumerate(leaves, 1):
        kind, where = leaf.get("kind"), f"line {number} of {LOG_FILE}"
        if kind == "begin":
            found.expect(leaf["key"] == key.hex(), f"{where}: a run under another key")
            found.expect(not begun or leaf == begun, f"{where}: goes on as another run, or under another plan")
            begun = leaf
        elif kind:
            found.expect(bool(begun), f"{where}: comes before the run begins")
        if kind == "charge":
            found.expect(leaf["round"] not in charged, f"{where}: round {leaf['round']} is charged twice")
            charged.add(leaf["round"])
        elif kind == "sum":
            found.expect(leaf["round"] in charged, f"{where}: a sum of round {leaf['round']}, which was not charged")
        elif kind == "list":
            same = lists.setdefault(leaf["header"], leaf["sha256"]) == leaf["sha256"]
            found.expect(same, f"{where}: a second list for one sum")
        elif kind == "model":
            last = models.get(leaf["part"], -1)
            found.expect(leaf["number"] in (last, last + 1), f"{where}: a model is missing before it")
            models[leaf["part"]] = leaf["number"]
    found.expect(bool(begun), f"{LOG_FILE} tells of no run")


def check_files(run: Path, server: Path, leaves: Sequence[dict[str, Any]], found: Found) -> None:
    """What the log says of files last is true, and what the account says of rounds."""
    closing = [number for number, leaf in enumerate(leaves) if leaf.get("kind") == "files"]
    if not found.expect(bool(closing), f"{LOG_FILE} does not say which files the run left: it has not ended"):
        return
    last = closing[-1]
    named = [leaf for leaf in leaves[max(0, last - leaves[last]["number"]) : last] if leaf.get("kind") == "file"]
    found.expect(len(named) == leaves[last]["number"], f"{LOG_FILE} does not name all the files that it says it does")
    found.expect(last == len(leaves) - 1, f"{LOG_FILE} goes on after the files that the run left")
    for leaf in named:
        path = file_at(run, server, leaf["name"])
        if path is None:
            found.append(f"{LOG_FILE} names a file outside of the run: {leaf['name']!r}")
        elif not path.is_file():
            found.append(f"{leaf['name']} is missing")
        else:
            found.expect(digest_of(path) == leaf["sha256"], f"{leaf['name']} is not what the log says it is")
    account = server / ACCOUNT_FILE
    said = [leaf["sha256"] for leaf in leaves if leaf.get("kind") == "account"]
    if not account.is_file() or not said or digest_of(account) != said[-1]:
        found.append(f"{ACCOUNT_FILE} is not what the log says it is")
        return
    charged: dict[str, int] = {}
    for leaf in leaves:
        if leaf.get("kind") == "charge":
            charged[leaf["line"]] = charged.get(leaf["line"], 0) + 1
    lines = {row["line"]: row["times"] for row in json.loads(account.read_bytes())["lines"] if not row["coin_epsilon"]}
    for line in sorted(charged.keys() | lines.keys()):
        n, told = charged.get(line, 0), lines.get(line, 0)
        found.expect(n <= told, f"the log charged {n} rounds of {line}, the account counts {told}")


def file_at(run: Path, server: Path, name: str) -> Path | None:
    """Where a file of a name lies; None for a name that leads elsewhere."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part for part in parts):
        return None
    return server.joinpath(*parts[1:]) if parts[0] == "server" else run.joinpath(*parts)


def digest_of(file: Path) -> str:
    with file.open("rb") as data:
        digest = sha256()
        while block := data.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_witness(seen: Sequence[Seen], at: Sequence[bytes], found: Found) -> None:
    """Every head that a device saw is one that this log had; `at`: its root at every size."""
    for size, root in seen:
        if found.expect(
            size < len(at), f"a device saw {size} lines of the log, of which {len(at) - 1} are here: it was cut off"
        ):
            found.expect(
                at[size] == root, f"a device saw another log of {size} lines: it was rewritten, or there are two"
            )


def read_witness(file: Path) -> list[Seen]:
    """The heads in a file of JSON lines; ValueError for anything else."""
    seen = []
    for number, line in enumerate(file.read_bytes().decode().splitlines(), 1):
        try:
            entry = json.loads(line)
            size, root = entry["size"], bytes.fromhex(entry["root"])
        except (LookupError, TypeError):
            size, root = -1, b""
        if type(size) is not int or size < 0 or len(root) != 32:
            raise ValueError(f"expected a size, and a root of 64 hex digits, in line {number} of {file.name}")
        seen.append((size, root))
    return seen


def key_of(text: str) -> bytes:
    """A public key of 64 hex digits, or the name of a file of 32 bytes; ValueError for anything else."""
    key = Path(text).read_bytes() if Path(text).is_file() else bytes.fromhex(text)
    if len(key) != 32:
        raise ValueError(f"expected a key of 32 bytes, got {len(key)}")
    return key


def holds_in_words(run: Path, seen: Sequence[Seen]) -> str:
    said = f"and what devices saw of it, {len(seen)} times, is its own" if seen else "no --witness was given"
    return f"the log of {run} holds: in order, signed, the files that it names are what it says, {said}"


def check(run: Path, key: bytes | None = None, witnesses: Sequence[Seen] = ()) -> list[str]:
    """What does not hold of a run's folder, a line each; empty if all does. OSError if there is no log to check."""
    server = run / "server" if (run / "server").is_dir() else run
    found = Found()
    if (server / LOG_FILE).stat().st_size > MOST_BYTES:
        return [f"{LOG_FILE} is longer than {MOST_BYTES} bytes"]
    leaves = read_log(server / LOG_FILE, found)
    at = list(roots(leaves))
    if key is None:
        pinned = run / "server.pub"
        key = pinned.read_bytes() if pinned.is_file() else b""
    if not found.expect(len(key) == 32, "the server's key is not one of 32 bytes"):
        return found
    try:
        note = (server / NOTE_FILE).read_bytes().decode()
    except (OSError, ValueError):
        note = ""
    check_note(note, len(leaves), at[-1], key, found)
    if not found:  # of leaves that are none nothing follows
        fields = [fields_of(leaf) for leaf in leaves]
        check_order(fields, key, found)
        try:
            check_files(run, server, fields, found)
        except (ValueError, KeyError, TypeError):
            found.append(f"{ACCOUNT_FILE} is no account")
    check_witness(witnesses, at, found)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run, or of a server")
    parser.add_argument("--key", help="the server's public key: 64 hex digits, or a file of 32 bytes")
    parser.add_argument("--witness", type=Path, action="append", default=[], help="what a device saw: JSON lines")
    chosen = parser.parse_args(arguments)
    try:
        seen = [head for file in chosen.witness for head in read_witness(file)]
        found = check(chosen.run, key_of(chosen.key) if chosen.key else None, seen)
    except (OSError, ValueError) as error:
        print(f"nothing to check: {error}", file=sys.stderr)
        return 2
    for line in found:
        print(line)
    if not found:
        print(holds_in_words(chosen.run, seen))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
