"""The draw: uniform, without replacement, from list, kind and round alone; and who is left once absent ones are named."""

import hashlib
import hmac
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from shared.errors import ConfigError
from shared.secure_sum.draw import drawn, kept
from shared.secure_sum.epoch import verified
from shared.secure_sum.merkle import expect_members
from tests.vectors.make_secure_sum_enrolment import enrolment
from tests.world.basics import examples, full
from tests.world.listed import make_epoch

VECTORS = Path(__file__).parents[2] / "vectors" / "v1" / "secure_sum" / "enrolment.json"


def as_it_is_written(seed: bytes, n: int, kind: str, round_number: int, n_drawn: int) -> list[int]:
    """The rule of the draw's docstring, in other words: bits, not masks."""
    out: list[int] = []
    for counter in range(10**6):
        message = b"ebbtide draw v1\n" + bytes([len(kind.encode())]) + kind.encode()
        message += round_number.to_bytes(8, "big") + counter.to_bytes(8, "big")
        block = hmac.new(seed, message, hashlib.sha256).digest()
        for word in np.frombuffer(block, ">u4").tolist():
            at = word % 2 ** (n - 1).bit_length()
            if at < n and at not in out:
                out.append(at)
            if len(out) == n_drawn:
                return out
    raise AssertionError


@examples(100)
@given(st.data())
def test_the_draw_is_what_is_written(data):
    n = data.draw(st.integers(1, 60) | st.sampled_from([64, 65, 1 << 20, (1 << 24) - 1, 1 << 24]))
    n_drawn = data.draw(st.integers(1, min(n, 90)))
    kind, number = data.draw(st.text("aü_", min_size=1, max_size=16)), data.draw(st.integers(1, 64))
    seed = data.draw(st.binary(min_size=32, max_size=32))
    epoch = make_epoch(n, seed=seed)
    found = drawn(epoch, kind, number, n_drawn)
    assert list(found) == as_it_is_written(seed, n, kind, number, n_drawn)
    assert len(set(found)) == n_drawn and all(0 <= at < n for at in found)
    assert found[: n_drawn // 2 + 1] == drawn(epoch, kind, number, n_drawn // 2 + 1), "a shorter draw begins it"


@pytest.mark.parametrize("n", [5, 8, 13])
def test_every_ordered_choice_is_as_likely_as_every_other(n):
    """Chi-square over all ordered pairs, over rounds and seeds; the chance of a false alarm is one in a million."""
    trials, draws = full(100) * n * (n - 1), 60_000
    counts: Counter[tuple[int, ...]] = Counter()
    for at in range(0, trials, draws):
        epoch = make_epoch(n, seed=at.to_bytes(32, "big"), draws=draws)
        rounds = range(1, min(draws, trials - at) + 1)
        counts.update(drawn(epoch, "update", number, 2) for number in rounds)
    pairs = n * (n - 1)
    assert len(counts) == pairs
    expected = trials / pairs
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < chi2.isf(1e-6, pairs - 1)


def test_each_kind_round_and_seed_has_a_draw_of_its_own():
    epoch = make_epoch(1000)
    found = [drawn(epoch, kind, number, 20) for kind in ("update", "risk_update", "updat") for number in range(1, 65)]
    found += [drawn(make_epoch(1000, seed=bytes([n]) * 32), "update", 1, 20) for n in range(50)]
    assert len(set(found)) == len(found)


def test_nothing_else_is_in_it():
    """Only seed, devices, kind and round: whatever else of the epoch differs, and whatever plan runs, the seats are the same."""
    epoch = make_epoch(1000)
    others = [{"audience": "south"}, {"number": 9}, {"ends_s": epoch.ends_s - 1}, {"root": bytes(32)}, {"draws": 65}]
    for change in others:
        assert drawn(replace(epoch, **change), "update", 3, 50) == drawn(epoch, "update", 3, 50)


@pytest.mark.parametrize("number", [0, -1, 65, 1 << 40, None, True])
def test_a_round_outside_the_epoch_has_no_seats(number):
    with pytest.raises(ConfigError, match=r"the round of a draw, a whole number in 1\.\.64"):
        drawn(make_epoch(100), "update", number, 5)


@pytest.mark.parametrize(("n", "n_drawn"), [(10, 11), (10, 0), (10, -1), (5000, 1025)])
def test_more_than_there_are_cannot_be_drawn(n, n_drawn):
    with pytest.raises(ConfigError, match="the seats that are drawn"):
        drawn(make_epoch(n), "update", 1, n_drawn)


@pytest.mark.parametrize("kind", ["", "x" * 33, "ü" * 17, b"update", None, "\ud800"])
def test_a_kind_is_a_short_text(kind):
    with pytest.raises(ConfigError, match="the kind of a sum"):
        drawn(make_epoch(), kind, 1, 1)


# ---- who is left


@examples(100)
@given(st.data())
def test_the_first_that_are_not_absent_are_kept_in_the_order_of_the_draw(data):
    order = tuple(data.draw(st.permutations(range(12)))[:10])
    n_seats = data.draw(st.integers(1, 10))
    absent = sorted(data.draw(st.sets(st.sampled_from(order), max_size=10 - n_seats)))
    found = kept(order, absent, n_seats, 12)
    rest = [at for at in order if at not in absent]
    assert list(found) == rest[:n_seats] and len(found) == n_seats


DRAWN = (7, 2, 9, 4, 0, 5)
ABSENT = {
    "not drawn": ((3,), "absent seats that were drawn"),
    "one of them not drawn": ((2, 3), "absent seats that were drawn"),
    "twice": ((2, 2), "rising order, each once"),
    "unsorted": ((4, 2), "rising order, each once"),
    "too many": ((0, 2, 4), "at most 2 seats named absent, got 3"),
    "no number": ((True, 2), "rising order, each once"),
}


@pytest.mark.parametrize("case", ABSENT)
def test_absent_ones_that_may_not_be_named_are_refused_by_name(case):
    absent, said = ABSENT[case]
    with pytest.raises(ConfigError, match=said):
        kept(DRAWN, absent, 4, 100)


@pytest.mark.parametrize("n_seats", [0, -1, 7])
def test_seats_are_some_of_the_drawn_ones(n_seats):
    with pytest.raises(ConfigError, match="seats, of those that were drawn"):
        kept(DRAWN, (), n_seats, 100)


def test_nobody_is_skipped_where_everybody_is_drawn():
    assert kept(DRAWN, (), 4, 6) == DRAWN[:4] and kept(DRAWN, (0,), 4, 7) == (7, 2, 9, 4)
    with pytest.raises(ConfigError, match="nobody named absent where everybody is drawn"):
        kept(DRAWN, (0,), 4, 6)


# ---- vectors


def test_the_vectors_are_made_again_alike():
    said = VECTORS.read_text(encoding="utf-8")
    assert json.loads(said) == json.loads(json.dumps(enrolment())), (
        "run python -m tests.vectors.make_secure_sum_enrolment"
    )


def test_the_vectors_hold():
    """Read as another implementation would: bytes in, draws and refusals out."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    key = bytes.fromhex(vectors["enrolment_key"])
    for good in vectors["epochs"]:
        epoch = verified(bytes.fromhex(good["signed"]), key, good["now_s"], good["audience"])
        assert epoch.sha256.hex() == good["sha256"] and epoch.root.hex() == good["root"]
        for draw in good["draws"]:
            seats = drawn(epoch, draw["kind"], draw["round"], len(draw["drawn"]))
            assert list(seats) == draw["drawn"]
            assert list(kept(seats, draw["absent"], len(draw["kept"]), epoch.n_devices)) == draw["kept"]
        for proof in good["proofs"]:
            members = {int(at): bytes.fromhex(leaf) for at, leaf in proof["members"].items()}
            expect_members(epoch.root, epoch.n_devices, members, bytes.fromhex(proof["proof"]))
    for bad in vectors["refused"]:
        with pytest.raises(Exception) as refused:
            verified(bytes.fromhex(bad["signed"]), key, bad["now_s"], bad["audience"])
        assert type(refused.value).__name__ == bad["refusal"], bad["why"]
    for bad in vectors["refused_proofs"]:
        members = {int(at): bytes.fromhex(leaf) for at, leaf in bad["members"].items()}
        with pytest.raises(Exception) as refused:
            expect_members(bytes.fromhex(bad["root"]), bad["n_devices"], members, bytes.fromhex(bad["proof"]))
        assert type(refused.value).__name__ == bad["refusal"], bad["why"]
