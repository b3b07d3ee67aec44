"""What a device is from its first day on: calendar, catalogue, the one server that it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time

from shared.arguments import octets, real, whole
from shared.codec import fits_utf8
from shared.errors import ClockError, ConfigError, InputError
from shared.events import MAX_CATEGORIES, Catalogue, Step
from shared.register.bounds import MAX_AUDIENCE_BYTES

from .vault.consent import Consent

#: Steps that close at once, at most: a clock that jumps further ahead is a broken clock. Over eleven years of days. Nor may
#: a device be set up later on its calendar than that: a history begins with step 0.
MAX_JUMP_STEPS = 4096
#: Nothing is recorded, no step closes and no calendar begins further ahead of the device's own clock than this.
AHEAD_S = 86_400.0
#: Seconds since 1970 that no clock shows, either way.
MOST_S = 2.0**40


def origin_of(day: date) -> float:
    """When a calendar whose step 0 begins with this day begins, at midnight UTC: seconds since 1970.

    >>> origin_of(date(2026, 1, 1))
    1767225600.0
    """
    if isinstance(day, datetime) or not isinstance(day, date):
        raise ConfigError("expected a date, without an hour")
    return datetime.combine(day, time(), UTC).timestamp()


@dataclass(frozen=True)
class Profile:
    """What a device is, from its first day on.

    The calendar: step 0 begins at `origin_s`, seconds since 1970 in UTC, as the device's clock shows them, and every step is
    as long as every other. There is no default: server and devices share it (`origin_of` makes one of a date), and a device
    whose clock contradicts it is not set up. Events are dated by absolute time: a time zone, a flight, or an hour that a
    summer begins or ends with, changes nothing.

    `number` is its own, random; it seeds the draw of rows. `consent` is what the user agreed to when the device was set
    up; `Device.consent` says what holds now. `server_key` is the Ed25519 public key (32 bytes) of the one server that it
    answers, `audience` the deployment or group of that server's that it was set up for, at most 64 bytes in UTF-8: what
    is asked of others it refuses. `enrolment_key` is the Ed25519 public key (32 bytes) under which alone it believes an
    epoch of the secure sum (`shared/secure_sum/epoch.py`); b"" is a device without a secure sum. No message can change
    any of them. `names`: the catalogue's, which only a catalogue that grew needs (`after`); they are not kept. InputError
    for anything that is only nearly a profile.
    """

    step: Step
    n_categories: int
    catalogue_sha256: bytes
    server_key: bytes
    consent: Consent = Consent.LOCAL
    number: int = -1
    origin_s: float = math.nan
    audience: str = ""
    enrolment_key: bytes = b""
    names: tuple[str, ...] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        try:
            self._become(step=Step(self.step), consent=Consent(self.consent))
        except Exception:
            raise InputError("expected a Step and a Consent") from None
        self._become(
            n_categories=whole(self.n_categories, f"1 to {MAX_CATEGORIES} categories", 1, MAX_CATEGORIES),
            catalogue_sha256=octets(self.catalogue_sha256, "catalogue_sha256, the catalogue's hash", 32),
            server_key=octets(self.server_key, "server_key, the server's Ed25519 public key", 32),
            enrolment_key=_enrolment_key(self.enrolment_key),
            number=whole(self.number, "number", -1, (1 << 64) - 1),
            origin_s=real(self.origin_s, "origin_s, when step 0 begins, in seconds since 1970", -MOST_S, MOST_S),
        )
        if type(self.audience) is not str or not fits_utf8(self.audience, MAX_AUDIENCE_BYTES):
            raise InputError(f"expected audience, a text of at most {MAX_AUDIENCE_BYTES} bytes")
        if self.names is not None and self._hash_of(self.names) != self.catalogue_sha256:
            raise InputError("expected the names of the catalogue that catalogue_sha256 is the hash of")

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        step: Step,
        server_key: bytes,
        origin_s: float,
        *,
        consent: Consent = Consent.LOCAL,
        audience: str = "",
        enrolment_key: bytes = b"",
    ) -> Profile:
        """The profile of a new device for a catalogue."""
        if not isinstance(catalogue, Catalogue):
            raise InputError("expected a Catalogue")
        size, sha256 = len(catalogue), catalogue.sha256
        return cls(step, size, sha256, server_key, consent, -1, origin_s, audience, enrolment_key, catalogue.names)

    def seconds_at(self, moment: datetime) -> float:
        """A moment as events are dated: seconds since the calendar's origin. InputError for one that does not say its time
        zone: an hour in autumn is there twice."""
        if not isinstance(moment, datetime) or moment.utcoffset() is None:
            raise InputError("expected a datetime with its time zone")
        return moment.timestamp() - self.origin_s

    def expect_current(self, now_s: float) -> None:
        """ClockError unless a device whose clock shows `now_s` can be set up with this calendar."""
        length_s = self.step.seconds
        earliest_s, latest_s = now_s - MAX_JUMP_STEPS * length_s, now_s + AHEAD_S
        if not earliest_s <= self.origin_s <= latest_s:
            raise ClockError(
                f"expected origin_s in {earliest_s:.0f}..{latest_s:.0f}, at most {MAX_JUMP_STEPS} steps before this device's "
                f"clock, got {self.origin_s:.0f}: set origin_s to when the server's step 0 begins, in seconds since 1970"
            )

    def after(self, given: Profile) -> Profile:
        """This profile, of a device that is there, once an app opened it with another one: with more categories, if the
        catalogue grew by names behind those that it had; with an enrolment key, if it had none. What the user decided,
        the device's number and its audience stay, whatever is given. InputError for another calendar, another server or
        enrolment key, or a catalogue that is another one.
        """
        for name in ("step", "origin_s", "server_key", "enrolment_key"):
            had = getattr(self, name)
            if had != getattr(given, name) and (name != "enrolment_key" or had):
                raise InputError(
                    f"expected the {name} that this device was set up with: another one needs a new device"
                )
        n, enrolled = self.n_categories, replace(self, enrolment_key=given.enrolment_key)
        if (given.n_categories, given.catalogue_sha256) == (n, self.catalogue_sha256):
            return enrolled
        if given.n_categories <= n:
            raise InputError(
                f"expected a catalogue that begins with the {n} categories of this device, got another one"
            )
        if given.names is None:
            raise InputError("expected the names of the catalogue that grew: Profile.of(catalogue, ...)")
        if self._hash_of(given.names[:n]) != self.catalogue_sha256:
            raise InputError(f"expected a catalogue whose first {n} names are those of this device, in their order")
        return replace(enrolled, n_categories=given.n_categories, catalogue_sha256=given.catalogue_sha256)

    def _hash_of(self, names: tuple[str, ...]) -> bytes:
        try:
            return Catalogue(tuple(names)).sha256
        except Exception:
            raise InputError("expected names, texts that differ") from None

    def _become(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _enrolment_key(value: object) -> bytes:
    """The same key, or none; ConfigError for anything else."""
    name = 'enrolment_key, an Ed25519 public key of 32 bytes, or b""'
    return octets(value, name, 32 if octets(value, name) else 0)
