"""A device's folder as format 1 left it, and what the code of format 1 reads in it. Made once, by commit e1f0571:

    cd CHECKOUT_OF_e1f0571 && PYTHONPATH=. python THIS_FILE OUT

writes to OUT vault_format_1/ (database, key, anchor), vault_format_1.json and ledger_format_1.cbor. `content` reads a device of any
commit; the rest runs with the modules of e1f0571 alone.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from enum import Enum
from pathlib import Path
from typing import Any


def content(device: Any, state: Mapping[str, Any], asked: Iterable[bytes]) -> dict[str, Any]:
    """All that a device holds, as JSON holds it exactly. `state`: history, open_count, open_amount, p, alerts, watch,
    installed and left_before; `asked`: requests whose replies to look for in the outbox."""
    history, installed, ledger = state["history"], state["installed"], device.gate.ledger
    outbox = [device._vault.outbox.find(request) for request in asked]
    return {
        "profile": {name: _plain(value) for name, value in vars(device.profile).items()},
        "count": history.count.tolist(),
        "amount": history.amount.tolist(),
        "open": [state["open_count"].tolist(), state["open_amount"].tolist()],
        "p": [None if value != value else value for value in state["p"].tolist()],
        "alerts": [[*map(_plain, vars(alert).values()), taken] for alert, taken in state["alerts"]],
        "watch": {
            name: [str(a.dtype), list(a.shape), a.tobytes().hex()] for name, a in state["watch"].arrays().items()
        },
        "plan": installed.plan.canonical.hex(),
        "model": hashlib.sha256(installed.model).hexdigest(),
        "theta": hashlib.sha256(installed.theta.tobytes()).hexdigest(),
        "risk": installed.risk.tolist(),
        "round": installed.round_number,
        "epsilon": {
            str(line): [ledger.epsilon(scope, line) for scope in (0, 1)] for line in [None, *sorted(ledger.releases)]
        },
        "period_start_s": int(ledger.spent.period_start_s),
        "plans": sorted([str(line), plan.hex(), n] for (line, plan), n in ledger.plans.items()),
        "latest": sorted([str(line), plan.hex(), at] for (line, plan), at in ledger.latest.items()),
        "releases": {str(line): n for line, n in sorted(ledger.releases.items())},
        "left": [{name: _plain(value) for name, value in vars(entry).items()} for entry in device.what_left()],
        "left_before": _plain(state["left_before"]),
        "decisions": [[d.time_s, str(d.consent), d.paused] for d in device._vault.decisions.all()],
        "outbox": [found and [found[0], hashlib.sha256(found[1]).hexdigest()] for found in outbox],
        "problems": dict(device.problems),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def main(out: Path) -> None:
    import numpy as np
    from client.consent import Consent
    from shared.risk import N_COEFFICIENTS, READINGS

    from client.app import answer
    from client.vault import Limits
    from shared.clock import ReplayClock
    from shared.codec import encode, pack_floats
    from shared.messages import REQUESTS
    from shared.rdp import coin
    from tests import conftest as world
    from tests.signing import signed

    guarded = {"noise_multiplier": 8.0, "population": 64, "min_survivors": 32}
    plan = world.make_plan(
        privacy=guarded,
        detection={"detector": "cusum", "warm_steps": 8, "false_alerts": 5, "budget_steps": 10, "min_active_steps": 1},
        risk=world.make_risk(privacy={**guarded, "noise_multiplier": 12.0}),
    )
    theta, clock = world.activity_theta(), ReplayClock(1_000_000.0)
    folder = out / "vault_format_1"
    # The journal folds early, so that there are sums of what left before; the clock is that of the requests.
    arguments = {"keys": world.cheap_keys(folder), "clock": clock, "limits": Limits(journal_entries=4)}
    device = world.Device.open(folder, world.make_profile(Consent.IDENTIFIED), **arguments)
    asked: list[bytes] = []

    def ask(name: str, **fields: Any) -> None:
        body = encode(REQUESTS, name, fields)
        asked.append(hashlib.sha256(body).digest())
        answer(signed(body), name, None, lambda context, data: nullcontext(device))

    weights = {"theta": pack_floats(theta), "risk": pack_floats(np.linspace(-1, 1, len(READINGS)).astype(np.float32))}
    ask("model_offer", step=0, round=0, plan=plan.canonical, model=world.pinned_model(), **weights)
    rounds = {"plan_sha256": plan.sha256, "theta": weights["theta"]}
    for event in world.event_stream(np.random.default_rng(5), 34, 0.5):
        if event.category or event.time_s < 20 * world.Step.DAY.seconds:  # interest in the first category ends
            clock.wait_until(event.time_s)
            device.record(event)
    device.record(world.view(33, category=99))  # a problem to be counted
    for number in range(3):
        ask("train_request", step=33, round=number, **rounds)
    basis = np.ones((len(READINGS), N_COEFFICIENTS), np.float32)
    phi = {"basis": pack_floats(basis), "coefficients": pack_floats(np.array([-1, 0.5], np.float32))}
    ask("risk_request", step=33, round=0, **rounds, **phi)
    ask("alerts_query", step=33)
    device.consent(Consent.RANDOMISED)
    asked.append(bytes(32))
    bit = {"step": 33, "epsilon_micro": 10**6, "bit": 1}
    device.gate.release(bytes(32), "alert_bit", bit, coin(1.0))
    for day in (34, 35):
        for category in (1, 3, 3):
            clock.wait_until((day + 0.6) * world.Step.DAY.seconds)
            assert device.record(world.view(day, category))
    device.close()

    with world.Device.open(folder, **{**arguments, "keys": world.cheap_keys(folder)}) as again:
        names = ("history", "open_count", "open_amount", "p", "alerts", "watch", "installed")
        state = {name: getattr(again, f"_{name}") for name in names}
        found = content(again, {**state, "left_before": again.told_before().totals}, asked)
        (out / "ledger_format_1.cbor").write_bytes(again.gate.ledger.to_bytes())
    found["asked"] = [request.hex() for request in asked]
    lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found.items())
    (out / "vault_format_1.json").write_text("{" + ",\n ".join(lines) + "}\n", encoding="utf-8")
    assert sorted(file.name for file in folder.iterdir()) == ["device.anchor", "device.key", "vault.db"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
