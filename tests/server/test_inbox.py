import pytest
from sqlalchemy import create_engine, text

from server.inbox import Inbox
from shared.register.bounds import MAX_ALERTS

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
