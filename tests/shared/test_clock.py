from shared.clock import ReplayClock, WallClock


def test_replay_clock_moves_only_when_told_and_never_back():
    clock = ReplayClock(5.0)
    assert clock.now_s() == clock.now_s() == 5.0
    clock.wait_until(9.0)
    clock.wait_until(3.0)
    assert clock.now_s() == 9.0


def test_wall_clock_waits_until_a_moment_that_has_passed_without_waiting():
    clock = WallClock()
    now_s = clock.now_s()
    clock.wait_until(now_s - 100)
    clock.wait_until(now_s + 0.01)
    assert clock.now_s() >= now_s + 0.01
