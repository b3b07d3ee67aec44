"""One device's whole life in a process of its own: `python -m tests.world.device_life <folder>` prints a line per answer.

Every endpoint, right and wrong requests, alerts, reasons, consent, a reopened vault, forget. Python's own reports of
sockets and of other processes are collected from the first import on, and printed last.
"""

import json
import sys

#: Audit events of what would be a connection, or a process that could make one.
WATCHED = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "urllib.",
    "ftplib.",
)

heard: list[str] = []
sys.addaudithook(lambda event, arguments: heard.append(event) if event.startswith(WATCHED) else None)


def main(folder: str) -> None:
    from pathlib import Path

    import numpy as np

    from client.answers import open_and_answer
    from client.vault.consent import Consent
    from shared.codec import decode, pack_floats
    from shared.messages import REGISTER
    from shared.secure_sum.epoch import unverified
    from tests.world.basics import activity_theta, event_stream, make_profile, open_device, view
    from tests.world.client_requests import COEFFICIENTS, PLAN
    from tests.world.enrolled import listed_for, seat_header, seat_request, signed_epoch
    from tests.world.signing import signed, signed_request

    home, theta = Path(folder), pack_floats(activity_theta())
    round_ = {"step": 19, "plan_sha256": PLAN.sha256, "theta": theta}
    query = "alerts_query", {"step": 19}
    right = [
        ("enrolment_query", {}),
        ("epoch_offer", {}),
        ("model_offer", {"step": 19, "round": 0, "plan": PLAN.canonical, "model": b"", "theta": theta, "risk": b""}),
        ("train_request", {**round_, "round": 1}),
        ("risk_request", {**round_, **COEFFICIENTS, "round": 2}),
        ("opinion_request", {}),
        ("sum_request", {}),
        query,
        ("bits_query", {"step": 19, "epsilon_micro": 1_000_000, "every_steps": 1}),
    ]

    def opened(context, data):
        return open_device(home)

    def say(data: bytes, endpoint: str) -> dict:
        name, fields = decode(REGISTER, open_and_answer(data, endpoint, lambda: opened(None, data)))
        print(name, flush=True)
        return fields

    with open_device(home, make_profile(Consent.IDENTIFIED)) as device:
        device.record(view(0))
        leaf, now_s = b"", device.gate.clock.now_s()
    for endpoint, fields in right:
        if endpoint == "train_request":
            with opened(None, b"") as device:
                for event in event_stream(np.random.default_rng(3), 20, 0.25):
                    device.record(event)
                device.close_until(20)
        if endpoint == "bits_query":
            with opened(None, b"") as device:
                assert device.explain(device.alerts()[-1]) is not None
                device.consent(Consent.RANDOMISED)
        if endpoint == "epoch_offer":  # with whoever answered the query in it
            signed_list = signed_epoch([leaf], now_s)
            fields = {"signed": signed_list}
            epoch = unverified(signed_list)
            listed, boxes = listed_for(seat_header(PLAN, leaf, epoch), epoch, {})
        if endpoint in ("opinion_request", "sum_request"):
            fields = seat_request(listed, boxes, epoch, 5)
        said = say(signed_request(endpoint, fields), endpoint)
        leaf = said["identity"] + said["seat"] if endpoint == "enrolment_query" else leaf
        for wrong in (b"", b"canary", signed(b"canary")):
            say(wrong, endpoint)
    with opened(None, b"") as device:
        device.what_left()
        device.pause()
    say(signed_request(*query), query[0])
    with opened(None, b"") as device:
        device.forget()
    for _ in range(2):
        say(signed_request(*query), query[0])


if __name__ == "__main__":
    main(sys.argv[1])
    print(json.dumps(heard))
