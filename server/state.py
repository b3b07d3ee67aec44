"""What the server keeps on disk: the models, the progress that a person may watch, and the account of the run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ServerFolder:
    """One run's folder on the server. Holds no cohort, no realised size and no seed: amplification rests on that."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.progress_file = folder / "progress.jsonl"
        self.account_file = folder / "account.json"
        self.models_file = folder / "models.npy"
        self.inbox_file = folder / "inbox.db"

    def report(self, phase: str, done: int, total: int, **figures: float | None) -> None:
        """One line of progress: `done` of `total` in a phase."""
        line = json.dumps({"phase": phase, "done": done, "total": total, **figures})
        with self.progress_file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def keep_models(self, models: list[NDArray[np.float32]]) -> None:
        """The published model after every round, float32 (R + 1, P), row 0 before the first."""
        fresh = self.models_file.with_suffix(".new")
        with fresh.open("wb") as file:
            np.save(file, np.stack(models))
        os.replace(fresh, self.models_file)

    def keep_account(self, account: Mapping[str, Any]) -> None:
        fresh = self.account_file.with_suffix(".new")
        fresh.write_text(json.dumps(account, indent=1), encoding="utf-8")
        os.replace(fresh, self.account_file)
