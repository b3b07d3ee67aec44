"""From a request to the header of its sum: which requests a device sends no share for, by name."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError, EpochElsewhere, EpochEnded, EpochForged, EpochNotBegun
from shared.plan import SumPlan
from shared.secure_sum.assembly import header_of, seats_drawn, sent_bytes, sizes_of
from shared.secure_sum.draw import drawn, kept
from shared.secure_sum.epoch import sign, verified
from shared.secure_sum.merkle import prove
from shared.secure_sum.share import sealed_bytes
from shared.secure_sum.sizes import DEFAULTS, sized
from tests.world.basics import examples, make_plan

from .parts import BEGINS_S, ENDS_S, Person, World, refusal_of

WORLD = World(300, 2)
SIZES = sized(100, 300)
SEATED = SumPlan(2, SIZES.n_seats, SIZES.n_drawn, SIZES.t_priv, SIZES.t_rec)
COUNTED = {"population": 300, "min_survivors": 253, "max_colluders": 15}
BODY = bytes(range(32))


def plan_of(planned=SEATED, **privacy):
    return make_plan(privacy={**COUNTED, **privacy}, sum=planned)


@cache
def drawn_seats(number: int = 1) -> tuple[int, ...]:
    plan = plan_of()
    return seats_drawn(plan, plan.updates[0], number, WORLD.epoch)


def request(number=1, absent=(), seats=None):
    """As an honest server asks, or with other seats."""
    spare = [at for at in drawn_seats(number) if at not in absent][: SIZES.n_seats]
    seats = spare if seats is None else seats
    return {
        "round": number,
        "seats": b"".join(WORLD.leaves[at] for at in seats),
        "seats_proof": prove(WORLD.leaves, seats),
        "absent": np.array(absent, ">u4").tobytes(),
    }


def header(asked=None, plan=None, epoch=None, body=BODY):
    plan = plan or plan_of()
    return header_of(plan, plan.updates[0], asked or request(), body, epoch or WORLD.epoch)


def test_a_header_says_all_that_a_sum_is_about():
    plan, absent = plan_of(), tuple(sorted(drawn_seats()[:43]))
    made = header(request(absent=absent))
    assert (made.kind, made.plan_sha256, made.round, made.epoch_sha256) == (
        "update",
        plan.sha256,
        1,
        WORLD.epoch.sha256,
    )
    assert made.absent == absent and made.pads == WORLD.epoch.helpers and made.body_sha256 == BODY
    assert made.seats == tuple(WORLD.leaves[at] for at in drawn_seats()[43:143])
    assert (made.t_priv, made.t_rec, made.min_survivors) == (SIZES.t_priv, SIZES.t_rec, 253)
    assert sealed_bytes(made) == sent_bytes(SEATED, plan.updates[0])
    assert header(body=bytes(32)).sha256 != header().sha256, "other weights, another sum"


def late():
    return tuple(sorted(drawn_seats()[:44]))


REFUSED = {
    "a plan without sums": (lambda: header(plan=make_plan(privacy=COUNTED, sum=None)), "plan"),
    "other helpers than the plan's": (lambda: header(plan=plan_of(SumPlan(3))), "helpers"),
    "one more named absent than was drawn to spare": (lambda: header(request(absent=late())), "seats"),
    "somebody absent who was not drawn": (
        lambda: header(request(absent=(next(at for at in range(300) if at not in drawn_seats()),))), "seats"),
    "absent ones out of order": (lambda: header(request(absent=tuple(reversed(late()[:2])))), "seats"),
    "seats in another order": (lambda: header(request(seats=[*drawn_seats()[1::-1], *drawn_seats()[2:100]])), "seats"),
    "a seat too few": (lambda: header(request(seats=drawn_seats()[:99])), "seats"),
    "seats of its choice": (lambda: header(request(seats=drawn_seats()[1:101])), "seats"),
    "a seat that is not enrolled": (
        lambda: header({**request(), "seats": Person("x").leaf + request()["seats"][64:]}), "seats"),
    "seats of another round": (lambda: header({**request(2), "round": 1}), "seats"),
    "a round after the last draw": (lambda: header({**request(), "round": 65}), "seats"),
    "device seats where helpers have them": (lambda: header(plan=plan_of(SumPlan(2))), "seats"),
    "fewer corrupt seats allowed for": (lambda: header(plan=plan_of(replace(SEATED, t_priv=SIZES.t_priv - 1))), "sizes"),
    "more answers needed than come": (lambda: header(plan=plan_of(replace(SEATED, t_rec=SIZES.t_rec + 2))), "sizes"),
    "more devices than the plan allows for": (
        lambda: header(plan=plan_of(population=299, min_survivors=250, max_colluders=14)), "cohort"),
    "a sampled cohort that colluders could fill": (
        lambda: header(plan=plan_of(sampling_rate=0.9, min_survivors=220, max_colluders=14)), "cohort"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_device_sends_no_share_and_says_why(name):
    work, reason = REFUSED[name]
    assert refusal_of(work) == reason


def test_the_same_are_taken_where_they_are_right():
    assert header(plan=plan_of(sampling_rate=0.9, min_survivors=220)).min_survivors == 220
    assert header(plan=plan_of(population=100, min_survivors=90)).min_survivors == 90, (
        "300 enrolled: 15 are allowed for"
    )
    assert header(plan=plan_of(population=100, min_survivors=90, max_colluders=0)), "nobody colludes, it says"
    assert header(request(64)).round == 64
    helped = header({**request(), "seats": b"", "seats_proof": b""}, plan=plan_of(SumPlan(2)))
    assert helped.seats == WORLD.epoch.helpers and helped.pads == () and (helped.t_priv, helped.t_rec) == (1, 2)
    assert header(plan=plan_of(SumPlan(2), min_survivors=100), asked={**request(), "seats": b"", "seats_proof": b""})


def test_corrupt_seats_are_counted_among_all_that_are_drawn():
    """Skipping is for the server, and it may skip honest ones: 15 of 300 can be corrupt, and all 15 be seats."""
    assert sizes_of(SEATED) == replace(SIZES, most_corrupt=2 * SIZES.t_priv - 100)
    assert 2 * SIZES.t_priv >= 100 + SIZES.most_corrupt and SIZES.most_corrupt == 15
    only_kept = sized(100, 300, replace(DEFAULTS, skip=0.0))
    assert only_kept.most_corrupt <= SIZES.most_corrupt and only_kept.n_drawn == 100


# ---- the draw


def test_a_draw_is_of_the_epoch_the_kind_and_the_round_alone():
    plan, other = plan_of(), plan_of(noise_multiplier=2.0)
    assert plan.sha256 != other.sha256
    for number in (1, 2):
        assert seats_drawn(plan, plan.updates[0], number, WORLD.epoch) == seats_drawn(
            other, other.updates[0], number, WORLD.epoch
        )
    draws = {
        drawn(epoch, kind, number, 20)
        for epoch in (WORLD.epoch, replace(WORLD.epoch, seed=bytes(32)))
        for kind in ("update", "risk_update")
        for number in (1, 2)
    }
    assert len(draws) == 8


@given(n_devices=st.integers(1, 400), share=st.floats(0, 1), seed=st.binary(min_size=32, max_size=32))
@examples(60)
def test_a_draw_takes_everybody_once_at_most_and_begins_as_a_shorter_one(n_devices, share, seed):
    epoch = replace(WORLD.epoch, n_devices=n_devices, seed=seed)
    n_drawn = max(1, int(share * n_devices))
    found = drawn(epoch, "update", 1, n_drawn)
    assert len(set(found)) == n_drawn and set(found) <= set(range(n_devices))
    assert drawn(epoch, "update", 1, max(1, n_drawn // 2)) == found[: max(1, n_drawn // 2)]


def test_every_device_is_drawn_as_often():
    """300 devices, 64 rounds of both kinds, 20 epochs, ten seats each: chi-square of 299 degrees, beyond with 1e-6."""
    counts = np.zeros(300)
    for seed in range(20):
        epoch = replace(WORLD.epoch, seed=bytes([seed]) * 32)
        for kind in ("update", "risk_update"):
            for number in range(1, 65):
                counts[list(drawn(epoch, kind, number, 10))] += 1
    expected = counts.sum() / 300
    assert ((counts - expected) ** 2 / expected).sum() < 430


def test_nobody_is_passed_over_where_everybody_is_drawn():
    assert kept((2, 0, 1), (), 3, 3) == (2, 0, 1)
    with pytest.raises(ConfigError, match="everybody is drawn"):
        kept((2, 0, 1), (0,), 2, 3)


@pytest.mark.parametrize("number", [0, 65, -1])
def test_a_round_that_the_epoch_does_not_draw_for_has_no_seats(number):
    with pytest.raises(ConfigError, match="round of a draw"):
        drawn(WORLD.epoch, "update", number, 10)


# ---- the window


OFFLINE = Person("offline")


def believed(now_s, key=OFFLINE, audience="shop"):
    return verified(sign(WORLD.epoch, OFFLINE.identity), key.leaf[:32], now_s, audience)


def test_an_epoch_holds_from_its_first_second_until_before_its_last():
    assert believed(BEGINS_S) == believed(ENDS_S - 1) == WORLD.epoch


@pytest.mark.parametrize(
    ("error", "asked"),
    {
        EpochNotBegun: (BEGINS_S - 1,),
        EpochEnded: (ENDS_S,),
        EpochForged: (BEGINS_S, Person("another")),
        EpochElsewhere: (BEGINS_S, OFFLINE, "another shop"),
    }.items(),
)
def test_an_epoch_out_of_its_window_or_of_others_is_refused(error, asked):
    with pytest.raises(error):
        believed(*asked)
