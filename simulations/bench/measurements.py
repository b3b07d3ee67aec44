"""What was measured: figures with their spread and target, as a table and as results.json."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from shared.files import replace_content

from ..provenance import commit, versions


@dataclass(frozen=True)
class Measurement:
    """One figure: a median over `values`, what was measured `beside` it, and what it should be, if that was promised.
    `skipped` says why there is none."""

    key: str
    what: str
    values: tuple[float, ...]
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    skipped: str = ""
    beside: str = ""

    @classmethod
    def of(
        cls,
        key: str,
        what: str,
        values: Sequence[float],
        unit: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        beside: str = "",
    ) -> Measurement:
        """Values in any order; at least one."""
        return cls(key, what, tuple(sorted(values)), unit, at_least, at_most, beside=beside)

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def target(self) -> str:
        """In words; empty if nothing was promised."""
        if self.at_least is not None:
            return f">= {number(self.at_least)}"
        return f"<= {number(self.at_most)}" if self.at_most is not None else ""

    @property
    def met(self) -> bool | None:
        """None where there is no target, or no figure."""
        if self.skipped or not self.target:
            return None
        return self.value >= self.at_least if self.at_least is not None else self.value <= (self.at_most or 0.0)

    def to_map(self) -> dict[str, Any]:
        if self.skipped:
            return {"what": self.what, "skipped": self.skipped}
        return {
            "what": self.what,
            "value": self.value,
            "spread": [self.values[0], self.values[-1]],
            "n": len(self.values),
            "unit": self.unit,
            "beside": self.beside,
            "target": self.target,
            "met": self.met,
        }


def number(value: float) -> str:
    """Three digits that matter, thousands in full."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table_of(figures: Sequence[Measurement]) -> Table:
    """One row a figure: median, lowest and highest, target, whether it was met."""
    table = Table(title="Medians; the machine's other work is in them: trust ratios first")
    for name in ("figure", "median", "lowest to highest", "target"):
        table.add_column(name, justify="left" if name in ("figure", "target") else "right")
    for figure in figures:
        if figure.skipped:
            table.add_row(figure.what, "-", "", Text(f"skipped: {figure.skipped}", style="dim"))
            continue
        verdict, colour = {True: ("met", "green"), False: ("not met", "red"), None: ("", "")}[figure.met]
        spread = f"{number(figure.values[0])} to {number(figure.values[-1])}" if len(figure.values) > 1 else ""
        table.add_row(
            figure.what,
            f"{number(figure.value)} {figure.unit}",
            spread,
            Text.assemble(f"{figure.target} ", (verdict, colour)),
        )
    return table


def machine() -> dict[str, Any]:
    """What the figures were measured on. No name, no path."""
    return {
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        **versions("flwr", "ray", "numpy", "ai-edge-litert"),
    }


def write_results(figures: Sequence[Measurement], before: dict[str, Any], file: Path) -> None:
    """results.json: the commit, the machine before and after, and every figure by key."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "commit": commit(),
        "before": before,
        "after": machine(),
        "figures": {f.key: f.to_map() for f in figures},
    }
    replace_content(file, json.dumps(content, indent=1))
