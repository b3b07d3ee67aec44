"""Files that are there whole or not at all: written under another name first, then given their own in one move."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

#: How the name of a file ends that is being written.
UNFINISHED: Final = ".new"
_LONGEST_NAME: Final = 255


@contextmanager
def replacing(file: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """What to write the next content of `file` to: it takes the file's place when the body ends, and not if it raises.

    A process killed at any moment leaves the old content or the new one, a body that raises nothing else. With `durable`
    the new one is on disk, power loss included, before it has its name. One writer at a time.
    """
    name = file.name
    if len(os.fsencode(name)) > _LONGEST_NAME - len(UNFINISHED):
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    fresh = file.with_name(f"{name}{UNFINISHED}")
    try:
        with fresh.open("wb") as out:
            yield out
            if durable:
                out.flush()
                os.fsync(out.fileno())
        fresh.replace(file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def replace_content(file: Path, content: str | bytes) -> None:
    """The file with this content, text as UTF-8 with the newlines it has."""
    with replacing(file) as out:
        out.write(content.encode("utf-8") if isinstance(content, str) else content)
