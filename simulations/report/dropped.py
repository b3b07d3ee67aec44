"""What came to nothing in a run, in words: replies that the server dropped, rounds without a sum, devices without room."""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import IN_WORDS, RefusalCode

from .format import grouped

#: Replies, by the reason that the server counts them under; refusals are in words already.
REPLIES: Mapping[str, str] = {
    "error": "the device stayed silent, or it or its app failed",
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
    "epoch": "for another epoch of enrolment",
    "sum_outside": "an update of a device that is not enrolled",
    "sum_length": "an update without a share for every seat",
    "sum_signature": "an update that its device did not sign for this sum",
    "sum_bad_shares": "an update whose shares could not be read, or were of no vector",
    "sum_opinion": "a seat's view of a list that nobody can read",
    "sum_answer": "a seat's answer that is not for its list",
    "alert_fields": "alerts that no device of this plan can have",
    "deletion": "a device that its user had forgotten said so",
    **{f"refusal_{int(code)}": f"refused: {why}" for code, (why, _) in IN_WORDS.items()},
}
#: The rest: one of them, and several.
OTHERS: Mapping[str, tuple[str, str]] = {
    "round_small_cohort": ("round was not run: too few devices in it", "rounds were not run: too few devices in them"),
    "round_few_survivors": (
        "round was not opened: too few updates in its sum",
        "rounds were not opened: too few updates in their sums",
    ),
    "round_too_long": (
        "round was not used: its sum is longer than an honest one",
        "rounds were not used: their sums are longer than honest ones",
    ),
    "sum_few": (
        "sum was not made: too few of those who hold its seats answered",
        "sums were not made: too few of those who hold their seats answered",
    ),
    "sum_lies": (
        "sum was not opened: more answers were false than can be told apart",
        "sums were not opened: more answers were false than can be told apart",
    ),
    "sum_answers": ("sum was not opened: its answers disagree", "sums were not opened: their answers disagree"),
    "sum_second_list": (
        "sum was not made: the round had one over another list before",
        "sums were not made: their rounds had one over another list before",
    ),
    "sum_bad_seat": (
        "seat was left out of a sum for what it said of the others",
        "seats were left out of sums for what they said of the others",
    ),
    "sum_lying_seat": (
        "seat's answer was false, and the sum was opened without it",
        "seats' answers were false, and the sums were opened without them",
    ),
    "enrolment_keys": (
        "device was not enrolled: its keys are unsafe, or another's too",
        "devices were not enrolled: their keys are unsafe, or others' too",
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
