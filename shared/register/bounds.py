"""How large what travels may be, and other numbers that every message is held to."""

from __future__ import annotations

MAX_PARAMETERS = 1 << 18
MAX_MODEL_BYTES = 1 << 20
MAX_PLAN_BYTES = 1 << 16
MAX_ALERTS = 4096
#: An alert stays on the device for so many steps, for its user to see; no older one is told.
KEEP_ALERTS_STEPS = 366
MAX_READINGS = 64
MAX_COEFFICIENTS = 16
#: Of heads: how many there are at most, and what each looks at.
MAX_HEADS, MAX_HEAD_INPUTS = 4, 64
MAX_STEP = 1 << 20
MAX_AUDIENCE_BYTES = 64
MAX_BIT_EPSILON_MICRO = 20_000_000
#: What a sum brings along: keys of device seats and the proof that they are enrolled; a header; a signed epoch; boxes of
#: one device; entries, proof and boxes of one seat, which take the most: of some 6,000 devices with 1,500 parameters.
MAX_SEATS_BYTES, MAX_PROOF_BYTES, MAX_ABSENT_BYTES = 1 << 14, 1 << 20, 1 << 10
MAX_HEADER_BYTES, MAX_EPOCH_BYTES = 1 << 15, 1 << 12
MAX_SEALED_BYTES, MAX_ENTRIES_BYTES, MAX_BOXES_BYTES = 1 << 22, 1 << 21, 1 << 25
MAX_REQUEST_BYTES = MAX_BOXES_BYTES + MAX_ENTRIES_BYTES + MAX_PROOF_BYTES + MAX_HEADER_BYTES + (1 << 12)
#: No clock shows more.
MAX_TIME_S = (1 << 53) - 1
VERSION = 1
