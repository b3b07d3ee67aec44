"""Rates from randomised bits: intervals hold what they promise; the table keeps one bit for one device and step."""

import numpy as np
import pytest

from server import bits as module
from server.bits import BitInbox, rate_of_answering
from server.inbox import Inbox
from shared.errors import InputError
from shared.randomised_response import randomised_response, truth_probability
from simulations.evaluation.aggregates.bit_rates import coverage as published_coverage
from tests.world.basics import replayed_entropy

REPETITIONS = 1000
SETTINGS = [(1_000_007, 2000, 0.05), (2_000_000, 1000, 0.15), (500_000, 3000, 0.4), (4_000_000, 1500, 0.9)]


def coverage(bits: np.ndarray, truths: np.ndarray, epsilon_micro: int) -> tuple[float, float]:
    """Shares of repetitions (R, n) whose interval holds the truth (R,), and the mean of the estimates' errors."""
    answers = bits.shape[1]
    sent = randomised_response(bits, epsilon_micro, replayed_entropy(f"bits/{epsilon_micro}"))
    rates = [rate_of_answering(int(ones), answers, epsilon_micro) for ones in sent.sum(axis=1)]
    inside = [rate.low <= truth <= rate.high for rate, truth in zip(rates, truths, strict=True)]
    return float(np.mean(inside)), float(np.mean([r.estimate - t for r, t in zip(rates, truths, strict=True)]))


@pytest.mark.parametrize(("epsilon_micro", "answers", "share"), SETTINGS)
def test_a_rate_of_the_answering_devices_is_inside_its_interval(epsilon_micro, answers, share):
    bits = np.zeros((REPETITIONS, answers), bool)
    bits[:, : round(share * answers)] = True
    covered, error = coverage(bits, bits.mean(axis=1), epsilon_micro)
    assert 0.93 <= covered <= 0.97
    assert abs(error) < 0.01


def test_the_published_coverage_is_that_of_the_shipped_coin():
    assert 0.93 <= published_coverage(entropy=replayed_entropy("bit.coverage")) <= 0.97
    assert published_coverage(repetitions=50, entropy=lambda n: bytes(n)) == 0.0, "a coin that never lies is no coin"


def test_debiasing_inverts_the_coin():
    truth = float(truth_probability(2_000_000))
    for share in (0.0, 0.25, 1.0):
        ones = round(10**6 * (share * truth + (1 - share) * (1 - truth)))
        rate = rate_of_answering(ones, 10**6, 2_000_000)
        assert rate.estimate == pytest.approx(share, abs=1e-5)
        assert rate.low < share < rate.high and rate.answers == 10**6


@pytest.mark.parametrize(("ones", "answers"), [(0, 1), (1, 1), (0, 5), (5, 5)])
def test_a_few_bits_say_almost_nothing(ones, answers):
    rate = rate_of_answering(ones, answers, 500_000)
    assert rate.low <= rate.estimate <= rate.high and rate.high - rate.low > 1


@pytest.mark.parametrize(("ones", "answers"), [(0, 0), (-1, 5), (6, 5)])
def test_counts_that_cannot_be_are_refused(ones, answers):
    with pytest.raises(InputError):
        rate_of_answering(ones, answers, 1_000_000)


def test_bits_are_kept_once_beside_the_alerts_and_become_rates_by_step(tmp_path):
    file = tmp_path / "inbox.db"
    Inbox(file).add(7, [{"direction": 0, "category": 1, "level": 2, "step": 3, "model_round": 4}])
    inbox = BitInbox(file)
    nodes = [2**64 - 1, *range(19)]
    for i, node in enumerate(nodes):
        inbox.add(node, 12, 2_000_000, int(i < 8))
        inbox.add(node, 12, 2_000_000, 1)
        inbox.add(node, 25, 2_000_000, int(i < 12))
    inbox.add(5, 38, 1_000_000, 1)
    rates = BitInbox(file).rates(2_000_000)
    assert rates == {12: rate_of_answering(8, 20, 2_000_000), 25: rate_of_answering(12, 20, 2_000_000)}
    assert BitInbox(file).rates(1_000_000) == {38: rate_of_answering(1, 1, 1_000_000)}
    assert Inbox(file).count() == 1


def test_a_step_s_bits_are_kept_all_together_or_not_at_all(tmp_path, monkeypatch):
    """However many inserts they take."""
    monkeypatch.setattr(module, "BATCH", 3)
    inbox = BitInbox(tmp_path / "inbox.db")

    def cut_off():
        yield from ((node, 1) for node in range(10))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inbox.add_all(12, 1_000_000, cut_off())
    assert inbox.rates(1_000_000) == {}
    inbox.add_all(12, 1_000_000, ((node, 1) for node in range(10)))
    assert inbox.rates(1_000_000) == {12: rate_of_answering(10, 10, 1_000_000)}
