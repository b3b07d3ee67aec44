"""Every public function, method and dataclass that declares an array as an argument, found by its annotations; and arrays of every
type and layout to call them with."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

import client
import server
import shared
import simulations

ROOMS = (shared, client, server, simulations)
#: They need an environment of their own, and take no arrays from anybody.
ELSEWHERE = {"server.export", "simulations.bench.glean_baseline", "simulations.bench.pfl_baseline"}
#: What an annotation says that speaks of arrays, also inside of another one.
_OF_ARRAYS = re.compile(r"\b(NDArray|ndarray|Floats|Reals|Doubles|Bools|Ints|Words|Curve)\b")

INTEGERS = [np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)] + [np.dtype(">i4")]
FLOATING = [np.dtype(t) for t in (np.float16, np.float32, np.float64, np.longdouble)] + [np.dtype(">f8")]


def strided(a: np.ndarray) -> np.ndarray:
    wide = np.zeros((*a.shape, 2), a.dtype)
    wide[..., 0] = a
    return wide[..., 0]


def frozen(a: np.ndarray) -> np.ndarray:
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS = (np.ascontiguousarray, np.asfortranarray, strided, frozen, np.ndarray.tolist)


def _modules() -> Iterator[ModuleType]:
    for room in ROOMS:
        for found in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            if found.name not in ELSEWHERE and not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def _public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            for method, raw in vars(value).items():
                function = getattr(raw, "__func__", raw)
                if inspect.isfunction(function) and (method == "__init__" or not method.startswith("_")):
                    yield f"{module.__name__}.{name}.{method}", function
        elif inspect.isfunction(value):
            yield f"{module.__name__}.{name}", value


def arrays_of(function: Any) -> dict[str, str]:
    """The arguments that are declared as arrays, or as several, and how."""
    declared = getattr(function, "__annotations__", {})
    return {k: str(v) for k, v in declared.items() if k != "return" and _OF_ARRAYS.search(str(v))}


@cache
def array_entries() -> dict[str, Any]:
    """The functions by their full names."""
    return {name: f for module in _modules() for name, f in _public(module) if arrays_of(f)}


def made_by_dataclass(name: str, function: Callable[..., Any]) -> bool:
    """Whether dataclass wrote it: its class's `__post_init__` holds the arrays, then."""
    return name.endswith(".__init__") and not function.__code__.co_filename.endswith(".py")


def class_of(name: str) -> Any:
    """The class of a method, by the method's full name."""
    module, _, kind = name.rpartition(".")[0].rpartition(".")
    return getattr(importlib.import_module(module), kind)
