"""The ClientApp of simulated devices, one of which fails in the middle of a round, once.

Its app raises: to kill the process under it would take the other nodes with it that Flower's simulation has in the same worker.
"""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from simulations.federation.device_app import app as devices

#: Whose app fails, and the file in its run's folder that says that it did.
VICTIM, FAILED_FILE = 7, "failed"


class Failing(ClientApp):
    """Another app, which fails when the victim hears of `test.fails-at`, a message type, for the first time."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self._app = app

    def __call__(self, message: Message, context: Context) -> Message:
        is_victim = int(context.node_config["partition-id"]) == VICTIM
        if is_victim and message.metadata.message_type == context.run_config["test.fails-at"]:
            failed = Path(str(context.run_config["simulation.folder"])) / FAILED_FILE
            if not failed.exists():
                failed.touch()
                raise RuntimeError("this node is gone")
        return self._app(message, context)


app = Failing(devices)
