"""What was measured, kept in a file, as numbers to publish and as rows of docs/capacity.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np

from shared.files import private_folder, replace_content, text_of

from ...capacity.estimate import Estimate
from ...federation.run_folder import RESULTS_FILE
from ...provenance import ROOT
from ...report.figures_json import Published
from ...report.format import grouped
from .measure import Case, Taken

COMMAND: Final = "python -m simulations.published.capacity"
KEPT_FILE: Final = ROOT / "runs" / "capacity" / RESULTS_FILE
#: The run whose devices `life.` speaks of: so many that what any run takes hardly shows.
LIFE: Final = "20k"


def read(file: Path) -> dict[str, Taken]:
    """What was measured so far, by label; nothing if there is no file."""
    return {label: Taken(**fields) for label, fields in json.loads(text_of(file)).items()} if file.exists() else {}


def keep(taken: Mapping[str, Taken], file: Path) -> None:
    """Leave it there, fewest devices first."""
    private_folder(file.parent)
    ordered = dict(sorted(taken.items(), key=lambda one: one[1].devices))
    replace_content(file, json.dumps({label: asdict(one) for label, one in ordered.items()}, indent=1) + "\n")


def numbers_of(taken: Mapping[str, Taken]) -> dict[str, Published]:
    """Every number that is published of it, by its key: `capacity.`, name and label, or of a million devices `million.` and name."""
    out = {}
    for label, one in taken.items():
        made = f"{COMMAND} --only {label}"
        for name, (value, unit) in _values(one).items():
            out[_key(name, label)] = Published(round(value, 4), None, unit, "", made, one.commit)
        if label == LIFE:
            cpu, kept = out[_key("cpu_ms", label)], out[_key("kb", label)]
            out |= {"life.cpu_ms_per_device": cpu, "life.kb_per_device": kept}
    return out


def table_of(taken: Mapping[str, Taken]) -> str:
    """The table of docs/capacity.md, with the keys that its numbers are quoted by, fewest devices first."""
    columns = {"minutes": 1, "cpu_ms": 1, "peak_gib": 2, "kb": 1, "highest_kb": 1, "down_kb": 0, "up_kb": 0}
    rows = []
    for label, one in taken.items():
        values = _values(one)
        cells = (f"{values[name][0]:.{digits}f} <!-- {_key(name, label)} -->" for name, digits in columns.items())
        what = f"`{Case.named(label).scenario}`, {grouped(one.devices).replace(chr(0x202F), ' ')}"
        rows.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(rows)


def beside_estimates(taken: Mapping[str, Taken]) -> list[str]:
    """A line for each run: what it took, over what was estimated. To be looked at before new constants are written down."""
    lines = []
    for label, one in taken.items():
        said = Estimate.of(Case.named(label).work())
        traffic = one.devices * (one.down_bytes + one.up_bytes)
        parts = {
            "time": one.seconds / said.seconds,
            "memory": one.peak_bytes / said.memory_bytes,
            "disk": one.highest_bytes / said.disk_bytes,
            "traffic": traffic / said.traffic_bytes,
        }
        lines.append(f"{label}: measured over estimated, {', '.join(f'{k} {v:.2f}' for k, v in parts.items())}")
    return lines


def lines_through(taken: Mapping[str, Taken]) -> list[str]:
    """For each scenario that was measured with two numbers of devices or more, the straight lines that are nearest to what was measured,
    each run weighing the same: what the constants of `COSTS` follow from."""
    lines = []
    for name in dict.fromkeys(Case.named(label).scenario for label in taken):
        of = [one for label, one in taken.items() if Case.named(label).scenario == name]
        if len(of) < 2:
            continue
        said = []
        for what in ("seconds", "peak_bytes", "highest_bytes"):
            values = np.array([getattr(one, what) for one in of])
            rows = np.array([[1.0, one.devices] for one in of]) / values[:, None]
            (fixed, each), *_ = np.linalg.lstsq(rows, np.ones(len(of)), rcond=None)
            said.append(f"{what} {fixed:.3g} + {each:.3g} a device")
        lines.append(f"{name}: {', '.join(said)}")
    return lines


def _key(name: str, label: str) -> str:
    return f"million.{name}" if label == "million" else f"capacity.{name}_{label}"


def _values(one: Taken) -> dict[str, tuple[float, str]]:
    """Value and unit by name; whatever is not of the whole run is of one device."""
    each = one.devices * 1000
    return {
        "minutes": (one.seconds / 60, f"minutes on {one.cores} cores"),
        "cpu_ms": (1000 * one.cpu_s / one.devices, "ms of all processes, a device"),
        "peak_gib": (one.peak_bytes / 2**30, "GiB"),
        "kb": (one.kept_bytes / each, "KB a device"),
        "highest_kb": (one.highest_bytes / each, "KB a device, whole folder, at its highest"),
        "down_kb": (one.down_bytes / 1000, "KB a device"),
        "up_kb": (one.up_bytes / 1000, "KB a device"),
    }
