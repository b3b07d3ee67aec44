"""The ClientApp: bytes in, the device, the gate, bytes out. The only module here that knows Flower."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from shared.clock import WallClock
from shared.codec import decode, pack_words, unpack_floats
from shared.errors import ConfigError, EbbtideError, Forgotten, Refusal, RefusalCode, UndeclaredError, WireError
from shared.lapse_risk import N_COEFFICIENTS
from shared.messages import REQUESTS
from shared.plan import Plan
from shared.randomised_response import BitSchedule
from shared.rdp import coin, update_cost

from .detection.alerts import alert_fields
from .device import Device
from .privacy.alert_bit import alert_bit, own_schedule
from .privacy.request_signature import verify
from .refusals import answer_forgotten, bare_refusal
from .vault.consent import Consent
from .vault.keys import FileKeys

#: How long a node waits for an app that has its device open, seconds.
WAIT_S = 20.0

#: Opens the device that answers; it is closed at the end of the `with` block. The bytes are what came, unchecked: a
#: simulated world reads its calendar in them, a device is opened without a look.
OpenDevice = Callable[[Context, bytes], AbstractContextManager[Device]]

Fields = dict[str, Any]


def install_model(device: Device, asked: bytes, request: Fields) -> bytes:
    """Answer a model_offer: verified, installed, receipt."""
    try:
        plan = Plan.from_bytes(request["plan"])
    except ConfigError:
        raise Refusal(RefusalCode.PLAN_REFUSED) from None
    weights = unpack_floats(request["theta"]), unpack_floats(request["risk"])
    device.install(plan, request["model"], *weights, request["round"])
    return device.gate.release(asked, "receipt", {"plan_sha256": plan.sha256})


def train(device: Device, asked: bytes, request: Fields) -> bytes:
    """Answer a train_request with one protected update, charged to the ledger. What the ledger would refuse is not
    computed either."""
    theta, sha256 = unpack_floats(request["theta"]), request["plan_sha256"]
    work = device.work(sha256, theta)
    plan = work.installed.plan
    cost = update_cost(plan.privacy, plan.network.n_parameters)
    device.gate.ledger.charge("update", cost, sha256, request["round"])
    words = work.update(theta, request["round"])
    fields = {"round": request["round"], "plan_sha256": sha256, "values": pack_words(words)}
    return device.gate.release(asked, "update", fields, cost, sha256)


def train_risk(device: Device, asked: bytes, request: Fields) -> bytes:
    """Answer a risk_request with one protected update of phi, charged to the ledger, as `train` does."""
    theta, basis, coefficients = (unpack_floats(request[name]) for name in ("theta", "basis", "coefficients"))
    sha256 = request["plan_sha256"]
    work = device.work(sha256, theta)
    risk = work.risk_plan(basis, coefficients)
    cost = update_cost(risk.privacy, N_COEFFICIENTS)
    device.gate.ledger.charge("risk_update", cost, sha256, request["round"])
    words = work.risk_update(theta, basis, coefficients, request["round"])
    fields = {"round": request["round"], "plan_sha256": sha256, "values": pack_words(words)}
    return device.gate.release(asked, "risk_update", fields, cost, sha256)


def alerts(device: Device, asked: bytes, request: Fields) -> bytes:
    """Answer an alerts_query with what consent allows."""
    step = request["step"]
    return device.gate.release(asked, "alerts", alert_fields(step, device.take_alerts(step)))


def bits(device: Device, asked: bytes, request: Fields) -> bytes:
    """Answer a bits_query with the randomised bit of a due step, charged to the ledger."""
    if device.consent() is not Consent.RANDOMISED:
        raise Refusal(RefusalCode.CONSENT)
    caps = device.gate.ledger.caps
    wanted = BitSchedule(request["epsilon_micro"], request["every_steps"])
    own = own_schedule(caps, device.profile.step.seconds)
    fields = alert_bit([alert.step for alert in device.alerts()], own, wanted, request["step"])
    return device.gate.release(asked, "alert_bit", fields, coin(wanted.epsilon))


HANDLERS: dict[str, Callable[[Device, bytes, Fields], bytes]] = {
    "model_offer": install_model,
    "train_request": train,
    "risk_request": train_risk,
    "alerts_query": alerts,
    "bits_query": bits,
}


def answer(data: bytes, expected: str, context: Context, open_device: OpenDevice) -> bytes:
    """Reply bytes to the bytes of a signed request. Never raises: an exception's text would travel to the server.

    The signature comes first, then what was asked. A request that is not the right one is refused by the device, too, so
    that its journal knows of it. A device that does not open answers with a bare refusal, and cannot tell who asks.
    """
    try:
        with open_device(context, data) as device:
            try:
                envelope = verify(data, device.profile.server_key)
                request = understood(envelope.body, expected)
            except Refusal as refusal:
                return device.gate.answer(b"", refusal.code)
            # Without the time: asked again later, it is the same request.
            asked = hashlib.sha256(envelope.body).digest()
            return device.gate.answer(asked, lambda: HANDLERS[expected](device, asked, request), envelope.time_s)
    except Forgotten as gone:
        return answer_forgotten(gone.folder, data)
    except Exception:
        return bare_refusal(RefusalCode.INTERNAL)


def understood(body: bytes, expected: str) -> Fields:
    """The fields of the request that this endpoint answers; Refusal for anything else."""
    try:
        name, request = decode(REQUESTS, body)
    except UndeclaredError:
        raise Refusal(RefusalCode.UNDECLARED) from None
    except WireError:
        raise Refusal(RefusalCode.MALFORMED) from None
    if name != expected:
        raise Refusal(RefusalCode.UNDECLARED)
    return request


def open_in_data_dir(context: Context, data: bytes) -> Device:
    """The device under the node's own `data-dir`, with every step closed that the wall clock has passed.

    `passphrase-file` names the file that holds the passphrase of its key: somewhere else, or it locks nothing.
    """
    folder, passphrase = (context.node_config.get(name) for name in ("data-dir", "passphrase-file"))
    if not folder or not passphrase:
        raise EbbtideError("expected node-config data-dir and passphrase-file")
    keys = FileKeys(Path(str(folder)), Path(str(passphrase)).read_bytes().strip())
    device = Device.open(Path(str(folder)), keys=keys, wait_s=WAIT_S)
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

    @app.query("bits")
    def on_bits(message: Message, context: Context) -> Message:
        return reply(message, context, "bits_query")

    return app


app = build_app(open_in_data_dir)
