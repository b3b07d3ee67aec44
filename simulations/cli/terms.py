"""What a data set may be used for, told where it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..terminal.printing import say_text


@contextmanager
def terms_of(name: str, state_folder: Path) -> Iterator[None]:
    """A body that works on a data set, whose terms are printed before; once they were, and the body came to its end, no more
    in this `state_folder`. Nothing for planted people."""
    from ..people.datasets import DATASETS, terms_once

    if name not in DATASETS:
        yield
        return
    terms_once(DATASETS[name], state_folder, say_text, keep=False)
    yield
    terms_once(DATASETS[name], state_folder, lambda text: None)
