"""What a device answers: the bytes of a signed request in; the device, the gate; the bytes of a reply out.

One handler for each request of the register. Nothing here knows how the bytes travel: `client/app.py` does, or an app's own
transport.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from shared.arrays import Words
from shared.codec import decode, unpack_floats
from shared.errors import (
    ConfigError,
    Forgotten,
    Refusal,
    RefusalCode,
    SurvivorsError,
    UndeclaredError,
    VersionError,
    WireError,
)
from shared.messages import REQUESTS
from shared.plan import Plan, UpdateKind
from shared.randomised_response import BitSchedule
from shared.rdp import coin, update_cost
from shared.register.recipes import BY_REQUEST, QUERIES

from .detection.alerts import alert_fields
from .device import Device
from .gate import declared
from .privacy.alert_bit import alert_bit, own_schedule
from .privacy.heard import NO_RUN, Asked
from .privacy.request_signature import verify
from .refusals import answer_forgotten, bare_refusal
from .sums import enrol, give_opinion, give_sum, join, sent_into, sum_of
from .vault.consent import Consent

#: Opens the device that answers; it is closed at the end of the `with` block.
Opening = Callable[[], AbstractContextManager[Device]]

Fields = dict[str, Any]

#: What is refused with what, where the bytes are not a request that this device answers: the more special error first.
MISREAD: tuple[tuple[type[WireError], RefusalCode], ...] = (
    (VersionError, RefusalCode.VERSION),
    (UndeclaredError, RefusalCode.UNDECLARED),
    (WireError, RefusalCode.MALFORMED),
)


def install_model(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer a model_offer: verified, installed, receipt. The very offer that was taken last is installed already; played
    again, it gets the same receipt, and that is one release."""
    try:
        plan = Plan.from_bytes(request["plan"])
    except SurvivorsError:
        raise Refusal(RefusalCode.SURVIVORS) from None
    except ConfigError:
        raise Refusal(RefusalCode.PLAN_REFUSED) from None
    weights = unpack_floats(request["theta"]), unpack_floats(request["risk"])
    receipt, heard = {"plan_sha256": plan.sha256}, device.gate.heard
    if not (heard.is_again(asked) and device.has(plan, *weights, request["round"])):
        device.install(plan, request["model"], *weights, request["round"], asked)
    elif heard.after(asked, device.gate.clock.now_s()) == heard:
        return declared("receipt", receipt, device.gate.decision.consent)
    return device.gate.release(asked.sha256, "receipt", receipt, said=asked)


def install_heads(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer a heads_offer: verified, installed beside the model, receipt."""
    popularity, weights = unpack_floats(request["popularity"]), unpack_floats(request["weights"])
    device.install_heads(request["plan_sha256"], request["start"], popularity, weights, asked)
    return device.gate.release(asked.sha256, "receipt", {"plan_sha256": request["plan_sha256"]}, said=asked)


def train(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer a train_request with one protected update, charged to the ledger."""
    theta = unpack_floats(request["theta"])
    work = device.work(request["plan_sha256"], theta)
    plan = work.installed.plan
    return _summed(device, asked, request, plan, plan.updates[0], lambda: work.update(theta, request["round"]))


def train_risk(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer a risk_request with one protected update of phi, charged to the ledger."""
    theta, basis, coefficients = (unpack_floats(request[name]) for name in ("theta", "basis", "coefficients"))
    work = device.work(request["plan_sha256"], theta)
    work.risk_plan(basis, coefficients)
    plan = work.installed.plan
    return _summed(
        device,
        asked,
        request,
        plan,
        plan.updates[1],
        lambda: work.risk_update(theta, basis, coefficients, request["round"]),
    )


def tell_crowd(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer a crowd_request with this device's share of what everybody does, charged to the ledger."""
    work = device.work(request["plan_sha256"])
    work.heads_plan()
    plan = work.installed.plan
    return _summed(device, asked, request, plan, plan.kind_of(asked.name), work.crowd_share)


def tell_curvature(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer a curvature_request with this device's share of the heads' curvature, charged to the ledger."""
    work = device.work(request["plan_sha256"])
    work.heads()
    plan = work.installed.plan
    kind, number = plan.kind_of(asked.name), request["round"]
    return _summed(device, asked, request, plan, kind, lambda: work.curvature_share(number))


def train_heads(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer a head_request with one protected update of both heads, charged to the ledger."""
    basis, coefficients = (unpack_floats(request[name]) for name in ("basis", "coefficients"))
    work = device.work(request["plan_sha256"])
    form = work.whitening(basis, coefficients)
    plan = work.installed.plan
    kind, number = plan.kind_of(asked.name), request["round"]
    return _summed(device, asked, request, plan, kind, lambda: work.head_update(*form, number))


def query(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer a request for a recipe that trains nothing: this device's share of the sum, if its user agreed, of a query that its plan
    holds, about the model that is installed; charged to the ledger."""
    recipe = BY_REQUEST[asked.name]
    if not device.gate.decision.consent.covers(recipe.consent):
        raise Refusal(RefusalCode.CONSENT)
    work = device.work(request["plan_sha256"])
    plan, number, step = work.installed.plan, request["round"], request["step"]
    wanted = plan.query(recipe.name)
    if wanted is None or request["model_round"] != work.installed.round_number:
        raise Refusal(RefusalCode.PLAN_MISMATCH)
    if not wanted.is_due(step):
        raise Refusal(RefusalCode.SCHEDULE)
    kind = plan.kind_of(asked.name)
    told = [(alert.direction, alert.category, alert.level, alert.step) for alert in device.alerts()]
    return _summed(device, asked, request, plan, kind, lambda: work.vector(wanted, told, number, step))


def _summed(
    device: Device, asked: Asked, request: Fields, plan: Plan, kind: UpdateKind, work: Callable[[], Words]
) -> bytes:
    """What no sum would take, or the ledger would refuse, is not computed either."""
    sha256 = request["plan_sha256"]
    header, member = sum_of(device, asked, request, plan, kind)
    cost = update_cost(kind.privacy, kind.n_values)
    device.gate.ledger.charge(kind.reply, cost, sha256, request["round"])
    fields = {"round": request["round"], "plan_sha256": sha256, **sent_into(header, member, work)}
    return device.gate.release(asked.sha256, kind.reply, fields, cost, sha256, asked)


def alerts(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer an alerts_query with what consent allows."""
    step = request["step"]
    return device.gate.release(asked.sha256, "alerts", alert_fields(step, device.take_alerts(step)), said=asked)


def bits(device: Device, asked: Asked, request: Fields) -> bytes:
    """Answer a bits_query with the randomised bit of a due step, charged to the ledger."""
    if device.consent() is not Consent.RANDOMISED:
        raise Refusal(RefusalCode.CONSENT)
    caps = device.gate.ledger.caps
    wanted = BitSchedule(request["epsilon_micro"], request["every_steps"])
    own = own_schedule(caps, device.profile.step.seconds)
    fields = alert_bit([alert.step for alert in device.alerts()], own, wanted, request["step"])
    return device.gate.release(asked.sha256, "alert_bit", fields, coin(wanted.epsilon), said=asked)


HANDLERS: dict[str, Callable[[Device, Asked, Fields], bytes]] = {
    "model_offer": install_model,
    "train_request": train,
    "risk_request": train_risk,
    "heads_offer": install_heads,
    "crowd_request": tell_crowd,
    "curvature_request": tell_curvature,
    "head_request": train_heads,
    "alerts_query": alerts,
    "bits_query": bits,
    "enrolment_query": enrol,
    "epoch_offer": join,
    "opinion_request": give_opinion,
    "sum_request": give_sum,
    **{recipe.request: query for recipe in QUERIES},
}


def answer(device: Device, data: bytes, expected: str | None = None) -> bytes:
    """Reply bytes of an open device to the bytes of a signed request: what an app needs that carries them itself.

        reply = answer(device, request)     # bytes to bytes, in any thread, as often as the server asks

    `expected` is the request that belongs to where the bytes arrived; None where every request arrives at one place. Never raises:
    an exception's text would travel to the server. Other calls of the device wait until the reply is there: training
    takes the longest.

    The signature comes first, then what was asked, and of whom. A request that is not the right one is refused by the device, too, so
    that its journal knows of it.
    """
    try:
        try:
            envelope = verify(data, device.profile.server_key)
            name, request = understood(envelope.body, expected, device.profile.audience)
        except Refusal as refusal:
            return device.gate.decline(refusal.code)
        # Without the time: asked again later, it is the same request.
        sha256 = hashlib.sha256(envelope.body).digest()
        asked = Asked(name, sha256, envelope.time_s, request.get("run", NO_RUN), request.get("round", 0), envelope.head)
        return device.gate.answer(sha256, lambda: HANDLERS[name](device, asked, request), asked)
    except Exception:
        return bare_refusal(RefusalCode.INTERNAL)


def open_and_answer(data: bytes, expected: str, opening: Opening) -> bytes:
    """`answer` for who holds no device: it is opened for this request, and closed. Never raises.

    A device that does not open answers with a bare refusal, and cannot tell who asks; one that was forgotten answers its server with
    its last words.
    """
    try:
        with opening() as device:
            return answer(device, data, expected)
    except Forgotten as gone:
        return answer_forgotten(gone.folder, data)
    except Exception:
        return bare_refusal(RefusalCode.INTERNAL)


def understood(body: bytes, expected: str | None, audience: str) -> tuple[str, Fields]:
    """The name and fields of the request, if it is for this audience and, where one is `expected`, that one; Refusal for anything
    else."""
    try:
        name, request = decode(REQUESTS, body)
    except WireError as error:
        raise Refusal(next(code for kind, code in MISREAD if isinstance(error, kind))) from None
    if expected is not None and name != expected:
        raise Refusal(RefusalCode.UNDECLARED)
    if request["audience"] != audience:
        raise Refusal(RefusalCode.AUDIENCE)
    return name, request
