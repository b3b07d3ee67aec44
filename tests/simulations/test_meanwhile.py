"""Work that goes on while something else runs: it gives what it gave, raises what it raised, and is over when the body is."""

from __future__ import annotations

import threading

import pytest

from shared.errors import RunError
from simulations.run import meanwhile


def test_it_gives_what_the_work_gave_as_often_as_it_is_asked():
    begun, go_on = threading.Event(), threading.Event()

    def work() -> list[int]:
        begun.set()
        assert go_on.wait(60)
        return [1]

    with meanwhile(work) as wait:
        assert begun.wait(60)  # while the body runs
        go_on.set()
        assert wait() is wait() == [1]
    assert wait() == [1]


def test_what_the_work_raised_is_raised_where_it_is_waited_for_and_nowhere_else():
    def work() -> None:
        raise RunError("expected something else")

    with meanwhile(work) as wait:
        pass
    with pytest.raises(RunError, match="something else"):
        wait()


def test_no_thread_is_left_where_the_body_raises():
    go_on, ended = threading.Event(), threading.Event()

    def work() -> None:
        assert go_on.wait(60)
        ended.set()

    with pytest.raises(ZeroDivisionError), meanwhile(work):
        threading.Timer(0.05, go_on.set).start()
        _ = 1 / 0
    assert ended.is_set()
