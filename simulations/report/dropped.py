"""What came to nothing in a run, in words: replies that the server dropped, rounds without a sum, devices without room."""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import IN_WORDS, RefusalCode

from .format import grouped

#: Replies, by the reason that the server counts them under; refusals are in words already.
REPLIES: Mapping[str, str] = {
    "error": "the device or its app failed",
    "host": "all devices of a simulated host failed",
    "shape": "not one array of bytes",
    "oversized": "longer than any message of its kind",
    "undecodable": "no message of the register",
    "other_message": "an answer to something else",
    "not_asked": "from a node that was not asked that",
    "twice": "a second answer",
    "round": "for another round",
    "plan": "under another plan",
    "step": "for another step",
    "coin": "of another coin",
    "length": "an update of another number of values",
    "too_long": "an update longer than an honest one can be",
    "alert_fields": "alerts that no device of this plan can have",
    "deletion": "a device that its user had forgotten said so",
    **{f"refusal_{int(code)}": f"refused: {why}" for code, (why, _) in IN_WORDS.items()},
}
#: The rest: one of them, and several.
OTHERS: Mapping[str, tuple[str, str]] = {
    "round_small_cohort": ("round was not run: too few devices in it", "rounds were not run: too few devices in them"),
    "round_few_survivors": ("round was not opened: too few updates", "rounds were not opened: too few updates"),
    "round_too_long": (
        "round was not used: its sum is longer than an honest one",
        "rounds were not used: their sums are longer than honest ones",
    ),
    "not_enrolled": (
        "device was connected and not enrolled: the plan has no room",
        "devices were connected and not enrolled: the plan has no room",
    ),
}
#: What refusals are counted under: a device that declines is nothing gone wrong.
REFUSALS = frozenset(f"refusal_{int(code)}" for code in RefusalCode)


def dropped_in_words(dropped: Mapping[str, int]) -> list[str]:
    """A sentence of the replies that the server dropped, the commonest reason first, and one for each other thing that came
    to nothing; empty if nothing did. A reason without words stands as it is."""
    replies = {reason: n for reason, n in dropped.items() if reason not in OTHERS and n}
    out = []
    if replies:
        parts = [
            f"{grouped(n)} × {_words(reason)}" for reason, n in sorted(replies.items(), key=lambda r: (-r[1], r[0]))
        ]
        total = sum(replies.values())
        out.append(f"{grouped(total)} {'reply was' if total == 1 else 'replies were'} dropped: {'; '.join(parts)}")
    return out + [f"{grouped(n)} {OTHERS[key][n > 1]}" for key, n in dropped.items() if key in OTHERS and n]


def _words(reason: str) -> str:
    return REPLIES.get(reason, reason.replace("_", " "))
