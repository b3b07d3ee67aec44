"""Where a run of `flwr run` lies: server and nodes have nothing in common but its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..federation.run_folder import RunFolder

CHECKOUT = Path(__file__).parents[2]


def run_at(config: Mapping[str, Any]) -> RunFolder:
    """The run's folder: that of its configuration, or runs/flwr in the checkout that this code is of."""
    folder = str(config.get("folder", ""))
    return RunFolder(Path(folder).absolute() if folder else CHECKOUT / "runs" / "flwr")
