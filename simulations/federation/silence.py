"""Who stays silent in a training round: some devices are switched off, out of reach or busy, and nobody knows which.

Every way of carrying a run out asks here, so that a simulated round has the gaps of a real one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from server.rounds import poisson_cohort
from shared.mechanisms import Entropy
from shared.messages import REQUESTS
from shared.register.recipes import BY_REQUEST

from .run_folder import RunFolder

#: Where a device is asked into a sum.
SUMMED = frozenset(REQUESTS[request].endpoint for request in BY_REQUEST)
#: Where a seat is first asked: one that is silent there is asked no more in its round.
SEATED = REQUESTS["opinion_request"].endpoint
#: What Flower says of a node that cannot be reached.
OUT_OF_REACH = Error(code=ErrorCode.NODE_UNAVAILABLE, reason="silent")


def answering(devices: Sequence[int], dropout: float, entropy: Entropy = os.urandom) -> list[int]:
    """Those of the devices that answer a round, if each stays silent with probability `dropout`."""
    return poisson_cohort(devices, 1 - dropout, entropy)


@lru_cache(maxsize=8)
def dropout_of(run: RunFolder) -> tuple[float, float]:
    """The shares of a cohort, and of the devices that hold its seats, that stay silent in a run."""
    simulation = run.scenario().simulation
    return simulation.dropout, simulation.seat_dropout


class Silent(ClientApp):
    """Another app, whose node fails in some rounds and other sums, before the app hears of them; and as a seat in some, once it was
    drawn."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self._app = app

    def __call__(self, message: Message, context: Context) -> Message:
        kind = message.metadata.message_type
        if kind in SUMMED or kind == SEATED:
            device, seat = dropout_of(RunFolder(Path(str(context.run_config["simulation.folder"]))))
            if not answering([0], seat if kind == SEATED else device):
                return Message(OUT_OF_REACH, reply_to=message)
        return self._app(message, context)
