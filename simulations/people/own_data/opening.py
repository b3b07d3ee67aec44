"""Files as they lie on the disk: what they are by their first bytes, and a duckdb that sees nothing but them.

Whatever is no log is a DataError of one line that names the file and what was expected, never what stands in it.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from shared.errors import DataError

from .values import constant, quoted

CSV_ENDINGS: Final = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt")
PARQUET_ENDINGS: Final = (".parquet", ".pq")
#: A line that is longer is malformed.
MOST_LINE_BYTES: Final = 2 << 20
MOST_COLUMNS: Final = 1000
#: What duckdb holds in memory; Python and what it hands over come on top.
MEMORY_MIB: Final = 2048
_LOOK_BYTES: Final = 1 << 20
_BOMB_BYTES, _BOMB_RATIO = 16 << 20, 250  # real logs unpack to 5 to 20 times their size
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_PARQUET: Final = b"PAR1"
_DELIMITERS: Final = ",\t;|"


@dataclass(frozen=True)
class LogFile:
    """One file of a log. `source`: where duckdb finds it, a link of a plain name; `columns`: as in the file; `types`: duckdb's,
    of a text file all VARCHAR; `delimiter`: "" of a Parquet file."""

    path: Path
    source: Path
    columns: tuple[str, ...]
    types: tuple[str, ...]
    delimiter: str = ""
    packed: bool = False

    @property
    def is_text(self) -> bool:
        return bool(self.delimiter)


def files_of(path: Path) -> list[Path]:
    """The file itself, or the files of a folder in order of their names; hidden ones are left out."""
    try:
        if not path.exists():
            raise DataError(f"expected a log in {path}, which does not exist")
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith((".", "_")))
            found = [each for each in inside if _ending(each)]
            if not found:
                raise DataError(f"expected files that end in {_endings()} in the folder {path}, got none")
            if len(forms := {_is_parquet(each) for each in found}) != 1:
                raise DataError(f"expected CSV or Parquet files in the folder {path}, got {len(forms)} forms mixed")
            return found
        if not path.is_file():
            raise DataError(f"expected a file or a folder, got {path}, which is neither")
        if not _ending(path):
            raise DataError(f"expected a file that ends in {_endings()}, got {path.name}")
        return [path]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _endings() -> str:
    return ", ".join((*CSV_ENDINGS, *PARQUET_ENDINGS))


def _ending(path: Path) -> bool:
    return path.name.lower().endswith((*CSV_ENDINGS, *PARQUET_ENDINGS))


def _is_parquet(path: Path) -> bool:
    return path.name.lower().endswith(PARQUET_ENDINGS)


@contextmanager
def workshop(paths: Sequence[Path], memory_mib: int = MEMORY_MIB) -> Iterator[tuple[Any, Path]]:
    """(connection, folder): a duckdb over these files and a temporary folder, which is gone afterwards with all that is in it.

    Guarantees. It fetches and loads no extension, and opens no other file; `opened` gives the files plain names, as links in
    the folder. Whatever does not fit into `memory_mib` is in the folder.
    """
    with tempfile.TemporaryDirectory(prefix="ebbtide-log-") as name:
        folder = Path(name).resolve()
        config: dict[str, Any] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": f"{memory_mib}MiB",
            "temp_directory": str(folder / "spilled"),
            "threads": str(min(4, os.cpu_count() or 1)),
            "preserve_insertion_order": "true",
        }
        for path in paths:
            if any(0xD800 <= ord(letter) <= 0xDFFF or letter == "\0" for letter in str(path.resolve())):
                raise DataError(f"expected a path of letters, got {path}")
        connection = duckdb.connect(str(folder / "log.db"), config=config)
        try:
            connection.execute(f"SET allowed_directories=[{constant(str(folder))}]")
            connection.execute(f"SET allowed_paths=[{', '.join(constant(str(path.resolve())) for path in paths)}]")
            connection.execute("SET enable_external_access=false")
            with suppress(
                duckdb.InvalidInputException
            ):  # in a notebook without ipywidgets it draws no bar, nor hears of one
                connection.execute("SET enable_progress_bar=false")
            connection.execute("SET TimeZone='UTC'")
            connection.execute("SET lock_configuration=true")
            yield connection, folder
        finally:
            connection.close()


def opened(connection: Any, folder: Path, paths: list[Path]) -> list[LogFile]:
    """The files, looked at: all of the same columns. A link of each, or its UTF-8, is put into `folder`."""
    files = [_opened(connection, folder, number, path) for number, path in enumerate(paths)]
    for file in files[1:]:
        if file.columns != files[0].columns:
            raise DataError(f"expected the columns of {files[0].path.name} in {file.path.name}: others stand there")
    return files


def _opened(connection: Any, folder: Path, number: int, path: Path) -> LogFile:
    try:
        with path.open("rb") as file:
            beginning = file.read(_LOOK_BYTES)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    if not beginning:
        raise DataError(f"expected lines in {path}, got an empty file")
    if _is_parquet(path):
        if not beginning.startswith(_PARQUET):
            raise DataError(f"expected a Parquet file, which begins with PAR1, got another in {path}")
        return _parquet(connection, folder / f"part-{number}.parquet", path)
    if beginning.startswith(_PARQUET):
        raise DataError(f"expected text in {path}, got a Parquet file: let its name end in .parquet")
    return _text(folder / f"part-{number}.csv", path, beginning)


def _parquet(connection: Any, source: Path, path: Path) -> LogFile:
    source.symlink_to(path.resolve())
    try:
        rows = connection.execute("DESCRIBE SELECT * FROM read_parquet($source)", {"source": str(source)}).fetchall()
    except duckdb.Error:
        raise DataError(f"expected {path} to be a Parquet file: it is cut, damaged or encrypted") from None
    columns = tuple(row[0] for row in rows)
    _expect_columns(path, columns)
    return LogFile(path, source, columns, tuple(row[1] for row in rows))


def _text(source: Path, path: Path, beginning: bytes) -> LogFile:
    packed = path.name.lower().endswith(".gz")
    if packed:
        beginning = _unpacked(path)
    if beginning.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        raise DataError(f"expected text in {path}, got something packed: unpack it, or let its name end in .csv.gz")
    encoding = next((name for mark, name in _MARKS if beginning.startswith(mark)), "")
    if encoding != "utf-16" and b"\0" in beginning:
        raise DataError(f"expected text in {path}, got bytes of 0: it is binary, or UTF-16 without its mark")
    if not encoding:
        try:
            codecs.getincrementaldecoder("utf-8")().decode(beginning)
            encoding = "utf-8"
        except UnicodeDecodeError:
            encoding = "latin-1"
    text = codecs.getincrementaldecoder("utf-8-sig" if encoding == "utf-8" else encoding)("replace").decode(beginning)
    if sum(letter < " " and letter not in "\t\r\n\f" for letter in text[:4096]) > 8:
        raise DataError(f"expected text in {path}, got control characters: it is binary")
    columns, delimiter = _header(path, text)
    if encoding == "utf-8":
        source = source.with_suffix(".csv.gz") if packed else source
        source.symlink_to(path.resolve())
    else:
        _as_utf8(path, source, encoding, packed)
        packed = False
    return LogFile(path, source, columns, ("VARCHAR",) * len(columns), delimiter, packed)


def _unpacked(path: Path) -> bytes:
    """The beginning of what a .gz holds; DataError if it is none, or unpacks to many times more than a log does."""
    try:
        with path.open("rb") as raw, gzip.open(raw) as file:
            beginning = file.read(_LOOK_BYTES)
            size = len(beginning)
            while size < _BOMB_BYTES and (block := file.read(_LOOK_BYTES)):
                size += len(block)
            if size > _BOMB_RATIO * max(raw.tell(), 1):
                raise DataError(
                    f"expected {path} to unpack to at most {_BOMB_RATIO} times its size, as logs do: not read"
                )
    except (OSError, EOFError, zlib.error):
        raise DataError(f"expected {path} to be a .gz file: it is cut or damaged") from None
    if not beginning:
        raise DataError(f"expected lines in {path}, got an empty file")
    return beginning


def _as_utf8(path: Path, target: Path, encoding: str, packed: bool) -> None:
    opener: Any = gzip.open if packed else open
    try:
        with (
            opener(path, "rt", encoding=encoding, errors="replace", newline="") as read,
            target.open("w", encoding="utf-8", newline="") as out,
        ):
            shutil.copyfileobj(read, out, _LOOK_BYTES)
    except (OSError, EOFError, zlib.error):
        raise DataError(f"expected {path} as text in {encoding}: it is cut or damaged") from None


def _header(path: Path, text: str) -> tuple[tuple[str, ...], str]:
    """The names in the first line, and what parts them."""
    best: tuple[str, ...] = ()
    delimiter = ","
    first = text[: _LOOK_BYTES // 4]
    for each in _DELIMITERS:
        try:
            names = tuple(name.strip() for name in next(csv.reader(io.StringIO(first, newline=""), delimiter=each), ()))
        except csv.Error:
            continue
        if len(names) > len(best):
            best, delimiter = names, each
    _expect_columns(path, best)
    return best, delimiter


def _expect_columns(path: Path, columns: tuple[str, ...]) -> None:
    if len(columns) < 2:
        raise DataError(f"expected columns of users and of times in {path}, got {len(columns)} column")
    if len(columns) > MOST_COLUMNS:
        raise DataError(f"expected at most {MOST_COLUMNS} columns in {path}, got {len(columns)}")
    if any(re.fullmatch(r"[-+]?[\d.,:/ ]*\d[\d.,:/ TZ-]*", name) for name in columns):
        raise DataError(f"expected the names of columns in the first line of {path}, got values")
    if len({name.lower() for name in columns}) < len(columns):
        raise DataError(f"expected columns of different names in {path}, got a name twice")


def source_of(file: LogFile, rejects: str = "") -> tuple[str, dict[str, Any]]:
    """A file as SQL that gives c0, c1, ... (and of Parquet `file_row_number`), and its parameters. With `rejects`, malformed
    lines are put into tables of that name; else they are passed over."""
    if not file.is_text:
        names = ", ".join(f"{quoted(name)} AS c{n}" for n, name in enumerate(file.columns))
        if any(name.lower() == "file_row_number" for name in file.columns):  # theirs, not duckdb's
            numbered = "row_number() OVER () - 1 AS file_row_number FROM read_parquet($source)"
        else:
            numbered = "file_row_number FROM read_parquet($source, file_row_number=true)"
        return f"(SELECT {names}, {numbered})", {"source": str(file.source)}
    columns = "{" + ", ".join(f"'c{n}': 'VARCHAR'" for n in range(len(file.columns))) + "}"
    bad = (
        f"store_rejects=true, rejects_table='{rejects}', rejects_scan='{rejects}_scan', rejects_limit=0"
        if rejects
        else "ignore_errors=true"
    )
    return (
        f"read_csv($source, auto_detect=false, delim=$delimiter, quote='\"', escape='\"', header=true, columns={columns}, "
        f"compression='{'gzip' if file.packed else 'none'}', max_line_size={MOST_LINE_BYTES}, {bad})",
        {"source": str(file.source), "delimiter": file.delimiter},
    )
