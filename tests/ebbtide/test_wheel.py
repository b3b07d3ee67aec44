"""The wheel: all that a run needs is in it, and what is installed from it runs, in an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.world.basics import SOAK
from tests.world.frames import COLUMNS, shop

ROOT = Path(__file__).parents[2]
PACKAGES = ("client", "ebbtide", "server", "shared", "simulations")
#: A run that ends soon.
SMALL = (
    *("privacy.rounds=2", "privacy.noise_multiplier=1.0", "privacy.max_epsilon=1000.0", "risk.rounds=1"),
    *("risk.noise_multiplier=1.0", "bits.every_steps=0", "evaluation.every_steps=0", "counts.every_steps=0"),
    *("warm_start.users=50", 'simulation.fidelity="hosts"', "caps.table=none"),
)


def run(*command: object, folder: Path, **environment: str) -> str:
    """What a command prints that must end well, outside of the repository and without its code."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(each) for each in command],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def make_wheel(folder: Path) -> None:
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--disable-pip-version-check")
    run(*pip, "--wheel-dir", folder, ROOT, folder=folder)


@pytest.fixture(scope="module")
def wheel(made_once: Any) -> Path:
    (file,) = made_once("wheel", make_wheel).glob("ebbtide-*.whl")
    return Path(file)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it. Its dependencies are those of this one, from where they are, without the code that
    this one has of ours; in `make soak` they are installed anew."""
    home = tmp_path_factory.mktemp("environment")
    extra = () if SOAK else ("--without-pip",)
    run(sys.executable, "-m", "venv", *extra, home / "venv", folder=home)
    python = home / "venv" / "bin" / "python"
    if SOAK:
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", ROOT / "constraints.txt")
        run(*pip, f"{wheel}[simulations]", folder=home)
        return home
    here = (sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--no-deps")
    run(*here, "--disable-pip-version-check", wheel, folder=home)
    place = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=home).strip()
    (Path(place) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def ebbtide(home: Path, *arguments: object) -> str:
    path = os.pathsep.join([str(home / "venv" / "bin"), sysconfig.get_path("scripts"), os.environ["PATH"]])
    return run(home / "venv" / "bin" / "ebbtide", *arguments, folder=home, PATH=path)


@pytest.mark.slow
def test_every_file_of_the_packages_is_in_it_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        names = {name for name in files.namelist() if ".dist-info/" not in name}
        (about,) = (name for name in files.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(files.read(about).decode())
    ours = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert names == ours
    assert {
        "client/model/interest.tflite",
        "client/model/interest_2.tflite",
        "simulations/scenarios/shipped/demo.toml",
        "ebbtide/__init__.py",
    } <= names
    assert any(name.endswith(".html") for name in names)
    assert metadata["Name"] == "ebbtide" and metadata["Summary"] and metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("Classifier") == ["Private :: Do Not Upload"]


@pytest.mark.slow
def test_it_says_its_version_its_help_and_what_a_plan_costs(installed: Path) -> None:
    assert ebbtide(installed, "--version") == f"ebbtide {version('ebbtide')}\n", (
        "no commit of whoever's clone it lies in"
    )
    assert "simulate" in ebbtide(installed, "--help")
    assert "epsilon" in ebbtide(installed, "epsilon", "demo")
    where = "import ebbtide, simulations, client; print(ebbtide.__file__, simulations.__file__, client.__file__)"
    places = run(installed / "venv" / "bin" / "python", "-c", where, folder=installed).split()
    assert all(Path(place).is_relative_to(installed) for place in places)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_runs_planted_people(installed: Path) -> None:
    given = [part for value in SMALL for part in ("--set", value)]
    said = ebbtide(installed, "simulate", "demo", "--users", 40, "--out", "planted", *given)
    assert "SIMULATED" in said and (installed / "planted" / "report.html").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_runs_a_log_of_one_s_own(installed: Path) -> None:
    own = {ours: name for name, ours in COLUMNS.items()}
    shop(users=60, days=100).rename(columns=own).to_csv(installed / "shop.csv", index=False)
    given = [part for value in SMALL for part in ("--set", value)]
    said = ebbtide(installed, "simulate", "--data", "shop.csv", *given)
    assert "your data" in said and (installed / "runs" / "shop" / "report.html").exists()


def test_the_name_stays_private_and_the_packages_are_all_there() -> None:
    fields = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert fields["project"]["classifiers"] == ["Private :: Do Not Upload"]
    assert sorted(fields["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == sorted(PACKAGES)
    assert not any(re.match(r"/?ebbtide", each) for each in fields["tool"]["flwr"]["app"]["fab-include"])
