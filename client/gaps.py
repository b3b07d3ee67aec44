"""Steps close in the vault, and are taken back where a clock that was ahead closed them.

A clock that is ahead closes steps that nobody lived: interests seem to lapse, and what is done afterwards comes late. A
device cannot tell that from a phone that lay in a drawer, until its clock shows a time inside the gap again. So when more
than `GAP_STEPS` close in one go, what was known before is kept until `BELIEVED_STEPS` later. If the clock comes back,

- the device is as it was before the gap: detectors, quiet times, the budget of alerts;
- what was recorded since counts as far back from now as it lay back from the step that was open, and never before or in the
  last step before now in which anything was done;
- the steps up to now close again. Alerts that are not raised again are withdrawn; those that the gap had let go are shown
  to the app again, and told to nobody.

A clock that comes back to before the gap is a clock that is behind: no step opens again, what it dates comes late, and all
goes on when it is right again. Until then no step closes, and those that it missed close empty: when it was behind for so long
that silence would be a lapse, one may be warned of.

Edge cases. A clock that falls behind into a gap that was real (the app was not opened on those days) is believed: what was
done since moves there, and is not lost. One that is ahead for longer than `BELIEVED_STEPS` is believed, too: what follows is
late until the calendar has caught up. One that is ahead by no more than `GAP_STEPS` makes what follows late for as long.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np

from shared.arrays import Floats
from shared.features import MOST_EVENTS, N_COUNTERS, History
from shared.register.bounds import MAX_ALERTS

from .detection.alerts import SENT, Alert
from .detection.policy import Policy
from .detection.watch import Watch
from .model.installed import Installed
from .state import DeviceState, Told, alerts, pack, plain_alerts, unpack
from .vault.vault import Vault

#: So many steps of silence are scored, one by one. What is silent for longer closes at once: nothing turns there any more,
#: for no feature and no quiet time looks back further.
SCORED_STEPS = 366

TABLE = "gap"
#: What closes at once without being remembered, and how much later a gap is believed.
GAP_STEPS, BELIEVED_STEPS = 2, 120


def fold_until(
    vault: Vault, state: DeviceState, step: int, policy: Policy, problems: Counter[str]
) -> tuple[DeviceState, list[Told]]:
    """The state once every step before `step` has closed, and what the app is told of each; inside a transaction, which has
    the watch and the alerts written at its end. `state` stays as it was."""
    first = state.n_closed_steps
    if step <= first:
        return state, []
    if (
        step - first <= GAP_STEPS
        and vault.store.count(TABLE)
        and vault.get(TABLE)["gaps"][-1][1] + BELIEVED_STEPS < step
    ):
        vault.drop(TABLE)
    after, told = closed_until(state, step, _open_counters(state), policy, problems)
    if step - first > GAP_STEPS:
        _remember(vault, state, step, [alert for one in told for alert in one.alerts])
    vault.fold(first, state.open_counters())
    nothing = np.zeros((N_COUNTERS, state.history.n_categories), np.float32)
    for empty in range(first + 1, min(step, first + SCORED_STEPS)):
        vault.put_counters(empty, nothing)
    return after, told


def taken_back(
    vault: Vault, state: DeviceState, now: int, policy: Policy, problems: Counter[str]
) -> tuple[DeviceState, list[Told]] | None:
    """The state once the clock came back to step `now`, and of which steps the app has something new to be told; None if it
    did not come back into a gap. Inside a transaction, which has the watch and the alerts written at its end."""
    found = vault.get(TABLE)
    if not found or now >= state.n_closed_steps or not any(left - 1 <= now < landed for left, landed in found["gaps"]):
        return None
    first = found["gaps"][0][0]
    now = max(now, first)
    counters, moved = _moved(state, now)
    raised = dict(alerts(found["raised"])) | dict(state.alerts)
    arrays = found["arrays"]
    before = replace(
        state.with_open(counters[..., first]),
        history=History.of_counters(counters[..., :first]),
        lately=None,
        watch=Watch.of({name: unpack(parts) for name, parts in arrays.items()}) if arrays else None,
        p=unpack(found["p"]),
        alerts=[(alert, raised.get(alert, SENT)) for alert, _ in alerts(found["alerts"])],
    )
    if state.installed and (before.watch is None or found["model"] != _name_of(state.installed)):
        before = before.with_model(state.installed)
    after, told = closed_until(before, now, counters[..., first:], policy, problems)
    kept = [(alert, raised.get(alert, taken)) for alert, taken in after.alerts]
    gone = {alert for alert, _ in kept}
    after = replace(after, alerts=kept, withdrawn=[alert for alert in raised if alert not in gone])
    _write(vault, after, moved)
    gaps = [[left, min(landed, now)] for left, landed in found["gaps"] if min(landed, now) - left > GAP_STEPS]
    if gaps:
        vault.put(TABLE, {**found, "gaps": gaps})
    else:
        vault.drop(TABLE)
    return after, [one._replace(alerts=new) for one in told if (new := [a for a in one.alerts if a not in raised])]


def _moved(state: DeviceState, now: int) -> tuple[Floats, list[int]]:
    """Counters (7, C, now + 1) of the steps up to `now`, with all that is known of later ones in its place; and the steps
    before `now` that changed."""
    known = np.concatenate([state.history.counters(), _open_counters(state)], axis=-1)
    counters = known[..., : now + 1].copy()
    counters[..., now] = 0
    last = known.shape[-1] - 1
    before = np.flatnonzero(counters[0].any(axis=0))
    earliest = min(int(before[-1]) + 1, now) if before.size else 0
    moved = set[int]()
    for step in now + np.flatnonzero(known[0, :, now:].any(axis=0)):
        at = max(int(step) - (last - now), earliest)
        counters[..., at] += known[..., step]
        moved.add(at)
    np.minimum(counters[2:], MOST_EVENTS, out=counters[2:])
    return counters, sorted(moved - {now})


def _write(vault: Vault, after: DeviceState, moved: list[int]) -> None:
    now = after.n_closed_steps
    for step in [step for step in vault.store.ids("counters") if step > now]:
        vault.store.delete("counters", step)
    for step in moved:
        vault.put_counters(step, after.history[:, step : step + 1].counters()[..., 0])
    vault.fold(now, after.open_counters())


def _remember(vault: Vault, state: DeviceState, step: int, raised: list[Alert]) -> None:
    """Keep what is known before every step before `step` closes at once, and what that `raised`. While an earlier gap is
    not believed yet, what was known before that one stays."""
    first, found = state.n_closed_steps, vault.get(TABLE)
    if found and first <= found["gaps"][0][1] + BELIEVED_STEPS:
        raised = [*(alert for alert, _ in alerts(found["raised"])), *raised][-MAX_ALERTS:]
        vault.put(TABLE, {**found, "gaps": [*found["gaps"], [first, step]], "raised": _plain(raised)})
        return
    arrays = state.watch and {name: pack(array) for name, array in state.watch.arrays().items()}
    known: dict[str, object] = {"arrays": arrays, "p": pack(state.p), "alerts": plain_alerts(state.alerts)}
    known |= {"raised": _plain(raised), "model": _name_of(state.installed)}
    vault.put(TABLE, {"gaps": [[first, step]], **known})


def _plain(raised: list[Alert]) -> dict[str, list[int]]:
    return plain_alerts([(alert, SENT) for alert in raised])


def _name_of(installed: Installed | None) -> bytes:
    """What tells one installed model from another; nothing for none."""
    if installed is None:
        return b""
    heads = installed.heads
    of_heads = () if heads is None else (heads.popularity.tobytes(), heads.weights.tobytes())
    parts = (installed.plan.canonical, installed.theta.tobytes(), installed.risk.tobytes(), *of_heads)
    return hashlib.sha256(b"".join(parts)).digest() + installed.round_number.to_bytes(8, "big")


def _open_counters(state: DeviceState) -> Floats:
    """Counters of the open step: (7, C, 1)."""
    return state.open_counters()[..., None]


# ---- steps close, one after another: scored and watched; many empty ones cost little


def closed_until(
    state: DeviceState, step: int, counters: Floats, policy: Policy, problems: Counter[str]
) -> tuple[DeviceState, list[Told]]:
    """The state once every step before `step` has closed, with `counters` (7, C, S) of the open step and those behind it,
    nothing in what comes after them. Nothing is written, and `state` stays as it was."""
    first, now, told, silent = state.n_closed_steps, state.with_own_watch(), list[Told](), 0
    busy = first + np.flatnonzero(counters[0].any(axis=0))
    while now.n_closed_steps < step:
        at = now.n_closed_steps
        silent = 0 if at in busy else silent + 1
        until = min([step - 1, *busy[busy >= at]])
        if silent > SCORED_STEPS and until > at:
            now = now.silent_until(until)
            continue
        now, one = now.with_open(_of(counters, at - first)).closed(policy, problems)
        if one:
            told.append(one)
    return now.with_open(_of(counters, step - first)), told


def _of(counters: Floats, step: int) -> Floats:
    """Counters (7, C) of a step behind the first one."""
    return counters[..., step] if step < counters.shape[-1] else np.zeros_like(counters[..., 0])
