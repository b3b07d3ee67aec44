"""Whom the server works with, and until when: the enrolled devices, wherever they run, as long as enough of them answer. A
round does not know whether a node is one device or hosts many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.arrays import Words
from shared.errors import IN_WORDS, RefusalCode, RunStopped
from shared.plan import Plan, PrivacyPlan, UpdateKind

from .channel import Traffic
from .run_log.log import RunLog, digest

#: What every device is given: a model with its plan, and heads beside it.
MODEL_OFFER, HEADS_OFFER = "model_offer", "heads_offer"
#: Of those that say anything, the share from which on "nearly all" of them refuse, and that in so many rounds running.
NEARLY_ALL, REFUSED_ROUNDS = 0.9, 2
#: Rounds running that were asked for and had no sum that could be used, whatever the reason.
UNUSED_ROUNDS = 5
#: A cohort of which more than this share stays silent, in so many rounds running that have too few updates.
MOSTLY_SILENT, SILENT_ROUNDS = 0.5, 3


class Federation(Protocol):
    """The enrolled devices."""

    traffic: Traffic

    def offer(self, fields: Mapping[str, Any], name: str = MODEL_OFFER) -> int:
        """Give every device an offer; how many took it."""
        ...

    def sample(self, sampling_rate: float) -> Sequence[int]:
        """A fresh secret Poisson cohort of devices."""
        ...

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], kind: UpdateKind
    ) -> tuple[Words, int]:
        """Ask a cohort for updates of one part of the training: their sum modulo 2^32, uint32 (kind's n_values,), and
        how many are in it."""
        ...

    def ask(self, name: str, fields: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Ask every device a query of the register: (device, fields of its reply), for those that answered with
        anything to tell."""
        ...


@dataclass(frozen=True)
class Turnout:
    """What came of one round: how many devices were asked, how many updates are in its sum, and refusals by code."""

    asked: int
    answered: int
    refused: Counter[RefusalCode]

    def is_refused(self, privacy: PrivacyPlan) -> bool:
        """Whether nearly all who say anything refuse, half of those asked at least, and the others could not carry a round."""
        refused = self.refused.total()
        nearly_all = (self.answered + refused) * NEARLY_ALL <= refused and 2 * refused >= self.asked
        return self.asked > 0 and nearly_all and self.answered < privacy.min_survivors

    def is_silent(self, privacy: PrivacyPlan) -> bool:
        """Whether most give no answer that counts, nor a refusal, and the others are too few for a round."""
        silent = self.asked - self.answered - self.refused.total()
        return silent > self.asked * MOSTLY_SILENT and self.answered < privacy.min_survivors


class Watched:
    """A federation of which it is noted what comes of its rounds, so that a run stops that would only spend more; with a `log`, there,
    too."""

    def __init__(self, federation: Federation, log: RunLog | None = None) -> None:
        self._federation, self._log = federation, log
        self.traffic = federation.traffic
        #: Whether any round had a sum that could be used.
        self.has_summed = False
        self._left: int | None = None
        self._last = Turnout(0, 0, Counter())
        self._refused_rounds = self._silent_rounds = self._unused_rounds = 0
        self._was_asked = False

    def offer(self, fields: Mapping[str, Any], name: str = MODEL_OFFER) -> int:
        return self._federation.offer(fields) if name == MODEL_OFFER else self._federation.offer(fields, name)

    def sample(self, sampling_rate: float) -> Sequence[int]:
        cohort, self._was_asked = self._federation.sample(sampling_rate), False
        self._left = len(cohort) if sampling_rate == 1 else None
        return cohort

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], kind: UpdateKind
    ) -> tuple[Words, int]:
        before, self._was_asked = refusals(self.traffic), True
        total, answered = self._federation.collect(cohort, plan, request, kind)
        if self._log is not None:
            self._log.add("sum", round=request["round"], sha256=digest(total.astype("<u4").tobytes()))
        self._last = Turnout(len(cohort), answered, refusals(self.traffic) - before)
        self._refused_rounds = self._refused_rounds + 1 if self._last.is_refused(kind.privacy) else 0
        self._silent_rounds = self._silent_rounds + 1 if self._last.is_silent(kind.privacy) else 0
        return total, answered

    def note_sum(self, *, used: bool) -> None:
        """Whether the last round had a sum that could be used: enough updates, and none that cheats."""
        self.has_summed |= used
        if used or self._was_asked:  # a cohort that chance made small says nothing
            self._unused_rounds = 0 if used else self._unused_rounds + 1

    def ask(self, name: str, fields: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        return self._federation.ask(name, fields)

    def expect_use(self, privacy: PrivacyPlan) -> None:
        """RunStopped if the rounds so far say that another one is spent for nothing: nearly all refused, in two rounds running;
        most were silent and the others too few, or nobody added them up, in three; no sum could be used, for whatever reason, in
        five; or everybody who is left is too few. A cohort that chance made small says nothing: nobody was asked."""
        last = self._last
        if self._left is not None and self._left < privacy.min_survivors:
            raise RunStopped(
                f"{self._left} of {privacy.population} devices are left.",
                "Those are too few for the sum of any round: begin a run with more devices.",
            )
        if self._refused_rounds >= REFUSED_ROUNDS:
            raise RunStopped(
                f"{last.refused.total()} of {last.asked} devices refused the last round.",
                f"Nearly all refused {REFUSED_ROUNDS} rounds running, {_mostly(last.refused)}.",
            )
        if self._unused_rounds >= UNUSED_ROUNDS and self._silent_rounds < SILENT_ROUNDS:
            raise RunStopped(
                f"{last.answered} of {last.asked} devices answered the last round, and {last.refused.total()} refused it.",
                f"No round had a sum that could be used, {UNUSED_ROUNDS} rounds running: too few updates, or some that no honest "
                "device sends; traffic.json counts which.",
            )
        if self._silent_rounds >= SILENT_ROUNDS:
            raise RunStopped(
                f"{last.answered} of {last.asked} devices answered the last round.",
                f"Most were silent {SILENT_ROUNDS} rounds running, and the others too few for a sum, or nobody added them up: see that "
                "devices and helpers are connected and that their apps run; traffic.json counts what came instead.",
            )


def expect_taken(taken: int, refused: Counter[RefusalCode], privacy: PrivacyPlan) -> None:
    """RunStopped if so few devices took a plan that no round of it can have a sum."""
    if taken < privacy.min_survivors:
        raise RunStopped(
            f"{taken} of {privacy.population} devices took the plan, and {refused.total()} refused it.",
            "They are too few for the sum of any round: "
            + (f"{_mostly(refused)}." if refused else "see that devices are connected and that their apps run."),
        )


def refusals(traffic: Traffic) -> Counter[RefusalCode]:
    """How often devices refused so far, by code."""
    return Counter({code: n for code in RefusalCode if (n := traffic.dropped[f"refusal_{int(code)}"])})


def _mostly(refused: Counter[RefusalCode]) -> str:
    """The commonest refusal in words, and what helps."""
    reason, remedy = IN_WORDS[refused.most_common(1)[0][0]]
    return f"mostly because {reason} ({remedy})"
