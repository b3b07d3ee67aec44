"""A scenario as a file for people: what differs from the defaults, with comments, to be edited and given back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tomli_w

from ..terminal.printing import shown
from .config import Scenario

#: What each table is about, for who reads one for the first time.
ABOUT: Mapping[str, str] = {
    "data": "Which people.",
    "data.file": "What stands where in the log, and what is done with its lines.",
    "data.file.events": "The log's own names of events, and ours.",
    "protocol": "When, in steps: windows, horizon, and which steps train and test (first and last, both included).",
    "features": "Which features describe an interest: version 1, or 2, which tells kinds of events apart.",
    "warm_start": "A first model from planted (made-up) people, before any private round.",
    "training": "What a device does in a round.",
    "privacy": "What protects a round: more noise or fewer rounds spend less epsilon.",
    "risk": "How a lapse's risk is learned after the interest.",
    "server": "How the server moves.",
    "detection": "When a device calls a turn.",
    "caps": "What the owners of the devices let be spent.",
    "simulation": "How the run is carried out, and what people agree to tell.",
}

#: What stands above names that noise chose.
CHOSEN = (
    "`chosen` was drawn once, behind noise of top_epsilon, which every run of this scenario counts; without it the names would",
    "be drawn again, and cost as much again.",
)


def scenario_text(scenario: Scenario, comments: Mapping[str, Sequence[str]] | None = None) -> str:
    """The scenario in TOML: every value that is not the default, so that reading the text gives the very same scenario.

    `comments`: lines by the dotted name of a table ("protocol"), which stand below what the table is about; by "", at the head.
    """
    said = dict(comments or {})
    if scenario.data.file is not None and scenario.data.file.top_epsilon and scenario.data.file.chosen:
        said["data.file"] = (*said.get("data.file", ()), *CHOSEN)
    fields = scenario.model_dump(exclude_defaults=True, exclude_none=True)
    lines = [f"# {_line(line)}" for line in said.get("", ())]
    plain = {key: value for key, value in fields.items() if not isinstance(value, dict)}
    lines += [*map(_pair, plain.items()), *_tables(fields, "", said)]
    return "\n".join(lines).lstrip() + "\n"


def _tables(fields: Mapping[str, Any], above: str, said: Mapping[str, Sequence[str]]) -> list[str]:
    lines: list[str] = []
    for key, value in fields.items():
        if not isinstance(value, dict):
            continue
        name = f"{above}.{key}" if above else key
        about = [ABOUT[name]] if name in ABOUT else []
        plain = {inner: each for inner, each in value.items() if not isinstance(each, dict)}
        lines += ["", *(f"# {_line(line)}" for line in (*about, *said.get(name, ()))), f"[{name}]"]
        lines += map(_pair, plain.items())
        lines += _tables(value, name, said)
    return lines


def _pair(item: tuple[str, Any]) -> str:
    """One key and its value, in one line."""
    key, value = item
    if isinstance(value, tuple):
        inside = ", ".join(_pair(("v", each)).removeprefix("v = ") for each in value)
        return tomli_w.dumps({key: 0}).strip().removesuffix("0") + f"[{inside}]"
    return tomli_w.dumps({key: value}).strip()


def _line(text: str) -> str:
    """A comment in one line, whatever a file is called."""
    return " ".join(shown(text).split())
