"""What a device is from its first day on: calendar, catalogue, the one server that it answers."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import InputError
from shared.events import MAX_CATEGORIES, Step

from .vault.consent import Consent


@dataclass(frozen=True)
class Profile:
    """What a device is, from its first day on.

    `number` is its own, random; it seeds the draw of rows. Step 0 begins at `origin_s`, seconds on the device's clock.
    `consent` is what the user agreed to when the device was set up; `Device.consent` says what holds now. `server_key`
    is the Ed25519 public key (32 bytes) of the one server that it answers; no message can change it.
    """

    step: Step
    n_categories: int
    catalogue_sha256: bytes
    server_key: bytes
    consent: Consent = Consent.LOCAL
    number: int = -1
    origin_s: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.n_categories <= MAX_CATEGORIES:
            raise InputError(f"expected 1 to {MAX_CATEGORIES} categories, got {self.n_categories}")
        if type(self.server_key) is not bytes or len(self.server_key) != 32:
            raise InputError("expected server_key, the 32 bytes of the server's Ed25519 public key")
