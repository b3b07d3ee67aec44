"""What an app hands over becomes what is meant, once, where it enters; or it is refused by name, before anything happens.

numpy's numbers are numbers, bytes-likes are bytes, a text is a path. What is only nearly right is not: no text for a number,
no truth value for one, no fraction for a whole one. Messages say the name and what was expected, never the value: it may be
a passphrase.
"""

from __future__ import annotations

import math
import os
from enum import Enum
from pathlib import Path

import numpy as np

from .errors import ConfigError


def whole(value: object, name: str, least: int, most: int) -> int:
    """A whole number in least..most; ConfigError otherwise."""
    value = _scalar(value)
    if isinstance(value, bool | Enum) or not isinstance(value, int | np.integer) or not least <= int(value) <= most:
        raise ConfigError(f"expected {name}, a whole number in {least}..{most}")
    return int(value)


def real(value: object, name: str, least: float = -math.inf, most: float = math.inf, *, endless: bool = False) -> float:
    """A real number in least..most, a finite one unless `endless`; ConfigError otherwise."""
    value = _scalar(value)
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool | Enum):
        try:
            number = float(value)
        except OverflowError:
            number = math.nan
        if least <= number <= most and (endless or math.isfinite(number)):
            return number
    raise ConfigError(f"expected {name}, a number in {least}..{most}")


def _scalar(value: object) -> object:
    """What an array of no dimension holds; anything else as it is."""
    return value.item() if isinstance(value, np.ndarray) and not value.ndim else value


def truth(value: object, name: str) -> bool:
    """True or False; ConfigError otherwise."""
    if isinstance(value, bool):
        return value
    raise ConfigError(f"expected {name}, True or False")


def octets(value: object, name: str, size: int | None = None) -> bytes:
    """Bytes, as many as `size` says; ConfigError otherwise. A number is none, nor is a text."""
    if isinstance(value, bytes | bytearray | memoryview) and (size is None or memoryview(value).nbytes == size):
        return bytes(value)
    raise ConfigError(f"expected {name}, {'' if size is None else f'{size} '}bytes")


def folder(value: object, name: str) -> Path:
    """A path; ConfigError otherwise."""
    try:
        path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    except Exception:
        path = None
    if not isinstance(path, str) or not path or "\0" in path:
        raise ConfigError(f"expected {name}, the path of a folder")
    return Path(path)


def having(value: object, name: str, *methods: str) -> None:
    """ConfigError unless it has these methods."""
    try:
        has_all = not isinstance(value, type) and all(callable(getattr(value, method)) for method in methods)
    except Exception:
        has_all = False
    if not has_all:
        raise ConfigError(f"expected {name}, an object with {', '.join(methods)}")


def instance(value: object, name: str, kind: type) -> None:
    """ConfigError unless it is an object of a kind."""
    if not isinstance(value, kind):
        raise ConfigError(f"expected {name}, a {kind.__name__}")
