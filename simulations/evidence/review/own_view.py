"""What one device says of itself: everything that left it, as its owner reads it; and what it answers once its owner goes."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from client.answers import answer
from client.device import Device
from client.vault.consent import Consent
from client.vault.journal import Entry
from client.vault.vault import Limits, Vault
from server.run_log.log import RunLog
from server.signing import signing_key
from shared.clock import ReplayClock
from shared.codec import decode, encode
from shared.envelope import wrap
from shared.errors import RefusalCode
from shared.messages import REGISTER, REQUESTS

from ...federation.device_app import LIMITS, PASSPHRASE_FILE, simulation_keys
from ...federation.observations import ALERTS_FILE, INTERESTS_FILE, REASONS_FILE
from ...federation.run_folder import AUDIENCE, RunFolder

#: What a simulation writes down beside a device, as what its user saw; the last unlocks it.
_NOT_ITS_OWN = frozenset((INTERESTS_FILE, ALERTS_FILE, REASONS_FILE, PASSPHRASE_FILE))


@dataclass(frozen=True)
class Left:
    """What left one device, of one kind: how many messages, their bytes, epsilon (None: outside epsilon), and what for."""

    kind: str
    times: int
    size_bytes: int
    epsilon: float | None
    purpose: str


@dataclass(frozen=True)
class Gone:
    """What a device answers the server after its owner's decisions, in order, each with the milliseconds from decision to answer;
    and the files that are left of it in the end."""

    answers: tuple[tuple[str, str, float], ...]
    files: tuple[str, ...]


def what_left(home: Path) -> tuple[str, list[Left]]:
    """A simulated device's consent, and what its journal has, by kind, the most bytes first."""
    with closing(Vault(home, simulation_keys(home), Limits(waits_for_disk=False))) as vault:
        consent, entries = str(vault.decisions.now.consent), vault.journal.entries()
    by_kind: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.size_bytes:
            by_kind.setdefault(entry.kind, []).append(entry)
    rows = [
        Left(
            kind,
            sum(each.times for each in some),
            sum(each.size_bytes for each in some),
            None if any(each.epsilon is None for each in some) else sum(each.epsilon or 0.0 for each in some),
            some[0].purpose if _says_something(some) else "an empty answer: this user tells no alerts",
        )
        for kind, some in by_kind.items()
    ]
    return consent, sorted(rows, key=lambda row: -row.size_bytes)


def telling_device(run: RunFolder) -> int | None:
    """The first device with a folder of its own that told its server an alert; None if none did."""
    for user in sorted(int(home.name) for home in run.devices.iterdir() if home.name.isdecimal()):
        with closing(Vault(run.device(user), simulation_keys(run.device(user)), Limits(waits_for_disk=False))) as vault:
            if any(entry.kind == "alerts" and entry.content.get("alerts") for entry in vault.journal.entries()):
                return user
    return None


def gone(run: RunFolder, user: int, at: Path) -> Gone:
    """A copy of a device whose owner first keeps alerts to themselves, then has the device forgotten, while its server goes on
    asking. Nothing of the run changes; the copy is made at `at`."""
    shutil.copytree(run.device(user), at)
    key, answers = signing_key(run.signing_key_file), []
    head = RunLog(run.server.folder, key).head
    clock = ReplayClock(_now_s(at))
    with Device.open(at, keys=simulation_keys(at), limits=LIMITS, clock=clock) as device:
        step = _step_of_last_alert(device.what_left()) or device.n_closed_steps - 1

        def asked(decision: str, began_s: float) -> None:
            body = encode(REQUESTS, "alerts_query", {"audience": AUDIENCE, "step": step})
            reply, fields = decode(REGISTER, answer(device, wrap(body, int(clock.now_s()), key.sign, head)))
            answers.append((decision, _in_words(reply, fields), 1000 * (time.monotonic() - began_s)))

        asked("before", time.monotonic())
        for decision, decide in (
            ("consent withdrawn", lambda: device.consent(Consent.LOCAL)),
            ("forgotten", device.forget),
        ):
            began_s = time.monotonic()
            decide()
            asked(decision, began_s)
            asked(f"{decision}, asked again", time.monotonic())
    left = tuple(sorted(file.name for file in at.iterdir() if file.name not in _NOT_ITS_OWN))
    return Gone(tuple(answers), left)


def _says_something(entries: list[Entry]) -> bool:
    """Whether any of these messages has anything in it: who tells no alerts answers with an empty list of them."""
    return any(entry.kind != "alerts" or entry.content.get("alerts") for entry in entries)


def _step_of_last_alert(entries: list[Entry]) -> int | None:
    told = [entry.content["step"] for entry in entries if entry.kind == "alerts" and entry.content.get("alerts")]
    return int(told[-1]) if told else None


def _now_s(home: Path) -> float:
    """The time on a simulated device's calendar: the last that its journal has."""
    with closing(Vault(home, simulation_keys(home), Limits(waits_for_disk=False))) as vault:
        return max((entry.time_s for entry in vault.journal.entries()), default=0.0)


def _in_words(reply: str, fields: dict[str, object]) -> str:
    if reply == "refusal":
        return f"refusal: {RefusalCode(int(str(fields['code']))).name.lower()}"
    alerts = fields.get("alerts")
    if not isinstance(alerts, (list, tuple)):
        return reply
    return f"{reply}: {len(alerts)} told" if alerts else f"{reply}: none, as from who tells none"
