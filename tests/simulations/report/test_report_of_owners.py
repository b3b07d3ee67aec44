"""What the report says of owners: what they allow, what their devices declined, what their randomised bits tell."""

from simulations.report.summary import result_rows
from tests.simulations.report.test_report import Outline, made
from tests.world.run_results import make_results, with_everything


def test_what_owners_allow_and_devices_declined_stands_beside_epsilon() -> None:
    text = Outline(made("everything")).text
    allowed = "at most 14 participations in a plan, epsilon <= 7.5 in 182 days"
    assert "what the owners allow" in text and allowed in text
    assert "Requests declined: 6 × consent, 3 × participations, 1 200 × period budget." in text
    rows = dict(result_rows(with_everything()))
    assert rows["owners' caps on a device"] == allowed
    assert rows["declined, consent aside"] == "3 participations, 1\u202f200 period budget"
    lifted = dict(result_rows(make_results()))
    assert lifted["owners' caps on a device"] == "lifted in this scenario"
    assert lifted["declined, consent aside"] == "none"
    assert "The caps: lifted in this scenario. No request was declined." in Outline(made("planted")).text


def test_rates_from_bits_are_shown_with_interval_and_truth() -> None:
    text = Outline(made("everything")).text
    assert "5 users agreed to a randomised bit: every 7 weeks" in text
    assert "165−12 %−60 % to 36 %20 %" in text
    assert "2 coins of epsilon 1 each" in text and "holds against the server itself" in text
    last = dict(result_rows(with_everything()))["alerted lately, by randomised bits"]
    assert last == "43\u202f%, 95 % interval −5\u202f% to 91\u202f% (true: 40\u202f%, known to a simulation only)"
    assert "randomised bit" not in Outline(made("planted")).text
