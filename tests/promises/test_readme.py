"""README's code runs as it stands there and prints what stands there; the page fits two screens."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 120


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def test_a_block_is_found_by_its_language():
    assert blocks("python", "```text\na\n```\n\n```python\nb\nc\n```\n") == ["b\nc\n"]


def test_the_code_of_the_readme_runs_and_prints_what_the_readme_says(tmp_path):
    (code,), (printed,) = blocks("python"), blocks("text")
    told = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=told, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, printed), done.stderr[-2000:]
    assert [file.name for file in tmp_path.iterdir()] == ["device"], "the device lives where the page says"


def test_the_readme_is_short():
    assert len(README.splitlines()) <= MOST_LINES
