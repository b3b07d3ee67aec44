"""The kinds of arrays that everybody here speaks of, and how other people's arrays become them.

Shapes stand in the docstrings of those who take and give them. Kinds are held where a value enters, by `as_declared` and
`hold_declared`: numbers of any integer or float type give the same result, and what is no such number is refused by name.
An array that is of its kind already is passed on as it is, never copied.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Floats = NDArray[np.float32]  #: p, features, weights, counters
Doubles = NDArray[np.float64]  #: what is summed or accounted: deltas before the grid, Renyi curves
Reals = NDArray[np.floating[Any]]  #: float32, or float64 where somebody wants more digits
Bools = NDArray[np.bool_]  #: masks
Ints = NDArray[np.int64]  #: steps, users, row numbers
Words = NDArray[np.uint32]  #: vectors modulo 2^32, as they travel

_P = ParamSpec("_P")
_R = TypeVar("_R")
_FLOAT32, _FLOAT64, _INT64, _UINT32 = (np.dtype(kind) for kind in ("f4", "f8", "i8", "u4"))
_REAL: Final = "biuf"


def _real(name: str, values: Any) -> NDArray[Any]:
    """Numbers as an array of some real type; InputError for anything else."""
    if isinstance(values, np.ma.MaskedArray):
        raise InputError(f"expected {name} without masked entries")
    try:
        out = np.asarray(values)
    except ValueError:
        raise InputError(f"expected {name} of one shape, got rows of several") from None
    if out.dtype.kind not in _REAL:
        raise InputError(f"expected {name} as numbers, got {out.dtype}")
    return out


def _floats(name: str, values: Any) -> Floats:
    if type(values) is np.ndarray and values.dtype is _FLOAT32:
        return values
    return np.asarray(_real(name, values), np.float32)


def _doubles(name: str, values: Any) -> Doubles:
    if type(values) is np.ndarray and values.dtype is _FLOAT64:
        return values
    return np.asarray(_real(name, values), np.float64)


def _numbers(name: str, values: Any) -> NDArray[Any]:
    """float32 or float64 as they are, anything else as float64."""
    out = _real(name, values)
    return out if out.dtype in (_FLOAT32, _FLOAT64) else out.astype(np.float64)


def _reals(name: str, values: Any) -> Reals:
    """float32 and float64 as they are; float32 of whole numbers, booleans and halves, float64 of longer floats."""
    if type(values) is np.ndarray and (values.dtype is _FLOAT32 or values.dtype is _FLOAT64):
        return values
    out = _real(name, values)
    return out.astype(np.float64 if out.dtype.kind == "f" and out.dtype.itemsize > 4 else np.float32, copy=False)


def _bools(name: str, values: Any) -> Bools:
    out = _real(name, values)
    if out.dtype != np.bool_:
        raise InputError(f"expected {name} as booleans, got {out.dtype}")
    return out


def as_ints(name: str, values: Any) -> Ints:
    if type(values) is np.ndarray and values.dtype is _INT64:
        return values
    out = _real(name, values)
    if not out.size:
        return out.astype(np.int64)
    if out.dtype.kind == "b":
        raise InputError(f"expected {name} as whole numbers, got booleans")
    if out.dtype.kind == "f" and not (np.isfinite(out).all() and (out == np.floor(out)).all()):
        raise InputError(f"expected {name} as whole numbers, got {out.dtype} that are none")
    if out.dtype.kind in "uf" and not (float(out.min()) >= -(2.0**63) and float(out.max()) < 2.0**63):
        raise InputError(f"expected {name} within 64 bits")
    return out.astype(np.int64, copy=False)


def _words(name: str, values: Any) -> Words:
    if type(values) is np.ndarray and values.dtype is _UINT32:
        return values
    out = as_ints(name, values)
    if out.size and not (out.min() >= 0 and out.max() < 2**32):
        raise InputError(f"expected {name} within 0..2^32 - 1")
    return out.astype(np.uint32)


def _small(kind: type[np.integer[Any]], name: str, values: Any) -> NDArray[Any]:
    """Whole numbers of a short type, as files keep them."""
    if isinstance(values, np.ndarray) and values.dtype == kind and not isinstance(values, np.ma.MaskedArray):
        return values
    out, least, most = as_ints(name, values), np.iinfo(kind).min, np.iinfo(kind).max
    if out.size and not (out.min() >= least and out.max() <= most):
        raise InputError(f"expected {name} within {least}..{most}")
    return out.astype(kind)


def _places(name: str, values: Any) -> NDArray[Any]:
    """A mask, or positions."""
    out = _real(name, values)
    return out if out.dtype == np.bool_ else as_ints(name, out)


#: What a declaration says, and how it is held. Annotations are texts everywhere here.
_KINDS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "Floats": _floats,
    "Reals": _reals,
    "Doubles": _doubles,
    "Curve": _doubles,
    "Bools": _bools,
    "Ints": as_ints,
    "Words": _words,
    "Sequence[int] | Ints": as_ints,
    "Bools | Ints": _places,
    "NDArray[Any]": _numbers,
    "NDArray[np.generic]": _real,
    "NDArray[np.floating]": _numbers,
    "NDArray[np.floating[Any]]": _numbers,
    "NDArray[np.integer]": as_ints,
    "NDArray[np.integer[Any]]": as_ints,
    "NDArray[np.int8]": partial(_small, np.int8),
    "NDArray[np.int16]": partial(_small, np.int16),
    "NDArray[np.int32]": partial(_small, np.int32),
    "NDArray[np.uint8]": partial(_small, np.uint8),
}
_MAPPING: Final = re.compile(r"(?:Mapping|dict)\[str, (.+)\]")
_SEQUENCE: Final = re.compile(r"(list|tuple)\[(.+)\]")


def kind_of(declared: Any) -> Callable[[str, Any], Any] | None:
    """How values of a declaration are held; None if it is no array's. Of a mapping, a list or a tuple of arrays, each is."""
    text = str(declared).replace("npt.", "")
    optional = text.removesuffix(" | None")
    if (hold := _KINDS.get(optional) or _held_each(optional)) is None or optional == text:
        return hold
    return lambda name, values: None if values is None else hold(name, values)


def _held_each(text: str) -> Callable[[str, Any], Any] | None:
    """How a mapping, a list or a tuple of arrays is held."""
    if many := _MAPPING.fullmatch(text):
        if (one := kind_of(many[1])) is not None:
            return partial(_each_named, one)
    elif many := _SEQUENCE.fullmatch(text):
        kinds = [kind_of(kind) for kind in many[2].removesuffix(", ...").split(", ")]
        if kinds and kinds[0] is not None and all(kinds):
            return partial(_each, tuple if many[1] == "tuple" else list, kinds)
    return None


def _each_named(hold: Callable[[str, Any], Any], name: str, values: Any) -> Any:
    if not isinstance(values, Mapping):
        raise InputError(f"expected {name} as arrays by name, got {type(values).__name__}")
    held = {key: hold(f"{name}[{key!r}]", value) for key, value in values.items()}
    return values if all(held[key] is value for key, value in values.items()) else held


def _each(make: Callable[[Any], Any], kinds: list[Any], name: str, values: Any) -> Any:
    if not isinstance(values, list | tuple):
        raise InputError(f"expected {name} as several arrays, got {type(values).__name__}")
    every = kinds if len(kinds) == len(values) else kinds[:1] * len(values)
    return make(hold(f"{name}[{i}]", value) for i, (hold, value) in enumerate(zip(every, values, strict=True)))


def as_declared(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function, given every array as it declares it: InputError, with the argument's name, where that cannot be."""
    holds = {name: hold for name, declared in function.__annotations__.items() if (hold := kind_of(declared))}
    holds.pop("return", None)
    parameters = list(inspect.signature(function).parameters)
    held = [(parameters.index(name), name, hold) for name, hold in holds.items()]

    @wraps(function)
    def called(*args: _P.args, **named: _P.kwargs) -> _R:
        given: list[Any] = list(args)
        for position, name, hold in held:
            if position < len(given):
                given[position] = hold(name, given[position])
            elif name in named:
                named[name] = hold(name, named[name])
        return function(*given, **named)

    return called


def hold_declared(record: Any) -> None:
    """A dataclass whose arrays are as it declares them, for its `__post_init__`. InputError, with the field's name, where that
    cannot be."""
    for field in dataclasses.fields(record):
        if hold := kind_of(field.type):
            values = getattr(record, field.name)
            if (kept := hold(field.name, values)) is not values:
                object.__setattr__(record, field.name, kept)
