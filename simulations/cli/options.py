"""Arguments and options that several commands take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from shared.errors import ConfigError

ScenarioName = Annotated[str, typer.Argument(help="A scenario that comes along, or a path to a .toml file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace one value of the scenario, e.g. privacy.rounds=20."),
]
DataPath = Annotated[str, typer.Option(help="Where the data set lies, if it does not come with a package.")]
Rivals = Annotated[
    list[str] | None,
    typer.Option(
        "--rival",
        metavar="FILE:NAME",
        help="Your own rule beside ours, on the same rows; NAME=FILE:NAME gives it a name (docs/library.md).",
    ),
]
LogTo = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="tensorboard=DIR",
        help="Write curves and results as TensorBoard event files, or, with mlflow=URI, as an MLflow run.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier command left there.")]


def expect_free_file(file: Path, *, overwrite: bool) -> None:
    """ConfigError, before any work, if a command cannot leave its result in `file`: it is there and may not be replaced, or
    is no file, or its folder cannot be made."""
    try:
        if file.is_dir():
            raise ConfigError(f"expected a file to write, got the folder {file}")
        if file.exists() and not overwrite:
            raise ConfigError(
                f"expected a free place, but {file} is there: --overwrite replaces it, another --out leaves it"
            )
        around = next(each for each in (file.parent, *file.parent.parents) if each.exists())
        if not around.is_dir() or not os.access(around, os.W_OK | os.X_OK):
            raise ConfigError(f"expected a folder that can be written, got {around}")
    except OSError as error:
        raise ConfigError(f"expected a file to write, got {file}: {error.strerror}") from None
