"""Clocks that are ahead and come back, or behind: a turn that comes afterwards is warned of as without that."""

import numpy as np
import pytest

from client.device import Device
from client.gaps import BELIEVED_STEPS
from client.profile import MAX_JUMP_STEPS
from client.vault.store import Store
from client.vault.vault import Limits
from shared.clock import ReplayClock
from shared.errors import VaultFull
from shared.events import BehaviourEvent, EventKind
from tests.world.basics import SOAK, Diary, full, make_plan, make_profile, open_device, ready

DAY_S = 86_400.0
PLAN = make_plan(detection={"detector": "level", "quiet_steps": 6, "min_active_steps": 4, "lapse_steps": 8})
#: A life of 120 days; the interest in category 0 ends at `TURN`, the others go on.
LIFE, TURN = 120, 90


class WrongClock(ReplayClock):
    """The true time, and what is added to it."""

    wrong_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.wrong_s


class Life:
    """A phone whose user comes every day, as its clock dates it; `wrong` gives the days by which that is off, each day."""

    def __init__(self, folder, wrong=lambda day: 0, *, begin: int = 0, **arguments) -> None:
        self.clock, self.diary, self.wrong = WrongClock(begin * DAY_S), Diary(), wrong
        self.device = ready(
            open_device(folder, make_profile(), clock=self.clock, on_step=self.diary.write, **arguments), PLAN
        )

    def live(self, days) -> "Life":
        for day in days:
            self.clock.wait_until(day * DAY_S + 40_000.0)
            self.clock.wrong_s = self.wrong(day) * DAY_S
            for category in range(4):
                if category or day < TURN:
                    time_s = self.clock.now_s()
                    self.device.record(BehaviourEvent(EventKind.PURCHASE, category, time_s, 5.0))
            self.device.close_until(int(self.clock.now_s() // DAY_S))
        return self

    def warned(self) -> list[tuple[int, int]]:
        """The falls that the app is shown: (step, category)."""
        return [(alert.step, alert.category) for alert in self.device.alerts() if alert.direction == 0]


@pytest.fixture(scope="module")
def right(tmp_path_factory) -> Life:
    life = Life(tmp_path_factory.mktemp("right") / "phone").live(range(LIFE))
    assert len(life.warned()) == 1 and TURN <= life.warned()[0][0] < TURN + 8
    return life


#: The days at which a clock jumps: in `make soak` all that leave it some days before the turn.
PHASES = range(TURN - 4) if SOAK else (0, 3, 20, 60, 85)
AHEAD = (1, 7, 30, 366, 3650)


@pytest.mark.parametrize("days", AHEAD)
@pytest.mark.parametrize("at", PHASES)
@pytest.mark.parametrize("for_days", [1, 4])
def test_a_clock_that_was_ahead_and_comes_back_hides_no_turn(tmp_path, right, days, at, for_days):
    life = Life(tmp_path / "phone", lambda day: days if at <= day < at + for_days else 0).live(range(LIFE))
    assert life.device.n_closed_steps == LIFE - 1
    assert len(life.warned()) == 1 and life.warned()[0][1] == 0
    assert abs(life.warned()[0][0] - right.warned()[0][0]) <= 2, "as without the jump, two days late at most"
    history, expected = life.device._state.history, right.device._state.history
    np.testing.assert_allclose(history.count.sum(axis=-1), expected.count.sum(axis=-1), rtol=1e-5)


@pytest.mark.parametrize("days", [366, 3650])
def test_what_a_clock_ahead_raised_is_withdrawn_and_the_app_can_learn_it(tmp_path, days):
    life = Life(tmp_path / "phone", lambda day: days if day == 40 else 0).live(range(40))
    before, told = life.device.alerts(), len(life.diary.alerts)
    raised = life.live([40]).diary.alerts[told:]
    assert len(raised) >= 4 and all(alert.step >= 40 for alert in raised), "everything seemed to lapse"
    life.live(range(41, 43))
    assert life.device.alerts() == before and life.device.withdrawn() == raised
    assert life.device.problems["clock_was_ahead"] == 1 and life.device.n_closed_steps == 42
    assert not life.device._vault.store.count("gap") and max(life.device._vault.store.ids("counters")) <= 42
    life.device.close()
    with open_device(tmp_path / "phone", clock=life.clock) as again:
        assert again.withdrawn() == raised and again.n_closed_steps == 42
        assert again._state.watch.quiet_until.max() <= 50 and again._state.history.active[:, 41].all()


@pytest.mark.parametrize("days", [-1, -30, -366, -3650])
@pytest.mark.parametrize("at", PHASES if SOAK else (0, 5, 60, 85))
@pytest.mark.parametrize("for_days", [1, 3])
def test_a_clock_that_was_behind_hides_no_turn_and_loses_no_step(tmp_path, right, days, at, for_days):
    life = Life(tmp_path / "phone", lambda day: days if at <= day < at + for_days else 0).live(range(LIFE))
    assert len(life.warned()) == 1 and abs(life.warned()[0][0] - right.warned()[0][0]) <= 2
    assert life.device.n_closed_steps == LIFE - 1 and not life.device.withdrawn()


@pytest.mark.parametrize("days", [-1, -30, -366, -3650])
@pytest.mark.parametrize("at", range(TURN - 12) if SOAK else (5, 60, 77))
def test_a_clock_that_was_behind_for_long_looks_like_silence_and_the_turn_is_warned_of_afterwards(
    tmp_path, right, days, at
):
    life = Life(tmp_path / "phone", lambda day: days if at <= day < at + 4 else 0).live(range(LIFE))
    after = [alert for alert in life.warned() if alert[0] >= TURN]
    assert len(after) == 1 and after[0][1] == 0 and abs(after[0][0] - right.warned()[0][0]) <= 2
    assert life.device.n_closed_steps == LIFE - 1 and not life.device.withdrawn()


def test_years_both_ways_and_twice_ahead(tmp_path, right):
    def wrong(day: int) -> int:
        return {30: 366, 31: 3650, 32: -700, 33: 366}.get(day, 0)

    life = Life(tmp_path / "phone", wrong).live(range(LIFE))
    assert len(life.warned()) == 1 and abs(life.warned()[0][0] - right.warned()[0][0]) <= 2
    assert life.device.n_closed_steps == LIFE - 1


def test_a_phone_that_lay_in_a_drawer_for_years_catches_up_in_one_write(tmp_path):
    life = Life(tmp_path / "phone").live(range(20))
    size = life.device._vault.store.used_bytes
    life.clock.wait_until(1100 * DAY_S + 40_000.0)
    assert life.device.close_until(1100) and life.device.n_closed_steps == 1100
    assert life.device._vault.store.used_bytes < size + (1 << 18), "silence is cheap"
    told = len(life.diary.steps)
    assert told < 20 + 400 and life.diary.steps[-1] == 1099
    life.live(range(1100, 1100 + BELIEVED_STEPS + 5))
    assert not life.device._vault.store.count("gap") and not life.device.withdrawn(), "it is believed by then"
    life.device.close()
    with open_device(tmp_path / "phone", clock=life.clock) as again:
        np.testing.assert_array_equal(again._state.history.count, life.device._state.history.count)


@pytest.mark.parametrize("step", [41, 10**4, 10**9, 10**30, -(10**30)])
def test_no_step_closes_that_the_clock_has_not_reached(tmp_path, step):
    life = Life(tmp_path / "phone").live(range(3))
    life.clock.wait_until(39.0 * DAY_S)
    n = life.device.n_closed_steps
    assert life.device.close_until(step) is (step < 0) and life.device.catch_up([], step) is (step < 0)
    assert life.device.n_closed_steps == n and life.device.problems["ClockError"] == (0 if step < 0 else 2)
    assert life.device.close_until(40) and life.device.n_closed_steps == 40, "a day of slack"


def test_a_clock_that_is_ahead_beyond_belief_closes_nothing_and_is_survived(tmp_path, right):
    far = 3 * MAX_JUMP_STEPS
    life = Life(tmp_path / "phone", lambda day: far if 50 <= day < 53 else 0).live(range(LIFE))
    assert life.device.n_closed_steps == LIFE - 1 and life.device.problems["clock_jump"] == 12
    assert len(life.warned()) == 1 and abs(life.warned()[0][0] - right.warned()[0][0]) <= 4


def test_a_disk_that_takes_no_write_takes_nothing_back_until_it_does(tmp_path, monkeypatch):
    def full_disk(*_, **__):
        raise VaultFull("expected room")

    life = Life(tmp_path / "phone", lambda day: 366 if day == 40 else 0).live(range(41))
    before = life.device.n_closed_steps
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_write_heads", full_disk)
        life.live([41])
    assert life.device.n_closed_steps == before and not life.device.withdrawn()
    life.live([42])
    assert life.device.n_closed_steps == 42 and life.device.withdrawn()


def test_random_clocks_lose_no_event_and_end_on_the_calendar(tmp_path):
    for seed in range(full(4)):
        random = np.random.default_rng(seed)
        wrong = {int(day): int(random.choice([-400, -9, -1, 1, 3, 9, 400, 3000])) for day in random.integers(0, 60, 8)}
        life = Life(tmp_path / str(seed), lambda day, wrong=wrong: wrong.get(day, 0), limits=Limits()).live(range(70))
        assert life.device.n_closed_steps == 69
        state = life.device._state
        counted = state.history.count[1:].sum() + state.open_count[1:].sum()
        refused = life.device.problems["event_out_of_range"]  # dated before the calendar began
        assert counted == pytest.approx(3 * 70 - refused * 3 / 4, abs=1e-3), seed
        life.device.close()
        with open_device(tmp_path / str(seed), clock=life.clock) as again:
            assert isinstance(again, Device) and again.n_closed_steps == 69
            np.testing.assert_allclose(again._state.history.count, state.history.count)
