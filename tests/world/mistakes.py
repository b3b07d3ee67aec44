"""Commands that somebody types by mistake, made from the `ebbtide` command and the scenario's models themselves: a new option, or
a new key, is among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import typer
from pydantic import BaseModel

from simulations.cli.commands import app
from simulations.federation.run_folder import RunFolder
from simulations.scenarios.config import PLANTED_PROTOCOL, Scenario

#: Commands that take a scenario and begin some work with it, and how they are asked for little of it.
ON_SCENARIOS = {
    "simulate": ("simulate", "demo", "--set", "data.users=5"),
    "epsilon": ("epsilon", "demo"),
    "choose": ("choose", "demo"),
    "tune": ("tune", "demo", "--grid", "training.rows=8"),
    "sweep": ("sweep", "demo", "--over", "training.rows=8"),
}
#: No number of a scenario may be one of these; words are no numbers, and lists no single ones.
NO_NUMBERS = ("nan", "-inf", "-7", '"many"', "[[]]", "1979-05-27", "true", "{ }")
#: Keys that any text or any table is good for.
ANY_TEXT = {"about", "data.path"}
#: What a file can be that is not to be written over.
MINE = "years of work\n"


def group() -> click.Group:
    found = typer.main.get_command(app)
    assert isinstance(found, click.Group)
    return found


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a scenario file, dotted, with what it declares."""
    for name, field in model.model_fields.items():
        inner = [
            t
            for t in (field.annotation, *get_args(field.annotation))
            if isinstance(t, type) and issubclass(t, BaseModel)
        ]
        if inner:
            yield from keys(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.annotation


def is_number(declared: Any) -> bool:
    if get_origin(declared) in (Annotated, Union, UnionType, Literal):
        return any(is_number(part) for part in get_args(declared))
    return declared in (int, float)


def sets(key: str, value: str) -> tuple[str, ...]:
    """`--set` of one key; of the protocol, with the planted one's other keys."""
    base = [f"protocol.{k}={list(v) if isinstance(v, tuple) else v}" for k, v in PLANTED_PROTOCOL.model_dump().items()]
    own = [*(base if key.startswith("protocol.") else []), f"{key}={value}"]
    return tuple(part for one in own for part in ("--set", one))


def wrong_keys() -> Iterator[tuple[str, ...]]:
    """A value that no key can have, of every key; commands take turns."""
    commands = list(ON_SCENARIOS.values())
    for i, (key, declared) in enumerate(keys(Scenario)):
        if key in ANY_TEXT:
            yield (*commands[i % 5], *sets(key, "[1]"))
            continue
        for j in range(2):
            value = NO_NUMBERS[(i + 3 * j) % len(NO_NUMBERS)]
            if key == "name" or not is_number(declared):
                value = ('"Not A Name"', "[[]]")[j]
            yield (*commands[(i + j) % 5], *sets(key, value))
        section = key.rpartition(".")[0]
        yield (*commands[(i + 2) % 5], "--set", f"{section + '.' if section else ''}{key.rpartition('.')[2]}x=1")


def wrong_options() -> Iterator[tuple[str, ...]]:
    """Of every command: an option that it has not; of every option: no value, or none of its kind; arguments too many."""
    for name, command in group().commands.items():
        yield name, "--no-such-option"
        yield name, *["a.toml"] * 5
        for option in (p for p in command.params if isinstance(p, click.Option)):
            if not option.is_flag:
                yield name, option.opts[0]
                if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType):
                    yield name, option.opts[0], "many"
                if isinstance(option.type, click.IntRange) and option.type.min is not None:
                    yield name, option.opts[0], str(option.type.min - 1)


#: Together they are no scenario, though each of them alone could be.
CONTRADICTIONS = (
    "privacy.max_epsilon=0.01",
    "simulation.identified_share=0.8",
    "bits.every_steps=10000",
    "simulation.query_every_steps=10000",
    'simulation.fidelity="hosts"|simulation.hosts=500',
    "data.held_out_share=0.5",
    "caps.clip_norm=0.001",
    "privacy.noise_multiplier=0.1|privacy.steps_per_clip=16",
    "caps.total=[0.1, 0.1]",
    "caps.total=[2.0, 1.0]",
)
CALENDARS = (
    "train_steps=[104, 42]",
    "train_steps=[-1, 104]",
    "train_steps=[42, 112]",
    "train_steps=[5, 104]",
    "test_steps=[100, 174]",
    "test_steps=[112, 179]",
    "test_steps=[112, 500]",
    "alert_steps=[112, 181]",
    "alert_steps=[90, 150]",
    "lapse_train_steps=[42, 100]",
    "lapse_steps=90",
    "horizon_steps=60",
    "horizon_steps=4000",
    "window_steps=60",
    "n_steps=100",
    "short_steps=[7, 3, 1, 14]",
    "ewma_steps=[14, 3]",
)


def wrong_together() -> Iterator[tuple[str, ...]]:
    for both in CONTRADICTIONS:
        yield (*ON_SCENARIOS["simulate"], *(part for one in both.split("|") for part in ("--set", one)))
    for i, one in enumerate(CALENDARS):
        yield (*list(ON_SCENARIOS.values())[i % 5], *sets(f"protocol.{one.partition('=')[0]}", one.partition("=")[2]))


def wrong_places(folder: Path) -> Iterator[tuple[str, ...]]:
    """Places that hold something, or cannot be: `folder` has what `fill` left."""
    file, full, run = str(folder / "mine.toml"), str(folder / "full"), str(folder / "run")
    yield "simulate", "--users", "5", "--out", full
    yield "simulate", "--users", "5", "--out", run
    yield "simulate", "--users", "5", "--out", file
    yield "simulate", "--users", "5", "--out", f"{file}/run"
    yield "simulate", "--users", "5", "--out", str(folder / ("x" * 300))
    yield "simulate", "--users", "5", "--out", str(folder / "nothing"), "--resume"
    yield "simulate", "--users", "5", "--out", run, "--resume", "--overwrite"
    yield "simulate", "--users", "5", "--out", full, "--overwrite"
    yield "evaluate", full
    yield "evaluate", str(folder / "nothing")
    yield "evaluate", file
    yield "evaluate", run
    yield "tune", "demo", "--out", file
    yield "tune", "demo", "--out", str(folder / "tuned.json")
    yield "tune", "demo", "--out", f"{file}/tuned.toml"
    yield "choose", "demo", "--out", file
    yield "choose", "demo", "--out", full
    yield "streams", "--out", file
    yield "streams", "--out", full
    yield "sweep", "demo", "--over", "training.rows=8", "--out", run
    yield "sweep", "demo", "--over", "training.rows=8", "--out", run, "--overwrite"
    yield "sweep", "demo", "--over", "training.rows=8", "--out", full
    yield "sweep", "demo", "--over", "training.rows=8", "--out", file
    yield "export", file
    yield "data", "online-retail-ii", "--path", full
    yield "data", "nothing"
    yield from without_its_data(folder / "nothing [x]", folder / "out.toml")
    yield "simulate", str(folder / "nothing.toml")
    yield "simulate", str(folder / "torn.toml")
    yield "epsilon", str(folder / "bytes.toml")


def without_its_data(path: Path, out: Path) -> Iterator[tuple[str, ...]]:
    """A data set that does not lie there."""
    name, there = "online-retail-ii", ("--path", str(path), "--out", str(out))
    yield "simulate", name, *there
    yield "choose", name, *there
    yield "tune", name, "--grid", "training.rows=8", *there
    yield "sweep", name, "--over", "training.rows=8", *there
    yield "data", name, "--path", str(path)


def fill(folder: Path) -> None:
    """Things that are not to be touched."""
    (folder / "mine.toml").write_text(MINE)
    (folder / "torn.toml").write_text('name = "torn"\n[data')
    (folder / "bytes.toml").write_bytes(b'name = "\xff\xfe"\n')
    for name in ("streams.json", "results.json", "thesis.txt"):
        (folder / "full").mkdir(exist_ok=True)
        (folder / "full" / name).write_text(MINE)
    run = RunFolder(folder / "run")
    run.path.mkdir()
    for file in (run.scenario_file, run.consents_file, run.results_file):
        file.write_text(MINE)


def mistakes(folder: Path) -> list[tuple[str, ...]]:
    return [*wrong_keys(), *wrong_options(), *wrong_together(), *wrong_places(folder)]


def look(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}
