"""Alerts that came: each once, of each device the newest, and what was written stays written."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from server import inbox as module
from server.inbox import BATCH, Inbox
from shared.register.bounds import MAX_ALERTS
from tests.world.basics import examples

ALERT = {"direction": 0, "category": 3, "level": 2, "step": 40, "model_round": 12}


@pytest.fixture
def inbox(tmp_path) -> Inbox:
    return Inbox(tmp_path / "inbox.db")


def rows(tmp_path) -> list[tuple]:
    with create_engine(f"sqlite:///{tmp_path / 'inbox.db'}").connect() as connection:
        return [
            tuple(r)
            for r in connection.execute(text("select node, direction, category, level, step, model_round from alerts"))
        ]


def test_alerts_are_kept_as_they_were_told(inbox, tmp_path):
    inbox.add(17, [ALERT, {**ALERT, "direction": 1}])
    assert inbox.count() == 2
    assert rows(tmp_path) == [(17, 0, 3, 2, 40, 12), (17, 1, 3, 2, 40, 12)]


def test_the_same_alert_twice_is_kept_once(inbox):
    inbox.add(17, [ALERT])
    inbox.add(17, [ALERT, {**ALERT, "step": 41}])
    inbox.add(18, [ALERT])
    assert inbox.count() == 3


def test_no_alerts_are_no_rows(inbox):
    inbox.add(17, [])
    assert inbox.count() == 0


@pytest.mark.parametrize("node", [0, 2**63 - 1, 2**63, 2**64 - 1])
def test_every_node_id_of_flower_fits(inbox, tmp_path, node):
    inbox.add(node, [ALERT])
    assert rows(tmp_path)[0][0] % 2**64 == node


def test_an_inbox_opened_again_holds_what_it_held(inbox, tmp_path):
    inbox.add(17, [ALERT])
    again = Inbox(tmp_path / "inbox.db")
    again.add(17, [ALERT])
    assert again.count() == 1


def test_a_device_that_tells_without_end_fills_no_more_than_its_share(inbox, tmp_path):
    """The newest stay, as on the device; other devices' rows are not touched."""
    inbox.add(18, [{**ALERT, "step": 0}])
    for first in range(0, 3 * MAX_ALERTS, MAX_ALERTS):
        inbox.add(17, [{**ALERT, "category": c, "step": first + c} for c in range(MAX_ALERTS)])
    assert inbox.count() == MAX_ALERTS + 1
    kept = rows(tmp_path)
    assert min(step for node, *_, step, _ in kept if node == 17) == 2 * MAX_ALERTS
    inbox.add(17, [{**ALERT, "step": 1}])
    assert inbox.count() == MAX_ALERTS + 1 and (17, 0, 3, 2, 1, 12) not in rows(tmp_path)


some_alerts = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 9)), max_size=12)
as_told = st.lists(st.tuples(st.integers(0, 2), some_alerts), max_size=8)


@examples(25)
@given(as_told, st.integers(1, 9), st.integers(1, 6))
def test_in_transactions_of_many_devices_the_same_is_kept_as_one_device_after_the_other(
    tmp_path_factory, told, batch, most
):
    """Each alert once, of each device the newest ones: those of one step are as new as each other."""
    folder = tmp_path_factory.mktemp("inboxes")
    told = [
        (node, [{**ALERT, "direction": d, "category": c, "step": s} for d, c, s in alerts]) for node, alerts in told
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "BATCH", batch)
        patched.setattr(module, "MAX_ALERTS", most)
        for name in ("one", "all"):
            (folder / name).mkdir()
        one = Inbox(folder / "one" / "inbox.db")
        for node, alerts in told:
            one.add(node, alerts)
        Inbox(folder / "all" / "inbox.db").add_all(told)
    kept = {name: sorted((node, step) for node, *_, step, _ in rows(folder / name)) for name in ("one", "all")}
    assert kept["one"] == kept["all"]
    for node in range(3):
        steps = {(a["direction"], a["category"], a["step"]) for n, alerts in told if n == node for a in alerts}
        newest = sorted((step for *_, step in steps), reverse=True)[:most]
        assert sorted((step for n, step in kept["all"] if n == node), reverse=True) == newest


def test_no_more_than_a_batch_is_held_before_it_is_written(inbox, tmp_path):
    """While a device is still to come, all before the last batch is on the disk."""
    seen = []

    def told():
        for node in range(3):
            seen.append(len(rows(tmp_path)))
            yield node, [{**ALERT, "step": step} for step in range(BATCH // 2)]

    inbox.add_all(told())
    assert seen == [0, 0, 2 * (BATCH // 2)] and inbox.count() == 3 * (BATCH // 2)


KILLED = """
import sys
from pathlib import Path
from server import inbox
inbox.BATCH = 50
def told():
    for node in range(1_000_000):
        print(node, flush=True)
        yield node, [{"direction": 0, "category": c, "level": 2, "step": 40, "model_round": 12} for c in range(3)]
inbox.Inbox(Path(sys.argv[1])).add_all(told())
"""


@pytest.mark.parametrize("node", [1, 16, 17, 100, 400])
def test_killed_at_any_moment_whole_devices_are_kept_and_the_rest_comes_again(tmp_path, node):
    file = tmp_path / "inbox.db"
    command = [sys.executable, "-c", KILLED, str(file)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if int(line) >= node:
                child.kill()
                break
    told = [(n, [{**ALERT, "category": c} for c in range(3)]) for n in range(600)]
    again = Inbox(file)
    kept = sorted((n, category) for n, _, category, *_ in rows(tmp_path))
    assert len(kept) >= 3 * 17 * (node // 17), "each full batch was on the disk before the next device's turn came"
    assert kept == [(n, category) for n in range(len(kept) // 3) for category in range(3)]
    again.add_all(told)
    assert again.count() == max(3 * 600, len(kept))
