"""The ClientApp of a helper's SuperNode: the bytes of Flower's messages, to the helper and back.

flower-supernode ... --node-config 'clientapp="server.helper.app:app" data-dir="..." server-key="<hex>" enrolment-key="<hex>"
audience="..."'
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from shared.clock import WallClock
from shared.codec import array_bytes, limits_of
from shared.errors import ConfigError
from shared.messages import REQUESTS, SIGNED

from .answers import HANDLERS, Helper

#: Opens the helper that answers; the bytes are what came, unchecked, for a simulated world that reads its calendar in them.
OpenHelper = Callable[[Context, bytes], Helper]


def helper_of(context: Context, data: bytes) -> Helper:
    """The helper under the node's own `data-dir`, on the wall clock."""
    folder, audience = (str(context.node_config.get(name, "")) for name in ("data-dir", "audience"))
    if not folder:
        raise ConfigError("expected node-config data-dir")
    server_key, enrolment_key = _key(context, "server-key"), _key(context, "enrolment-key")
    return Helper.open(Path(folder), server_key, enrolment_key, audience, WallClock())


def _key(context: Context, name: str) -> bytes:
    try:
        key = bytes.fromhex(str(context.node_config[name]))
    except (KeyError, ValueError):
        key = b""
    if len(key) != 32:
        raise ConfigError(f"expected node-config {name}, a public key of 32 bytes in hex")
    return key


def answering(open_helper: OpenHelper, expected: str) -> Callable[[Message, Context], Message]:
    """What a helper's node does with a message that has to carry an `expected` request."""

    def reply(message: Message, context: Context) -> Message:
        try:
            found = array_bytes(
                message.content["wire"]["bytes"].data,  # type: ignore[union-attr]
                limits_of(SIGNED["signed"]).most_bytes,
            )
        except Exception:
            found = b""
        data = found if isinstance(found, bytes) else b""
        said = open_helper(context, data).answer(data, expected)
        wire = Array(np.frombuffer(said, dtype=np.uint8))
        return Message(RecordDict({"wire": ArrayRecord({"bytes": wire})}), reply_to=message)

    return reply


def build_app(open_helper: OpenHelper) -> ClientApp:
    """A ClientApp of helpers that come from `open_helper`."""
    app = ClientApp()
    for name in HANDLERS:
        action = REQUESTS[name].endpoint.partition(".")[2]
        app.query(action)(answering(open_helper, name))
    return app


app = build_app(helper_of)
