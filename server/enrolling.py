"""How an epoch of enrolment comes about, from the server's side: keys are asked for, the list is written down, somebody else
signs it, and everybody gets what was signed.

The server writes `enrolment.list` and waits for `epoch.signed` beside it: `ebbtide enrol sign` makes one of the other, with a key
that this server does not have. An epoch ends; what is asked for later needs another one, for which everybody draws other keys.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from shared.clock import Clock
from shared.errors import ConfigError, RunError, WireError
from shared.secure_sum.epoch import EnrolmentList, read_epoch, read_list, unverified, write_list
from shared.secure_sum.leaves import expect_leaf, identity_of, members, seat_key_of

from .channel import Channel
from .enrolment import Enrolment
from .roll import Roll
from .settings import RunSettings
from .state import ServerFolder

_POLL_S = 0.05


def enrolled(
    channel: Channel, connected: Iterable[int], settings: RunSettings, folder: ServerFolder, clock: Clock | None = None
) -> Roll:
    """The roll of a run, once its list is signed: of at most as many devices as epsilon is stated for. A run that goes on has the
    one that it has, or another if that is over by the clock. RunError if nobody signs in time, or a helper does not take the
    epoch."""
    enrolment = channel.enrolment
    if enrolment.closed and clock is not None and _is_over(enrolment, folder, clock.now_s()):
        return enrolled_anew(channel, settings, folder, clock)
    if not enrolment.closed:
        helping, devices = _keys(channel, connected, settings, settings.epoch)
        if left_out := enrolment.enrol(devices, settings.plan.privacy.population, helping):
            channel.traffic.dropped["not_enrolled"] += left_out
    if not folder.enrolment_list.exists():
        _list(enrolment, settings, folder, settings.epoch)
    return _offered(channel, settings, folder)


def enrolled_anew(channel: Channel, settings: RunSettings, folder: ServerFolder, clock: Clock) -> Roll:
    """The roll of the epoch after the last one: the same devices and helpers, as far as they are there, with other keys, under a
    higher number, and a signature of its own. RunError as `enrolled`."""
    enrolment, before = channel.enrolment, settings.epoch
    if folder.enrolment_list.exists():
        before = max(before, read_list(folder.enrolment_list).number)
    number = max(before + 1, int(clock.now_s()))
    helping, devices = _keys(channel, [*enrolment.nodes, *enrolment.helpers.values()], settings, number)
    enrolment.renew(devices, helping)
    _list(enrolment, settings, folder, number)
    return _offered(channel, settings, folder)


def _keys(
    channel: Channel, nodes: Iterable[int], settings: RunSettings, number: int
) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """The leaves of helpers and of devices in an epoch, by node: of those that answer."""
    replies = channel.ask(nodes, "enrolment_query", {"audience": settings.audience, "epoch": number})
    leaves = {node: reply["identity"] + reply["seat"] for node, reply in replies.items()}
    helping = {node: leaf for node, leaf in leaves.items() if identity_of(leaf) in settings.helpers}
    devices = right_keys({node: leaf for node, leaf in leaves.items() if node not in helping})
    if wrong := len(leaves) - len(helping) - len(devices):
        channel.traffic.dropped["enrolment_keys"] += wrong
    return helping, devices


def _list(enrolment: Enrolment, settings: RunSettings, folder: ServerFolder, number: int) -> None:
    write_list(folder.enrolment_list, EnrolmentList(settings.audience, number, tuple(enrolment.devices)))


def _offered(channel: Channel, settings: RunSettings, folder: ServerFolder) -> Roll:
    """The roll of the list that is written down, once it is signed and everybody was told."""
    enrolment = channel.enrolment
    signed = _signed(folder, settings.epoch_wait_s)
    roll = roll_of(channel, signed)
    asked = [*enrolment.nodes, *enrolment.helpers.values()]
    taken = channel.ask(
        asked, "epoch_offer", {"audience": settings.audience, "epoch": roll.epoch.number, "signed": signed}
    )
    if silent := [leaf for leaf in roll.epoch.helpers if roll.node_of(leaf) not in taken]:
        raise RunError(f"expected every helper to take the epoch, got {len(silent)} that did not: see what they log")
    return roll


def _is_over(enrolment: Enrolment, folder: ServerFolder, now_s: float) -> bool:
    """Whether the epoch that is written down cannot be gone on with: it ended, or keys were renewed after its list was made."""
    if not (folder.enrolment_list.exists() and folder.signed_epoch.exists()):
        return False
    listed = read_list(folder.enrolment_list)
    if set(listed.leaves) != set(enrolment.devices):
        return True
    try:
        epoch = unverified(read_epoch(folder.signed_epoch))
    except WireError:
        return False
    return epoch.number == listed.number and epoch.ends_s <= now_s


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
    """The epoch of the list that is written down, once it is signed: one of an earlier list may lie there until then. RunError
    after `wait_s`."""
    end_s = time.monotonic() + wait_s
    number = read_list(folder.enrolment_list).number
    while not (folder.signed_epoch.exists() and is_of(folder.signed_epoch, number)):
        if time.monotonic() > end_s:
            raise RunError(
                f"expected {folder.signed_epoch.name} beside {folder.enrolment_list.name} within {wait_s:.0f} s: have the list "
                "signed (ebbtide enrol sign) and begin again"
            )
        time.sleep(_POLL_S)
    return read_epoch(folder.signed_epoch)


def is_of(file: Path, number: int) -> bool:
    """Whether a file holds an epoch of this number, or what is no epoch, which its reader has to say."""
    try:
        return unverified(read_epoch(file)).number == number
    except WireError:
        return True
