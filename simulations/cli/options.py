"""Arguments and options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

ScenarioName = Annotated[str, typer.Argument(help="A scenario that comes along, or a path to a .toml file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace one value of the scenario, e.g. privacy.rounds=20."),
]
DataPath = Annotated[str, typer.Option(help="Where the data set lies, if it does not come with a package.")]
