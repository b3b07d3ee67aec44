"""The figures that README and docs quote: made by one command, kept in docs/figures.json, held to the texts by a test.

    python -m simulations.published [--only PREFIX] [--online-retail-path PATH]

A text quotes a figure as `<number> <!-- key -->`, and the test compares the number with the file, to the digits shown.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from .baselines import POOLED_DNN, POOLED_LR, pooled_baselines
from .config import load_scenario
from .simulate import RESULTS_FILE, population_of, protocol_of
from .trials import Trials

ROOT = Path(__file__).parent.parent
FIGURES_FILE = ROOT / "docs" / "figures.json"
QUOTE = re.compile(r"(-?\d[\d ]*(?:\.\d+)?)\s*(?:\*\*)?\s*<!-- ([a-z0-9_.-]+) -->")
SEEDS = 5
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
    """The commit that the figures are made on, marked if the working tree differs from it."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude", "*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() or "unknown"


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


def learning_figures(name: str, path: str) -> dict[str, Figure]:
    """Five trainings of each epsilon scenario of a data set on all users, against pooled models in the same run."""
    out: dict[str, Figure] = {}
    made = {"command": f"{COMMAND} --only {name}", "commit": commit()}
    overrides = [f"data.path={json.dumps(path)}"] if path else []
    scenarios = {key: load_scenario(f"{name}-{key}", overrides) for key in ("eps1", "eps7")}
    protocol = protocol_of(scenarios["eps1"])
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(population_of(scenarios["eps1"], protocol), Path(folder))
        plan = trials.plan(scenarios["eps1"], protocol)
        train, test = (
            trials.rows(plan.features, plan.horizon_steps, s) for s in (protocol.train_steps, protocol.test_steps)
        )
        runs: dict[str, list[tuple[float, float, float, float]]] = {key: [] for key in (*scenarios, "planted_only")}
        pooled: list[float] = []
        for seed in track(range(SEEDS), description=name):
            scores = pooled_baselines(train, test, plan, seed)
            best = max(_auc(test.y, scores[model]) for model in (POOLED_LR, POOLED_DNN))
            pooled.append(best)
            for key, scenario in scenarios.items():
                warm = scenario.warm_start.model_copy(update={"seed": scenario.warm_start.seed + seed})
                warmed = scenario.model_copy(update={"warm_start": warm})
                thetas = {key: trials.train(warmed, protocol, repetition=seed).theta}
                if key == "eps1":
                    thetas["planted_only"] = trials.start(warmed, plan)
                for label, theta in thetas.items():
                    score = trials.score(plan, theta, protocol.test_steps)
                    assert score.auc is not None
                    runs[label].append((score.auc, best - score.auc, score.calibration_error, score.log_loss))
    beside = f"better of pooled DNN and pooled LR, AUC {np.mean(pooled):.4f}"
    for key, values in runs.items():
        mean, spread = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
        for i, (label, unit) in enumerate(
            (("auc", "AUC"), ("auc_gap", "AUC"), ("calibration_error", "share"), ("log_loss", "nats"))
        ):
            figure = Figure(round(float(mean[i]), 5), round(float(spread[i]), 5), unit, beside, **made)
            out[f"{label}.{name}.{key}"] = figure
            if label == "calibration_error" and key == "eps1":
                out[f"{label}.{name}"] = figure
    pooled_figure = Figure(round(float(np.mean(pooled)), 5), round(float(np.std(pooled, ddof=1)), 5), "AUC", "", **made)
    return {**out, f"auc.{name}.pooled": pooled_figure}


def _auc(y: np.ndarray, p: np.ndarray) -> float:
    from .evaluate import auc

    value = auc(y, p)
    assert value is not None
    return value


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
        if key.startswith("hosts.") and "value" in figure:
            lowest, highest = figure["spread"]
            spread = round((highest - lowest) / 2, 4)
            out[key] = Figure(round(figure["value"], 4), spread, figure["unit"] or "ratio", figure["what"], **made)
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Re-make figures. Runs of the demo scenarios are read from runs/, where `make demo` leaves them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="make only the groups whose name begins with this")
    parser.add_argument(
        "--online-retail-path", default="", help="where online-retail-ii lies; without it, it is skipped"
    )
    chosen = parser.parse_args(arguments)
    groups: dict[str, Callable[[], dict[str, Figure]]] = {
        "complete-journey": lambda: learning_figures("complete-journey", ""),
    }
    if chosen.online_retail_path:
        groups["online-retail-ii"] = lambda: learning_figures("online-retail-ii", chosen.online_retail_path)
    for name in ("demo",):
        if (ROOT / "runs" / name / RESULTS_FILE).exists():
            groups[name] = lambda name=name: run_figures(name, ROOT / "runs" / name)  # type: ignore[misc]
    if (bench := ROOT / "runs" / "bench" / "results.json").exists():
        groups["bench"] = lambda: bench_figures(bench)
    for name, make in groups.items():
        if name.startswith(chosen.only):
            publish(make())
            print(f"{name}: figures in {FIGURES_FILE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
