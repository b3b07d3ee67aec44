"""Kill a process that lives on a vault, at random moments, and look at what it left. Run by tests/promises/test_kill9.py:

    python -m tests.promises.kill9 FOLDER TRIALS SEED      prints a JSON map of what happened; an AssertionError if a promise broke

One process forks a child per trial; the child records, lets steps close, charges and releases as fast as it can, and
acknowledges each thing through a pipe once it is done; it is killed with SIGKILL up to 80 ms, or up to 400 ms, after its start.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from client.device import Device
from client.privacy.caps import LedgerLine
from client.vault.consent import Consent
from client.vault.vault import Limits
from shared.events import BehaviourEvent, EventKind, Step
from shared.mechanisms import protect
from shared.rdp import update_cost
from tests.world.basics import N_CATEGORIES, make_plan, make_profile, open_device, ready

PLAN = make_plan(privacy={"noise_multiplier": 4.0, "min_survivors": 8})
COST = update_cost(PLAN.privacy, PLAN.network.n_parameters)
LIMITS = Limits(raw_events=20, journal_entries=10**6)
TRIALS_PER_VAULT = 20


def opened(folder: Path) -> Device:
    return open_device(folder, make_profile(Consent.IDENTIFIED), limits=LIMITS)


def release(device: Device, asked: bytes, round_number: int) -> bytes:
    words = protect(
        [0.0] * PLAN.network.n_parameters,
        clip_norm=PLAN.privacy.clip_norm,
        steps_per_clip=PLAN.privacy.steps_per_clip,
        share_sigma=PLAN.privacy.share_sigma,
    )
    sealed = words.astype("<u4").tobytes()  # as long as boxes are; what is in them is not looked at here
    fields = {
        "round": round_number,
        "plan_sha256": PLAN.sha256,
        "ephemeral": asked,
        "sealed": sealed,
        "signature": asked * 2,
    }
    return device.gate.release(asked, "update", fields, COST, PLAN.sha256)


def next_round(device: Device) -> int:
    """The first one that this device has not answered."""
    return device.gate.ledger.latest.get((LedgerLine.UPDATE, PLAN.sha256), -1) + 1


def live(folder: Path, pipe: int, seed: int) -> None:
    """The child: works until it is killed. Acknowledges by lines: E, S, R, C; announces a request by A, a decision by D."""

    def say(*words: str) -> None:
        os.write(pipe, (" ".join(words) + "\n").encode())

    chance = random.Random(seed)
    device = opened(folder)
    if device._state.installed is None:
        ready(device, PLAN)
    for i in range(10**9):
        what = chance.random()
        if what < 0.75:
            step = device.n_closed_steps + (what < 0.08) - (what > 0.72 and device.n_closed_steps > 0)
            time_s = (step + chance.random()) * Step.DAY.seconds
            assert device.record(BehaviourEvent(EventKind.PURCHASE, chance.randrange(N_CATEGORIES), time_s, 1.0))
            say("E")
        elif what < 0.8:
            assert device.close_until(device.n_closed_steps + 1)
            say("S", str(device.n_closed_steps))
        elif what < 0.97:
            asked = hashlib.sha256(f"{seed}/{i}".encode()).digest()
            say("A", asked.hex())
            data = device.gate.answer(asked, lambda a=asked: release(device, a, next_round(device)))
            say("R", asked.hex(), hashlib.sha256(data).hexdigest())
        else:
            choice = chance.choice([Consent.IDENTIFIED, Consent.LOCAL])
            say("D", str(choice))
            assert device.consent(choice) is choice
            say("C", str(choice))


def killed_child(folder: Path, seed: int, delay_s: float) -> list[list[str]]:
    """What a child acknowledged before it was killed."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        try:
            live(folder, write, seed)
        finally:
            os._exit(1)
    os.close(write)
    time.sleep(delay_s)
    os.kill(pid, signal.SIGKILL)
    with os.fdopen(read, "rb") as lines:
        said = lines.read().decode()
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "the child broke a promise of its own before it was killed"
    return [line.split() for line in said.split("\n") if line]


class Witness:
    """What one vault has acknowledged so far, over all its processes."""

    def __init__(self) -> None:
        self.events = self.steps = 0
        self.released: dict[str, str] = {}  # request -> hash of its bytes
        self.consent = "identified"
        self.tally: Counter[str] = Counter()

    def check(self, folder: Path, said: list[list[str]]) -> None:
        self.tally["acknowledged"] += len(said)
        announced, wanted = None, ""
        for what, *words in said:
            if what == "E":
                self.events += 1
            elif what == "S":
                self.steps = int(words[0])
            elif what == "A":
                announced = words[0]
            elif what == "R":
                self.released[words[0]], announced = words[1], None
            elif what == "D":
                wanted = words[0]
            else:
                self.consent, wanted = words[0], ""
        if not (folder / "vault.db").exists():
            assert not said
            self.tally["nothing there yet"] += 1
            return
        with opened(folder) as device:
            self._check_events(device)
            self._check_releases(device, announced)
            assert device.consent() in {self.consent, wanted}, "a decision is lost, or another one is there"
            self.consent = str(device.consent())
            assert not device.problems

    def _check_events(self, device: Device) -> None:
        history = device._state.history
        amount = history.amount.sum() + device._state.open_amount.sum()
        count = history.count.sum() + device._state.open_count.sum()
        assert amount == count, "half an event"
        assert self.events <= amount <= self.events + 1, "an acknowledged event is lost, or counted twice"
        self.tally["written, not acknowledged"] += int(amount - self.events)
        self.events = int(amount)
        assert device.n_closed_steps >= self.steps
        self.steps = device.n_closed_steps
        watch = device._state.watch
        assert device._state.installed is None or watch is not None, "a model without its detectors"

    def _check_releases(self, device: Device, announced: str | None) -> None:
        entries = [entry.sha256.hex() for entry in device.what_left() if entry.kind == "update"]
        assert len(set(entries)) == len(entries) == device.gate.ledger.releases["update"], "one charge, one release"
        assert set(self.released.values()) <= set(entries), "a release that nobody paid for"
        if announced is not None:
            asked = bytes.fromhex(announced)
            charged = device.gate.ledger.releases["update"]
            kept = device._vault.outbox.find(asked)
            data = device.gate.answer(asked, lambda: release(device, asked, next_round(device)))
            assert kept is None or kept == ("update", data)
            self.tally["charged, not handed over"] += kept is not None
            assert device.gate.ledger.releases["update"] == charged + (kept is None)
            self.released[announced] = hashlib.sha256(data).hexdigest()
        assert len(self.released) == device.gate.ledger.releases["update"], "a charge for nothing"


def main(folder: Path, trials: int, seed: int) -> dict[str, int]:
    chance, tally = random.Random(seed), Counter()
    witness = Witness()
    for trial in range(trials):
        if trial % TRIALS_PER_VAULT == 0:
            tally += witness.tally
            witness = Witness()
        home = folder / str(trial // TRIALS_PER_VAULT)
        said = killed_child(home, seed * 10**6 + trial, chance.random() * chance.choice([0.08, 0.4]))
        witness.check(home, said)
    return {**(tally + witness.tally), "kill9_runs": trials}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
