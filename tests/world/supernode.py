"""The ClientApp that a SuperNode of the tests loads. A Flower app names one for all nodes: where a device lives, this is the client as
shipped, and where a helper does, who was told a server's key, the helper as shipped."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.app import app as device
from server.helper.app import app as helper


class Either(ClientApp):
    """What lives here answers."""

    def __call__(self, message: Message, context: Context) -> Message:
        return (helper if "server-key" in context.node_config else device)(message, context)


app = Either()
