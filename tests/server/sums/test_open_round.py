"""What is written down of the round that is open, for how long, and that it goes."""

import stat

import pytest

from server.sums.open_round import LONGEST_PAUSE_S, FinalList, LeftOpen, OpenRounds
from shared.clock import ReplayClock

OPEN_S = 3600.0
FINAL = FinalList(b"entries of the list", b"boxes of the devices", (0, 2, 5))


@pytest.fixture
def clock() -> ReplayClock:
    return ReplayClock(1e6)


@pytest.fixture
def rounds(tmp_path, clock):
    """The rounds of a run, as the next process of its server opens them: call it for a process."""
    return lambda: OpenRounds(tmp_path / "open_round.db", clock, OPEN_S)


def test_another_process_finds_the_round_its_request_and_its_list(rounds):
    first = rounds()
    assert first.left() is None
    first.begin(4, 3)
    assert rounds().left() == LeftOpen(4, 3)
    assert rounds().body(4) == b"" and rounds().final_list(4) is None, "nobody was asked yet"
    first.keep_body(4, b"the request")
    first.keep_list(4, FINAL)
    assert rounds().body(4) == b"the request" and rounds().final_list(4) == FINAL
    assert rounds().body(5) == b"" and rounds().final_list(5) is None, "of no other round"


def test_a_round_that_is_not_open_keeps_nothing(rounds):
    rounds().begin(4, 3)
    rounds().keep_body(5, b"the request")
    rounds().keep_list(5, FINAL)
    assert rounds().body(5) == b"" and rounds().final_list(5) is None


@pytest.mark.parametrize("how", ["ended", "out of time", "followed by another"])
def test_what_was_in_a_round_that_is_over_is_overwritten(tmp_path, rounds, clock, how):
    before = rounds()
    before.begin(4, 3)
    before.keep_body(4, b"the request")
    before.keep_list(4, FINAL)
    file = tmp_path / "open_round.db"
    assert FINAL.entries in file.read_bytes() and stat.S_IMODE(file.stat().st_mode) == 0o600
    if how == "ended":
        before.end()
    elif how == "out of time":
        clock.wait_until(1e6 + OPEN_S)
        assert rounds().left() is None
    else:
        before.begin(5, 4)
    for part in (FINAL.entries, FINAL.boxes, b"the request"):
        assert part not in file.read_bytes()
    assert rounds().left() == (LeftOpen(5, 4) if how == "followed by another" else None)


def test_pauses_grow_and_end_with_the_round(rounds, clock):
    own = rounds()
    own.begin(1, 1)
    pauses, then_s = [], clock.now_s()
    while own.wait(1, len(pauses)):
        pauses.append(clock.now_s() - then_s)
        then_s = clock.now_s()
    assert pauses[:4] == [1, 2, 4, 8] and max(pauses) == LONGEST_PAUSE_S
    assert OPEN_S - LONGEST_PAUSE_S <= sum(pauses) < OPEN_S
    assert not own.wait(2, 0), "a round that is not open"
    assert own.left() == LeftOpen(1, 1), "it is still open for whoever goes on"
