"""How values are written for people: numbers short, texts so that nothing in them hides or turns the line around."""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from typing import Any, Final

from markupsafe import Markup

THIN_SPACE: Final = "\u202f"
#: Categories of characters that print nothing, or turn what stands around them: control, format, private, surrogates, separators.
HIDDEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
#: Of these, what texts in many languages need: line ends, tabs, joiners.
PLAIN: Final = frozenset("\n\t\u200c\u200d")


def visible(text: str) -> str:
    """A text whose hidden characters are written out, so that what is read is what is there: U+202E turns no line around.

    >>> visible("a\u202eb")
    'a[U+202E]b'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"[U+{ord(c):04X}]" if unicodedata.category(c) in HIDDEN and c not in PLAIN else c for c in text)


def number(value: int | float) -> str:
    """A number as a person writes it: whole ones whole, others with four digits that count, without an exponent where there is room.

    >>> number(6.331064665112756), number(1e-05), number(12345)
    ('6.331', '0.00001', '12\u202f345')
    """
    if isinstance(value, int):
        return f"{value:,d}".replace(",", THIN_SPACE).replace("-", "−")
    if value == int(value) and abs(value) < 1e15:
        return number(int(value))
    text = f"{value:.4g}"
    if "e" in text and 1e-7 <= abs(value) < 1e15:
        text = f"{Decimal(text):f}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def shown(value: Any) -> Any:
    """What a template prints: every text that is no markup is made visible; then it is escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def lines_of(value: Any) -> bool:
    """Whether a value is a list, and of lists too, that takes a line for each of its parts."""
    return isinstance(value, (list, tuple)) and any(
        isinstance(v, (list, tuple, dict)) or len(str(v)) > 24 for v in value
    )


def is_figure(value: Any) -> bool:
    """Whether a value is a published number with what it is compared with: an entry of docs/figures.json."""
    return (
        isinstance(value, dict)
        and {"value", "spread", "spread_kind", "unit", "baseline", "command", "commit"} == value.keys()
    )
