"""Flower nodes of a simulated run that are helpers: the node after the last device is the first of them.

Each is the helper as shipped, with a folder and a key of its own. What is added is its clock, which follows the server's
public calendar, as those of the devices do.
"""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from server.helper.answers import Helper
from server.helper.app import build_app
from server.signing import public_bytes
from shared.clock import ReplayClock
from shared.envelope import unwrap
from shared.errors import WireError
from shared.secure_sum.leaves import leaf_of

from ..run_folder import AUDIENCE, RunFolder


def helper_at(run: RunFolder, number: int, now_s: float = 0.0) -> Helper:
    """One helper of a run, as of a time on the public calendar."""
    keys = run.server_key(), run.enrolment_key()
    return Helper.open(run.helper(number), *keys, AUDIENCE, ReplayClock(now_s))


def identities(run: RunFolder, n_helpers: int) -> tuple[bytes, ...]:
    """The keys by which the server knows the helpers, 32 bytes each; made if they are not there."""
    return tuple(public_bytes(helper_at(run, number).identity) for number in range(n_helpers))


def leaves(run: RunFolder, n_helpers: int, epoch: int) -> list[bytes]:
    """What the helpers are in an epoch."""
    helpers = [helper_at(run, number) for number in range(n_helpers)]
    return [
        leaf_of(public_bytes(one.identity), one.store.seat_key(epoch).public_key().public_bytes_raw())
        for one in helpers
    ]


class WithHelpers(ClientApp):
    """Another app, whose nodes behind the last device are helpers."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self._devices, self._helpers = app, build_app(_helper_of)

    def __call__(self, message: Message, context: Context) -> Message:
        return (self._devices if _number(context) < 0 else self._helpers)(message, context)


def _number(context: Context) -> int:
    """Which helper a node is; below zero for a device."""
    return int(context.node_config["partition-id"]) - int(context.run_config["simulation.devices"])


def _helper_of(context: Context, data: bytes) -> Helper:
    try:
        now_s = float(unwrap(data).time_s)
    except WireError:
        now_s = 0.0
    return helper_at(RunFolder(Path(str(context.run_config["simulation.folder"]))), _number(context), now_s)
