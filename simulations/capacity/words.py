"""What a run will take, in one line, for whoever is about to wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

import psutil

from .estimate import LONG_S, Estimate


@dataclass(frozen=True)
class Room:
    """What a machine has free: bytes of memory, and of the disk where a run is to lie."""

    memory_bytes: float
    disk_bytes: float

    @classmethod
    def at(cls, folder: Path) -> Room:
        """Of this machine, now. The folder must be there."""
        return cls(psutil.virtual_memory().available, disk_usage(folder).free)


def announced(estimate: Estimate, room: Room) -> str:
    """The line to print before a run that is long, or that this machine has too little room for; empty for any other."""
    lacking = [
        f"{_in(free, unit)} of {what}"
        for what, needed, free, unit in (
            ("memory", estimate.memory_bytes, room.memory_bytes, "GiB"),
            ("disk", estimate.disk_bytes, room.disk_bytes, "GB"),
        )
        if free < needed
    ]
    if estimate.seconds <= LONG_S and not lacking:
        return ""
    takes = f"about {_long(estimate.seconds)}, {_in(estimate.memory_bytes, 'GiB')} of memory and "
    takes += f"{_in(estimate.disk_bytes, 'GB')} of disk on two cores (docs/capacity.md)"
    only = f"too little is free here: {' and '.join(lacking)}; " if lacking else ""
    return f"{takes}; {only}Ctrl-C now, --resume later goes on"


def _in(n_bytes: float, unit: str) -> str:
    """
    >>> _in(5.2e9, "GB"), _in(12.4e9, "GB"), _in(2**30, "GiB")
    ('5.2 GB', '12 GB', '1.0 GiB')
    """
    value = n_bytes / (2**30 if unit == "GiB" else 1e9)
    return f"{value:.0f} {unit}" if value >= 9.95 else f"{value:.1f} {unit}"


def _long(seconds: float) -> str:
    """
    >>> _long(80), _long(1500), _long(3600), _long(9000)
    ('2 minutes', '25 minutes', '60 minutes', '2.5 hours')
    """
    if seconds < 5400:
        return f"{max(2, round(seconds / 60))} minutes"
    return f"{seconds / 3600:.1f} hours"
