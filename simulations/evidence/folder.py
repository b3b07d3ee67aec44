"""A folder of evidence on the disk: there as a whole or not at all, whenever its writer is killed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from shared.errors import ConfigError
from shared.files import UNFINISHED

from .document import DOCUMENT_FILE
from .writers import WRITERS

#: Of a run's folder.
EVIDENCE: Final = "evidence"
#: How the name of a folder ends that another is taking the place of.
_REPLACED: Final = ".old"


def expect_free_folder(target: Path, *, overwrite: bool) -> None:
    """ConfigError if `target` holds anything but an earlier folder of evidence, or one that may not be replaced. What a killed
    writer left is put in order first."""
    _settle(target)
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError(f"expected a folder to write, got the file {target}")
    there = {file.name for file in target.iterdir()}
    if there and (DOCUMENT_FILE not in there or not there <= set(WRITERS)):
        raise ConfigError(f"expected a free folder or earlier evidence, got {target}: it holds something else")
    if there and not overwrite:
        raise ConfigError(
            f"expected a free place, but {target} is there: --overwrite replaces it, another --out leaves it"
        )


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """The folder with these files and no other: staged beside its place, then moved there.

    A process killed at any moment leaves the folder that was there, or the new one, or (between two moves) both under other names,
    of which the next call keeps the older. One writer at a time.
    """
    fresh, old = _beside(target, UNFINISHED), _beside(target, _REPLACED)
    _settle(target)
    try:
        fresh.mkdir(parents=True)
        for name, data in files.items():
            (fresh / name).write_bytes(data)
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except BaseException:
        _settle(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _settle(target: Path) -> None:
    """Take away what a killed writer left, and put back what it was replacing."""
    fresh, old = _beside(target, UNFINISHED), _beside(target, _REPLACED)
    if old.is_dir() and not target.exists():
        old.rename(target)
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}.ebbtide{ending}")
