"""What a page says of its run besides the answers: what it is called, and how anybody checks it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Header:
    """`run`: what the run is called. `simulated`: whether its people are made up, or else a log of
    real ones that was replayed. `verifier`, `check`: the whole commands that check
    its log, and its evidence. `key`: the server's public key that devices pinned, hex. `checkpoint`: the log's signed checkpoint, as
    it lies in the run's folder; empty where no log was kept. `commit`: of the code that ran, as far as it is known."""

    run: str
    simulated: bool
    verifier: str
    check: str
    key: str = ""
    checkpoint: str = ""
    commit: str = ""
