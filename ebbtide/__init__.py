"""Early warning of turning user interest, in a notebook: people from a DataFrame, a whole private federation on this machine, and
what it found as DataFrames. Re-exports only, and nothing is loaded before it is used; docs/library.md shows how.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulations.frames.decided import Decided
    from simulations.frames.people import People, people, people_from_file, planted
    from simulations.frames.runs import Run, load, simulate
    from simulations.rivals.scores import History, Rival, rival

_WHERE = {
    "Decided": "simulations.frames.decided",
    "People": "simulations.frames.people",
    "people": "simulations.frames.people",
    "people_from_file": "simulations.frames.people",
    "planted": "simulations.frames.people",
    "Run": "simulations.frames.runs",
    "load": "simulations.frames.runs",
    "simulate": "simulations.frames.runs",
    "History": "simulations.rivals.scores",
    "Rival": "simulations.rivals.scores",
    "rival": "simulations.rivals.scores",
}

__all__ = [
    "Decided",
    "History",
    "People",
    "Rival",
    "Run",
    "load",
    "people",
    "people_from_file",
    "planted",
    "rival",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
