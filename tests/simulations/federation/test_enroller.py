"""Who signs a simulated run's lists signs each of them once: the first, and those that follow."""

import time

from server.signing import public_bytes, signing_key
from shared.files import replace_content
from shared.secure_sum.epoch import EnrolmentList, unverified, verified, write_list
from simulations.federation.run_folder import RunFolder
from simulations.federation.sums.enroller import enrolling
from tests.world.basics import make_plan
from tests.world.queries import evaluation
from tests.world.seats import Party

DAY_S = 86_400


def until(met, seconds: float = 20.0) -> None:
    end_s = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end_s, "nobody signed"
        time.sleep(0.01)


def test_a_list_that_follows_gets_an_epoch_of_its_own_whose_window_is_later(tmp_path):
    run, plan = RunFolder(tmp_path / "run"), make_plan(queries=(evaluation(rounds=4),))
    server, now_s = run.server, 112 * DAY_S
    devices = [Party(f"device {i}").leaf for i in range(4)]
    replace_content(run.server_key_file, public_bytes(signing_key(run.signing_key_file)))
    numbers, signed = (now_s, now_s + 40 * DAY_S), []
    with enrolling(run, plan, now_s):
        for number in numbers:
            write_list(server.enrolment_list, EnrolmentList("", number, tuple(devices)))

            def is_signed(number=number) -> bool:
                file = server.signed_epoch
                return file.exists() and unverified(file.read_bytes()).number == number

            until(is_signed)
            signed.append(server.signed_epoch.read_bytes())
            time.sleep(0.2)
            assert server.signed_epoch.read_bytes() == signed[-1], "once"
    first, second = (
        verified(one, run.enrolment_key(), number + 1, "")
        for one, number in zip(signed, (now_s, now_s + 40 * DAY_S), strict=True)
    )
    assert first.ends_s <= now_s + 40 * DAY_S < second.ends_s and first.seed != second.seed
    assert first.draws == second.draws == 3 + 4, "rounds of the plan, and its queries"
