"""What a small world is made of: a plan, a network whose scores are known, histories, event streams, entropy that can be
replayed. Imports only what a device has: these files also run under tflite-runtime, without Flower or pandas.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings

from client.device import Alert, Device, Profile
from client.model.runtime import PINNED_SHA256, pinned_model, pinned_sha256
from client.privacy.caps import Caps
from client.privacy.heard import Asked
from client.vault.consent import Consent
from client.vault.keys import FileKeys
from shared.charges import Charge, charges_of
from shared.clock import ReplayClock
from shared.events import BehaviourEvent, Catalogue, EventKind, Step
from shared.features import FeatureSpec, History, Richer
from shared.network import NetworkSpec
from shared.plan import Detection, LocalTraining, Plan, PrivacyPlan, RiskPlan
from tests.world.enrolled import ENROLMENT_KEY, SUM, enrolled
from tests.world.signing import RUN, SERVER_KEY

SOAK = os.environ.get("EBBTIDE_SOAK") == "1"
SOAK_FACTOR = 20


def full(count: int) -> int:
    """`count` in `make test`, 20 times as many in `make soak`."""
    return count * SOAK_FACTOR if SOAK else count


def examples(count: int, **more: Any) -> Callable[[Any], Any]:
    """Decorator: how many hypothesis examples a property gets."""
    return settings(max_examples=full(count), **more)


#: What the clocks of the tests' devices show: a day long after all that happens there.
NOW_STEP = 4000
CATALOGUE = Catalogue(("tea", "shoes", "books", "tools"))
N_CATEGORIES = len(CATALOGUE)
NETWORK = NetworkSpec(27)
FEATURES = FeatureSpec(window_steps=12)


def make_plan(
    *,
    training: dict[str, Any] | None = None,
    privacy: dict[str, Any] | None = None,
    detection: dict[str, Any] | None = None,
    **changes: Any,
) -> Plan:
    """A small valid plan of the pinned model; the arguments replace single numbers of it. Without the CUSUM there is no
    budget of alerts unless a test asks for one. Three helpers add its rounds up."""
    cusum = (detection or {}).get("detector") == "cusum"
    base_detection = {"min_active_steps": 3, "lapse_steps": 8, "quiet_steps": 4, "false_alerts": 3 if cusum else 0}
    base_privacy = {
        "clip_norm": 0.5,
        "noise_multiplier": 1.0,
        "sampling_rate": 1.0,
        "rounds": 3,
        "population": 8,
        "min_survivors": 2,
    }
    return Plan(
        **{
            "network": NETWORK,
            "features": FEATURES,
            "horizon_steps": 2,
            "catalogue_sha256": CATALOGUE.sha256,
            "model_sha256": bytes.fromhex(PINNED_SHA256),
            "training": LocalTraining(**{"rows": 16, "history_steps": 10, **(training or {})}),
            "privacy": PrivacyPlan(**{**base_privacy, **(privacy or {})}),
            "detection": Detection(**{**base_detection, **(detection or {})}),
            "sum": SUM,
            **changes,
        }
    )


def version_2(features: FeatureSpec = FEATURES) -> dict[str, Any]:
    """What a plan is changed by to look at kinds of events as well, for `make_plan(**version_2())`."""
    more = Richer(lapse_steps=8, r=0.6, alpha=6.0, a=1.0, b=3.0)
    spec = replace(features, more=more)
    return {"features": spec, "network": NetworkSpec(spec.n_features), "model_sha256": pinned_sha256(2)}


def make_risk(*, privacy: dict[str, Any] | None = None, **changes: Any) -> RiskPlan:
    """How phi is learned, for `make_plan(risk=...)`; the arguments replace single numbers."""
    base = {
        "clip_norm": 0.25,
        "noise_multiplier": 1.0,
        "sampling_rate": 1.0,
        "rounds": 2,
        "population": 8,
        "min_survivors": 2,
    }
    return RiskPlan(
        **{
            "rows": 8,
            "history_steps": 10,
            "rate_steps": 2,
            "privacy": PrivacyPlan(**{**base, **(privacy or {})}),
            **changes,
        }
    )


def charged(plan: Plan, *rounds: int) -> tuple[Charge, ...]:
    """The plan's table with so many rounds of each part, and all of its coins."""
    table = charges_of(plan)
    return (*(replace(row, times=n) for row, n in zip(table, rounds, strict=False)), *table[len(rounds) :])


def activity_theta() -> np.ndarray:
    """Weights under which p = sigmoid(12 a - 3), a the share of active steps among the last four: .05 at rest, .95 when
    two of four steps were active. Simple enough to know when an alert is due."""
    theta = np.zeros(NETWORK.n_parameters, np.float32)
    kernel_1, bias_1, kernel_2, _, kernel_3, bias_3 = NETWORK.split(theta)
    kernel_1[FEATURES.names.index("active_4"), 0] = 1
    bias_1[0] = 1
    kernel_2[0, 0] = 1
    kernel_3[0, 0] = 6
    bias_3[0] = -3
    return theta


def expected_interest(history: History, step: int) -> np.ndarray:
    """p (C,) of `activity_theta` as of a step, from its definition; NaN for a category never touched."""
    share = history.active[:, max(0, step - 3) : step + 1].sum(axis=-1) / 4
    p = 1 / (1 + np.exp(3 - 12 * share))
    return np.where(history.active[:, : step + 1].any(axis=-1), p, np.nan)


def random_history(random: np.random.Generator, shape: tuple[int, ...], rate: float = 0.3) -> History:
    """Counters of shape (..., C, T) as events would leave them."""
    active = random.random(shape) < rate
    count = np.where(active, random.integers(1, 9, shape) * np.float32(0.2), 0).astype(np.float32)
    amount = np.where(active & (random.random(shape) < 0.5), random.random(shape) * 80, 0).astype(np.float32)
    return History(active, count, amount)


def counted_history(random: np.random.Generator, shape: tuple[int, ...], rate: float = 0.3) -> History:
    """Counters of shape (..., C, T) of as many random events of all kinds, one or two in an active step."""
    at = [np.concatenate([axis, axis[::2]]) for axis in np.nonzero(random.random(shape) < rate)]
    kind = random.integers(5, size=len(at[0]))
    return History.from_events(shape, tuple(at), kind, random.random(len(kind)) * 80 * (kind == 4), with_kinds=True)


def event_stream(random: np.random.Generator, n_steps: int, rate: float = 0.4) -> list[BehaviourEvent]:
    """Events of a user over n daily steps, in order of time; categories differ in how often they are used."""
    out = []
    for step in range(n_steps):
        for category in np.flatnonzero(random.random(N_CATEGORIES) < rate * (1 + np.arange(N_CATEGORIES)) / 2):
            kind = EventKind(int(random.integers(5)))
            time_s = (step + random.random()) * Step.DAY.seconds
            amount = float(random.random() * 90) if kind is EventKind.PURCHASE else 0.0
            out.append(BehaviourEvent(kind, int(category), time_s, amount))
    return sorted(out, key=lambda event: event.time_s)


def view(step: int, category: int = 0, kind: EventKind = EventKind.VIEW, amount: float = 0.0) -> BehaviourEvent:
    """One event in the middle of a daily step."""
    return BehaviourEvent(kind, category, (step + 0.5) * Step.DAY.seconds, amount)


def replayed_entropy(seed: object) -> Callable[[int], bytes]:
    """Bytes that look random and come again for the same seed; for tests only."""
    counter = 0

    def draw(n: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_128(f"{seed}/{counter}".encode()).digest(n)

    return draw


class Diary:
    """What the app on the device was told."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.p: list[np.ndarray] = []
        self.alerts: list[Alert] = []

    def write(self, step: int, p: np.ndarray, alerts: list[Alert]) -> None:
        self.steps.append(step)
        self.p.append(p)
        self.alerts += alerts


def make_profile(consent: Consent = Consent.LOCAL, number: int = 7) -> Profile:
    """A profile whose calendar began in 1970, as the clocks of the tests' devices do."""
    own = {"origin_s": 0.0, "enrolment_key": ENROLMENT_KEY}
    return Profile(Step.DAY, N_CATEGORIES, CATALOGUE.sha256, SERVER_KEY, consent, number, **own)


def cheap_keys(folder: Path, passphrase: bytes = b"correct horse") -> FileKeys:
    """Keys whose scrypt costs nothing, and whose folder may be copied. For tests."""
    return FileKeys(folder, passphrase, n=2, r=1, p=1, knows_place=False)


def open_device(folder: Path, profile: Profile | None = None, **arguments: Any) -> Device:
    """`Device.open` with cheap keys, without caps, and with a clock that is later than every event, unless told otherwise."""
    usual = {"keys": cheap_keys(folder), "caps": Caps.none(), "clock": ReplayClock(NOW_STEP * Step.DAY.seconds)}
    return Device.open(folder, profile, **{**usual, **arguments})


#: Weights of phi before it is learned.
NO_RISK = np.empty(0, np.float32)


def ready(
    device: Device,
    plan: Plan,
    theta: np.ndarray | None = None,
    round_number: int = 0,
    risk: np.ndarray = NO_RISK,
) -> Device:
    """The device with the plan's model installed, as the first thing that its server ever said; in an epoch that runs now, if
    the plan's rounds are sums."""
    version = plan.features.version
    if theta is None:
        theta = activity_theta() if version == 1 else plan.network.initial_theta(0)
    body = hashlib.sha256(plan.canonical + theta.tobytes() + risk.tobytes() + bytes([round_number % 256])).digest()
    said = Asked("model_offer", body, 0, RUN, round_number)
    device.install(plan, pinned_model(version), theta, risk, round_number, said)
    return enrolled(device) if plan.sum and device.profile.enrolment_key == ENROLMENT_KEY else device
