"""Files that are there whole or not at all: written under another name first, then given their own in one move."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(file: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """What to write the next content of `file` to: it takes the file's place when the body ends, and not if it raises.

    A process killed at any moment leaves the old content or the new one, and perhaps `<name>.new`, which the next write
    takes the place of; whatever else fails leaves the old content alone. With `durable` the new one is on disk, power
    loss included, before it has its name. One writer at a time.
    """
    fresh = file.with_name(f"{file.name}.new")
    try:
        with fresh.open("wb") as out:
            yield out
            if durable:
                out.flush()
                os.fsync(out.fileno())
        fresh.replace(file)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise


def replace_content(file: Path, content: str | bytes, *, durable: bool = False) -> None:
    """The file with this content, text as UTF-8 with the newlines it has; see `replacing`."""
    with replacing(file, durable=durable) as out:
        out.write(content.encode("utf-8") if isinstance(content, str) else content)
