"""Evidence of whole runs, evaluated as runs are: the demo's people, a log of one's own, complete-journey."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from simulations.evidence import withdrawal
from simulations.evidence.case import AUDIT, Case
from simulations.evidence.check import check
from simulations.evidence.document import Document, document_of
from simulations.evidence.folder import write_folder
from simulations.evidence.withdrawing.left_out import FEWEST_PEOPLE
from simulations.evidence.writers import files_of
from simulations.federation.run_folder import RunFolder
from simulations.people.own_data.made import made_for
from simulations.people.population import Population
from simulations.scenarios.config import load_scenario
from tests.world.ended_run import SMALL, evaluated_run
from tests.world.shop_logs import FIRST_DAY, write_shop_log

FEW = ["simulation.fidelity=hosts", "privacy.rounds=1", "privacy.max_epsilon=inf", "caps.table=none"]


def demo(folder: Path) -> Path:
    return evaluated_run(folder / "run", load_scenario("demo", SMALL)).path


def own_log(folder: Path) -> Path:
    log = folder / "shop.csv"
    write_shop_log(log, 30, 120)
    made = made_for(str(log), None, [*FEW, "privacy.noise_multiplier=2"])
    return evaluated_run(folder / "run", made.scenario).path


def complete_journey(folder: Path) -> Path:
    few = [*FEW, "data.users=40", "risk.rounds=1", "warm_start.users=40", "data.held_out_share=0.25"]
    return evaluated_run(folder / "run", load_scenario("complete-journey-eps1", few)).path


RUNS = {"demo": demo, "own log": own_log, "complete-journey": complete_journey}


@pytest.fixture(scope="module", params=RUNS)
def told(request, tmp_path_factory) -> tuple[Path, Document]:
    run = RUNS[request.param](tmp_path_factory.mktemp("run"))
    withdrawal.write(RunFolder(run))
    case = Case.of(run)
    document = document_of(case)
    write_folder(run / "evidence", files_of(case, document))
    return run, document


@pytest.mark.slow
def test_every_answer_is_sourced_or_named_missing_and_made_again(told):
    run, document = told
    assert check(run, run / "evidence").found == ()
    assert document.counts.measured > 300 and document.counts.declared == 0


@pytest.mark.slow
def test_the_audit_of_the_run_is_told_view_by_view_or_why_it_is_not(told):
    run, document = told
    audit = json.loads((run / AUDIT).read_text())
    found = {answer.name: answer for answer in document.answers if answer.key.startswith("audit.")}
    assert found["audit.breaches"].value == 0
    views = {f"audit.view_at_least[{view['key']}]" for view in audit["mechanism"]}
    assert {name for name in found if name.startswith("audit.view_at_least")} == (views or {"audit.view_at_least"})
    assert views or found["audit.view_at_least"].why == audit["why"]["mechanism"]
    membership = found["audit.membership_auc"]
    assert membership.state == ("measured" if audit["membership"] else "missing")
    assert membership.value == audit["membership"]["auc"] if audit["membership"] else membership.why


@pytest.mark.slow
def test_an_audit_that_was_changed_is_named(told):
    run, _ = told
    file = run / AUDIT
    whole = file.read_text()
    audit = json.loads(whole)
    audit["confidence"] = 0.5
    for view in audit["mechanism"]:
        view["at_least"] = 0.0
    file.write_text(json.dumps(audit, indent=1, sort_keys=True) + "\n")
    RunFolder(run).vouch()
    found = check(run, run / "evidence").found
    file.write_text(whole)
    RunFolder(run).vouch()
    assert any(line.startswith("audit.json/") for line in found) and any("audit.confidence: " in line for line in found)


@pytest.mark.slow
def test_of_a_user_s_amounts_and_times_nothing_is_told(told):
    run, _ = told
    said = b"\n".join(file.read_bytes() for file in sorted((run / "evidence").iterdir()))
    events = Population.load(run / "population")
    amounts = {f"{amount:.9g}" for amount in events.amount[:2000] if amount} - {"1", "2", "5", "10"}
    odd = [amount for amount in amounts if len(amount) >= 6]
    assert not [amount for amount in odd if amount.encode() in said]
    times = {str(int(time_s)) for time_s in events.time_s[:2000] if time_s > 100_000}
    assert not [at for at in times if f" {at}," in said.decode()]
    assert (FIRST_DAY + timedelta(days=3)).isoformat() not in said.decode()


@pytest.mark.slow
def test_what_a_withdrawal_comes_to_is_told_and_no_person_of_it(told):
    run, document = told
    found = {answer.name: answer for answer in document.answers if answer.key.startswith("withdrawal.")}
    silent = [answer.value["answered_after"] for answer in found.values() if answer.key == "withdrawal.silence"]
    assert len(silent) >= 2 and not any(silent) and found["withdrawal.rounds_joined[update]"].value["median"] > 0
    if Population.load(run / "population").n_users < 2 * FEWEST_PEOPLE:
        assert "too few people" in found["withdrawal.sentence"].why
    else:
        one, noise = (found[f"withdrawal.moved_by_{what}"].value["median"] for what in ("one", "noise"))
        assert 0 < one < noise and f"{one:.2g} (" in found["withdrawal.sentence"].value
