"""The figures that README and docs quote: made by one command, kept in docs/figures.json, held to the texts by a test.

    python -m simulations.published [--only PREFIX ...] [--online-retail-path PATH]

A text quotes a figure as `<number> <!-- key -->`, and the test compares the number with the file, to the digits shown.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from .alert_quality import DETECTOR_NAMES
from .choice_figures import choice_figures
from .hostile import hostile_figures
from .lapse_figures import lapse_figures, rise_figures
from .learning_figures import (
    Measured,
    bit_figures,
    epsilon_figures,
    fidelity_figures,
    held_out_figures,
    utility_figures,
    with_path,
)
from .shipped_figures import shipped_figures
from .simulate import RESULTS_FILE
from .stream_figures import stream_figures

ROOT = Path(__file__).parent.parent
FIGURES_FILE = ROOT / "docs" / "figures.json"
QUOTE = re.compile(r"(-?\d[\d ]*(?:\.\d+)?)\s*(?:\*\*)?\s*<!-- ([a-z0-9_.-]+) -->")
UTILITY_FILE = ROOT / "docs" / "utility-against-epsilon.svg"
ONLINE_RETAIL = "online-retail-ii"
COMMAND = "python -m simulations.published"


@dataclass(frozen=True)
class Figure:
    """One quoted number: its spread (standard deviation, or None), the baseline beside it, and the command."""

    value: float
    spread: float | None
    unit: str
    baseline: str
    command: str
    commit: str


def commit() -> str:
    """The commit that the figures are made on, marked if the code in the working tree differs from it; docs/, which
    figures are written to, does not count."""

    def git(*arguments: str) -> str:
        said = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return said.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)docs")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("-dirty" if changed else "")


def read() -> dict[str, Figure]:
    """Every published figure, by key."""
    return {key: Figure(**fields) for key, fields in json.loads(FIGURES_FILE.read_text(encoding="utf-8")).items()}


def publish(figures: Mapping[str, Figure]) -> None:
    """Add figures to the file, or replace them."""
    known = {key: asdict(figure) for key, figure in read().items()} if FIGURES_FILE.exists() else {}
    known |= {key: asdict(figure) for key, figure in figures.items()}
    fresh = FIGURES_FILE.with_suffix(".new")
    fresh.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", encoding="utf-8")
    fresh.replace(FIGURES_FILE)


def quotes(text: str) -> Iterator[tuple[str, str]]:
    """(number as written, key) of every figure that a text quotes."""
    for number, key in QUOTE.findall(text):
        yield number.replace(" ", ""), key


def run_figures(name: str, run: Path) -> dict[str, Figure]:
    """Figures of a run that has ended (`make demo` and the like), from its results."""
    results = json.loads((run / RESULTS_FILE).read_text(encoding="utf-8"))
    made = {"command": f"ebbtide simulate {name}", "commit": commit()}
    rules = {row["name"]: row["auc"] for row in results["baselines"]}
    out = {
        f"{name}.auc": Figure(results["interest"]["auc"], None, "AUC", f"frequency {rules['frequency']:.3f}", **made)
    }
    for rule, label in (("recency", "recency"), ("frequency", "frequency")):
        out[f"{name}.auc_{label}"] = Figure(rules[rule], None, "AUC", "", **made)
    for direction in ("fall", "rise"):
        for key, unit in (("precision", "share"), ("recall", "share"), ("median_delay_steps", results["step"])):
            value = results["alerts"][direction][key]
            if value is not None:
                out[f"{name}.{direction}_{key}"] = Figure(value, None, unit, "", **made)
        for rule, row in results["alerts"][direction]["beside"].items():
            for key in ("precision", "recall"):
                if rule == DETECTOR_NAMES["own_level"] and row[key] is not None:
                    out[f"{name}.{direction}_{key}.own_level"] = Figure(row[key], None, "share", rule, **made)
    if (epsilon := results["privacy"]["epsilon_to_public"]) is not None:
        out[f"{name}.epsilon"] = Figure(epsilon, None, f"epsilon at delta {results['privacy']['delta']:g}", "", **made)
    if "federation" in results["seconds"]:
        out[f"{name}.seconds"] = Figure(results["seconds"]["federation"], None, "s", "", **made)
    return out


def bench_figures(file: Path) -> dict[str, Figure]:
    """The figures of speed of the last `make bench`: medians, with the half-range of the runs as spread."""
    made = {"command": "make bench", "commit": commit()}
    out = {}
    for key, figure in json.loads(file.read_text(encoding="utf-8"))["figures"].items():
        if key.startswith(("hosts.", "detector.", "explain.", "vault.")) and "value" in figure:
            lowest, highest = figure["spread"]
            spread = round((highest - lowest) / 2, 4)
            out[key] = Figure(round(figure["value"], 4), spread, figure["unit"] or "ratio", figure["what"], **made)
    return out


def groups(online_retail_path: str = "") -> dict[str, Callable[[], Mapping[str, Figure | Measured]]]:
    """What makes each group of figures; those of online-retail-ii only if it is there."""
    data = {"complete-journey": [], **({ONLINE_RETAIL: with_path(online_retail_path)} if online_retail_path else {})}
    out: dict[str, Callable[[], Mapping[str, Figure | Measured]]] = {
        "fidelity": fidelity_figures,
        "streams": stream_figures,
        "hostile": hostile_figures,
        "bit": bit_figures,
        "choice.planted": partial(choice_figures, "planted"),
    }
    for name, overrides in data.items():
        out[name] = partial(epsilon_figures, name, overrides)
        out[f"held_out.{name}"] = partial(held_out_figures, name, overrides)
        out[f"lapse.{name}"] = partial(lapse_figures, name, overrides)
        out[f"rise.{name}"] = partial(rise_figures, name, overrides)
        out[f"shipped.{name}"] = partial(shipped_figures, name, overrides)
        out[f"choice.{name}"] = partial(choice_figures, name, overrides)
    if ONLINE_RETAIL in data:
        out["utility"] = partial(utility_figures, data, UTILITY_FILE)
    for name in ("demo",):
        if (ROOT / "runs" / name / RESULTS_FILE).exists():
            out[name] = partial(run_figures, name, ROOT / "runs" / name)
    if (bench := ROOT / "runs" / "bench" / "results.json").exists():
        out["bench"] = partial(bench_figures, bench)
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Re-make figures. Runs of the demo scenarios are read from runs/, where `make demo` leaves them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="make only groups whose name begins with this; may be repeated")
    parser.add_argument(
        "--online-retail-path", default="", help="where online-retail-ii lies; without it, it is skipped"
    )
    chosen = parser.parse_args(arguments)
    for name, make in groups(chosen.online_retail_path).items():
        if name.startswith(tuple(chosen.only or [""])):
            command, made_on = f"{COMMAND} --only {name}", commit()
            figures = {
                key: figure if isinstance(figure, Figure) else Figure(**vars(figure), command=command, commit=made_on)
                for key, figure in make().items()
            }
            publish(figures)
            print(f"{name}: {len(figures)} figures in {FIGURES_FILE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
