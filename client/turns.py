"""One thread at a time in a device: whoever calls it, from wherever, finds it as the last call left it.

    class Device(TakesTurns): ...     every public method and property holds the device's one lock
    turn.waiting.append(call)         for the app: it is called once the lock is free

Guarantees. What a class that `TakesTurns` makes public takes the lock, also what is added to it later; a call inside of another
one is a part of it. Nothing of the app's that waits in `waiting` is called while the lock is held: it may call the device, from
this thread or from another one that it waits for, block, or close the device. Such calls come one after the other, in the order
in which they were put there, by the thread whose call ended first; other threads do not wait for them.

Edge cases. A process that was forked finds a lock of its own, and nothing waiting: the parent's are the parent's to tell.
Keys, clock and entropy that an app brings are called while the lock is held.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from functools import wraps
from threading import RLock, get_ident
from types import FunctionType
from typing import Any


class Turn:
    """The lock of one device, and what the app is to be called with when nobody holds it."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """A free lock of this process, and nothing waiting."""
        self.pid, self.lock, self.depth = os.getpid(), RLock(), 0
        self.waiting: deque[Callable[[], None]] = deque()
        self._caller: int | None = None

    @property
    def calls_here(self) -> bool:
        """Whether it is this thread that is in a call of the app's."""
        return self._caller == get_ident()

    def call_waiting(self) -> None:
        """Call what waits, unless this thread still holds the lock, or a thread is at it already. What is no Exception passes, and
        the rest waits on."""
        while (call := self._next()) is not None:
            try:
                call()
            finally:
                with self.lock:
                    self._caller = None

    def _next(self) -> Callable[[], None] | None:
        with self.lock:
            if self.depth or self._caller is not None or not self.waiting:
                return None
            self._caller = get_ident()
            return self.waiting.popleft()


class TakesTurns:
    """A class whose public methods and properties hold the lock of `_turn`. What belongs to the class alone does not."""

    _turn: Turn

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        for name, member in list(vars(cls).items()):
            if name.startswith("_"):
                continue
            if isinstance(member, FunctionType):
                setattr(cls, name, in_turn(member))
            elif isinstance(member, property):
                read, write, drop = (f and in_turn(f) for f in (member.fget, member.fset, member.fdel))
                setattr(cls, name, property(read, write, drop, member.__doc__))


def in_turn(method: Callable[..., Any]) -> Callable[..., Any]:
    """The same method, which holds the lock; what it left for the app is called afterwards."""

    @wraps(method)
    def call(self: TakesTurns, *arguments: Any, **named: Any) -> Any:
        turn = self._turn
        if turn.pid != os.getpid():
            turn.begin_anew()
        try:
            with turn.lock:
                turn.depth += 1
                try:
                    return method(self, *arguments, **named)
                finally:
                    turn.depth -= 1
        finally:
            if turn.waiting:
                turn.call_waiting()

    return call
