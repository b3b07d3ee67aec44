"""What a data set may be used for, told where it is used."""

from __future__ import annotations

from pathlib import Path

from ..terminal.printing import say_text


def print_terms(name: str, state_folder: Path) -> None:
    """A real data set's terms, on first use in `state_folder`; nothing for planted people."""
    from ..people.datasets import DATASETS, terms_once

    if name in DATASETS:
        terms_once(DATASETS[name], state_folder, say_text)
