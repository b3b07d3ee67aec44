"""A decision in a scenario file: single keys of one table are set, all other bytes, comments too, stay as they are."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from shared.errors import ConfigError
from shared.files import replace_content, text_of

from ..scenarios.config import Scenario, load_scenario

_TABLE = re.compile(r"^\s*\[")


def with_settings(text: str, table: str, values: Mapping[str, float | str], why: str) -> str:
    """TOML text with these keys of `table` set, under a comment that says why; keys that were there are replaced where they stand.
    ConfigError unless it then says just that, and all else as before."""
    lines, newline = text.splitlines(), "\r\n" if "\r\n" in text else "\n"
    found = {key: f"{key} = {_toml(value)}" for key, value in values.items()}
    try:
        start = next(
            i for i, line in enumerate(lines) if re.fullmatch(rf"\s*\[\s*{re.escape(table)}\s*\]\s*(#.*)?", line)
        )
    except StopIteration:
        lines += ["", f"[{table}]"]
        start = len(lines) - 1
    end = next((i for i in range(start + 1, len(lines)) if _TABLE.match(lines[i])), len(lines))
    for i in range(start + 1, end):
        key = lines[i].partition("=")[0].strip()
        if key in found:
            comment = re.search(r"\s#[^\"']*$", lines[i])
            lines[i] = found.pop(key) + (comment[0] if comment else "")
    lines[start + 1 : start + 1] = [f"# {why}", *found.values()]
    out = newline.join(lines) + newline
    _expect_only(text, out, table, values)
    return out


def write_setting(decided: Mapping[str, float | str], why: str, source: Path | Scenario, target: Path) -> None:
    """The scenario with a decision in its detection, written to `target`: from a file, whose comments stay, or from a run's scenario
    as it was resolved. What was there is replaced: ask before. ConfigError if it would be no scenario."""
    text = text_of(source) if isinstance(source, Path) else toml_of(source)
    made = with_settings(text, "detection", decided, why)
    replace_content(target, made.encode())
    load_scenario(str(target))


def toml_of(scenario: Scenario) -> str:
    """A scenario as TOML: what is said of it, without what is as it would be anyway."""
    import tomli_w

    return tomli_w.dumps(scenario.model_dump(exclude_defaults=True, exclude_none=True, mode="json"))


def _toml(value: float | str) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(float(value))


def _expect_only(before: str, after: str, table: str, values: Mapping[str, float | str]) -> None:
    wanted = tomllib.loads(before)
    wanted.setdefault(table, {}).update(values)
    try:
        same = tomllib.loads(after) == wanted
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise ConfigError(
            f"expected a scenario file with a plain [{table}] table: set {', '.join(values)} there by hand"
        )
