"""Changes of a run's log, its checkpoint and its files, by chance, each of which the verifier has to find."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Final

from .case import LOG, NOTE
from .verifier import check

Change = Callable[[bytes, Random], bytes]
#: Of longer files fewer changes are tried: each is hashed anew.
_LONG_BYTES: Final = 1 << 16


def _flip(data: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _cut(data: bytes, chance: Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _insert(data: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.randbytes(chance.randint(1, 4)) + data[at:]


def _of_lines(change: Callable[[list[bytes], Random], None]) -> Change:
    def changed(data: bytes, chance: Random) -> bytes:
        lines = data.splitlines(keepends=True)
        change(lines, chance)
        return b"".join(lines)

    return changed


def _swap(lines: list[bytes], chance: Random) -> None:
    if len(lines) > 1:
        a, b = chance.sample(range(len(lines)), 2)
        lines[a], lines[b] = lines[b], lines[a]


def _omit(lines: list[bytes], chance: Random) -> None:
    lines.pop(chance.randrange(len(lines)))


def _repeat(lines: list[bytes], chance: Random) -> None:
    lines.insert(chance.randrange(len(lines)), chance.choice(lines))


def _shorten(lines: list[bytes], chance: Random) -> None:
    del lines[chance.randrange(len(lines)) :]


CHANGES: Final[Mapping[str, Change]] = MappingProxyType(
    {
        "a bit": _flip,
        "truncation": _cut,
        "bytes more": _insert,
        "order": _of_lines(_swap),
        "omission": _of_lines(_omit),
        "a line twice": _of_lines(_repeat),
        "a tail less": _of_lines(_shorten),
    }
)


def vouched_for(run: Path) -> list[str]:
    """The log, its checkpoint, and every file that the log of a run names last."""
    leaves = [json.loads(line) for line in (run / LOG).read_bytes().splitlines()]
    last = leaves[-1]["number"]
    return [LOG, NOTE, *(leaf["name"] for leaf in leaves[-1 - last : -1])]


def changed_in_every_way(run: Path, n: int, seed: int) -> tuple[int, list[str]]:
    """How many changes of a run's folder were tried, `n` of each kind of each file (twice as many of log and checkpoint, a quarter
    of long files), and those that the verifier did not find. The folder is as it was afterwards: give a copy."""
    chance, tried, missed = Random(seed), 0, list[str]()
    for name in vouched_for(run):
        file, whole = run / name, (run / name).read_bytes()
        times = n * (2 if name in (LOG, NOTE) else 1) // (1 if len(whole) < _LONG_BYTES else 4)
        try:
            for kind, change in CHANGES.items():
                for _ in range(times):
                    if (data := change(whole, chance)) == whole:
                        continue
                    file.write_bytes(data)
                    tried += 1
                    if not check(run):
                        missed.append(f"{kind} of {name}")
        finally:
            file.write_bytes(whole)
    return tried, missed
