"""One writer for a place on the disk: a lock of the operating system's, which ends with the process that holds it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from shared.errors import ConfigError
from shared.files import private_folder

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK_FILE: Final = ".ebbtide.lock"
#: What a disk says that knows no locks, such as some network drives: there, nothing is locked.
_NO_LOCKS: Final = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A folder that only this process writes into while the body runs; made if it is not there.

    ConfigError at once if another process has it, a folder around it or one right inside it; or if it cannot be written.
    Afterwards the lock's file is gone, and so is a folder that was made for it and is still empty. A lock of a killed
    process is none. A disk that knows no locks gives none.
    """
    with _made(folder), ExitStack() as held:
        _take(held, folder / LOCK_FILE, folder)
        _expect_free([*_around(folder), *(child / LOCK_FILE for child in folder.iterdir())])
        yield


@contextmanager
def locked_file(file: Path) -> Iterator[None]:
    """A file that only this process writes while the body runs, whether it is there yet or not; nor may another one have a
    folder around it. As `locked`."""
    with _made(file.parent), ExitStack() as held:
        _take(held, file.parent / f".{file.name[:48]}{LOCK_FILE}", file)
        _expect_free([file.parent / LOCK_FILE, *_around(file.parent)])
        yield


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder that is there; afterwards what had to be made is gone again, if it is still empty."""
    missing = [each for each in (folder, *folder.parents) if not os.path.exists(each)]  # noqa: PTH110
    try:
        try:
            private_folder(folder)  # a run's keys come into it
        except OSError as error:
            raise ConfigError(
                f"expected a folder that can be written, got {folder}: {error.strerror or error}"
            ) from None
        yield
    finally:
        for each in missing:
            with suppress(OSError):
                each.rmdir()


def _around(folder: Path) -> list[Path]:
    """The locks of the folders around a folder."""
    return [parent / LOCK_FILE for parent in folder.resolve().parents]


def _expect_free(locks: Iterable[Path]) -> None:
    """ConfigError if another process has one of these locks."""
    for lock in locks:
        if os.path.exists(lock):  # noqa: PTH110 - says no where a folder may not be looked into
            with ExitStack() as tried:
                _take(tried, lock, lock.parent)


def _take(held: ExitStack, file: Path, place: Path) -> None:
    """The lock in a file until `held` is closed; ConfigError if somebody else has it."""
    while True:
        try:
            number = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(f"expected a folder that can be written, got {file.parent}: {error.strerror}") from None
        opened = held.enter_context(os.fdopen(number, "rb+"))
        try:
            if sys.platform == "win32":
                msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return
            raise ConfigError(
                f"expected {place} for this process alone, but another one is at work there: wait for its end, or stop it"
            ) from None
        with suppress(OSError):
            if os.path.samestat(os.fstat(number), os.stat(file)):  # noqa: PTH116 - else its holder removed it meanwhile
                held.callback(_remove, file)
                return
        opened.close()


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink()
