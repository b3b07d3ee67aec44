"""The ClientApp: the bytes of Flower's messages, to a device and back. The only module here that knows Flower."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from shared.clock import WallClock
from shared.codec import array_bytes, limits_of
from shared.errors import ConfigError, EbbtideError
from shared.messages import REQUESTS, SIGNED
from shared.register.kinds import MessageKind

from .answers import open_and_answer
from .device import Device
from .vault.keys import FileKeys

#: How long a node waits for an app that has its device open, seconds.
WAIT_S = 20.0

#: Opens the device that answers; it is closed at the end of the `with` block. The bytes are what came, unchecked: a
#: simulated world reads its calendar in them, a device is opened without a look.
OpenDevice = Callable[[Context, bytes], AbstractContextManager[Device]]
Handler = Callable[[Message, Context], Message]


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
    """A ClientApp whose devices come from `open_device`: an endpoint for each request of the register."""
    app = ClientApp()
    for kind in REQUESTS.values():
        route(app, kind, answering(kind.name, open_device))
    return app


def route(app: ClientApp, kind: MessageKind, handler: Handler) -> None:
    """Have the app call `handler` for messages of a request's endpoint."""
    category, _, action = kind.endpoint.partition(".")
    register = app.train if category == "train" else app.query
    register(action or "default")(handler)


def carried(message: Message) -> bytes:
    """The bytes that a message carries; none if it carries anything else, or more than any request has."""
    try:
        found = array_bytes(message.content["wire"]["bytes"].data, limits_of(SIGNED["signed"]).most_bytes)  # type: ignore[union-attr]
    except Exception:
        return b""
    return found if isinstance(found, bytes) else b""


def answering(expected: str, open_device: OpenDevice) -> Handler:
    """What a node does with a message that has to carry an `expected` request."""

    def reply(message: Message, context: Context) -> Message:
        data = carried(message)
        said = open_and_answer(data, expected, lambda: open_device(context, data))
        wire = Array(np.frombuffer(said, dtype=np.uint8))
        return Message(RecordDict({"wire": ArrayRecord({"bytes": wire})}), reply_to=message)

    return reply


class OfItsNode(ClientApp):
    """The app of a node: `app`, or the one that the node's own configuration names (`clientapp`, as module:attribute), for a Flower
    app has one for all of its nodes. So a helper's node answers by `server.helper.app:app`. No message and no server can
    change it."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self._app = app

    def __call__(self, message: Message, context: Context) -> Message:
        other = context.node_config.get("clientapp")
        return (named(str(other)) if other else self._app)(message, context)


def named(where: str) -> ClientApp:
    """The ClientApp at module:attribute; ConfigError if there is none."""
    module, _, attribute = where.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, ValueError, AttributeError) as error:
        raise ConfigError(f"expected node-config clientapp as module:attribute, got {where!r}: {error}") from None
    if not isinstance(found, ClientApp):
        raise ConfigError(f"expected a ClientApp at {where}, got another kind")
    return found


app = OfItsNode(build_app(open_in_data_dir))
