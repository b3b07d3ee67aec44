"""Files that a killed process leaves whole: written under another name first, then given their own in one move.

Or they only grow, a line or a row at a time: then what a killed process or a full disk cut off is the end of nothing. Readers
leave out what is not whole; writers begin on a fresh line, or at the end of the last whole row. One writer at a time.

And folders that are open to their owner only, from the moment they are there.
"""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

#: How the name of a file ends that is being written.
UNFINISHED: Final = ".new"
_LONGEST_NAME: Final = 255
#: What a text may begin with, and how the rest is read; the longer mark first, of which the other is the beginning.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@contextmanager
def replacing(file: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """What to write the next content of `file` to: it takes the file's place when the body ends, and not if it raises.

    A process killed at any moment leaves the old content or the new one, and perhaps `<name>.new`, which the next write
    takes the place of; whatever else fails leaves the old content alone, and an OSError names the file. With `durable` the
    new one is on disk, power loss included, before it has its name. One writer at a time.
    """
    name = file.name
    if len(os.fsencode(name)) > _LONGEST_NAME - len(UNFINISHED):
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    fresh = file.with_name(f"{name}{UNFINISHED}")
    try:
        with fresh.open("wb") as out:
            yield out
            if durable:
                out.flush()
                os.fsync(out.fileno())
        fresh.replace(file)
    except BaseException as error:
        with suppress(OSError):
            fresh.unlink()
        if isinstance(error, OSError) and error.filename is None and error.errno is not None:
            error.filename = str(file)  # a full disk names no file
        raise


def replace_content(file: Path, content: str | bytes, *, durable: bool = False) -> None:
    """The file with this content, text as UTF-8 with the newlines it has; see `replacing`."""
    with replacing(file, durable=durable) as out:
        out.write(content.encode("utf-8") if isinstance(content, str) else content)


def text_of(file: Path) -> str:
    """A text that anybody may have saved, without the byte-order mark that an editor put before it: UTF-8, or whatever a mark
    says. OSError if it cannot be read, ValueError if it is no such text."""
    data = file.read_bytes()
    try:
        text = data.decode(encoding_of(data))
    except UnicodeDecodeError as error:
        raise ValueError(f"expected a text in UTF-8, got other bytes from byte {error.start} on") from None
    if "\0" in text:
        raise ValueError("expected a text in UTF-8, got one with zero bytes: perhaps UTF-16 without a byte-order mark")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def encoding_of(beginning: bytes) -> str:
    """How a text is to be read that begins with these bytes, four at least: as its byte-order mark says, else as UTF-8."""
    return next((name for mark, name in _MARKS if beginning.startswith(mark)), "utf-8")


def append_line(file: Path, line: str, *, durable: bool = False) -> None:
    """The file with one line more, which nothing that was cut off stands before. With `durable` it is on disk when this
    returns, power loss included."""
    with file.open("ab+") as out:
        end = out.seek(0, os.SEEK_END)
        if end:
            out.seek(end - 1)
            fresh = out.read(1) == b"\n"
        out.write((b"" if not end or fresh else b"\n") + line.encode("utf-8") + b"\n")
        if durable:
            out.flush()
            os.fsync(out.fileno())


def whole_lines(file: Path) -> list[str]:
    """The lines that end, without their ends; none if there is no file. What was cut and written on after is a line that its
    reader has to leave out."""
    try:
        text = file.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return text.split("\n")[:-1]


def append_rows(file: Path, rows: bytes, row_bytes: int) -> None:
    """The file with these whole rows of `row_bytes` each, and without what was cut off before them."""
    with file.open("ab") as out:
        end = out.seek(0, os.SEEK_END)
        if end % row_bytes:
            out.truncate(end - end % row_bytes)
        out.write(rows)


def whole_rows(file: Path, row_bytes: int) -> bytes:
    """Every whole row, one behind the other; empty if there is no file."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return b""
    return data[: len(data) - len(data) % row_bytes]


def private_folder(folder: Path) -> Path:
    """The folder, made with mode 0700 if it is not there, and so all above it that had to be made. What is there already
    stays as it is. OSError if it cannot be made."""
    for place in reversed([folder, *folder.parents]):
        if not place.exists():
            try:
                place.mkdir(mode=0o700)
            except FileExistsError:  # by another process, just now
                continue
            place.chmod(0o700)  # a umask may have taken the owner's own rights away
    if not folder.is_dir():
        raise NotADirectoryError(f"expected a folder, got the file {folder}")
    return folder
