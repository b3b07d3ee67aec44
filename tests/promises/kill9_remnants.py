"""Kill a process that lets things go, at random moments, and look for them in its files. Run by tests/promises/test_remnants.py:

    python -m tests.promises.kill9_remnants FOLDER TRIALS SEED      prints a JSON map; an AssertionError if something was found

Each trial's child records, folds, releases and revokes, and tells the beginning of every row before it is written. Between
two calls it now and then stops, and the parent reads its files; in the end it is killed, and the parent opens the vault.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

from client.answers import alerts
from client.device import Device
from client.privacy.heard import Asked
from client.vault.consent import Consent
from client.vault.heads import HEADS
from client.vault.store import Store
from client.vault.vault import Limits
from shared.events import BehaviourEvent, EventKind, Step
from tests.promises.kill9 import PLAN, next_round, release
from tests.world.basics import N_CATEGORIES, make_profile, open_device, ready
from tests.world.enrolled import signed_epoch
from tests.world.residue import Written, nonces_there, raw, remnants, watched
from tests.world.signing import ASKED_AT_S

LIMITS = Limits(raw_events=12, journal_entries=20, outbox_entries=4)
TRIALS_PER_VAULT = 10
#: Rows of these are let go one by one; of others the log may hold, until something is, what was replaced last.
LET_GO = {"events", "journal", "outbox"}


def opened(folder: Path) -> Device:
    return open_device(folder, make_profile(Consent.IDENTIFIED), limits=LIMITS)


def act(device: Device, chance: random.Random) -> bool:
    """One call of an app or of a server; whether it closed a step: then nothing at all may be left."""
    what, asked = chance.random(), chance.randbytes(32)
    if what < 0.6:
        step = device.n_closed_steps - (what < 0.06 and device.n_closed_steps > 0)  # a late one, now and then
        time_s = (step + chance.random()) * Step.DAY.seconds
        assert device.record(BehaviourEvent(EventKind.PURCHASE, chance.randrange(N_CATEGORIES), time_s, 1.0))
    elif what < 0.7:
        assert device.close_until(device.n_closed_steps + 1)
        return True
    elif what < 0.8:
        device.gate.answer(asked, lambda: release(device, asked, next_round(device)))
    elif what < 0.95:
        query = Asked("alerts_query", asked, ASKED_AT_S)
        device.gate.answer(asked, lambda: alerts(device, query, {"step": device.n_closed_steps}))
    else:
        choice = chance.choice(list(Consent))
        assert device.consent(choice) is choice
    return False


def live(folder: Path, up: int, down: int, seed: int) -> None:
    """The child: W for a row that is about to be written, with its table and nonce; L for a look, at all tables or at some,
    with the nonces of all rows that are there."""

    def say(*words: str) -> None:
        os.write(up, (" ".join(words) + "\n").encode())

    chance = random.Random(seed)
    with watched(lambda row: say("W", row.table, row.nonce.hex())):
        device = opened(folder)
        if device._state.installed is None:
            ready(device, PLAN)
        while True:
            closed = act(device, chance)
            if chance.random() < (0.5 if closed else 0.1):
                say("L", "all" if closed else "some", *(n.hex() for n in nonces_there(device._vault.store)))
                os.read(down, 1)


class Witness:
    """What one vault has ever written, over all its processes, and what was found of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.written, self.tally = folder, set[Written](), Counter[str]()

    def hear(self, line: str) -> bool:
        """Take in what the child tells; whether it waits."""
        what, *words = line.split(" ")
        if what == "W":
            self.written.add(Written(words[0], bytes.fromhex(words[1])))
            return False
        self.look({bytes.fromhex(word) for word in words[1:]}, LET_GO if words[0] == "some" else self.tables)
        self.tally[f"looked while it ran, {words[0]}"] += 1
        return True

    @property
    def tables(self) -> set[str]:
        """All but the heads, which say nothing but how many rows there are, and are replaced by every write."""
        return {row.table for row in self.written} - {HEADS}

    def look(self, there: set[bytes], tables: set[str]) -> None:
        """Nothing of these tables lies in the files but the rows that are there."""
        data = raw(self.folder)
        assert all(nonce in data for nonce in there), "the rows themselves are found"
        found = remnants({row for row in self.written if row.table in tables}, there, data)
        assert not found, f"rows that are gone lie in the files all the same: {Counter(found)}"

    def look_at_the_next_opening(self) -> None:
        if not (self.folder / Store.FILE).exists():
            return
        left = raw(self.folder)
        with opened(self.folder) as device:
            there = nonces_there(device._vault.store)
            self.look(there, self.tables)
            self.tally["left by a kill, gone at the next opening"] += len(remnants(self.written, there, left))


def run_and_kill(witness: Witness, seed: int, delay_s: float) -> None:
    """One child, from its start to its death."""
    (up, child_up), (child_down, down) = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        os.close(up)
        os.close(down)
        try:
            live(witness.folder, child_up, child_down, seed)
        finally:
            os._exit(1)
    os.close(child_up)
    os.close(child_down)
    killer = threading.Timer(delay_s, os.kill, (pid, signal.SIGKILL))
    killer.start()
    with os.fdopen(up) as lines:
        for line in lines:
            if line.endswith("\n") and witness.hear(line[:-1]):
                with suppress(BrokenPipeError):
                    os.write(down, b"g")
    killer.join()
    os.close(down)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the child broke a promise of its own before it was killed"


def main(folder: Path, trials: int, seed: int) -> dict[str, int]:
    chance, tally = random.Random(seed), Counter[str]()
    signed_epoch([], 0.0)  # keys of others, once, before the first fork
    for trial in range(trials):
        if trial % TRIALS_PER_VAULT == 0:
            witness = Witness(folder / str(trial))
        run_and_kill(witness, seed * 10**6 + trial, 0.05 + chance.random() * chance.choice([0.1, 0.6]))
        witness.look_at_the_next_opening()
        tally += witness.tally
        witness.tally.clear()
    return {**tally, "kill9_runs": trials}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
