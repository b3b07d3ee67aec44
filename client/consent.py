"""What a user agreed to tell about alerts. Updates of training have their own protection and their own switch."""

from __future__ import annotations

from enum import StrEnum


class Consent(StrEnum):
    """`local`: alerts never leave the device (the default). `identified`: the alerts themselves may leave, outside epsilon."""

    LOCAL = "local"
    IDENTIFIED = "identified"
