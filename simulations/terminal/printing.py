"""What commands print: results on standard output, complaints on standard error; on any terminal, and in a pipe.

What a terminal's encoding lacks is written in other letters. Paths are printed as they are, whatever they are made of: no
markup, no emoji codes; only control characters are escaped, which would move the cursor or cut the line.
"""

from __future__ import annotations

import codecs
import os
import shutil
import sys
import textwrap
import unicodedata
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

#: Letters that numbers and sentences are written with, for encodings that lack them.
PLAIN: Final = {
    "\u202f": " ",
    "\u00a0": " ",
    "−": "-",
    "–": "-",
    "—": "-",
    "±": "+-",
    "…": "...",
    "×": "x",
    "ε": "epsilon",
    "é": "e",
}
#: Narrower than this, help would cut the names of commands and options.
LEAST_COLUMNS: Final = 60
_HANDLER: Final = "ebbtide"
#: Characters that change in which direction a line is read.
_TURNING: Final = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

out = Console(highlight=False, markup=False, emoji=False)


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """What stands for letters that an encoding lacks: bytes of a path as they were, a plain letter, or an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    if 0xDC80 <= ord(letter) <= 0xDCFF:  # a byte of a file's name that is no text
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    return PLAIN.get(letter, letter.encode("ascii", "backslashreplace").decode()), error.start + 1


def ready_streams() -> None:
    """Standard output and error take every letter from now on, whatever their encoding; and pages of help, which are drawn
    elsewhere, cut no word on a narrow terminal. To be called before the commands are loaded."""
    if shutil.get_terminal_size().columns < LEAST_COLUMNS:
        os.environ["TERMINAL_WIDTH"] = str(LEAST_COLUMNS)
    codecs.register_error(_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_HANDLER)


def shown(text: object) -> str:
    r"""A text or a path on one line: as it is, but for control characters, which are escaped.

    >>> shown("a  b[copy]"), shown("a\nb\x1b[31m")
    ('a  b[copy]', 'a\\nb\\x1b[31m')
    """
    return "".join(c.encode("unicode_escape").decode() if _moves(c) else c for c in str(text))


def _moves(letter: str) -> bool:
    """Whether it is a control character, or turns the direction of what follows."""
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp") or letter in _TURNING


def say(text: object, *, strong: bool = False) -> None:
    """One line on standard output, never cut and never wrapped."""
    out.print(shown(text), style="bold" if strong else None, soft_wrap=True)


def say_text(text: str) -> None:
    """Lines on standard output, as they are."""
    for line in text.split("\n"):
        say(line)


def say_paragraph(text: str, *, strong: bool = False) -> None:
    """Text on standard output, broken between words to the width of the screen."""
    for line in textwrap.wrap(shown(text), max(out.width, 40), break_long_words=False, break_on_hyphens=False):
        say(line, strong=strong)


def say_path(what: str, path: Path) -> None:
    """`what: path`, on a line of its own."""
    say(f"{what}: {path}")


def say_table(table: Table) -> None:
    """A table, at least as wide as its words: a narrow terminal folds lines, and nothing is cut."""
    for column in table.columns:
        column.overflow = "fold"
    least = Measurement.get(out, out.options.update(max_width=10_000), table).minimum
    screen = (
        out if least <= out.width else Console(file=out.file, width=least, highlight=False, markup=False, emoji=False)
    )
    screen.print(table)


def complain(text: str) -> None:
    """`ebbtide: ...`, one line on standard error; where there is none, nothing."""
    if sys.stderr is not None:
        sys.stderr.write(f"ebbtide: {shown(text.strip())}\n")
        sys.stderr.flush()
