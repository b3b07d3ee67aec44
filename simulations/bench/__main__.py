"""`python -m simulations.bench`, what `make bench` runs."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read once, when numpy is first imported

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from shared.errors import ConfigError, EbbtideError

from ..federation.run_folder import RESULTS_FILE
from ..folder_lock import locked
from ..run import OnProgress
from ..terminal.ending import end_with
from ..terminal.lines import Lines, can_draw, screen
from ..terminal.printing import say, say_table
from ..terminal.stopping import leaving
from .baselines import pfl, ratio
from .detectors import detector_numbers
from .device import device_numbers
from .explain import explain_numbers
from .federation import peak_gib, per_client, throughput, training_seconds
from .first_result import first_result_s
from .life import life_numbers
from .measurements import Measurement, machine, number, table_of, write_results
from .sums import sum_numbers
from .training_step import training_step_numbers
from .vault import vault_numbers
from .warning import warning_numbers
from .windows import cpu_per_message


class Part(StrEnum):
    """What can be measured alone."""

    DEVICE = "device"
    DETECTORS = "detectors"
    VAULT = "vault"
    EXPLAIN = "explain"
    ALERT = "alert"
    LIFE = "life"
    SUM = "sum"
    TRAINING_STEP = "training-step"
    THROUGHPUT = "throughput"
    PER_CLIENT = "per-client"
    MEMORY = "memory"
    TRAINING = "training"
    FLOWER = "flower"
    DEMO = "demo"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command()
def bench(
    only: Annotated[
        list[Part] | None, typer.Option(help="Measure this part alone; give it again for more parts.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Small counts: whether it runs at all. No figure to quote.")] = False,
    online_retail_path: Annotated[
        str, typer.Option(help="Folder or file of online-retail-ii (UCI 502); skipped without it.")
    ] = "",
    pfl_python: Annotated[
        Path, typer.Option(help="Python of an environment that holds pfl; `make bench` makes it.")
    ] = Path(".venv-pfl/bin/python"),
    glean_python: Annotated[
        Path, typer.Option(help="Python of an environment that holds glean-sdk; `make bench` makes it.")
    ] = Path(".venv-glean/bin/python"),
    folder: Annotated[Path, typer.Option("--out", help="Where runs and results.json go.")] = Path("runs/bench"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the figures of an earlier bench.")] = False,
) -> None:
    """How fast Ebbtide is, beside a bare loop, Apple's pfl and Flower's per-client simulation on the same work.

    [bold]device[/]: one device's work through TFLite beside numpy. [bold]detectors[/]: updates of 10,000 streams beside
    river's detectors. [bold]vault[/]: a sealed event and a release beside a bare SQLite insert and Mozilla's Glean.
    [bold]explain[/]: reasons and counterfactual of one alert. [bold]alert[/]: a step's last event to its alerts, under heads
    beside version 1. [bold]life[/]: steps of hosted devices, one after the other in compiled loops (numba) beside arrays of whole
    histories. [bold]sum[/]: bytes and work of a secure sum, of a device and of a seat, beside Flower's SecAgg+
    functions. [bold]training-step[/]: rows, local training, clip and noise of hosted devices, in compiled loops beside
    arrays of them. [bold]throughput[/]: 40,000 planted devices, all in each round, 64 rows each, clip and integer noise
    included, through Flower; each round beside the same round in plain processes; pfl before and after.
    [bold]per-client[/]: one Flower node per device. [bold]memory[/]: 100,000 devices in one round. [bold]training[/]:
    the scenarios of epsilon <= 7 on all users of the real data sets, at least 60 rounds. [bold]flower[/]: processor
    time of Flower's simulation per message, a few requests outstanding beside all. [bold]demo[/]: what `make demo`
    runs, whole, five times.

    Everything takes about half an hour on two cores. A slow machine fails nothing: the table says which targets are met.
    Close other programs first, and trust ratios before absolute figures. Start-up is never counted.

    Example: [bold]python -m simulations.bench --only throughput --only device[/]
    """
    parts = list(only or Part)
    if (file := folder / RESULTS_FILE).exists() and not overwrite:
        raise ConfigError(
            f"expected a free place, but {file} is there: --overwrite replaces it, another --out leaves it"
        )
    before = machine()
    figures: list[Measurement] = []
    left = "no process is left and no figure was written: give the same command again"
    with leaving(lambda: left), locked(folder):
        with _progress_bars() as on_progress:
            for part in parts:
                try:
                    figures += _measure(part, quick, online_retail_path, pfl_python, glean_python, folder, on_progress)
                except EbbtideError as error:
                    said = " ".join(str(error).split())[:300]
                    figures.append(Measurement(str(part), str(part), (), "", skipped=said))
        figures += _ratio_to_per_client({figure.key: figure for figure in figures if not figure.skipped})
        write_results(figures, before, file)
    say_table(table_of(figures))
    loads = f"{before['load_average'][0]:g} before, {machine()['load_average'][0]:g} after"
    say(f"{before['cores']} cores, load {loads}. {file}")


def _measure(
    part: Part,
    quick: bool,
    retail_path: str,
    pfl_python: Path,
    glean_python: Path,
    folder: Path,
    on_progress: OnProgress,
) -> list[Measurement]:
    def phases(what: str) -> OnProgress:
        return lambda phase, done, total: on_progress(f"{what}: {phase}", done, total)

    match part:
        case Part.DEVICE:
            on_progress("one device", 0, 1)
            figures = device_numbers(2 if quick else 15)
            on_progress("one device", 1, 1)
            return figures
        case Part.DETECTORS:
            on_progress("detectors", 0, 1)
            figures = detector_numbers(2 if quick else 15)
            on_progress("detectors", 1, 1)
            return figures
        case Part.VAULT:
            on_progress("vault", 0, 1)
            counts = (200, 20, 2) if quick else (5_000, 300, 5)
            figures = vault_numbers(*counts, folder / "vault", glean_python)
            on_progress("vault", 1, 1)
            return figures
        case Part.EXPLAIN:
            on_progress("explain", 0, 1)
            figures = explain_numbers(2 if quick else 15)
            on_progress("explain", 1, 1)
            return figures
        case Part.ALERT:
            on_progress("alerts", 0, 1)
            figures = warning_numbers(1 if quick else 7)
            on_progress("alerts", 1, 1)
            return figures
        case Part.LIFE:
            on_progress("life", 0, 1)
            figures = life_numbers(40, 1, 6) if quick else life_numbers(1_024, 3)
            on_progress("life", 1, 1)
            return figures
        case Part.SUM:
            on_progress("sum", 0, 1)
            figures = sum_numbers(1, 20) if quick else sum_numbers(7)
            on_progress("sum", 1, 1)
            return figures
        case Part.TRAINING_STEP:
            on_progress("training step", 0, 1)
            with TemporaryDirectory() as rows:
                figures = training_step_numbers(*((200, 2) if quick else (4_000, 15)), Path(rows))
            on_progress("training step", 1, 1)
            return figures
        case Part.THROUGHPUT:
            return _throughput(quick, pfl_python, folder / "throughput", phases)
        case Part.PER_CLIENT:
            n_devices = 8 if quick else 300
            what = f"Flower's own simulation, a node per device, {n_devices} devices"
            on_progress("per-client", 0, 1)
            rates = per_client(n_devices, 1 if quick else 3, folder / "per-client")
            on_progress("per-client", 1, 1)
            return [Measurement.of("per_client.devices_per_s", what, rates, "devices/s")]
        case Part.MEMORY:
            n_devices = 1_000 if quick else 100_000
            what = f"peak memory of all processes, {n_devices:,} devices in one round"
            peak = peak_gib(n_devices, folder / "memory", phases("memory"))
            shutil.rmtree(folder / "memory", ignore_errors=True)
            return [Measurement.of("hosts.gib_100k", what, [peak], "GiB", at_most=4.0)]
        case Part.TRAINING:
            return _training(3 if quick else 60, retail_path, folder / "training", phases)
        case Part.FLOWER:
            on_progress("flower", 0, 1)
            figures = _flower(*((12, 1) if quick else (300, 5)), folder / "windows")
            on_progress("flower", 1, 1)
            return figures
        case Part.DEMO:
            small = ("--set", "data.users=40", "--set", "privacy.rounds=2") if quick else ()
            beside = folder.with_name(f"{folder.name}-demo")  # this process has the lock of its own folder
            seconds = first_result_s(1 if quick else 5, beside, partial(on_progress, "demo"), small)
            what = "the demo, the whole process, from its start to its report"
            return [Measurement.of("demo.first_result_s", what, seconds, "s", at_most=120.0)]


def _flower(n_devices: int, n_rounds: int, folder: Path) -> list[Measurement]:
    at_once, few = cpu_per_message(n_devices, n_rounds, folder)
    what = f"processor time of Flower's simulation per message, {n_devices} nodes"
    beside = Measurement.of("flower.cpu_ms_at_once", f"{what}, all requests outstanding", at_once, "ms")
    return [
        beside,
        Measurement.of("flower.cpu_ms_per_message", f"{what}, a few outstanding", few, "ms"),
        Measurement.of(
            "flower.cpu_ratio_per_message",
            "  few / all, round by round",
            [a / b for a, b in zip(few, at_once, strict=True)],
            "",
            at_most=0.5,
            beside=f"all at once, {number(beside.value)} ms",
        ),
    ]


def _throughput(quick: bool, pfl_python: Path, folder: Path, phases: Callable[[str], OnProgress]) -> list[Measurement]:
    n_devices, n_rounds = (500, 2) if quick else (40_000, 15)
    users, pfl_rounds = (20, 1) if quick else (1_000, 4)
    processes = os.cpu_count() or 1
    with_pfl = pfl_python.exists()
    alone: list[float] = []
    together: list[float] = []

    def ask_pfl(name: str) -> None:
        if with_pfl:
            phases("pfl")(name, 0, 2)
            alone.extend(pfl(pfl_python, users, pfl_rounds, 1))
            phases("pfl")(name, 1, 2)
            together.extend(pfl(pfl_python, users, pfl_rounds, processes))
            phases("pfl")(name, 2, 2)

    ask_pfl("before")
    through, bare, n_rows = throughput(n_devices, n_rounds, folder, phases("throughput"))
    ask_pfl("after")
    share = [ours / theirs for ours, theirs in zip(through, bare, strict=True)]
    what = f"{n_devices:,} planted devices a round through Flower ({n_rows:.0f} rows each, 64 drawn)"
    loop = Measurement.of("bare_loop.devices_per_s", f"  the bare loop, {processes} plain processes", bare, "devices/s")
    beside = f"the bare loop, {number(loop.value)} devices/s"
    what_share = "  share of the bare loop, round by round"
    figures = [
        Measurement.of("hosts.devices_per_s", what, through, "devices/s", at_least=8_000.0, beside=beside),
        loop,
        Measurement.of("hosts.fraction_of_bare_loop", what_share, share, "", at_least=0.6, beside=beside),
    ]
    if not with_pfl:
        missing = f"no {pfl_python}: make .venv-pfl/.ready"
        return [*figures, Measurement("hosts.ratio_to_pfl", "ratio to pfl", (), "", skipped=missing)]
    one = Measurement.of("pfl.updates_per_s", "pfl 0.6, numpy, one process, as it runs", alone, "devices/s")
    many = Measurement.of("pfl.updates_per_s_all_cores", f"  {processes} of pfl side by side", together, "devices/s")
    return [
        *figures,
        one,
        Measurement.of(
            "hosts.ratio_to_pfl",
            "  ours through Flower / pfl",
            ratio(through, alone),
            "x",
            at_least=10.0,
            beside=f"pfl 0.6, one process, {number(one.value)} devices/s",
        ),
        many,
        Measurement.of(
            "hosts.ratio_to_pfl_all_cores",
            "  ours / those",
            ratio(through, together),
            "x",
            beside=f"pfl 0.6, {processes} processes, {number(many.value)} devices/s",
        ),
    ]


def _ratio_to_per_client(measured: Mapping[str, Measurement]) -> list[Measurement]:
    """Ours through Flower over Flower's own per-client simulation, if this bench measured both."""
    ours, theirs = (measured.get(key) for key in ("hosts.devices_per_s", "per_client.devices_per_s"))
    if ours is None or theirs is None:
        return []
    values = ratio([*ours.values], [*theirs.values])
    beside = f"Flower's simulation, a node per device, {number(theirs.value)} devices/s"
    return [Measurement.of("hosts.ratio_to_per_client", "  ours through hosts / that", values, "x", beside=beside)]


def _training(rounds: int, retail_path: str, folder: Path, phases: Callable[[str], OnProgress]) -> list[Measurement]:
    figures = []
    for name, path in (("complete-journey", ""), ("online-retail-ii", retail_path)):
        key, what = f"training.{name}.seconds", f"{rounds} rounds and phi's, all users of {name} in each"
        if name == "online-retail-ii" and not path:
            figures.append(Measurement(key, what, (), "", skipped="give --online-retail-path"))
            continue
        try:
            seconds = training_seconds(name, path, rounds, folder / name, phases(name))
            figures.append(Measurement.of(key, what, [seconds], "s", at_most=60.0))
        except EbbtideError as error:
            figures.append(Measurement(key, what, (), "", skipped=" ".join(str(error).split())[:300]))
    return figures


@contextmanager
def _progress_bars() -> Iterator[OnProgress]:
    """A callback that draws a bar for each thing that goes on."""
    console = screen()
    if not can_draw(console):
        yield Lines(console).tell
        return
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bars: dict[str, TaskID] = {}

        def on_progress(what: str, done: int, total: int) -> None:
            if what not in bars:
                for earlier in bars.values():
                    progress.stop_task(earlier)
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)

        yield on_progress


def main() -> None:
    """Entry point: exit codes as the `ebbtide` command's."""
    end_with(lambda: app(prog_name="python -m simulations.bench", standalone_mode=False))


if __name__ == "__main__":
    main()
