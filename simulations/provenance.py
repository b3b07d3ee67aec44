"""Which code makes a run or a number: the commit, written down when it happens and not when it is told."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMIT_FILE = "commit.txt"


@cache
def commit() -> str:
    """The commit of the code as it is when this process first asks, marked if the working tree differs from it; docs/
    and README.md, which numbers are written to, do not count. "unknown" outside a clone."""

    def git(*arguments: str) -> str:
        said = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return said.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)docs", ":(exclude)README.md")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("-dirty" if changed else "")


def stamp(folder: Path) -> None:
    """Write into a folder that this process's code works there."""
    with (folder / COMMIT_FILE).open("a", encoding="ascii") as file:
        file.write(commit() + "\n")


def commits_of(folder: Path) -> str:
    """Every commit that worked in a folder, joined by +: more than one if a run was gone on with by other code."""
    file = folder / COMMIT_FILE
    return "+".join(dict.fromkeys(file.read_text(encoding="ascii").split())) if file.exists() else "unknown"
