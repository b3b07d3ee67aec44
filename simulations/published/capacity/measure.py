"""One run of so many devices, in a process of its own that is watched from outside, in a folder that is deleted afterwards.

Most of the work is done by processes that a SuperLink starts: nobody waits for them, so that no parent counts their time. They are
found by their mark instead, several times a second, and what each was seen to have worked is added up.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from shared.errors import ConfigError, RunError
from shared.files import private_folder

from ...capacity.estimate import Work
from ...capacity.usage import watched
from ...evaluation import results_file
from ...federation.flower_runtime import processes_of
from ...federation.run_folder import RunFolder
from ...people.of_scenario import to_plant
from ...people.setup import Setup
from ...provenance import ROOT
from ...scenarios.config import load_scenario

_LABEL: Final = re.compile(r"(demo_)?([1-9]\d{0,5})(k?)|million")
#: A run that was told to end tidies up for at most so long.
_END_S: Final = 60.0


@dataclass(frozen=True)
class Case:
    """So many devices of a scenario. `label` names it in files and figures: `20k`, `million`, or `demo_300`."""

    label: str
    scenario: str
    devices: int

    @classmethod
    def named(cls, label: str) -> Case:
        """ConfigError if it names none.

        >>> Case.named("20k"), Case.named("demo_300").devices, Case.named("million").devices
        (Case(label='20k', scenario='million', devices=20000), 300, 1000000)
        """
        found = _LABEL.fullmatch(label)
        if found is None:
            raise ConfigError(f"expected a number of devices such as 4k, million or demo_300, got {label!r}")
        if label == "million":
            return cls(label, label, 1_000_000)
        return cls(label, "demo" if found[1] else "million", int(found[2]) * (1000 if found[3] else 1))

    @property
    def command(self) -> tuple[str, ...]:
        """What is run, as words of `ebbtide`."""
        return "simulate", self.scenario, "--users", str(self.devices)

    def work(self) -> Work:
        """What its cost depends on."""
        scenario = load_scenario(self.scenario, [f"data.users={self.devices}"])
        return Work.of(Setup.of(scenario, to_plant(scenario)))


@dataclass(frozen=True)
class Taken:
    """What a run took, from the start of its process to its end. `cpu_s`: of all its processes; `peak_bytes`: the highest sum of their
    memory. `kept_bytes`: people and devices in its folder at the end, `highest_bytes`: the most that lay there at all. `down_bytes`,
    `up_bytes`: what one device was sent, and sent. `commit`: of the code that ran, on so many `cores`."""

    devices: int
    seconds: float
    cpu_s: float
    peak_bytes: float
    kept_bytes: int
    highest_bytes: int
    down_bytes: float
    up_bytes: float
    commit: str
    cores: int


def taken_by(case: Case, folder: Path) -> Taken:
    """Run it in `folder`, which is gone afterwards, whatever happens. RunError if the run does not come to its end."""
    shutil.rmtree(folder, ignore_errors=True)
    run = RunFolder(private_folder(folder))
    began_s = time.monotonic()
    try:
        with _running(case, folder) as process:
            root = psutil.Process(process.pid)

            def alive() -> list[psutil.Process]:
                found = {each.pid: each for each in processes_of(run.flower)}
                with suppress(psutil.Error):
                    found |= {each.pid: each for each in (root, *root.children(recursive=True))}
                return list(found.values())

            with watched(alive, folder) as usage:
                code = process.wait()
        took_s = time.monotonic() - began_s
        if code or not run.has_ended:
            raise RunError(f"expected ebbtide {' '.join(case.command)} to end with a report, got exit code {code}")
        results = results_file.read(run.results_file)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Taken(
        case.devices,
        round(took_s, 1),
        round(usage.cpu_s, 1),
        usage.peak_bytes,
        results.disk_bytes,
        usage.highest_disk_bytes,
        results.traffic.down_bytes_per_device,
        results.traffic.up_bytes_per_device,
        results.commit,
        os.cpu_count() or 1,
    )


@contextmanager
def _running(case: Case, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The run as a process, whose progress goes where this one's does. Whatever is raised, it is told to end, and tidies up."""
    command = [sys.executable, "-m", "simulations.cli", *case.command, "--out", str(folder), "--overwrite"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment) as process:
        try:
            yield process
        except BaseException:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
            process.kill()
            raise
