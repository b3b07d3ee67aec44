"""A folder that one opening of it holds: not two devices of a process, not two processes, and no process that was forked.

The lock is `flock`'s, on the folder itself, and adds no file. Unlike the POSIX locks of SQLite it belongs to one opening of the
folder: it stays when this process opens and closes the database by other means, and it stands between two openings
in one process as well. Where a filesystem knows no `flock`, SQLite's own lock is all there is.

A forked process has a copy of the opening and of SQLite's connection. It gives the first back, and the lock stays the parent's;
the second it neither uses nor closes, not even as it exits: SQLite would move the log and remove it under the parent. It can
open the folder no more, also once the parent let go of it: SQLite believes for good that this process holds the file. One
that is started anew (`spawn`) can.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from shared.errors import VaultBusy, VaultForked, VaultReadOnly

#: How often who waits looks again, seconds.
LOOK_S = 0.002


class Holding:
    """The hold on a folder, from its making to `let_go`, or until nobody refers to it: a connection that it `goes_with` is closed
    before. VaultBusy if another opening has it for all of `wait_s`."""

    _number, _pid = -1, -1

    def __init__(self, folder: Path, wait_s: float = 0.0) -> None:
        self._connection: sqlite3.Connection | None = None
        self._number, self._pid = _opened(folder), os.getpid()
        until = time.monotonic() + wait_s
        while not self._is_held():
            if time.monotonic() >= until:
                self.let_go()
                raise VaultBusy(
                    "expected to be the only one who opens this vault: another process, or this one, holds it"
                )
            time.sleep(LOOK_S)
        _HOLDINGS.add(self)

    def _is_held(self) -> bool:
        try:
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # no flock here
        return True

    def goes_with(self, connection: sqlite3.Connection) -> None:
        """What is to be closed before the folder is given back, and must not be in a forked process."""
        self._connection = connection

    @property
    def is_ours(self) -> bool:
        """Whether this is the process that took it, and not a copy of that."""
        return self._pid == os.getpid()

    def expect_ours(self) -> None:
        """VaultForked in a process that was forked."""
        if not self.is_ours:
            raise VaultForked("expected the process that opened this vault, got one that was forked from it")

    def let_go(self) -> None:
        """Give this opening of the folder back. Can be repeated."""
        number, self._number = self._number, -1
        if number >= 0:
            with suppress(OSError):
                if self.is_ours:
                    fcntl.flock(number, fcntl.LOCK_UN)  # whoever has a copy of it
                os.close(number)

    def __del__(self) -> None:
        if self._connection is not None and self.is_ours:
            with suppress(sqlite3.Error):
                self._connection.close()  # Python itself closes it no sooner than it looks for cycles
        self.let_go()

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        self.let_go()

    def _forked(self) -> None:
        self.let_go()
        if self._connection is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))  # nobody ever closes it


def _opened(folder: Path) -> int:
    try:
        return os.open(folder, os.O_RDONLY)
    except OSError:
        raise VaultReadOnly("expected a folder that can be opened") from None


#: What this process holds.
_HOLDINGS: WeakSet[Holding] = WeakSet()


def _after_fork() -> None:
    for holding in list(_HOLDINGS):
        holding._forked()


os.register_at_fork(after_in_child=_after_fork)
