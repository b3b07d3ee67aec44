"""What goes wrong on a device, counted by name, and what to do about each name.

Names hold nothing of what a user did. A name is one of this file's; or that of an error of `shared/errors.py`; or, for an error
that is none of Ebbtide's, the name of its class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

#: What is not the name of an error.
OWN_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "callback": "the app's own on_step raised: mend it there; it is told of those alerts again when the device is next opened",
        "clock_was_ahead": "the clock had been ahead: what closed meanwhile was taken back (`Device.withdrawn`); nothing to do",
        "clock_jump": "an event was dated further ahead than the device's clock allows, and not counted: set the clock",
        "event_out_of_range": "an event of no category, kind, time or amount that counts was refused: mend the app's call",
        "late_event": "an event came long after its step had closed, and was counted there: the clock was wrong, then or now",
        "model_dropped": "the vault held another model file than this app pins: it waits for the next offer; nothing to do",
        "plan_dropped": "the vault held a plan that this app cannot read: it waits for the next offer; nothing to do",
        "scoring": "a step closed without scores, because the model did not run: see that the TFLite runtime is there and works",
        "training": "a round was answered with noise alone, because training failed: see that the TFLite runtime can train",
    }
)

#: Errors of `shared/errors.py`, where they can be counted.
ERRORS: Mapping[str, str] = MappingProxyType(
    {
        "BudgetError": "more epsilon was asked for than is allowed, and nothing was spent: nothing to do",
        "ClockError": "the calendar and the clock contradict each other, and nothing was done: set `origin_s`, or mend the clock",
        "ConfigError": "a setting that the app passed is not valid: mend the app's call",
        "DataError": "data was not what it should be, and not used: mend the app's call",
        "DeviceCopied": "the folder is a copy of another device's: begin a new one there with `Device.start_anew`",
        "EbbtideError": "an error without a name of its own: report it",
        "EpochElsewhere": "an epoch of the secure sum for another audience was refused: nothing to do, unless `audience` is wrong",
        "EpochEnded": "an epoch of the secure sum that is over was refused: nothing to do, unless the device's clock is ahead",
        "EpochError": "an epoch of the secure sum was not one that holds, and was refused: nothing to do",
        "EpochForged": "an epoch that the pinned key did not sign was refused: nothing to do, unless `enrolment_key` is wrong",
        "EpochNotBegun": "an epoch of the secure sum that begins later was refused: nothing to do, unless the clock is behind",
        "Forgotten": "the user had this device forgotten, and nothing counts any more: stop calling it, or set up a new one elsewhere",
        "InputError": "a method got what it does not understand, and did nothing: mend the app's call",
        "KeyDamaged": "the key file or its anchor is cut or changed: put it back from where it is kept, or forget the device",
        "KeyMissing": "the key of the vault is gone: put it back from where it is kept, or forget the device",
        "KeyWorn": "the vault's key has sealed as often as is safe: forget the device and set up a new one",
        "ModelError": "the model file or the TFLite runtime is missing or another one: ship the app with both",
        "ProofError": "keys that are not on the list of an epoch were refused in a secure sum: nothing to do",
        "Refusal": "something was declined that no request had asked for: report it",
        "RowsPutBack": "older rows of the vault are back: something else writes its file; forget the device",
        "RunError": "a run failed, and a device makes none: report it",
        "RunStopped": "a run was stopped, and a device makes none: report it",
        "SumError": "something that has no place in a secure sum was refused, and added to none: nothing to do",
        "SurvivorsError": "a plan counts on the noise of devices that are not there, and was refused: nothing to do",
        "UndeclaredError": "a message of a kind that is not declared was refused: bring server and app to one version",
        "VaultBusy": "something else held the vault for too long: open it again later, or wait longer (`wait_s`)",
        "VaultDamaged": "the vault's file is cut or changed: something else writes it; forget the device",
        "VaultError": "the vault did not take or give something, or was closed before: open the device again, and repeat the call",
        "VaultForked": "a forked process used a device that its parent holds: open devices after forking, or start processes anew",
        "VaultFull": "the disk or the vault is full, and what came was not counted: make room, or raise `Limits.max_bytes`",
        "VaultNewer": "a later version of the app wrote the vault: install that again",
        "VaultReadOnly": "the vault's folder cannot be written: give the app its rights back",
        "VaultRolledBack": "the vault is older than its anchor: put the newer one back, or forget the device",
        "VaultUnwritable": "the disk gave an error: see that it is well, and repeat the call",
        "VersionError": "a message of another version was refused: bring server and app to one version",
        "WireError": "bytes that are no message were refused: nothing to do, unless they are the app's own",
        "WrongKey": "the passphrase, or the key, is another one: open the device with the right one",
    }
)

#: For an error that is none of Ebbtide's.
FOREIGN = "an error of this name came out of what the app brought (keys, clock, entropy, arguments) or of Python: see which, and report it"


def what_to_do(name: str) -> str:
    """One sentence on what was counted under `name`, and what helps."""
    return OWN_NAMES.get(name) or ERRORS.get(name) or FOREIGN


class Problems(Counter[str]):
    """How often what went wrong, by name. It may be read while another thread counts."""

    def __iter__(self) -> Any:
        return iter(list(super().__iter__()))

    def keys(self) -> Any:
        """The names so far."""
        return list(super().keys())

    def items(self) -> Any:
        """(name, how often) so far."""
        return list(super().items())

    def values(self) -> Any:
        """How often each so far."""
        return list(super().values())
