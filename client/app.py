"""The ClientApp: bytes in, the device, the gate, bytes out. The only module here that knows Flower."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from shared.clock import WallClock
from shared.codec import decode, pack_words, unpack_floats
from shared.errors import ConfigError, EbbtideError, Refusal, RefusalCode, WireError
from shared.messages import REQUESTS
from shared.plan import Plan

from .consent import Consent
from .device import Alert, Device
from .gate import Gate

#: Opens the device that answers a request whose public calendar says `step`.
OpenDevice = Callable[[Context, int], Device]

Fields = dict[str, Any]


def install_model(device: Device, request: Fields) -> bytes:
    """Answer a model_offer: verified, installed, receipt."""
    try:
        plan = Plan.from_bytes(request["plan"])
    except ConfigError:
        raise Refusal(RefusalCode.PLAN_REFUSED) from None
    weights = unpack_floats(request["theta"]), unpack_floats(request["risk"])
    device.install(plan, request["model"], *weights, request["round"])
    return device.gate.release("receipt", {"plan_sha256": plan.sha256})


def train(device: Device, request: Fields) -> bytes:
    """Answer a train_request with one protected update."""
    words = device.update(request["plan_sha256"], unpack_floats(request["theta"]), request["round"])
    fields = {"round": request["round"], "plan_sha256": request["plan_sha256"], "values": pack_words(words)}
    return device.gate.release("update", fields)


def train_risk(device: Device, request: Fields) -> bytes:
    """Answer a risk_request with one protected update of phi."""
    theta, basis, coefficients = (unpack_floats(request[name]) for name in ("theta", "basis", "coefficients"))
    words = device.risk_update(request["plan_sha256"], theta, basis, coefficients, request["round"])
    fields = {"round": request["round"], "plan_sha256": request["plan_sha256"], "values": pack_words(words)}
    return device.gate.release("risk_update", fields)


def alert_fields(step: int, alerts: list[Alert]) -> Fields:
    """The fields of an alerts reply."""
    found = [
        {
            "direction": int(alert.direction),
            "category": alert.category,
            "level": int(alert.level),
            "step": alert.step,
            "model_round": alert.model_round,
        }
        for alert in alerts
    ]
    return {"step": step, "alerts": found}


def alerts(device: Device, request: Fields) -> bytes:
    """Answer an alerts_query with what consent allows."""
    step = request["step"]
    return device.gate.release("alerts", alert_fields(step, device.take_alerts(step)))


HANDLERS: dict[str, Callable[[Device, Fields], bytes]] = {
    "model_offer": install_model,
    "train_request": train,
    "risk_request": train_risk,
    "alerts_query": alerts,
}


def answer(data: bytes, expected: str, context: Context, open_device: OpenDevice) -> bytes:
    """Reply bytes to request bytes. Never raises: an exception's text would travel to the server."""
    gate = Gate(Consent.LOCAL)
    try:
        name, request = decode(REQUESTS, data)
        if name != expected:
            raise Refusal(RefusalCode.UNDECLARED)
        device = open_device(context, request["step"])
        gate = device.gate
        reply = HANDLERS[name](device, request)
        device.save()
        return reply
    except Refusal as refusal:
        return gate.refuse(refusal)
    except WireError:
        return gate.refuse(Refusal(RefusalCode.MALFORMED))
    except Exception:
        return gate.refuse(Refusal(RefusalCode.INTERNAL))


def open_in_data_dir(context: Context, step: int) -> Device:
    """The device under the node's own `data-dir`, with every step closed that the wall clock has passed."""
    folder = context.node_config.get("data-dir")
    if not folder:
        raise EbbtideError("expected node-config data-dir")
    device = Device.open(Path(str(folder)))
    device.close_until(device.profile.step.at(WallClock().now_s() - device.profile.origin_s))
    return device


def build_app(open_device: OpenDevice) -> ClientApp:
    """A ClientApp whose devices come from `open_device`."""
    app = ClientApp()

    def reply(message: Message, context: Context, expected: str) -> Message:
        try:
            data = message.content["wire"]["bytes"].numpy().tobytes()  # type: ignore[union-attr]
        except Exception:
            data = b""
        out = np.frombuffer(answer(data, expected, context, open_device), dtype=np.uint8)
        return Message(RecordDict({"wire": ArrayRecord({"bytes": Array(out)})}), reply_to=message)

    @app.train()
    def on_train(message: Message, context: Context) -> Message:
        return reply(message, context, "train_request")

    @app.train("risk")
    def on_train_risk(message: Message, context: Context) -> Message:
        return reply(message, context, "risk_request")

    @app.query("model")
    def on_model(message: Message, context: Context) -> Message:
        return reply(message, context, "model_offer")

    @app.query("alerts")
    def on_alerts(message: Message, context: Context) -> Message:
        return reply(message, context, "alerts_query")

    return app


app = build_app(open_in_data_dir)
