"""The notebook of docs/ runs from its first cell to its last, and is committed without outputs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "your-own-data.ipynb"


@pytest.fixture
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_holds_no_output_and_nobody_s_machine(notebook: Any) -> None:
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "/home/" not in text and "/root/" not in text and "/work/" not in text
    assert len(notebook.cells) <= 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_runs(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    client = NotebookClient(
        notebook, timeout=800, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    )
    assert "People(300 users" in printed and "epsilon " in printed
    shown = [
        output.data["text/html"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    _, run, _, _, rivals, decided = shown
    assert ("<svg" in run) != ("warned of no fall" in run) and "interest AUC, on the devices" in run
    assert "yours: silence" in rivals
    assert "Ebbtide" in decided and "money_came" in decided and "Risk is not effect" in decided
