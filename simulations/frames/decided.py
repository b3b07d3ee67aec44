"""A decision in Python: what `ebbtide decide` says of a run, as a paragraph and as a data frame."""

from __future__ import annotations

import html
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from ..decision.choice import Decision, Wish, setting
from ..decision.run import decide_run
from ..decision.words import EFFECT, paragraph
from ..federation.run_folder import RunFolder

COUNTS: Final = ("contacts", "right", "wrong", "missed")


@dataclass(frozen=True, repr=False)
class Decided:
    """A line to warn at, with what it and the rules are worth; `decision` has all of it, typed. `settings`: what a scenario has to say
    for it, as `simulate` takes it by `set`; empty where no contact is worth its cost."""

    decision: Decision
    settings: Mapping[str, float | str]

    def __repr__(self) -> str:
        return f"Decided({dict(self.settings)})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the paragraph, then the table, and, where money is counted, what has to be said beside it."""
        effect = f"<p>{html.escape(EFFECT)}</p>" if self.decision.wish.has_money else ""
        return f"<p>{html.escape(self.paragraph)}</p>{self.worth.round(2).to_html(index=False)}{effect}"

    @property
    def paragraph(self) -> str:
        """The line, what it is expected to come to, what came, and what the best rule would do."""
        return paragraph(self.decision)

    @cached_property
    def worth(self) -> Any:
        """A DataFrame, a row for ours and for each rule: name, line; contacts, right, wrong, missed and, where it was asked for,
        money: what is expected, a week and among 1,000 people, with its 90 % interval (_low, _high), and what came later
        (_came)."""
        rows = []
        for each in self.decision.worth.values():
            row: dict[str, Any] = {"name": each.name, "line": each.line}
            counts = COUNTS if each.money is None else (*COUNTS, "money")
            for count in counts:
                expected = getattr(each, count)
                row |= {count: expected.value, f"{count}_low": expected.low, f"{count}_high": expected.high}
                row[f"{count}_came"] = each.happened[count]
            rows.append(row)
        return importlib.import_module("pandas").DataFrame(rows)


def decided(folder: Path, wish: Wish) -> Decided:
    """What a wish comes to in the run of a folder."""
    found, detection = decide_run(folder, wish), RunFolder(folder).ended_scenario().detection
    said = {} if found.value is None else setting(found, detection)
    return Decided(found, {f"detection.{key}": value for key, value in said.items()})
