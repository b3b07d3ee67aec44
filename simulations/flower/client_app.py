"""The ClientApp of `flwr run simulations/flower`: that of `hosts` fidelity, which finds its run by what it was configured with."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from ..federation.host_app import app as hosts
from .run_place import run_at


class Placed(ClientApp):
    """Another app, whose nodes learn where the run lies."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self._app = app

    def __call__(self, message: Message, context: Context) -> Message:
        placed = {**context.run_config, "simulation.folder": str(run_at(context.run_config).path)}
        own = Context(context.run_id, context.node_id, context.node_config, context.state, placed)
        return self._app(message, own)


app = Placed(hosts)
