"""Arguments and options that several commands take, and the scenario that they name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

ScenarioName = Annotated[str, typer.Argument(help="A scenario that comes along, or a path to a .toml file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace one value of the scenario, e.g. privacy.rounds=20."),
]
DataPath = Annotated[str, typer.Option(help="Where the data set lies, if it does not come with a package.")]


def with_path(overrides: Sequence[str] | None, path: str) -> list[str]:
    """The overrides, and one that says where the data set lies, if `path` does."""
    return [*(overrides or ()), *([f"data.path={json.dumps(path)}"] if path else ())]
