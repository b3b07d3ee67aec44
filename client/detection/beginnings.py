"""Since when: the step at which the change that an alert is about began, in words, as the device's user reads them.

A CUSUM sums evidence of a shift from the step on at which there last was none. Where that sum fires, this step is the classic
estimate of when the shift began (Page 1954); the alert itself comes later, for a shift has to last before it is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from shared.events import Step

_UNITS: Final = {Step.DAY: "天", Step.WEEK: "周"}


@dataclass(frozen=True)
class Since:
    """The step at which a change began, and how many steps `before` its alert that was."""

    step: int
    before: int
    unit: Step

    def __repr__(self) -> str:
        return "Since(<raw>)"

    def text(self, language: Literal["en", "zh"] = "en") -> str:
        """A sentence in one of the languages.

        >>> Since(31, 5, Step.WEEK).text()
        'since about week 31, 5 weeks before this alert'
        """
        if language == "zh":
            return f"大约从第 {self.step} {_UNITS[self.unit]}开始，即这次提醒之前 {self.before} {_UNITS[self.unit]}"
        name = self.unit.value
        return f"since about {name} {self.step}, {self.before} {name}{'s' * (self.before != 1)} before this alert"
