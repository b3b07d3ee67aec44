"""What a device is from its first day on: calendar, catalogue, the one server that it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared.codec import fits_utf8
from shared.errors import InputError
from shared.events import MAX_CATEGORIES, Step, is_position
from shared.messages import MAX_AUDIENCE_BYTES

from .vault.consent import Consent


@dataclass(frozen=True)
class Profile:
    """What a device is, from its first day on.

    `number` is its own, random; it seeds the draw of rows. Step 0 begins at `origin_s`, seconds on the device's clock.
    `consent` is what the user agreed to when the device was set up; `Device.consent` says what holds now. `server_key`
    is the Ed25519 public key (32 bytes) of the one server that it answers, `audience` the deployment or group of that
    server's that it was set up for, at most 64 bytes in UTF-8: what is asked of others it refuses. No message can change
    either. InputError for anything that is only nearly a profile.
    """

    step: Step
    n_categories: int
    catalogue_sha256: bytes
    server_key: bytes
    consent: Consent = Consent.LOCAL
    number: int = -1
    origin_s: float = 0.0
    audience: str = ""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "step", Step(self.step))
            object.__setattr__(self, "consent", Consent(self.consent))
        except ValueError:
            raise InputError(f"expected a Step and a Consent, got {self.step!r} and {self.consent!r}") from None
        if not is_position(self.n_categories, MAX_CATEGORIES + 1) or not self.n_categories:
            raise InputError(f"expected 1 to {MAX_CATEGORIES} categories, got {self.n_categories!r}")
        if type(self.catalogue_sha256) is not bytes or len(self.catalogue_sha256) != 32:
            raise InputError("expected catalogue_sha256, the 32 bytes of the catalogue's hash")
        if type(self.server_key) is not bytes or len(self.server_key) != 32:
            raise InputError("expected server_key, the 32 bytes of the server's Ed25519 public key")
        if type(self.number) is not int or not self.number < 1 << 64:
            raise InputError("expected number, an integer below 2^64")
        if type(self.origin_s) not in (int, float) or not math.isfinite(self.origin_s):
            raise InputError("expected origin_s, a finite number of seconds")
        if type(self.audience) is not str or not fits_utf8(self.audience, MAX_AUDIENCE_BYTES):
            raise InputError(f"expected audience, a text of at most {MAX_AUDIENCE_BYTES} bytes")
