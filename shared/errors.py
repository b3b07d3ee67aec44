"""Every exception of the project, in one tree.

    EbbtideError
    |-- InputError            somebody gave us something wrong; the message says what, and what was expected
    |   |-- ConfigError       a scenario, a `--set`, a plan
    |   |   `-- SurvivorsError  a plan that counts on the noise of more devices than its cohort has
    |   |-- DataError         a data set: missing, damaged, wrong columns, wrong hash
    |   |-- BudgetError       the plan costs more epsilon than its cap, or the budget is spent
    |   `-- ClockError        a calendar or a step that the device's own clock contradicts
    |-- WireError             bytes that are not one of our messages, or a message that breaks the register
    |   |-- SumError          what has no place in a secure sum; carries a name of a closed set
    |   |-- UndeclaredError   a message of a kind that the register does not hold
    |   |-- VersionError      a message of a version that this side does not speak
    |   |-- ProofError        a proof that does not show that somebody is on a list
    |   `-- EpochError        an epoch of the secure sum that does not hold here
    |       |-- EpochForged     not signed by the key that is pinned
    |       |-- EpochElsewhere  for other devices than those of this deployment or group
    |       |-- EpochNotBegun   its window has not begun
    |       `-- EpochEnded      its window is over
    |-- Refusal               the device declines; carries one code of a closed set, and no text of its own
    |-- ModelError            a model file that is missing, damaged or not the pinned one; no usable runtime
    |-- VaultError            the device's vault does not open, or does not take a write: nothing leaves
    |   |-- VaultBusy         another process, or another device of this one, holds it
    |   |-- VaultForked       this process was forked from the one that holds it
    |   |-- VaultFull         no room: the disk, or the vault's own cap
    |   |-- VaultReadOnly     the folder or a file in it cannot be written
    |   |-- VaultUnwritable   the disk gives an error of its own
    |   |-- VaultDamaged      bytes that are cut, changed, or in a place where they were not written
    |   |   `-- RowsPutBack   every row is genuine, but they are not the rows that were written last
    |   |-- VaultNewer        a later version of the app wrote it: file, row or ledger of a format that is not known yet
    |   |-- VaultRolledBack   the whole database is older than the anchor beside the key
    |   |-- KeyMissing        there is a database, and no key to it
    |   |-- KeyDamaged        the key file or its anchor is cut or changed
    |   |-- WrongKey          the passphrase, or the key, is another one
    |   |-- DeviceCopied      the folder is a copy, or came out of a backup: the device lives elsewhere
    |   |-- KeyWorn           the data key has sealed as often as is safe
    |   `-- Forgotten         the user had this device forgotten
    `-- RunError              a run of the system failed on its way
        `-- RunStopped        the server ended a run that would only have spent more

The command line prints an `InputError` as one line and exits with 2; any other EbbtideError exits with 1.
Messages carry the value and the expectation, and never anything a user did.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType


class EbbtideError(Exception):
    """Base of everything that this project raises on purpose."""


class InputError(EbbtideError):
    """Somebody gave us something wrong, and can mend it."""


class ConfigError(InputError):
    """A scenario, an override or a plan is not valid."""


class DataError(InputError):
    """A data set is missing, damaged, or not what it claims to be."""


class SurvivorsError(ConfigError):
    """A plan counts on the noise of more devices than its expected cohort has."""


class BudgetError(InputError):
    """The epsilon that this would cost is above its cap."""


class ClockError(InputError):
    """The device's own clock contradicts a calendar, or has not reached a step."""


class WireError(EbbtideError):
    """Bytes that are not a message of the register, or a message that breaks its bounds."""


class UndeclaredError(WireError):
    """A message of a kind that the register does not hold."""


class VersionError(WireError):
    """A message of another version of the register than this side's."""


class SumError(WireError):
    """Something that has no place in a secure sum: a header, a key, an entry, a list, a box, an answer. `reason` names which."""

    def __init__(self, reason: str, expectation: str) -> None:
        super().__init__(expectation)
        self.reason = reason


class ProofError(WireError):
    """A proof does not show that somebody is on a list."""


class EpochError(WireError):
    """An epoch of the secure sum that does not hold, here or now."""


class EpochForged(EpochError):
    """Whoever signed the epoch does not have the key that is pinned."""


class EpochElsewhere(EpochError):
    """The epoch is for other devices than those of this deployment or group."""


class EpochNotBegun(EpochError):
    """The window of the epoch has not begun."""


class EpochEnded(EpochError):
    """The window of the epoch is over."""


class ModelError(EbbtideError):
    """A model file or a TFLite runtime is missing, damaged, or not the pinned one."""


class VaultError(EbbtideError):
    """The device's vault does not open, or does not take a write."""


class VaultBusy(VaultError):
    """Another process holds the vault, or another device of this one."""


class VaultForked(VaultError):
    """The vault belongs to the process that opened it, and this one was forked from it."""


class VaultFull(VaultError):
    """There is no room for a write: the disk is full, or the vault has reached its cap."""


class VaultReadOnly(VaultError):
    """The vault's folder, or a file in it, cannot be written."""


class VaultUnwritable(VaultError):
    """The disk answered a read or a write with an error."""


class VaultDamaged(VaultError):
    """Bytes of the vault are cut, changed, or in a place where they were not written."""


class RowsPutBack(VaultDamaged):
    """Every row is genuine, but together they are not what was written last: rows are missing, or older ones are back."""


class VaultNewer(VaultError):
    """A later version of the app wrote the vault, a row of it or its ledger: nothing of it is read or changed."""


class VaultRolledBack(VaultError):
    """The whole database is older than the anchor that is kept beside the key."""


class KeyMissing(VaultError):
    """There is a database, and no key that opens it."""


class KeyDamaged(VaultError):
    """The key file or its anchor is cut or changed."""


class WrongKey(VaultError):
    """The passphrase, or the key, is not the one that the vault was sealed with."""


class KeyWorn(VaultError):
    """The data key has sealed as often as random nonces allow."""


class DeviceCopied(VaultError):
    """The folder of a device is a copy, or came out of a backup: what it spent elsewhere it cannot know."""


class Forgotten(VaultError):
    """The user had the device of this folder forgotten; it answers no round any more."""

    def __init__(self, folder: Path) -> None:
        super().__init__("expected a device: its user had it forgotten")
        self.folder = folder


class RunError(EbbtideError):
    """A run of the whole system did not come to its end."""


class RunStopped(RunError):
    """The server ended a run on its own: to go on would have spent epsilon for nothing. `why` says it without numbers, for
    what is published; the message has them."""

    def __init__(self, counted: str, why: str) -> None:
        super().__init__(f"{counted} {why}")
        self.why = why


class RefusalCode(IntEnum):
    """Why a device declines. Closed: a code is all that leaves, never a text."""

    MALFORMED = 1  #: the request does not decode
    PLAN_MISMATCH = 2  #: the plan's hash is not the hash of the plan that came along
    PLAN_REFUSED = 3  #: no plan, or one for another catalogue or another network than this device's
    VERSION = 4  #: the request is in another version of the wire format
    MODEL_REFUSED = 5  #: the model's bytes are not the pinned ones
    UNDECLARED = 6  #: the register holds no such message
    CONSENT = 7  #: this device did not agree to it
    INTERNAL = 8  #: anything else; details stay on the device
    PAUSED = 9  #: the user paused this device
    FORGOTTEN = 10  #: the user had this device forgotten
    PARTICIPATIONS = 11  #: this device took part as often as it will under this plan
    PERIOD_BUDGET = 12  #: this period's epsilon is spent, here
    LIFETIME_BUDGET = 13  #: this device's epsilon is spent, for good
    COST = 14  #: nobody can say what it would cost: no such ledger line, or a cost that is no cost
    SCHEDULE = 15  #: a bit is asked for more often or at another step than this device's schedule allows
    SIGNATURE = 16  #: nothing that the server of this device signed
    CLIP_NORM = 17  #: the plan clips at a larger norm than this device's owner allows
    EPSILON = 18  #: one participation in the plan would cost more than this device's caps of a period or of its life
    BIT_EPSILON = 19  #: a bit is asked for more loudly than this device's schedule allows
    STALE = 20  #: this device heard or answered that or something later before, and keeps the reply no more
    AUDIENCE = 21  #: the request is for other devices than those of this deployment or group
    SURVIVORS = 22  #: the plan counts on the noise of more devices than can be there, or than its owner believes in
    COSTLY = 23  #: the plan would take more memory or work than a device has for one request
    EPOCH = 24  #: this device is not enrolled in that epoch, or it is over
    SEATS = 25  #: the seats of a sum are not those that the epoch and the plan give it
    LIST = 26  #: what a seat was asked to add up is not a list of enrolled devices that signed it
    SECOND_LIST = 27  #: this seat answered for another list in the same sum


#: Every code in words, for the server's people: why devices decline, and what helps.
IN_WORDS: Mapping[RefusalCode, tuple[str, str]] = MappingProxyType(
    {
        RefusalCode.MALFORMED: ("the request does not decode there", "bring server and apps to one version"),
        RefusalCode.PLAN_MISMATCH: ("this plan is not installed there", "see why its offer was not taken"),
        RefusalCode.PLAN_REFUSED: (
            "the plan is for another catalogue or network than theirs",
            "plan for the catalogue and the network that the devices were set up with",
        ),
        RefusalCode.VERSION: (
            "the request is in another version of the wire format",
            "bring server and apps to one version",
        ),
        RefusalCode.MODEL_REFUSED: ("the model file is not the pinned one", "offer the file that the app ships with"),
        RefusalCode.UNDECLARED: ("no such request is known there", "bring server and apps to one version"),
        RefusalCode.CONSENT: ("their owners did not agree to it", "ask for what owners agreed to"),
        RefusalCode.INTERNAL: ("something failed on the device", "look at the problems that a device counted"),
        RefusalCode.PAUSED: ("their owners paused them", "go on with the run later"),
        RefusalCode.FORGOTTEN: ("their owners had them forgotten", "begin a run with other devices"),
        RefusalCode.PARTICIPATIONS: (
            "they took part as often as their owners' caps allow in one plan",
            "plan fewer rounds or a lower sampling rate, or have the cap on participations raised",
        ),
        RefusalCode.PERIOD_BUDGET: (
            "the epsilon that their owners allow in a period is spent",
            "plan more noise or fewer rounds, go on when the period is over, or have the caps raised",
        ),
        RefusalCode.LIFETIME_BUDGET: (
            "the epsilon that their owners allow for good is spent",
            "plan more noise or fewer rounds from the start, or have the caps raised",
        ),
        RefusalCode.COST: ("nobody can say what it would cost", "plan noise for every part that is learned"),
        RefusalCode.SCHEDULE: ("a bit is asked for more often than owners allow", "ask for bits less often"),
        RefusalCode.SIGNATURE: (
            "the server that they were set up with did not sign the request",
            "run with the key that the devices pinned, and clocks that are right",
        ),
        RefusalCode.CLIP_NORM: (
            "the plan clips at a larger norm than owners allow",
            "plan a smaller clip_norm, or have the cap raised",
        ),
        RefusalCode.EPSILON: (
            "one participation costs more than owners allow",
            "plan more noise, or have the caps on epsilon raised",
        ),
        RefusalCode.BIT_EPSILON: ("a bit is asked for more loudly than owners allow", "ask with a smaller epsilon"),
        RefusalCode.STALE: (
            "they heard that, or something later, before",
            "begin a new run, and see that its clock is right",
        ),
        RefusalCode.AUDIENCE: (
            "they belong to another deployment or group",
            "address the audience that the devices were set up for",
        ),
        RefusalCode.SURVIVORS: (
            "the plan counts on the noise of more devices than can be there, or than owners believe in",
            "plan for the devices that there are, or have the cap on survivors raised",
        ),
        RefusalCode.COSTLY: (
            "the plan takes more memory or work than a device has for it",
            "plan fewer rows, steps or windows",
        ),
        RefusalCode.EPOCH: (
            "they are not enrolled in the epoch of the sum, or it is over",
            "enrol the devices, have the list signed, and offer the epoch before the first round",
        ),
        RefusalCode.SEATS: (
            "the seats of the sum are not those that the epoch and the plan give it",
            "name the helpers or draw the seats as the plan says",
        ),
        RefusalCode.LIST: (
            "a list of devices to add up was not right",
            "list enrolled devices, each once, as they signed",
        ),
        RefusalCode.SECOND_LIST: (
            "they answered for another list in this sum",
            "ask for the list that was asked first",
        ),
    }
)


class Refusal(EbbtideError):
    """The device declines. `code` is what leaves; the text is for this device's own counters."""

    def __init__(self, code: RefusalCode) -> None:
        super().__init__(code.name.lower())
        self.code = code
