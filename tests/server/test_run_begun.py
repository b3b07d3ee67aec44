"""A run of the server has a number that only rises: made once, kept, and later than any that is known under the same key."""

import shutil

import pytest

from client.privacy.caps import LedgerLine
from server import state
from server.state import ServerFolder
from shared.clock import ReplayClock
from shared.files import replace_content
from tests.server.test_app import IN_SUMS, PRIVACY, Phones, run_config, serve
from tests.world.basics import make_plan
from tests.world.signing import asked


def test_it_is_made_once_and_stays_with_the_folder(tmp_path):
    key = tmp_path / "key.pem"
    for now_s in (500.7, 900.0, 0.0):
        assert ServerFolder(tmp_path / "server").begun_s(key, ReplayClock(now_s)) == 500
    assert (tmp_path / "server" / "begun_s").read_text() == (tmp_path / "key.pem.begun_s").read_text() == "500"


@pytest.mark.parametrize(("now_s", "next_"), [(900.0, 900), (500.0, 501), (0.0, 501)])
def test_a_folder_that_is_lost_is_followed_by_a_later_run_whatever_the_clock_says(tmp_path, now_s, next_):
    key, folder = tmp_path / "key.pem", tmp_path / "server"
    ServerFolder(folder).begun_s(key, ReplayClock(500.0))
    shutil.rmtree(folder)
    assert ServerFolder(folder).begun_s(key, ReplayClock(now_s)) == next_


def test_killed_while_it_is_made_no_number_is_used_twice(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    key, folder = tmp_path / "key.pem", ServerFolder(tmp_path / "server")

    def killed(file, *rest, **how):
        if file == folder.begun_file:
            raise Killed
        replace_content(file, *rest, **how)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(state, "replace_content", killed)
        folder.begun_s(key, ReplayClock(500.0))
    assert folder.begun_s(key, ReplayClock(500.0)) == 501


def test_a_server_that_lost_its_folder_trains_the_same_plan_on_the_same_devices_again(tmp_path):
    """Which pay for it again: nothing that was spent comes back."""
    plan = make_plan(privacy=PRIVACY, sum=IN_SUMS)
    phones = Phones(tmp_path / "phones", 8, identified={2})
    config = run_config(tmp_path, plan)
    spent = []
    for _ in range(2):
        serve(phones.grid(), config)
        dropped = ServerFolder(tmp_path / "server").traffic()["dropped"]
        assert "refusal_20" not in dropped and not any(name.startswith("round_") for name in dropped)
        spent.append([device.gate.ledger.plans[LedgerLine.UPDATE, plan.sha256] for device in phones.devices.values()])
        shutil.rmtree(tmp_path / "server")
    assert spent == [[plan.privacy.rounds] * 8, [2 * plan.privacy.rounds] * 8]


def test_a_process_that_goes_on_offers_what_was_published_last(tmp_path):
    """Not the first theta again: devices would score by it until the rounds are over."""
    plan = make_plan(privacy=PRIVACY, sum=IN_SUMS)
    phones = Phones(tmp_path / "phones", 8, identified=set())
    config = run_config(tmp_path, plan)
    grids = [phones.grid(), phones.grid()]
    for grid in grids:
        serve(grid, config)
    first, second = (
        [asked(data)[1] for node, route, data in grid.asked if (node, route) == (1, "query.model")] for grid in grids
    )
    assert (
        [offer["round"] for offer in first] == [0, plan.privacy.rounds] and first[0]["model"] and not first[1]["model"]
    )
    assert second == [first[1]] * 2, "the very same: devices change nothing"
    assert "refusal_20" not in ServerFolder(tmp_path / "server").traffic()["dropped"]
