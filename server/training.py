"""The rounds of a plan: p's, then phi's or those of the heads, in one loop, as long as devices answer. Then every device gets the
weights.

A round is charged durably before its cohort is sampled, once, and stays charged. One that was interrupted is gone on with for a
stated time, if its sums are secure ones (`server/sums/open_round.py`): the request that devices hear is the very same body.

- No device makes noise twice for one sum: it answers the same body from its outbox, byte for byte and at no cost, and one that no
  longer has its answer refuses, as it does any other body of a round that it was charged for (`client/privacy/ledger.py`).
- No round has two sums: once a list is final, and on disk, that one is asked for and no other; a seat answers for one list. While none
  is, nothing of what was sent can be opened, and a cohort that is sampled anew is sampled as the first one was.
- Epsilon is at least that of an uninterrupted run: a round is charged once, and a number is charged before anything else of it happens.

Where the sum is ideal (`hosts` fidelity of simulations) devices keep no answer: an interrupted round is never run again there, nor is
one whose time is over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from shared.arrays import Doubles, Floats, as_declared
from shared.codec import pack_floats
from shared.errors import BudgetError, ConfigError
from shared.plan import PrivacyPlan

from .federation import HEADS_OFFER, Federation, Watched
from .heads import CROWD, HEADS
from .heads.learners import CrowdLearner, CurvatureLearner, HeadLearner, is_known
from .optimizer import ServerOptimizer
from .privacy.accounting import RoundAccountant, finite
from .public.risk_start import RiskStart
from .rounds import run_round
from .run_log.log import RunLog, digest
from .settings import RunSettings
from .state import INTEREST, RISK, Charges, ServerFolder
from .sums.open_round import OpenRounds


class Learner(Protocol):
    """What rounds do to one part of a plan."""

    #: Names its checkpoint, and its phase of the run's progress.
    checkpoint: str
    phase: str
    optimizer: ServerOptimizer

    def fields(self) -> dict[str, Any]:
        """Those of the next request that are this part's own."""
        ...

    @as_declared
    def step(self, mean_delta: Doubles) -> None:
        """Go on by the mean update of a round."""
        ...

    @property
    def model(self) -> Floats:
        """What is published of it as of now."""
        ...


class InterestLearner:
    """p: a round moves theta itself."""

    checkpoint, phase = INTEREST, "rounds"

    def __init__(self, settings: RunSettings) -> None:
        self.optimizer = ServerOptimizer(settings.theta, settings.server)

    def fields(self) -> dict[str, Any]:
        return {"theta": pack_floats(self.optimizer.theta)}

    @as_declared
    def step(self, mean_delta: Doubles) -> None:
        self.optimizer.step(mean_delta)

    @property
    def model(self) -> Floats:
        return self.optimizer.published


class RiskLearner:
    """phi on top of p: a round moves its two coefficients, by a Newton step of public curvature."""

    checkpoint, phase = RISK, "risk_rounds"

    @as_declared
    def __init__(self, settings: RunSettings, theta: Floats) -> None:
        if settings.public_rows is None:
            raise ConfigError("expected server.public-rows, a file of public lapse rows, for a plan that learns phi")
        # Weights that public people taught read public people as the trained ones read the devices' users.
        read_by = settings.theta if settings.warm else theta
        self._theta, self._start = theta, RiskStart.learn(settings.public_rows, settings.plan, read_by)
        self.optimizer = ServerOptimizer(self._start.coefficients, settings.risk_server)

    def fields(self) -> dict[str, Any]:
        coefficients = pack_floats(self.optimizer.theta)
        return {
            "theta": pack_floats(self._theta),
            "basis": pack_floats(self._start.basis),
            "coefficients": coefficients,
        }

    @as_declared
    def step(self, mean_delta: Doubles) -> None:
        self.optimizer.step(self._start.newton @ mean_delta)

    @property
    def model(self) -> Floats:
        return self._start.weights(self.optimizer.published)


#: Weights and what else was published, by line of the ledger.
Learned = Mapping[str, Floats]


def _head_learner(settings: RunSettings, learned: Learned) -> Learner:
    assert settings.heads is not None
    return HeadLearner(settings.plan, settings.heads, learned["curvature"])


#: Who learns each part of a plan, by its line of the ledger: of a run's settings, and of what was learned before.
LEARNERS: Mapping[str, Callable[[RunSettings, Learned], Learner]] = MappingProxyType(
    {
        "update": lambda settings, _: InterestLearner(settings),
        "risk_update": lambda settings, learned: RiskLearner(settings, learned["update"]),
        "crowd": lambda settings, _: CrowdLearner(settings.plan),
        "curvature": lambda settings, _: CurvatureLearner(settings.plan),
        "head_update": _head_learner,
    }
)


@dataclass
class Training:
    """One run's training: whom it learns from, under which settings, and what it has spent."""

    federation: Watched
    settings: RunSettings
    folder: ServerFolder
    charges: Charges
    accountant: RoundAccountant
    rounds: OpenRounds | None = None
    log: RunLog | None = None

    @classmethod
    def begin(
        cls,
        federation: Federation,
        settings: RunSettings,
        folder: ServerFolder,
        rounds: OpenRounds | None = None,
        log: RunLog | None = None,
    ) -> Training:
        """With every round counted that any process of this run charged, and logged, too, if the last one was killed before it
        came to that."""
        plan = settings.plan
        charges, accountant = folder.charges(plan.sha256), RoundAccountant(plan)
        for part, kind in enumerate(plan.sums):
            first = plan.first_round(part)
            accountant.charge(charges.count(after=first, until=first + kind.privacy.rounds), part)
            if log is not None:
                for number in charges.numbers(after=first, until=first + kind.privacy.rounds):
                    log.add_once("charge", round=number, line=kind.reply)
        return cls(Watched(federation, log), settings, folder, charges, accountant, rounds, log)

    def charge(self, part: int, number: int) -> None:
        """Charge the round of this number, of a part: on disk, and in the log, when this returns."""
        self.charges.add(number)
        self.accountant.charge(part=part)
        if self.log is not None:
            self.log.add_once("charge", round=number, line=self.settings.plan.sums[part].reply)

    @property
    def has_rounds_left(self) -> bool:
        """Whether anything may still be charged."""
        return any(self.goes_on(part, kind.privacy) for part, kind in enumerate(self.settings.plan.updates))

    def goes_on(self, part: int, privacy: PrivacyPlan) -> bool:
        """Whether one more round of a part is planned, and within epsilon."""
        return self.accountant.rounds_of(part) < privacy.rounds and self.accountant.affords_another(part)

    def learn(self, part: int, learner: Learner, *, to_the_end: bool = False) -> Floats:
        """What is published of one part once its rounds are over, or as many of them as epsilon allows; goes on where an
        earlier process stopped. RunStopped before a round that would be for nothing, unless `to_the_end`."""
        plan, folder, accountant = self.settings.plan, self.folder, self.accountant
        kind, first = plan.updates[part], plan.first_round(part)
        longest = self.settings.longest_means.get(kind.reply, 1.0)
        models = folder.load_checkpoint(learner.optimizer, learner.checkpoint) or [learner.model]
        self._publish(learner.checkpoint, models)
        while (number := self._left_open(part, first, len(models))) or self.goes_on(part, kind.privacy):
            if not number:
                if not to_the_end:
                    self.federation.expect_use(kind.privacy)
                number = accountant.rounds_of(part) + 1
                if self.rounds is not None:
                    self.rounds.begin(first + number, len(models))
                self.charge(part, first + number)
            request = {
                "audience": self.settings.audience,
                "run": self.settings.run,
                "step": self.settings.schedule.train_step,
                "round": first + number,
                "plan_sha256": plan.sha256,
                **learner.fields(),
            }
            mean_delta = run_round(self.federation, plan, request, kind, longest)
            self.federation.note_sum(used=mean_delta is not None)
            if mean_delta is not None:
                learner.step(mean_delta)
            models.append(learner.model)
            folder.keep_traffic(self.federation.traffic.to_map())
            folder.save_checkpoint(learner.optimizer, models, learner.checkpoint)
            self._publish(learner.checkpoint, models)
            if self.rounds is not None:
                self.rounds.end()
            folder.report(learner.phase, number, kind.privacy.rounds, epsilon=finite(accountant.epsilon))
        if part and not folder.has_models(
            learner.checkpoint
        ):  # its only round was interrupted: what follows goes on from its start
            folder.save_checkpoint(learner.optimizer, models, learner.checkpoint)
        return models[-1]

    @as_declared
    def _publish(self, name: str, models: list[Floats]) -> None:
        """Say in the log, if there is one, which model is the newest, and sign it."""
        if self.log is not None:
            number = len(models) - 1
            self.log.add_once("model", part=name, number=number, sha256=digest(pack_floats(models[-1])))
            self.log.sign()

    def _left_open(self, part: int, first: int, n_models: int) -> int:
        """The number, among its part's, of a round that is charged and open, and whose model is not published; 0 if there is none."""
        left = self.rounds.left() if self.rounds is not None else None
        number = left.number - first if left is not None else 0
        if left is None or self.rounds is None or number < 1:
            return 0
        if number == self.accountant.rounds_of(part) and left.n_models == n_models:
            return number
        self.rounds.end()  # it was not charged, or its model is published
        return 0


def train(
    federation: Federation,
    settings: RunSettings,
    folder: ServerFolder,
    *,
    rounds: OpenRounds | None = None,
    log: RunLog | None = None,
    to_the_end: bool = False,
    lines: Collection[str] = tuple(LEARNERS),
) -> RoundAccountant:
    """Run the plan's rounds, and offer what they taught to every device. BudgetError if epsilon allows none; RunStopped if
    devices refuse or stay silent so that going on would only spend: what was learned and charged until then stays in the
    folder. `rounds`: where a round lies that is open, to go on with. `to_the_end`: go on all the same, for trials, which publish
    nothing. `lines`: of the ledger; no other part is learned."""
    plan = settings.plan
    if plan.heads is not None and "head_update" in lines and settings.heads is None:
        raise ConfigError("expected server.heads-start, a file of where heads start, for a plan that learns them")
    training = Training.begin(federation, settings, folder, rounds, log)
    accountant, learned = training.accountant, dict[str, Floats]()
    for part, kind in enumerate(plan.updates):
        if kind.reply not in lines or (kind.reply == "head_update" and not is_known(learned)):
            continue
        learned[kind.reply] = training.learn(part, LEARNERS[kind.reply](settings, learned), to_the_end=to_the_end)
        if not accountant.rounds:
            raise BudgetError(f"expected max_epsilon to allow one round, got {plan.privacy.max_epsilon}")
        if kind.reply == "crowd" and training.has_rounds_left:
            offer_heads(federation, settings, learned["crowd"], _newest_heads(settings, folder), accountant.rounds)
    if not (to_the_end or training.federation.has_summed):
        training.federation.expect_use(plan.privacy)
    offer(federation, settings, learned["update"], accountant.rounds, risk=learned.get("risk_update"))
    if "crowd" in learned:
        weights = learned.get("head_update", _newest_heads(settings, folder))
        offer_heads(federation, settings, learned["crowd"], weights, accountant.rounds)
    return accountant


def offer_newest(federation: Federation, settings: RunSettings, folder: ServerFolder) -> int:
    """Offer what was published last, which is where training goes on: in a fresh folder the first theta, with the model file;
    heads, too, once everybody's sum was published; how many took the model. They take nothing that is before what this run
    offered already."""
    models = {name: folder.models(name)[-1] for name in (INTEREST, RISK, CROWD) if folder.has_models(name)}
    number = folder.charges(settings.plan.sha256).count(until=settings.plan.privacy.rounds)
    theta = models.get(INTEREST, settings.theta)
    taken = offer(federation, settings, theta, number, with_file=not models, risk=models.get(RISK))
    if CROWD in models:
        offer_heads(federation, settings, models[CROWD], _newest_heads(settings, folder), number)
    return taken


@as_declared
def offer(
    federation: Federation,
    settings: RunSettings,
    theta: Floats,
    round_number: int,
    *,
    with_file: bool = False,
    risk: Floats | None = None,
) -> int:
    """Give every device the plan, weights and, the first time, the model file; how many took them."""
    return federation.offer(
        {
            "audience": settings.audience,
            "run": settings.run,
            "step": settings.schedule.train_step,
            "round": round_number,
            "plan": settings.plan.canonical,
            "model": settings.model if with_file else b"",
            "theta": pack_floats(theta),
            "risk": b"" if risk is None else pack_floats(risk),
        }
    )


@as_declared
def offer_heads(
    federation: Federation, settings: RunSettings, popularity: Floats, weights: Floats, round_number: int
) -> int:
    """Give every device where heads start, the log popularity (C,) of the categories and weights (56,), beside the model of the same
    number; how many took them."""
    assert settings.heads is not None
    return federation.offer(
        {
            "audience": settings.audience,
            "run": settings.run,
            "step": settings.schedule.train_step,
            "round": round_number,
            "plan_sha256": settings.plan.sha256,
            "start": settings.heads.start.to_bytes(),
            "popularity": pack_floats(popularity),
            "weights": pack_floats(weights),
        },
        HEADS_OFFER,
    )


def _newest_heads(settings: RunSettings, folder: ServerFolder) -> Floats:
    """The weights (56,) of heads that were published last: in the beginning, those that they start with."""
    assert settings.heads is not None
    return folder.models(HEADS)[-1] if folder.has_models(HEADS) else settings.heads.start.weights.ravel()
