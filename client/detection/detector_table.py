"""Which detector a plan asks for: each name that `shared.plan.DETECTORS` allows, and how it is made from a plan's settings.

A new detector is a class that keeps to `Detector`, a name there, and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from shared.plan import Detection

from .cusum import CusumDetector
from .detectors import Detector, LevelDetector, OwnLevelDetector, RateDetector, RiskDetector

DETECTORS: Final[Mapping[str, Callable[[Detection], Detector]]] = {
    "rate": lambda s: RateDetector(s.rate_window_steps, s.rate_threshold),
    "level": lambda s: LevelDetector(s.fall_level, s.rise_level, s.rate_window_steps),
    "own_level": lambda s: OwnLevelDetector(s.own_span_steps, s.fall_margin, s.rise_margin, s.rate_window_steps),
    "cusum": lambda s: CusumDetector(s.warm_steps, s.season_steps),
    "slow_average": lambda s: RiskDetector(s.risk_line, s.rise_level, s.takeoff_line),
    "risk": lambda s: RiskDetector(s.risk_line, s.rise_level, s.takeoff_line),
}


def detector_for(settings: Detection) -> Detector:
    """The detector that a plan asks for."""
    return DETECTORS[settings.detector](settings)
