"""Values to try for a few keys, as a command line names them, and every combination of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from shared.errors import ConfigError


def parse_values(option: str, given: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """`KEY=VALUE,VALUE` as the values (TOML text) of each key; a comma inside [] or "" does not separate."""
    out: dict[str, tuple[str, ...]] = {}
    for text in given:
        key, equals, values = (part.strip() for part in text.partition("="))
        if not key or not equals:
            raise ConfigError(f"expected {option} KEY=VALUE,VALUE, got {text!r}")
        if key in out:
            raise ConfigError(f"expected {option} {key} once, got it twice")
        parts = [value.strip() for value in _split(values)]
        if not all(parts):
            raise ConfigError(f"expected {option} {key}=VALUE,VALUE with no empty value, got {text!r}")
        out[key] = tuple(dict.fromkeys(parts))
    return out


def _split(text: str) -> list[str]:
    parts, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter == '"'
        depth += (letter == "[") - (letter == "]")
        if letter == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def combinations(values: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Every combination of one value for each key, the last key fastest."""
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]
