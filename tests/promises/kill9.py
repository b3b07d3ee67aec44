"""Kill a process that lives on a vault, at random moments, and look at what it left. Run by tests/promises/test_kill9.py:

    python -m tests.promises.kill9 FOLDER TRIALS SEED      prints a JSON map of what happened; an AssertionError if a promise broke

One process forks a child per trial; the child records, lets steps close, charges and releases, enrols and adds lists up as a
seat, as fast as it can, and acknowledges each thing through a pipe once it is done; it is killed with SIGKILL up to 80 ms, or up
to 400 ms, after its start.
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
from functools import cache
from pathlib import Path

from client.answers import answer
from client.device import Device
from client.privacy.caps import LedgerLine
from client.vault.consent import Consent
from client.vault.vault import Limits
from shared.codec import decode
from shared.events import BehaviourEvent, EventKind, Step
from shared.mechanisms import protect
from shared.messages import REGISTER
from shared.rdp import update_cost
from shared.secure_sum.entry import SumList
from tests.world.basics import N_CATEGORIES, make_plan, make_profile, open_device, ready
from tests.world.client_requests import EPOCH, MEMBER, MEMBERS
from tests.world.enrolled import keep, listed_for, member_of, seat_header, seat_request
from tests.world.signing import signed_request

PLAN = make_plan(privacy={"noise_multiplier": 4.0, "min_survivors": 8})
COST = update_cost(PLAN.privacy, PLAN.network.n_parameters)
LIMITS = Limits(raw_events=20, journal_entries=10**6)
TRIALS_PER_VAULT = 20
#: Sums in which the device holds a seat; of each there are two lists.
N_SUMS = 12
#: The epoch that it enrols in: one that comes.
COMING = 2


@cache
def sum_request(number: int, which: int) -> bytes:
    """A request to add up one of two lists of one sum: the same in a process and in those that it forks."""
    listed, boxes = _listed(number)
    shorter = SumList(listed.header, listed.entries[: 2 + which])
    return signed_request("sum_request", seat_request(shorter, boxes[: 2 + which], EPOCH, 5))


@cache
def _listed(number: int) -> tuple[SumList, list[bytes]]:
    return listed_for(seat_header(PLAN, MEMBER.leaf, EPOCH, number), EPOCH, {}, at_least=3)


def added_up(device: Device, number: int, which: int) -> str:
    """What a seat answers to one of the lists, as a hash; "" if it refuses."""
    data = answer(device, sum_request(number, which))
    return hashlib.sha256(data).hexdigest() if decode(REGISTER, data)[0] == "seat_sum" else ""


def enrolment(device: Device) -> str:
    """The keys that a device tells for the coming epoch."""
    fields = decode(REGISTER, answer(device, signed_request("enrolment_query", {"epoch": COMING})))[1]
    return (fields["identity"] + fields["seat"]).hex()


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
    """The child: works until it is killed. Acknowledges by lines: E, S, R, C, K (keys), Y (a list was added up, or not); announces
    a request by A, a decision by D."""

    def say(*words: str) -> None:
        os.write(pipe, (" ".join(words) + "\n").encode())

    chance = random.Random(seed)
    device = opened(folder)
    if device._state.installed is None:
        ready(keep(device, MEMBERS), PLAN)
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
        elif what < 0.83:
            number, which = chance.randrange(N_SUMS), chance.randrange(2)
            say("Y", str(number), str(which), added_up(device, number, which))
        elif what < 0.84:
            say("K", enrolment(device))
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
        self.keys = ""
        self.lists: dict[int, tuple[int, str]] = {}  # by sum: which of its lists was added up, and the answer's hash
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
            elif what == "K":
                assert self.keys in ("", words[0]), "other keys than those that left before"
                self.keys = words[0]
            elif what == "Y":
                self._hear_list(int(words[0]), int(words[1]), *words[2:])
            else:
                self.consent, wanted = words[0], ""
        if not (folder / "vault.db").exists():
            assert not said
            self.tally["nothing there yet"] += 1
            return
        with opened(folder) as device:
            self._check_events(device)
            self._check_releases(device, announced)
            self._check_sums(device)
            assert device.consent() in {self.consent, wanted}, "a decision is lost, or another one is there"
            self.consent = str(device.consent())
            assert not device.problems

    def _hear_list(self, number: int, which: int, answered: str = "") -> None:
        """A list was added up, or refused because the other one had been."""
        if answered:
            assert self.lists.setdefault(number, (which, answered)) == (which, answered), "two lists of one sum"
        else:
            assert self.lists.get(number, (1 - which,))[0] == 1 - which, "the list that it answered for is refused"

    def _check_sums(self, device: Device) -> None:
        """Of every sum at most one list was answered, and for that one this process answers with the same bytes."""
        assert not self.keys or member_of(device, COMING).leaf.hex() == self.keys, "keys left that were not on the disk"
        for number, (which, answered) in self.lists.items():
            assert added_up(device, number, 1 - which) == "", "a second list"
            assert added_up(device, number, which) == answered, "other bytes for the same list"
        self.tally["lists that a seat still knows"] += len(self.lists)

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
    for number in range(N_SUMS):
        for which in range(2):
            sum_request(number, which)  # before the first fork
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
