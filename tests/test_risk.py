import numpy as np

from client.risk import HIGH_BELOW, MEDIUM_BELOW, Direction, RiskLevel, risk_level


def test_a_fall_is_the_worse_the_lower_p_and_a_rise_the_better_the_higher():
    p = np.array([0.05, HIGH_BELOW, 0.15, MEDIUM_BELOW, 0.5, 0.79, 0.81, 0.91, 1.0], np.float32)
    high, medium, low = RiskLevel.HIGH, RiskLevel.MEDIUM, RiskLevel.LOW
    assert risk_level(p, Direction.FALL).tolist() == [high, high, medium, medium, low, low, low, low, low]
    assert risk_level(p, Direction.RISE).tolist() == [low, low, low, low, low, low, medium, high, high]


def test_risk_never_falls_as_the_evidence_grows_and_keeps_leading_axes():
    p = np.linspace(0, 1, 60, dtype=np.float32).reshape(3, 20)
    assert risk_level(p, Direction.FALL).shape == (3, 20)
    assert (np.diff(risk_level(p, Direction.FALL).ravel()) <= 0).all()
    assert (np.diff(risk_level(p, Direction.RISE).ravel()) >= 0).all()


def test_no_score_is_never_more_than_low():
    assert risk_level(np.array([np.nan], np.float32), Direction.FALL).tolist() == [RiskLevel.LOW]
