"""A review of a run whose devices have folders of their own: tampering is found, and going is going."""

import re
import shutil
from dataclasses import replace

import pytest

from server.app import serve
from server.run_log.log import LOG_FILE
from simulations.evidence.review.__main__ import main
from simulations.evidence.review.own_view import gone, telling_device, what_left
from simulations.evidence.review.tampering import TAMPERINGS, found_in_copies
from simulations.evidence.verifier import check, read_witness
from simulations.evidence.witness import main as print_witness
from simulations.evidence.witness import seen_by_device
from simulations.federation.equivalence import device_node, scenario_without_noise
from simulations.federation.in_process import LocalGrid
from simulations.federation.run_folder import RunFolder
from simulations.federation.run_settings import run_settings
from simulations.federation.sums.enroller import enrolling
from simulations.federation.sums.helper_nodes import identities
from simulations.people.planted import plant
from simulations.people.setup import Setup
from simulations.run import evaluate_run

pytestmark = pytest.mark.slow

N_USERS, HELPERS = 12, 3
OVERRIDES = (
    f"data.users={N_USERS}", "privacy.rounds=1", "privacy.min_survivors=4", "privacy.max_colluders=0", "risk.rounds=0",
    "simulation.query_every_steps=30", "simulation.identified_share=1.0", "simulation.randomised_share=0.0",
    "simulation.summed_share=0.0", "evaluation.every_steps=0", "counts.every_steps=0", "bits.every_steps=0",
    'detection.detector="cusum"', "detection.season_steps=7",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    folder, people = RunFolder(tmp_path_factory.mktemp("review") / "run"), plant(N_USERS, 182, seed=3)
    setup = Setup.of(scenario_without_noise(*OVERRIDES), people)
    folder.prepare(setup, people)
    folder.write_public(setup)
    settings = replace(run_settings(setup, folder), helpers=identities(folder, HELPERS))
    grid = LocalGrid({n: device_node(folder, n, N_USERS) for n in range(N_USERS + HELPERS)})
    with enrolling(folder, setup.plan, setup.train_s):
        serve(grid, settings)
    evaluate_run(folder.path)
    return folder


@pytest.fixture(scope="module")
def user(run) -> int:
    found = telling_device(run)
    assert found is not None
    return found


def test_every_device_is_a_witness_of_the_log(run):
    for number in range(N_USERS):
        seen = seen_by_device(run.device(number))
        assert len(seen) > 3 and check(run.path, run.server_key(), seen) == []


def test_what_a_device_saw_is_printed_as_the_verifier_takes_it(run, tmp_path, capsys):
    print_witness([str(run.device(0))])
    (tmp_path / "seen.jsonl").write_text(capsys.readouterr().out)
    assert read_witness(tmp_path / "seen.jsonl") == seen_by_device(run.device(0))


def test_what_is_done_to_a_copy_is_found_and_the_run_stays_as_it_is(run, user, tmp_path):
    before = (run.server.folder / LOG_FILE).read_bytes()
    found = found_in_copies(run, tmp_path, seen_by_device(run.device(user)))
    assert set(found) == set(TAMPERINGS) and all(witnessed for _, witnessed in found.values())
    unseen = [words for words, (alone, _) in found.items() if not alone]
    assert unseen == ["the server forgets a request, and signs that with its own key"]
    assert (run.server.folder / LOG_FILE).read_bytes() == before and check(run.path) == []


def test_a_device_says_what_left_it_and_a_copy_of_it_goes(run, user, tmp_path):
    consent, rows = what_left(run.device(user))
    kinds = {row.kind: row for row in rows}
    assert consent == "identified" and kinds["update"].epsilon is not None and kinds["alerts"].epsilon is None
    assert all(row.purpose and row.size_bytes > 0 for row in rows)
    told = gone(run, user, tmp_path / "gone")
    said = dict((decision, answered) for decision, answered, _ in told.answers)
    assert re.fullmatch("alerts: [1-9][0-9]* told", said["before"])
    assert said["consent withdrawn"] == said["consent withdrawn, asked again"] == "alerts: none, as from who tells none"
    assert said["forgotten"] == "deletion" and said["forgotten, asked again"] == "refusal: forgotten"
    assert told.files == ("forgotten",) and what_left(run.device(user)) == (consent, rows)


def test_it_is_printed_and_a_log_that_does_not_hold_ends_it(run, user, tmp_path, capsys):
    main([str(run.path)])
    said = capsys.readouterr().out
    assert f"Device {user} goes" in said and "left of the device: forgotten" in said
    broken = RunFolder(shutil.copytree(run.path, tmp_path / "broken"))
    (broken.server.folder / LOG_FILE).write_bytes((broken.server.folder / LOG_FILE).read_bytes()[:-1])
    with pytest.raises(Exception, match="does not hold"):
        main([str(broken.path)])
    with pytest.raises(Exception, match="expected the number of a device"):
        main([str(run.path), "--device", "99"])
