"""Whose data it is, and on which terms, is said the first time that it is used."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from simulations.people.datasets import dataset_info, terms_once

JOURNEY, RETAIL = "complete-journey", "online-retail-ii"


def test_terms_are_printed_once_per_text(tmp_path: Path) -> None:
    printed: list[str] = []
    info = dataset_info(JOURNEY)
    assert terms_once(info, tmp_path / "state", printed.append)
    assert not terms_once(info, tmp_path / "state", printed.append)
    assert len(printed) == 1
    for part in ("MIT", "CC0", "simulated", "educational", "never redistributed", "Dates are shifted"):
        assert part in printed[0]
    assert terms_once(dataclasses.replace(info, terms="New terms."), tmp_path / "state", printed.append)
    assert terms_once(dataset_info(RETAIL), tmp_path / "state", printed.append)
    assert "CC BY 4.0" in printed[-1]
    assert "Chen, D." in printed[-1]
    (tmp_path / "file").write_text("")
    for _ in range(2):  # where nothing can be remembered, they are printed every time
        assert terms_once(info, tmp_path / "file", printed.append)
