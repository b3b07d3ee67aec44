"""How a population lies on the disk: a .npy file for each column, named after its content, and an index that is replaced last.

A column can be written some rows at a time, so that people who do not fit into memory can be made where they are to lie; the bytes are
those that numpy would save.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from numpy.typing import NDArray

from shared.errors import DataError, InputError
from shared.files import UNFINISHED, replacing, text_of

FORMAT: Final = 2
INDEX_FILE: Final = "population.json"
COLUMNS: Final[dict[str, np.dtype[Any]]] = {
    "offsets": np.dtype("<i8"),
    "category": np.dtype("<i2"),
    "kind": np.dtype("i1"),
    "time_s": np.dtype("<i4"),
    "purchases": np.dtype("<i8"),
    "paid": np.dtype("<f4"),
}
#: Those that say where the rows of each user begin.
OFFSETS: Final = ("offsets", "purchases")
#: No event is later than what `time_s` can hold: 68 years.
LATEST_S: Final = 2**31 - 1
TRUTH_FIELDS: Final = ("user", "category", "kind", "step", "size", "end_step")
TRUTH: Final = np.dtype(list(zip(TRUTH_FIELDS, ("<i8", "<i2", "i1", "<i4", "<f4", "<i4"), strict=True)))
#: What the index says of a file.
Entry = dict[str, Any]


class ColumnFile:
    """A column that is written into the folder `place` some rows at a time; where the body raises, nothing of it stays."""

    def __init__(self, place: Path, key: str) -> None:
        self._place, self._key, self._dtype = place, key, COLUMNS.get(key, TRUTH)
        self._part, self._rows = place / f"{key}-new.npy{UNFINISHED}", 0

    def __enter__(self) -> Self:
        self._file = self._part.open("wb+")
        self._write_header()
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink()

    def add(self, rows: NDArray[Any]) -> None:
        """Further rows (n,) of the column's type."""
        if rows.dtype != self._dtype:
            raise InputError(f"expected rows of {self._dtype}, got {rows.dtype}")
        rows.tofile(self._file)
        self._rows += len(rows)

    def finish(self) -> Entry:
        """Name the file after its content; what the index says of it."""
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.seek(0)
        sha256 = hashlib.file_digest(self._file, "sha256").hexdigest()
        name, size_bytes = f"{self._key}-{sha256[:12]}.npy", self._part.stat().st_size
        self._part.replace(self._place / name)
        return {"file": name, "size_bytes": size_bytes, "sha256": sha256}

    def _write_header(self) -> None:
        """The header for so many rows as there are by now; numpy leaves room in it for all numbers of rows."""
        described = dtype_to_descr(self._dtype)
        write_array_header_1_0(self._file, {"descr": described, "fortran_order": False, "shape": (self._rows,)})


def write_column(place: Path, key: str, rows: NDArray[Any]) -> Entry:
    """A whole column (n,) as a file; what the index says of it."""
    with ColumnFile(place, key) as file:
        file.add(rows)
        return file.finish()


def write_index(place: Path, about: Mapping[str, Any], files: Mapping[str, Entry]) -> None:
    """The index, in place of an older one: whom the files are of. Files that no index names are taken away afterwards."""
    body = {"format": FORMAT, **about, "files": dict(files)}
    with replacing(place / INDEX_FILE, durable=True) as file:
        file.write(json.dumps({"sha256": _digest(body), "population": body}, indent=1).encode())
    for old in place.glob("*-*.npy*"):
        key = old.name.split("-")[0]
        if key in (*COLUMNS, "truth") and old.name != files.get(key, {}).get("file"):
            old.unlink(missing_ok=True)


def read_index(place: Path) -> dict[str, Any]:
    """What the index says. DataError if there is none, or if it is damaged or of another format."""
    try:
        whole = json.loads(text_of(place / INDEX_FILE))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"expected a saved population in {place}: {INDEX_FILE} is missing") from None
    body: dict[str, Any] = whole["population"]
    if (got := body.get("format")) != FORMAT:
        raise DataError(f"expected a saved population of format {FORMAT} in {place}, got format {got}")
    if _digest(body) != whole["sha256"]:
        raise DataError(f"expected a saved population in {place}: {INDEX_FILE} is damaged")
    return body


def read_column(place: Path, key: str, entry: Entry, mapped: bool) -> NDArray[Any]:
    """A column as it was written: on the disk until it is read, if `mapped`, or else verified. DataError if it is missing or damaged."""
    path = place / entry["file"]
    try:
        with path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            if size_bytes != (expected := entry["size_bytes"]):
                raise DataError(f"expected {expected} bytes in {path}, got {size_bytes}: truncated or damaged")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if mapped else file.read()
    except FileNotFoundError:
        raise DataError(f"expected a saved population in {place}: {path.name} is missing") from None
    if not mapped and hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise DataError(f"expected the bytes that were saved in {path}: the file is damaged")
    header_bytes = 10 + int.from_bytes(data[8:10], "little")  # .npy version 1.0; np.load is five times slower
    return np.frombuffer(data, COLUMNS.get(key, TRUTH), offset=header_bytes)


def let_go(column: NDArray[Any]) -> None:
    """Give back the memory that reading a mapped column took; it is read again from the disk when it is needed. The system maps 2 MB
    around whatever is read, so that a few users here and there would hold all of a large file."""
    base: Any = column
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
