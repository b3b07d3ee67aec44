"""Capacity, measured from outside: kept run by run, published by key, reproduced by the command."""

from __future__ import annotations

from pathlib import Path
from shutil import disk_usage

import psutil
import pytest

from shared.errors import ConfigError, RunError
from simulations.published.capacity import __main__ as command
from simulations.published.capacity import measure
from simulations.published.capacity.measure import Case, Taken, taken_by
from simulations.published.capacity.numbers import beside_estimates, keep, lines_through, numbers_of, read, table_of
from simulations.report.figures_json import agrees, quotes
from simulations.report.figures_json import read as figures
from tests.world.basics import SOAK

TAKEN = {
    "20k": Taken(20_000, 252.0, 400.0, 2.5 * 2**30, 230_000_000, 250_000_000, 162_025.0, 43_700.0, "abc1234", 2),
    "million": Taken(1_000_000, 3000.0, 5500.0, 9 * 2**30, 11_500_000_000, 12e9, 162_025.0, 57_000.0, "abc1234", 2),
}


def test_every_number_has_its_key_and_its_command():
    found = numbers_of(TAKEN)
    assert found["million.minutes"].value == 50 and found["million.peak_gib"].value == 9
    assert found["capacity.minutes_20k"].value == 4.2
    assert found["life.cpu_ms_per_device"].value == found["capacity.cpu_ms_20k"].value == 20
    assert found["life.kb_per_device"].value == found["capacity.kb_20k"].value == 11.5
    assert {number.command for key, number in found.items() if key.startswith("million.")} == {
        "python -m simulations.published.capacity --only million"
    }
    assert all(number.commit == "abc1234" and number.unit for number in found.values())


def test_the_table_quotes_what_is_published():
    found, quoted = numbers_of(TAKEN), list(quotes(table_of(TAKEN)))
    assert len(quoted) == 7 * len(TAKEN)
    for number, _, key in quoted:
        assert agrees(found[key], number), (number, key)


def test_what_was_measured_is_kept_in_order_and_said_beside_what_was_estimated(tmp_path):
    file = tmp_path / "runs" / "kept.json"
    assert read(file) == {}
    keep({"million": TAKEN["million"]}, file)
    keep({**read(file), "20k": TAKEN["20k"]}, file)
    assert read(file) == TAKEN and list(read(file)) == ["20k", "million"]
    assert [line.partition(":")[0] for line in beside_estimates(TAKEN)] == ["20k", "million"]


def test_the_line_through_two_runs_goes_through_both():
    (line,) = lines_through(TAKEN)
    slope = (3000 - 252) / 980_000
    assert line.startswith(f"million: seconds {252 - 20_000 * slope:.3g} + {slope:.3g} a device, peak_bytes ")
    assert lines_through({"20k": TAKEN["20k"]}) == []


@pytest.mark.parametrize("label", ["", "0", "k", "4K", "demo_", "demo", "-1", "1000000000"])
def test_a_label_that_names_no_number_of_devices_is_refused(label):
    with pytest.raises(ConfigError, match="expected a number of devices such as 4k, million or demo_300"):
        Case.named(label)


def test_what_was_measured_before_is_not_measured_again(tmp_path, capsys, monkeypatch):
    file = tmp_path / "kept.json"
    keep(TAKEN, file)
    monkeypatch.setattr(command, "taken_by", None)
    command.main(["--only", "20k", "--out", str(file)])
    said = capsys.readouterr()
    assert "20k: measured before" in said.err and "<!-- million.minutes -->" in said.out


def test_a_run_that_fails_leaves_nothing_and_is_not_kept(tmp_path, monkeypatch):
    """A demo of nobody is refused, by the command itself."""
    monkeypatch.setattr(measure.Case, "command", ("simulate", "demo", "--users", "0"))
    file = tmp_path / "kept.json"
    with pytest.raises(
        RunError, match="expected ebbtide simulate demo --users 0 to end with a report, got exit code 2"
    ):
        command.main(["--only", "demo_300", "--out", str(file)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_is_measured_from_outside_and_its_folder_is_gone(tmp_path):
    """A thousand of the million: what is measured is what the run's processes took, not what this one did."""
    before = psutil.Process().cpu_times()
    taken = taken_by(Case.named("1k"), tmp_path / "scratch")
    after = psutil.Process().cpu_times()
    assert list(tmp_path.iterdir()) == []
    assert taken.devices == 1000 and taken.cpu_s > (after.user - before.user) + (after.system - before.system)
    assert taken.peak_bytes > 2**28 and taken.highest_bytes >= taken.kept_bytes > 0
    assert taken.down_bytes > taken.up_bytes > 0 and taken.commit


def published(name: str, label: str) -> float:
    key = f"million.{name}" if label == "million" else f"capacity.{name}_{label}"
    if (found := figures().get(key)) is None:
        pytest.skip(f"{key} is not measured yet: {command.MILLION if label == 'million' else label}")
    return found.value


def reproduced(label: str, folder: Path) -> Taken:
    file = folder / "kept.json"
    command.main(["--only", label, "--out", str(file)])
    return read(file)[label]


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="minutes of a machine for itself: EBBTIDE_SOAK=1")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("label", ["1k", "10k"])
def test_the_command_reproduces_what_is_published_within_a_quarter(label, tmp_path):
    published("minutes", label)
    again = numbers_of({label: reproduced(label, tmp_path)})
    apart = {key: number.value / figures()[key].value for key, number in again.items() if key.startswith("capacity.")}
    assert all(0.75 <= ratio <= 1.25 for ratio in apart.values()), apart


def too_small() -> str:
    """Why this machine cannot simulate a million devices; empty if it can."""
    memory, disk = psutil.virtual_memory().total, disk_usage(Path.cwd()).free
    if memory < 15.5 * 2**30:  # of 16 GiB the system keeps some
        return f"16 GiB of memory are needed, here are {memory / 2**30:.0f}"
    return f"20 GB of disk are needed, here are {disk / 1e9:.0f}" if disk < 20e9 else ""


@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="an hour of a machine for itself: EBBTIDE_SOAK=1")
@pytest.mark.skipif(bool(too_small()), reason=too_small() or "room enough")
@pytest.mark.timeout(6000)
def test_a_million_devices_end_within_the_hour_and_within_12_gib(tmp_path):
    fewer, million = reproduced("100k", tmp_path), reproduced("million", tmp_path)
    assert million.devices == 1_000_000
    assert million.seconds <= 3600
    assert million.peak_bytes <= min(12 * 2**30, 2 * fewer.peak_bytes)
