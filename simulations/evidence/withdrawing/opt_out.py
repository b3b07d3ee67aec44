"""How soon a device is silent once its user says no: the device as shipped, on a disk that is waited for, asked by a server's key.

For each way to say no a device is set up in an empty folder: enrolled, with the model of the run's plan, its user's consent, and its
clock at a step at which it is asked. It answers; its user says no; it is asked for the same again and for more. Counted is what
it then answers with anything but a refusal or the notice of deletion. Timed is the call that says no, which returns when the decision
is on the disk: there is nothing else to wait for, for a device asks its own vault at each request.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.answers import answer, open_and_answer
from client.device import Device, Profile
from client.model.runtime import pinned_model
from client.privacy.membership import Member
from client.vault.consent import Consent
from client.vault.keys import FileKeys
from shared.clock import ReplayClock
from shared.codec import decode, encode, pack_floats
from shared.envelope import wrap
from shared.errors import RefusalCode, RunError
from shared.messages import REGISTER, REQUESTS
from shared.secure_sum.assembly import seats_drawn
from shared.secure_sum.epoch import MOST_WINDOW_S, Epoch, sign
from shared.secure_sum.leaves import members
from shared.secure_sum.merkle import prove

from ...people.setup import Crowd, People, Setup
from ...scenarios.config import Scenario

#: Each way to say no is tried on so many devices; what is told is the slowest.
TRIES: Final = 3
#: A plan counts on at most so many devices here: how many there are changes nothing for the one that is asked.
_MOST_ENROLLED: Final = 64
_AUDIENCE, _EPOCH = "opt-out", 1
#: scrypt at its cheapest: the passphrase protects nobody here.
_CHEAP: Mapping[str, Any] = {"n": 2, "r": 1, "p": 1, "knows_place": False}
Fields = dict[str, Any]


@dataclass(frozen=True)
class Silence:
    """One way to say no, of one device or the worst of several: requests that it `answered_before`, was `asked_after`, and
    `answered_after` with anything but no; `seconds` until the call returned; what it `said` after that, in order; which files were
    `left` in its folder."""

    how: str
    answered_before: int
    asked_after: int
    answered_after: int
    seconds: float
    said: tuple[str, ...]
    left: tuple[str, ...]


class Asked:
    """One device, and the server that asks it."""

    def __init__(self, folder: Path, setup: Setup, step: int, consent: Consent) -> None:
        self._folder, self._plan, self._step = folder, setup.plan, step
        self._key, self._enroller = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self._now_s = float((step + 1) * setup.step.seconds)
        self._keys = FileKeys(folder, os.urandom(16), **_CHEAP)
        server, enroller = (key.public_key().public_bytes_raw() for key in (self._key, self._enroller))
        profile = Profile(
            step=setup.step,
            n_categories=setup.n_categories,
            catalogue_sha256=setup.catalogue.sha256,
            server_key=server,
            consent=consent,
            number=0,
            origin_s=0.0,
            audience=_AUDIENCE,
            enrolment_key=enroller,
        )
        clock, caps = ReplayClock(self._now_s), setup.caps
        self.device = Device.open(folder, profile, keys=self._keys, clock=clock, caps=caps)
        self.device.catch_up([], step + 1)
        self._enrol()
        theta = setup.plan.network.initial_theta(0)
        self._theta = pack_floats(theta)
        self._expect(
            "model_offer", plan=self._plan.canonical, model=pinned_model(), theta=self._theta, risk=b"", round=0
        )

    def ask(self, name: str, **fields: Any) -> str:
        """What the device says: the name of its reply, or why it refuses."""
        return _in_words(answer(self.device, self._signed(name, fields)))

    def ask_who_opens(self, name: str, **fields: Any) -> str:
        """The same of a process that does not hold the device, and opens its folder for this request."""

        @contextmanager
        def opening() -> Iterator[Device]:
            with Device.open(self._folder, keys=self._keys, clock=ReplayClock(self._now_s)) as device:
                yield device

        return _in_words(open_and_answer(self._signed(name, fields), name, opening))

    def seated(self, request: str, number: int) -> Fields:
        """The fields of a request for a vector that say which sum it is for."""
        kind, fields = self._plan.kind_of(request), {"epoch": _EPOCH, "seats": b"", "seats_proof": b"", "absent": b""}
        if drawn := seats_drawn(self._plan, kind, number, self._epoch):
            assert self._plan.sum is not None
            at = drawn[: self._plan.sum.seats]
            fields |= {"seats": b"".join(self._listed[i] for i in at), "seats_proof": prove(self._listed, at)}
        return {"round": number, "plan_sha256": self._plan.sha256, **fields}

    def training(self, number: int) -> Fields:
        """The fields of a request to train."""
        return {"theta": self._theta, **self.seated("train_request", number)}

    def files(self) -> tuple[str, ...]:
        return tuple(sorted(file.name for file in self._folder.iterdir()))

    def _enrol(self) -> None:
        reply = decode(REGISTER, answer(self.device, self._signed("enrolment_query", {"epoch": _EPOCH})))[1]
        planned = self._plan.sum
        others = [Member.draw(_EPOCH).leaf for _ in range(self._plan.privacy.population - 1)]
        leaves = [reply["identity"] + reply["seat"], *others]
        helpers = [Member.draw(_EPOCH).leaf for _ in range(planned.helpers if planned else 0)]
        begins_s = max(0, int(self._now_s) - MOST_WINDOW_S // 2)
        draws = sum(kind.privacy.rounds for kind in self._plan.sums)
        window = begins_s, begins_s + MOST_WINDOW_S
        self._epoch = Epoch.close(_AUDIENCE, _EPOCH, *window, leaves, helpers, draws)
        self._listed = members(leaves)
        self._expect("epoch_offer", epoch=_EPOCH, signed=sign(self._epoch, self._enroller))

    def _expect(self, name: str, **fields: Any) -> None:
        if (said := self.ask(name, **fields)) != REQUESTS[name].reply:
            raise RunError(f"expected a device that takes a {name}, got one that says {said}")

    def _signed(self, name: str, fields: Fields) -> bytes:
        usual = {"audience": _AUDIENCE, "run": 1, "step": self._step}
        declared = REQUESTS[name].fields
        body = encode(REQUESTS, name, {key: value for key, value in usual.items() if key in declared} | fields)
        return wrap(body, int(self._now_s), self._key.sign)


def silences(scenario: Scenario, people: People) -> list[Silence]:
    """What became of every way to say no under a scenario's plan, for a few devices; in a folder that goes afterwards."""
    few = Crowd(min(people.n_users, _MOST_ENROLLED), people.catalogue)
    setup = Setup.of(scenario, few)
    return [_worst([_tried(way, setup) for _ in range(TRIES)]) for way in _ways(setup)]


@dataclass(frozen=True)
class _Way:
    """How somebody says no: what they agreed to, at which step, what is asked, and the call."""

    how: str
    consent: Consent
    step: int
    request: str
    fields: Callable[[Asked, int], Fields]
    says_no: Callable[[Device], object]


def _ways(setup: Setup) -> Iterator[_Way]:
    plan, train_step = setup.plan, setup.schedule.train_step

    def training(asked: Asked, number: int) -> Fields:
        return asked.training(number)

    yield _Way("pause", Consent.LOCAL, train_step, "train_request", training, lambda device: device.pause())
    if (bits := setup.schedule.bits) is not None and len(due := setup.schedule.bit_steps):
        coin = {"epsilon_micro": bits.epsilon_micro, "every_steps": bits.every_steps}
        yield _Way(
            "consent to bits",
            Consent.RANDOMISED,
            due[0],
            "bits_query",
            lambda *_: coin,
            lambda device: device.consent(Consent.LOCAL),
        )
    for part, query in enumerate(plan.queries, len(plan.updates)):
        first, request = plan.first_round(part), query.row.request
        step = next(step for step in range(train_step, train_step + query.every_steps) if query.is_due(step))

        def asking(asked: Asked, number: int, first: int = first, request: str = request) -> Fields:
            return {"model_round": 0, **asked.seated(request, first + number)}

        yield _Way(
            f"consent to {query.recipe}",
            Consent.SUMMED,
            step,
            request,
            asking,
            lambda device: device.consent(Consent.LOCAL),
        )
    yield _Way("forget", Consent.LOCAL, train_step, "train_request", training, lambda device: device.forget())


def _tried(way: _Way, setup: Setup) -> Silence:
    with tempfile.TemporaryDirectory(prefix="ebbtide-opt-out-") as place:
        folder = Path(place) / "device"
        folder.mkdir(mode=0o700)
        asked = Asked(folder, setup, way.step, way.consent)
        try:
            before = [asked.ask(way.request, **way.fields(asked, 1))]
            began_s = time.perf_counter()
            way.says_no(asked.device)
            seconds = time.perf_counter() - began_s
            after = [asked.ask(way.request, **way.fields(asked, number)) for number in (1, 1, 2)]
        finally:
            asked.device.close()
        after.append(asked.ask_who_opens(way.request, **way.fields(asked, 2)))
        left = asked.files()
    reply = REQUESTS[way.request].reply
    return Silence(way.how, before.count(reply), len(after), after.count(reply), seconds, tuple(after), left)


def _worst(tries: list[Silence]) -> Silence:
    """The slowest of several, with the most that any answered; what they said differs in nothing but that."""
    slowest = max(tries, key=lambda one: (one.answered_after, one.seconds))
    return replace(slowest, answered_before=min(one.answered_before for one in tries))


def _in_words(reply: bytes) -> str:
    name, fields = decode(REGISTER, reply)
    return f"refusal: {RefusalCode(fields['code']).name.lower()}" if name == "refusal" else name
