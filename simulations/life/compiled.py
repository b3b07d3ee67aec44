"""Loops over single cells as machine code where numba is installed (`pip install 'ebbtide[fast]'`), and as Python where not.

Without numba no such loop is quick enough to be worth it: then hosts work on whole arrays (`simulations/federation/host_app.py`), and
only tests run them. Those of the training step (`simulations/training_step/`) are compiled here too. Machine code is kept on disk
beside its file, or in the user's own cache where that is read-only; it is of the processor that it was made on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

_Loop = TypeVar("_Loop", bound=Callable[..., Any])

try:
    from numba import njit as _njit
except ImportError:  # not installed, or for another numpy
    njit: Any = None
else:
    njit = _njit

#: Whether loops are machine code here.
IS_COMPILED: Final = njit is not None


def compiled(loop: _Loop) -> _Loop:
    """The same function as machine code, if there can be any.

    No arithmetic is reordered, so that both ways give the same bits: what is compiled uses float64 and whole numbers only, for
    shorter floats are widened at other places than numpy does.
    """
    return _as_machine_code(loop)


def contracted(loop: _Loop) -> _Loop:
    """As `compiled`, for float32 whose last bits may be others: a product and the sum that it goes into may be one operation, rounded
    once, and it is the processor's matter whether they are. Nothing else is reordered; division by zero is infinite, as numpy's."""
    return _as_machine_code(loop, fastmath={"contract"}, error_model="numpy")


def _as_machine_code(loop: _Loop, **options: Any) -> _Loop:
    if njit is None:
        return loop
    try:
        return cast(_Loop, njit(cache=True, nogil=True, **options)(loop))
    except RuntimeError:  # nowhere to keep it
        return cast(_Loop, njit(nogil=True, **options)(loop))
