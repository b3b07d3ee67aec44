"""Offers and rounds only move forward: the rule by itself, over every order in which things can be delivered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.privacy.caps import DAY_S
from client.privacy.heard import NO_RUN, OFFER, Asked, Heard
from shared.errors import Refusal, RefusalCode
from tests.world.basics import examples

NOW_S = 10_000_000.0


def offer(run: int, time_s: int, number: int = 0, body: str = "") -> Asked:
    return Asked(OFFER, f"{run} {number} {body}".encode(), time_s, run, number)


def train(run: int, time_s: int, number: int = 1) -> Asked:
    return Asked("train_request", b"", time_s, run, number)


def query(time_s: int) -> Asked:
    return Asked("alerts_query", b"", time_s)


def said(heard: Heard, asked: Asked) -> RefusalCode | None:
    try:
        heard.expect_in_order(asked)
    except Refusal as refusal:
        return refusal.code
    return None


def after(*asked: Asked, now_s: float = NOW_S) -> Heard:
    heard = Heard()
    for one in asked:
        heard = heard.after(one, now_s)
    return heard


@pytest.mark.parametrize(
    ("next_", "code"),
    [
        (offer(100, 200, 5), None),
        (offer(100, 200, 6), None),
        (offer(100, 201, 0), None),  # a roll-back: newer, with older content
        (offer(101, 150, 0), None),  # a server that lost its folder
        (offer(100, 200, 4), RefusalCode.STALE),
        (offer(100, 199, 9), RefusalCode.STALE),
        (offer(99, 900, 9), RefusalCode.STALE),
        (train(100, 200), None),
        (train(100, 199), RefusalCode.STALE),
        (train(99, 300), RefusalCode.STALE),
        (train(101, 300), RefusalCode.PLAN_MISMATCH),
        (query(0), None),
    ],
)
def test_what_comes_after_an_offer(next_, code):
    assert said(after(offer(100, 200, 5)), next_) is code


def test_before_the_first_offer_there_is_no_run_to_be_in():
    assert said(Heard(), offer(0, 0)) is None and said(Heard(), query(0)) is None
    assert said(Heard(), train(0, 0)) is RefusalCode.PLAN_MISMATCH


@pytest.mark.parametrize("of", [query, lambda time_s: train(100, time_s)])
def test_a_request_signed_before_the_last_one_of_its_kind_is_stale_and_one_of_the_same_second_is_not(of):
    heard = after(offer(100, 200), of(300))
    assert [said(heard, of(t)) for t in (299, 300, 301)] == [RefusalCode.STALE, None, None]
    other = {query: train(100, 250)}.get(of, query(250))
    assert said(heard, other) is None, "each kind has a time of its own"


offers = st.builds(offer, st.integers(1, 3), st.integers(1, 4), st.integers(0, 2), st.sampled_from("ab"))


@examples(300)
@given(st.lists(offers, min_size=1, max_size=8), st.data())
def test_whatever_was_overtaken_by_an_offer_that_was_taken_never_comes_back(sent, data):
    """Delivered in any order, any number of times: what is installed is never before what was installed."""
    heard = Heard()
    for asked in [data.draw(st.sampled_from(sent)) for _ in range(12)]:
        before = heard.offer
        if said(heard, asked) is not None:
            continue
        again = heard.is_again(asked)
        heard = heard.after(asked, NOW_S)
        assert heard.offer is not None and heard.offer.sha256 == asked.sha256
        if before is not None:
            now, then = heard.offer, before
            assert (now.run, now.time_s, now.round_number) >= (then.run, then.time_s, then.round_number)
            assert not again or now.round_number == then.round_number


@given(st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1))
def test_a_time_signed_far_ahead_locks_nobody_out_for_more_than_a_day(run, time_s):
    heard = after(offer(run, time_s), query(time_s), train(run, time_s))
    later = int(NOW_S) + DAY_S
    assert said(heard, query(later)) is None
    assert said(heard, offer(later, later)) is None, "a server that begins anew, with a clock that is right"
    if run < later:
        assert said(heard, offer(run, later, 1)) is None and said(heard, train(run, later)) is None


def test_a_device_s_clock_that_goes_back_takes_nothing_back():
    heard = after(offer(100, 5_000_000), query(6_000_000))
    for asked in (offer(100, 7_000_000, 1), query(7_000_000)):
        back = heard.after(asked, now_s=-5.0)
        assert said(back, offer(100, 4_999_999, 9)) is RefusalCode.STALE
        assert said(back, query(5_999_999)) is RefusalCode.STALE


@given(st.lists(offers | st.builds(query, st.integers(0, 2**53 - 1)), max_size=5))
def test_it_goes_round(sent):
    heard = after(*sent)
    assert Heard.of(heard.plain()) == heard and Heard.of(None) == Heard()
    assert query(0).run == NO_RUN
