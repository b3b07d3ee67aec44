"""Withdrawal: what one person moved, how soon a device is silent, and what stays. GDPR 7(3), 17 and 21, PIPL 15 and 47."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

from ..case import ACCOUNT, WITHDRAWAL, Case, code, value_at
from ..fields import Field, FieldTable, Source, missing

_TO_MEASURE: Final = "`python -m simulations.evidence.withdrawal RUN` measures it"
#: What stays after a user said no, and where; and what holds it to that, of code and of tests.
STAYS: Final = {
    "on the device, after forget": (
        "the file `forgotten`, which says which server the notice of deletion is for and that it went out; no key, so that no copy of "
        "the vault opens, and nothing of the user",
        ("client/vault/erasure.py",),
        (
            "tests/promises/test_forget.py::test_after_forget_nothing_is_there_nothing_decrypts_and_nothing_raises",
            "tests/promises/test_forget.py::test_killed_half_way_through_forgetting_the_next_process_ends_it",
        ),
    ),
    "on the device, after consent was taken back": (
        "everything that it keeps for its user; alerts and bits that waited to be sent again are gone",
        ("client/owner.py",),
        ("tests/client/test_owner.py::test_a_bit_or_alerts_that_wait_in_the_outbox_go_when_consent_does",),
    ),
    "on the server: the device itself": (
        "its number and the public keys of its epoch, marked as gone, so that it is never asked again; neither when, nor in which round",
        ("server/enrolment.py",),
        ("tests/server/test_enrolment.py::test_whoever_sent_a_deletion_is_asked_and_sampled_no_more_and_counted_once",),
    ),
    "on the server: identified alerts that were told": (
        "every one of them, until the operator deletes them: a notice of deletion deletes no row by itself",
        ("server/inbox.py", "server/channel.py"),
        ("tests/simulations/evidence/test_withdrawal.py::test_what_was_told_stays_with_the_server_when_its_device_is_gone",),
    ),
    "on the server: randomised bits": (
        "a row for each, with the device's number and the step: the bit as its coin made it, within the epsilon of its coins; until the "
        "operator deletes them",
        ("server/bits.py",),
        ("tests/server/test_bits.py::test_bits_are_kept_once_beside_the_alerts_and_become_rates_by_step",),
    ),
    "on the server: sums": (
        "the opened sum, and the hash of the list of those who are in it; what they sealed is overwritten when the round ends",
        ("server/sums/open_round.py", "server/state.py"),
        ("tests/server/sums/test_open_round.py", "tests/server/sums/test_secure_sum.py"),
    ),
    "published models": (
        "what the device added to them, behind the noise of their rounds, within the epsilon that is stated: no model is trained again",
        ("server/training.py",),
        ("tests/simulations/evidence/test_withdrawal.py::test_who_is_left_out_moves_p_and_who_has_no_rows_does_not",),
    ),
}  # fmt: skip


def withdrawal_tables(case: Case) -> list[FieldTable]:
    """Influence: joined, bounded, measured; silence; what stays."""
    return [FieldTable("withdrawal", (*_bound(case), *_measured(case), *_stays()))]


def _bound(case: Case) -> Iterator[Field]:
    """What a device can have moved at most, whatever it sent, as its epsilon says."""
    pointer = "/epsilon_to_public"
    epsilon, delta = (value_at(case.json_of(ACCOUNT), at) for at in (pointer, "/delta"))
    sources = (case.file(ACCOUNT, pointer),)
    if epsilon is None:
        yield missing("withdrawal.odds", "this run's epsilon is infinite: nothing bounds what one device moved")
        return
    odds = _rounded_up(math.exp(epsilon))
    yield Field("withdrawal.odds", "measured", odds, sources)
    words = (
        f"Whatever anybody concludes from all that this run made public is at most {odds:g} times (e^{epsilon:.3g}) as likely as it "
        f"would be if one device had sent nothing but its noise, plus a probability of {delta:g}."
    )
    yield Field("withdrawal.odds_in_words", "measured", words, sources)


def _rounded_up(bound: float) -> float:
    """A bound in three digits that still holds.

    >>> _rounded_up(41.21), _rounded_up(562.0)
    (41.3, 562.0)
    """
    unit = 10.0 ** (math.floor(math.log10(bound)) - 2)
    return float(f"{math.ceil(round(bound / unit, 9)) * unit:.3g}")


def _measured(case: Case) -> Iterator[Field]:
    """What `withdrawal.json` says, by pointer."""
    keys = "withdrawal.moved_by_one", "withdrawal.moved_by_noise", "withdrawal.sentence"
    if not case.has(WITHDRAWAL):
        for key in (*keys, "withdrawal.rounds_joined", "withdrawal.silence"):
            yield missing(key, f"{WITHDRAWAL} is not in the run's folder: {_TO_MEASURE}")
        return
    told = case.json_of(WITHDRAWAL)
    for kind in told["joined"]:
        yield case.at("withdrawal.rounds_joined", WITHDRAWAL, f"/joined/{kind}", kind)
    if told["influence"] is None:
        for key in keys:
            yield missing(key, "too few people, or so many that leaving some out one at a time would take too long")
    else:
        yield case.at(keys[0], WITHDRAWAL, "/influence/without_one")
        yield case.at(keys[1], WITHDRAWAL, "/influence/noise")
        yield Field(keys[2], "measured", sentence(told["influence"]), (case.file(WITHDRAWAL, "/influence"),))
    for at, one in enumerate(told["opt_out"]):
        yield case.at("withdrawal.silence", WITHDRAWAL, f"/opt_out/{at}", one["how"])


def sentence(influence: dict[str, Any]) -> str:
    """What leaving one person out does beside noise, for who has no time.

    >>> sentence({"people": 50, "without_one": {"median": 0.0004, "p95": 0.002}, "noise": {"median": 0.004, "p95": 0.01}})[:60]
    "One person's data moved p of the others by 0.0004 (median of 50"
    """
    one, noise = influence["without_one"], influence["noise"]
    return (
        f"One person's data moved p of the others by {one['median']:.2g} (median of {influence['people']} who were left out one at a "
        f"time; 95 % below {one['p95']:.2g}); noise alone moves it by {noise['median']:.2g} ({noise['p95']:.2g})."
    )


def _stays() -> Iterator[Field]:
    for row, (value, files, tests) in STAYS.items():
        sources = (*map(code, files), *(Source("test", test) for test in tests))
        yield Field("withdrawal.stays", "measured", value, sources, row)
