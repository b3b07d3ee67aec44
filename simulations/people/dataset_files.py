"""What a real data set is, and how its files become people: verified against what is pinned, read, and made purchases."""

from __future__ import annotations

import codecs
import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import DataError
from shared.events import Catalogue, EventKind, Step

from .population import Population

Steps = tuple[int, int]


@dataclass(frozen=True)
class DatasetInfo:
    """A data set and its protocol. Ranges of steps are (first, last), both included.

    `window_steps` is the W, `horizon_steps` the H and `lapse_steps` the N of docs/protocol.md: features look
    back W, the label is any event within H, a lapse is nothing for N. `sha256` maps file names to 64 hex
    digits; `cure` says what to do about a file of another.
    """

    name: str
    title: str
    terms: str
    citation: str
    warnings: tuple[str, ...]
    sha256: Mapping[str, str]
    cure: str
    step: Step
    n_steps: int
    window_steps: int
    horizon_steps: int
    lapse_steps: int
    train_steps: Steps
    test_steps: Steps
    lapse_train_steps: Steps
    lapse_test_steps: Steps
    short_steps: tuple[int, int, int, int] = (1, 2, 4, 8)
    ewma_steps: Steps = (2, 8)


def verify_file(info: DatasetInfo, path: Path) -> None:
    """Raise DataError unless the file is there and has the SHA-256 that is pinned for its name."""
    if (expected := info.sha256.get(path.name)) is None:
        raise DataError(f"expected a file of {info.name} named {', '.join(info.sha256)}, got {path.name}")
    try:
        with path.open("rb") as file:
            if (
                path.suffix == ".csv" and file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8
            ):  # an editor puts one before a text
                file.seek(0)
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            got = digest.hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path} of {info.name}: {error.strerror}") from error
    if got != expected:
        raise DataError(f"expected {path} of {info.name} with sha256 {expected[:12]}, got {got[:12]}: {info.cure}")


def purchases(
    info: DatasetInfo, names: Sequence[str], *, name: str, buyer: Any, category: Any, time_s: Any, amount: Any
) -> Population:
    """A population of purchases from columns of one row per line; users are the buyers in order of their
    number."""
    position = {name_of: index for index, name_of in enumerate(names)}
    numbers, user = np.unique(buyer.to_numpy(), return_inverse=True)
    return Population.from_events(
        name=name,
        catalogue=Catalogue(tuple(names)),
        step=info.step,
        n_steps=info.n_steps,
        simulated=False,
        n_users=len(numbers),
        user=user,
        category=category.map(position).to_numpy(np.int16),
        kind=np.full(len(user), EventKind.PURCHASE, np.int8),
        time_s=np.asarray(time_s, np.float64),
        amount=amount.to_numpy(np.float32),
    )


def read_parquet(file: Path, columns: Sequence[str]) -> Any:
    """These columns as a pandas DataFrame."""
    pandas, parquet = need("pandas"), need("pyarrow.parquet")
    try:
        expect_columns(file, parquet.read_schema(file).names, columns)
        return pandas.read_parquet(file, columns=list(columns))
    except (ValueError, OSError) as error:
        raise DataError(f"expected {file} to be a parquet file: it is damaged") from error


def expect_columns(file: Path, got: Sequence[str], expected: Sequence[str]) -> None:
    if missing := [column for column in expected if column not in got]:
        raise DataError(f"expected column{'s' * (len(missing) > 1)} {', '.join(missing)} in {file}: not there")


def need(module: str, extra: str = "ebbtide[simulations]") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise DataError(f"{module.partition('.')[0]} is not installed: pip install '{extra}'") from None
