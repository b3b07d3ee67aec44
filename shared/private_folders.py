"""Folders that are open to their owner only, from the moment they are there, whatever the process's umask."""

from __future__ import annotations

from pathlib import Path


def private_folder(folder: Path) -> Path:
    """The folder, made with mode 0700 if it is not there, and so all above it that had to be made. What is there already
    stays as it is. OSError if it cannot be made."""
    for place in reversed([folder, *folder.parents]):
        if not place.exists():
            try:
                place.mkdir(mode=0o700)
            except FileExistsError:  # by another process, just now
                continue
            place.chmod(0o700)  # a umask may have taken the owner's own rights away
    if not folder.is_dir():
        raise NotADirectoryError(f"expected a folder, got the file {folder}")
    return folder
