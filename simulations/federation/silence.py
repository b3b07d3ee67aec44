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

from .metering import TRAIN
from .run_folder import RunFolder

#: What Flower says of a node that cannot be reached.
OUT_OF_REACH = Error(code=ErrorCode.NODE_UNAVAILABLE, reason="silent")


def answering(devices: Sequence[int], dropout: float, entropy: Entropy = os.urandom) -> list[int]:
    """Those of the devices that answer a round, if each stays silent with probability `dropout`."""
    return poisson_cohort(devices, 1 - dropout, entropy)


@lru_cache(maxsize=8)
def dropout_of(run: RunFolder) -> float:
    """The share of a cohort that stays silent in a run."""
    return run.scenario().simulation.dropout


class Silent(ClientApp):
    """Another app, whose node fails in some training rounds, before the app hears of them."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self._app = app

    def __call__(self, message: Message, context: Context) -> Message:
        if message.metadata.message_type.partition(".")[0] == TRAIN:
            dropout = dropout_of(RunFolder(Path(str(context.run_config["simulation.folder"]))))
            if not answering([0], dropout):
                return Message(OUT_OF_REACH, reply_to=message)
        return self._app(message, context)
