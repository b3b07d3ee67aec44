"""How an epoch of enrolment comes about, from the server's side: keys are asked for, the list is written down, somebody else
signs it, and everybody gets what was signed.

The server writes `enrolment.list` and waits for `epoch.signed` beside it: `ebbtide enrol sign` makes one of the other, with a key
that this server does not have.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

from shared.errors import ConfigError, RunError, WireError
from shared.secure_sum.epoch import EnrolmentList, read_epoch, unverified, write_list
from shared.secure_sum.leaves import expect_leaf, identity_of, members, seat_key_of

from .channel import Channel
from .roll import Roll
from .settings import RunSettings
from .state import ServerFolder

_POLL_S = 0.05


def enrolled(channel: Channel, connected: Iterable[int], settings: RunSettings, folder: ServerFolder) -> Roll:
    """The roll of a run, once its list is signed: of at most as many devices as epsilon is stated for. A run that goes on has the
    one that it began with. RunError if nobody signs in time, or a helper does not take the epoch."""
    enrolment = channel.enrolment
    if not enrolment.closed:
        request = {"audience": settings.audience, "epoch": settings.epoch}
        replies = channel.ask(connected, "enrolment_query", request)
        leaves = {node: reply["identity"] + reply["seat"] for node, reply in replies.items()}
        helping = {node: leaf for node, leaf in leaves.items() if identity_of(leaf) in settings.helpers}
        devices = right_keys({node: leaf for node, leaf in leaves.items() if node not in helping})
        if wrong := len(leaves) - len(helping) - len(devices):
            channel.traffic.dropped["enrolment_keys"] += wrong
        if left_out := enrolment.enrol(devices, settings.plan.privacy.population, helping):
            channel.traffic.dropped["not_enrolled"] += left_out
    if not folder.enrolment_list.exists():
        listed = EnrolmentList(settings.audience, settings.epoch, tuple(enrolment.devices))
        write_list(folder.enrolment_list, listed)
    signed = _signed(folder, settings.epoch_wait_s)
    roll = roll_of(channel, signed)
    asked = [*enrolment.nodes, *enrolment.helpers.values()]
    taken = channel.ask(
        asked, "epoch_offer", {"audience": settings.audience, "epoch": roll.epoch.number, "signed": signed}
    )
    if silent := [leaf for leaf in roll.epoch.helpers if roll.node_of(leaf) not in taken]:
        raise RunError(f"expected every helper to take the epoch, got {len(silent)} that did not: see what they log")
    return roll


def right_keys(leaves: Mapping[int, bytes]) -> dict[int, bytes]:
    """The nodes whose keys no list refuses: of full order, in their one spelling, and nobody else's. Of those who share one nobody
    can say whose it is, so none of them is in."""
    right = {}
    for node, leaf in leaves.items():
        with suppress(ConfigError):
            expect_leaf(leaf)
            right[node] = leaf
    shared = Counter(key for leaf in right.values() for key in {identity_of(leaf), seat_key_of(leaf)})
    return {node: leaf for node, leaf in right.items() if shared[identity_of(leaf)] == shared[seat_key_of(leaf)] == 1}


def roll_of(channel: Channel, signed: bytes) -> Roll:
    """The roll of an epoch that was signed over the run's devices; RunError for one of others."""
    try:
        epoch = unverified(signed)
    except WireError as error:
        raise RunError(f"expected a signed epoch: {error}") from None
    enrolment = channel.enrolment
    return Roll(epoch, members(enrolment.devices), {**enrolment.devices, **enrolment.helpers})


def _signed(folder: ServerFolder, wait_s: float) -> bytes:
    """The epoch, once it is signed; RunError after `wait_s`."""
    end_s = time.monotonic() + wait_s
    while not folder.signed_epoch.exists():
        if time.monotonic() > end_s:
            raise RunError(
                f"expected {folder.signed_epoch.name} beside {folder.enrolment_list.name} within {wait_s:.0f} s: have the list "
                "signed (ebbtide enrol sign) and begin again"
            )
        time.sleep(_POLL_S)
    return read_epoch(folder.signed_epoch)
