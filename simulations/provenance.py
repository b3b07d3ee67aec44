"""Which code makes a run or a number: the commit, written down when it happens and not when it is told."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from shared.files import append_line, whole_lines

ROOT = Path(__file__).parent.parent
COMMIT_FILE = "commit.txt"
#: What `commit` says; half a line is none.
_COMMIT = re.compile(r"[0-9a-f]{7,40}(-dirty)?|unknown(-dirty)?")


@cache
def commit() -> str:
    """The commit of the code as it is when this process first asks, marked if the working tree differs from it; docs/
    and README.md, which numbers are written to, do not count. "unknown" outside a clone, also where what is installed lies in
    somebody else's, or without git."""
    if not (ROOT / ".git").exists():
        return "unknown"

    def git(*arguments: str) -> str:
        try:
            said = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return said.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)docs", ":(exclude)README.md")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("-dirty" if changed else "")


def stamp(folder: Path) -> None:
    """Write into a folder that this process's code works there."""
    append_line(folder / COMMIT_FILE, commit())


def commits_of(folder: Path) -> str:
    """Every commit that worked in a folder, joined by +: more than one if a run was gone on with by other code."""
    lines = whole_lines(folder / COMMIT_FILE)
    return "+".join(dict.fromkeys(line for line in lines if _COMMIT.fullmatch(line))) or "unknown"


def versions(*names: str) -> dict[str, str]:
    """The version of each installed package; of one that runs from a folder without being installed, "not installed"."""
    out = {}
    for name in names:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = "not installed"
    return out
