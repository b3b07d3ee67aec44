"""What a device knows, as one value; and each part of it by name, as a row of its vault.

    state.count(event)                  counters of the open step
    state.closed(policy, problems)      the open step closes: History -> p -> detector -> risk -> policy -> alerts
    state.with_model(installed)         detectors start again under another model
    DeviceState.kept_in(vault, ...)     what its rows say, when the device opens

A change is made first and taken up afterwards, once the vault has it; what was not taken up never happened. Hence
nothing here is changed in place but by `count`, and by who works on a `copy`.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Floats, Ints
from shared.codec import pack_floats, unpack_floats
from shared.errors import ConfigError, InputError, ModelError, Refusal
from shared.events import ENGAGEMENT, BehaviourEvent, Step
from shared.features import MOST_EVENTS, N_COUNTERS, History, extract, seen
from shared.plan import Plan

from .detection.alerts import SENT, Alert, AlertLog, raised_alerts, with_raised
from .detection.chances import Chances, Weights, as_ruled, chances_of, recent_rows, recent_steps
from .detection.lately import Lately
from .detection.policy import Intervention, Policy, Segment
from .detection.risk_levels import Direction, RiskLevel
from .detection.watch import NOT_KNOWN, Watch, observed, past_steps
from .model.installed import Installed
from .model.runtime import verified
from .profile import Profile
from .vault.consent import Consent, Decision
from .vault.vault import Vault


class Told(NamedTuple):
    """What the app is told at the close of a step: the step, p (C,) (NaN where there is no score), the alerts it
    raised."""

    step: int
    p: Floats
    alerts: list[Alert]


@dataclass(frozen=True)
class DeviceState:
    """All that one device knows of its user, as of one moment.

    `history` (C, T) of the closed steps; `open_count`, `open_amount` (C,), `open_kinds` (5, C): counters of the open one;
    `watch`: what the detector remembers, None before the first model; `p` (C,) as of the last closed step, NaN where there is
    no score;
    `alerts` with the query that took each; `installed`: the model, None before the first; `withdrawn`: alerts that were
    taken back when the clock last came back (`client/gaps.py`); `untold`: the steps whose alerts the app was not told of
    yet, rising; `lately`: what the last closed step was read from, None where that has to be made of the history again.
    """

    history: History
    open_count: Floats
    open_amount: Floats
    open_kinds: NDArray[np.uint8]
    watch: Watch | None
    p: Floats
    alerts: AlertLog = field(default_factory=list)
    installed: Installed | None = None
    withdrawn: list[Alert] = field(default_factory=list)
    untold: tuple[int, ...] = ()
    lately: Lately | None = None

    def __repr__(self) -> str:
        return "DeviceState(<raw>)"

    @classmethod
    def empty(cls, n_categories: int) -> DeviceState:
        """What a device knows on its first day."""
        nothing = np.zeros((N_COUNTERS, n_categories), np.float32)
        return cls(History.empty(n_categories), *parted(nothing), None, _nothing(n_categories))

    @property
    def n_closed_steps(self) -> int:
        return self.history.n_steps

    @property
    def interest(self) -> History:
        """The history that the installed plan's interest is in: that of all kinds of events where it does not say."""
        return self.installed.plan.read_features.of(self.history) if self.installed else self.history

    def copy(self) -> DeviceState:
        """A state that shares nothing with this one that `count`, `amend` or `closed` changes."""
        return replace(self.with_open(self.open_counters()), history=self.history.copy()).with_own_watch()

    def with_own_watch(self) -> DeviceState:
        """This state with a copy of its watch: what `closed` may go on with."""
        return replace(self, watch=self.watch.copy()) if self.watch else self

    # ---- events

    def count(self, event: BehaviourEvent) -> None:
        """Count an event in the open step, in place."""
        self.open_count[event.category] += ENGAGEMENT[event.kind]
        self.open_amount[event.category] += np.float32(event.amount)
        self.open_kinds[event.kind, event.category] += self.open_kinds[event.kind, event.category] < MOST_EVENTS

    def open_counters(self) -> Floats:
        """Counters (7, C) of the open step, copied."""
        return np.concatenate([self.open_count[None], self.open_amount[None], self.open_kinds])

    def amended(self, step: int, event: BehaviourEvent) -> Floats:
        """Counters (7, C) of a closed step with one more event."""
        once = self.with_open(self.history[:, step : step + 1].counters()[..., 0])
        once.count(event)
        return once.open_counters()

    def amend(self, step: int, counters: Floats) -> DeviceState:
        """The state with other counters (7, C) in a closed step, put there in place: a late event only ever adds to them."""
        history = self.history
        history.count[:, step], history.amount[:, step], kinds = parted(counters)
        history.active[:, step] = counters[0] > 0
        if history.kinds is not None:
            history.kinds[..., step] = kinds
        return replace(self, lately=None)

    # ---- steps

    def closed(self, policy: Policy, problems: Counter[str]) -> tuple[DeviceState, Told | None]:
        """The state once the open step has closed, and what the app is told of it. Nobody is told without a model, nor
        where scoring failed: that is counted in `problems`, and the step is closed.

        The watch is this state's own, and goes on in place: who may have to stay with this state closes it
        `with_own_watch`.
        """
        counted = self.open_count, self.open_amount, self.open_kinds
        after = replace(
            self.with_open(np.zeros((N_COUNTERS, len(self.p)), np.float32)),
            history=self.history.then(*counted),
            lately=None,
        )
        try:
            return after._with_lately(self.lately, counted)._scored(policy)
        except Exception:
            problems["scoring"] += 1
            return after, None

    def _scored(self, policy: Policy) -> tuple[DeviceState, Told | None]:
        """This state with p and alerts as of its last closed step, and what the app is told."""
        installed, step = self.installed, self.n_closed_steps - 1
        if installed is None:
            return self, None
        assert self.watch is not None
        chances, interest = self.read(installed, step), self.interest
        seen_now = self.watch.see(installed.plan, interest, step, chances)
        raised = raised_alerts(seen_now, interest, installed.plan, policy, installed.round_number)
        log = with_raised(self.alerts, raised, step)
        after = replace(self, p=chances.p, alerts=log, untold=(*self.untold, step) if raised else self.untold)
        return after.with_untold_kept() if log is not self.alerts else after, Told(step, chances.p, raised)

    def _with_lately(self, before: Lately | None, counted: tuple[Floats, Floats, NDArray[np.uint8]]) -> DeviceState:
        """This state, of which the last closed step, with what was `counted` in it, goes on from what was known `before` it.
        Features of version 1 are made of the history each time: that costs little, and stays as it was."""
        if self.installed is None or self.installed.plan.read_features.version == 1:
            return self
        plan = self.installed.plan
        return replace(self, lately=before.then(*counted, plan) if before else Lately.of(self.history, plan))

    def with_untold_kept(self) -> DeviceState:
        """This state without untold steps whose alerts are all gone."""
        return replace(self, untold=tuple(sorted(set(self.untold) & {alert.step for alert, _ in self.alerts})))

    def told(self, step: int) -> DeviceState:
        """This state once the app was told of a step."""
        return replace(self, untold=tuple(one for one in self.untold if one != step))

    def to_tell(self) -> list[Told]:
        """What the app was not told of yet, the oldest first. p as it was is not kept, but of the last closed step: NaN."""
        nothing, last = np.full_like(self.p, np.nan), self.n_closed_steps - 1
        return [
            Told(step, self.p.copy() if step == last else nothing.copy(), [a for a, _ in self.alerts if a.step == step])
            for step in self.untold
        ]

    def read(self, installed: Installed, step: int) -> Chances:
        """p and the chances of turns (C,) as of the close of a step."""
        if self.lately and step == self.n_closed_steps - 1:
            x, known = self.lately.rows(installed.plan), seen(self.interest, recent_steps(installed.plan, step))
        else:
            x, known = recent_rows(self.history, installed.plan, step)
        found = chances_of(installed.plan, weights_of(installed), installed.score, x, known)
        return as_ruled(installed.plan, found, self.history.until(step))

    def silent_until(self, step: int) -> DeviceState:
        """The state once the open step, which must be empty, and every one before `step` have closed unseen: nothing is
        scored, and nobody is told."""
        return replace(self, history=self.history.then_silent(step - self.n_closed_steps), lately=None)

    def with_open(self, counters: Floats) -> DeviceState:
        """This state with other counters (7, C) of the open step."""
        count, amount, kinds = parted(counters)
        return replace(self, open_count=count, open_amount=amount, open_kinds=kinds)

    # ---- models

    def with_model(self, installed: Installed) -> DeviceState:
        """This state under another model. Detectors start again on the recent past, scored by the new weights: a jump
        between two models is not a turn of interest; quiet time and budget go on."""
        plan, n_closed = installed.plan, self.n_closed_steps
        past = np.arange(max(0, n_closed - past_steps(plan)), n_closed)
        history = plan.read_features.of(self.history)
        scores = _scores(installed, history, past)
        begin = self.watch.restart if self.watch else Watch.start
        watch = begin(plan, observed(plan, history, past, scores), n_closed - 1)
        p = scores[-1] if past.size else _nothing(len(self.p))
        return replace(self, installed=installed, watch=watch, p=p, lately=None)

    # ---- rows of the vault

    def put_watch(self, vault: Vault) -> None:
        """Write what changes with every step but its counters, inside a transaction."""
        arrays = self.watch and {name: pack(array) for name, array in self.watch.arrays().items()}
        vault.put("watch", {"n_closed_steps": self.n_closed_steps, "arrays": arrays, "p": pack(self.p)})

    def put_alerts(self, vault: Vault) -> None:
        """Write the alerts, inside a transaction."""
        withdrawn = plain_alerts([(alert, SENT) for alert in self.withdrawn])
        vault.put("alerts", {**plain_alerts(self.alerts), "withdrawn": withdrawn, "untold": list(self.untold)})

    def put_model(self, vault: Vault) -> None:
        """Write the model, or that there is none, inside a transaction."""
        if self.installed:
            vault.put("model", plain_model(self.installed))
        else:
            vault.drop("model")

    @classmethod
    def kept_in(cls, vault: Vault, n_categories: int, problems: Counter[str]) -> DeviceState:
        """What a vault holds. A plan that this app cannot read any more, or a model file that is not the one it pins, is left
        out with the other, and counted in `problems` (`plan_dropped`, `model_dropped`): the server offers another."""
        state, log, found = cls.empty(n_categories), vault.get("alerts"), vault.get("model")
        row = vault.get("watch") or {"n_closed_steps": 0, "arrays": None, "p": pack(state.p)}
        closed, arrays = row["n_closed_steps"], row["arrays"]
        counters = vault.counters(n_categories, closed + 1)
        state = cls(
            History.of_counters(counters[..., :closed]),
            *parted(counters[..., closed]),
            Watch.of({name: unpack(parts) for name, parts in arrays.items()}) if arrays else None,
            unpack(row["p"]),
            alerts(log) if log else [],
            withdrawn=[alert for alert, _ in alerts(log["withdrawn"])] if log and log["withdrawn"] else [],
            untold=tuple(log["untold"]) if log else (),
        )
        for event in vault.events():
            state.count(event)
        try:
            return replace(state, installed=model(found)) if found else state
        except ConfigError:
            problems["plan_dropped"] += 1
        except ModelError:
            problems["model_dropped"] += 1
        return replace(state, p=_nothing(n_categories))


def _scores(installed: Installed, history: History, steps: Ints) -> Floats:
    """p (S, C) as of each closed step; NaN for a category that the user never touched (cold start)."""
    if not steps.size:
        return np.empty((0, history.n_categories), np.float32)
    p = installed.scorer.score(extract(history, installed.plan.features, steps))
    return np.where(seen(history, steps), p, np.float32(np.nan))


def _nothing(n_categories: int) -> Floats:
    """p (C,) where there is no score."""
    return np.full(n_categories, np.nan, np.float32)


def parted(counters: Floats) -> tuple[Floats, Floats, NDArray[np.uint8]]:
    """Engagement (C,), money (C,) and events by kind (5, C) of the counters (7, C) of one step, copied."""
    return counters[0].copy(), counters[1].copy(), counters[2:].astype(np.uint8)


def pack(array: NDArray[Any]) -> list[Any]:
    """An array as (dtype, shape, bytes)."""
    return [array.dtype.str, list(array.shape), array.tobytes()]


def unpack(parts: list[Any]) -> NDArray[Any]:
    """The array of `pack`, writable."""
    dtype, shape, data = parts
    return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape).copy()


def plain_profile(profile: Profile) -> dict[str, Any]:
    kept = {name: value for name, value in vars(profile).items() if name != "names"}
    return {**kept, "step": profile.step.value, "consent": str(profile.consent)}


def profile(fields: dict[str, Any]) -> Profile:
    return Profile(**{**fields, "step": Step(fields["step"]), "consent": Consent(fields["consent"])})


def profile_of(vault: Vault, given: Profile | None, now_s: float) -> Profile:
    """The profile in a vault, as `Profile.after` has it become by what is `given`; in a new one it is `given`, with a number
    of its own, and dates the first consent. InputError if it may not be."""
    if (found := vault.get("profile")) is not None:
        held = profile(found)
        now = held if given is None else held.after(given)
        if now.n_categories != held.n_categories:
            _grow(vault, now)
        elif now != held:
            with vault.writing("profile"):
                vault.put("profile", plain_profile(now))
        return now
    if given is None:
        raise InputError("expected a profile for a new device")
    fresh = replace(given, number=secrets.randbits(63)) if given.number < 0 else given
    with vault.writing("profile", "consent"):
        vault.put("profile", plain_profile(fresh))
        vault.decisions.add(Decision(now_s, fresh.consent))
    return fresh


def _grow(vault: Vault, grown: Profile) -> None:
    """Write down that the catalogue grew. Counters, alerts, quiet times and the budget stay; the plan was for the old
    catalogue, and goes until the next offer."""
    row, more = vault.get("watch"), grown.n_categories
    with vault.writing("profile", "model", "watch"):
        vault.put("profile", plain_profile(grown))
        for table in ("model", "gap"):
            vault.drop(table)
        if row is not None:
            arrays = row["arrays"] and {name: unpack(parts) for name, parts in row["arrays"].items()}
            grown_watch = arrays and Watch.of(arrays).grown(more).arrays()
            packed = grown_watch and {name: pack(array) for name, array in grown_watch.items()}
            vault.put("watch", {**row, "arrays": packed, "p": pack(_nothing(more))})


def weights_of(installed: Installed) -> Weights:
    """What a model reads chances with."""
    return Weights(installed.theta, installed.risk, installed.heads)


def plain_model(installed: Installed) -> dict[str, Any]:
    heads = installed.heads
    return {
        "plan": installed.plan.canonical,
        "model": installed.model,
        "theta": pack_floats(installed.theta),
        "risk": pack_floats(installed.risk),
        "round_number": installed.round_number,
        "heads": heads
        and {
            "start": heads.start.to_bytes(),
            "popularity": pack_floats(heads.popularity),
            "weights": pack_floats(heads.weights.ravel()),
        },
    }


def model(fields: dict[str, Any]) -> Installed:
    """The model in a row; ConfigError if this app cannot read its plan (any more), ModelError if it pins another file."""
    weights = unpack_floats(fields["theta"]), unpack_floats(fields["risk"])
    out = Installed(Plan.from_bytes(fields["plan"]), verified(fields["model"]), *weights, fields["round_number"])
    if (heads := fields["heads"]) is None:
        return out
    try:
        return out.with_heads(heads["start"], *(unpack_floats(heads[name]) for name in ("popularity", "weights")))
    except Refusal:
        raise ConfigError("expected heads of the plan that they are kept with") from None


def plain_alerts(log: AlertLog) -> dict[str, list[int]]:
    """Alerts as one list for each field: names cost little, however many there are."""
    columns = {name: [int(getattr(alert, name)) for alert, _ in log] for name in _ALERT_FIELDS if name != "began"}
    columns["began"] = [NOT_KNOWN if alert.began is None else alert.began for alert, _ in log]
    return {**columns, "taken": [taken for _, taken in log]}


#: How each field of an alert is read from a row.
_ALERT_FIELDS: dict[str, Callable[[int], Any]] = {
    "direction": Direction,
    "category": int,
    "level": RiskLevel,
    "step": int,
    "model_round": int,
    "segment": Segment,
    "intervention": Intervention,
    "began": lambda step: None if step == NOT_KNOWN else step,
}


def alerts(columns: dict[str, list[int]]) -> AlertLog:
    """The alerts of `plain_alerts`, the oldest first."""
    read = {name: map(kind, columns[name]) for name, kind in _ALERT_FIELDS.items()}
    rows = zip(*read.values(), strict=True)
    found = (Alert(**dict(zip(read, row, strict=True))) for row in rows)
    return list(zip(found, columns["taken"], strict=True))
