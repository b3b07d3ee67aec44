"""A device's folder as format 8 left it, and what the code of format 8 reads in it. Made once, by commit ccb29b1:

    cd CHECKOUT_OF_ccb29b1 && PYTHONPATH=. python THIS_FILE OUT

writes to OUT vault_format_8/ (database, key, anchor) and vault_format_8.json. It runs with the modules of ccb29b1 alone.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any


def main(out: Path) -> None:
    import numpy as np

    from client.answers import answer
    from client.vault.consent import Consent
    from client.vault.vault import Limits
    from shared.clock import ReplayClock
    from shared.codec import pack_floats
    from shared.lapse_risk import N_COEFFICIENTS, READINGS
    from shared.rdp import coin
    from tests.vectors.make_vault_format_1 import content
    from tests.world import basics as world
    from tests.world.enrolled import ENROLMENT_KEY, enrolled, seated, serving
    from tests.world.signing import body_of, signed

    guarded = {"noise_multiplier": 8.0, "population": 64, "min_survivors": 32}
    plan = world.make_plan(
        privacy=guarded,
        detection={"detector": "cusum", "warm_steps": 8, "false_alerts": 5, "budget_steps": 10, "min_active_steps": 1},
        risk=world.make_risk(privacy={**guarded, "noise_multiplier": 12.0}),
        **world.version_2(),
    )
    theta, clock = plan.network.initial_theta(3), ReplayClock(1_000_000.0)
    folder = out / "vault_format_8"
    # The journal folds early, so that there are sums of what left before; the clock is that of the requests.
    arguments = {"keys": world.cheap_keys(folder), "clock": clock, "limits": Limits(journal_entries=4)}
    device = world.Device.open(folder, world.make_profile(Consent.IDENTIFIED), **arguments)
    asked: list[bytes] = []
    assert device.profile.enrolment_key == ENROLMENT_KEY

    def ask(name: str, **fields: Any) -> None:
        body = body_of(name, fields)
        asked.append(hashlib.sha256(body).digest())
        answer(device, signed(body), name)

    weights = {"theta": pack_floats(theta), "risk": pack_floats(np.linspace(-1, 1, len(READINGS)).astype(np.float32))}
    ask("model_offer", step=0, round=0, plan=plan.canonical, model=world.pinned_model(2), **weights)
    rounds = {"plan_sha256": plan.sha256, "theta": weights["theta"]}
    for event in world.event_stream(np.random.default_rng(5), 34, 0.5):
        if event.category or event.time_s < 20 * world.Step.DAY.seconds:  # interest in the first category ends
            clock.wait_until(event.time_s)
            device.record(event)
    device.record(world.view(33, category=99))  # a problem to be counted
    enrolled(device)
    (epoch,) = serving(device.gate.members, clock.now_s())

    def seats(part: int, number: int) -> dict[str, Any]:
        return seated(plan, plan.updates[part], number, epoch)

    for number in range(1, 4):
        ask("train_request", step=33, round=number, **rounds, **seats(0, number))
    basis = np.ones((len(READINGS), N_COEFFICIENTS), np.float32)
    phi = {"basis": pack_floats(basis), "coefficients": pack_floats(np.array([-1, 0.5], np.float32))}
    number = plan.first_round(1) + 1
    ask("risk_request", step=33, round=number, **rounds, **phi, **seats(1, number))
    ask("alerts_query", step=33)
    device.consent(Consent.RANDOMISED)
    asked.append(bytes(32))
    bit = {"step": 33, "epsilon_micro": 10**6, "bit": 1}
    device.gate.release(bytes(32), "alert_bit", bit, coin(1.0))
    for day in (34, 35):
        for category in (1, 3, 3):
            clock.wait_until((day + 0.6) * world.Step.DAY.seconds)
            assert device.record(world.view(day, category))
    clock.wait_until(41.6 * world.Step.DAY.seconds)  # a gap, which a clock that comes back would take back
    assert device.record(world.view(41, 1)) and device._vault.get("gap") is not None
    device.close()

    with world.Device.open(folder, **{**arguments, "keys": world.cheap_keys(folder)}) as again:
        found = content(again, {**vars(again._state), "left_before": again.what_left_before().totals}, asked)
    found["asked"] = [request.hex() for request in asked]
    lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found.items())
    (out / "vault_format_8.json").write_text("{" + ",\n ".join(lines) + "}\n", encoding="utf-8")
    assert sorted(file.name for file in folder.iterdir()) == ["device.anchor", "device.key", "vault.db"]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
