"""The few answers that a user's page is made of: read from the tables by key, never typed in; what is missing is said to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from client.vault.consent import Consent
from shared.messages import REGISTER
from shared.register.kinds import MessageKind, Spends

from ..fields import Field, FieldTable
from .layout import every_field
from .odds import in_a_thousand, odds_factor, one_in, right_at_most


@dataclass(frozen=True)
class Promise:
    """An epsilon in words. `right`: of 1,000 bets at even odds so many can be right; `factor`: what odds are multiplied by at most,
    None for more than a million; `one_in`: delta."""

    epsilon: float
    delta: float
    right: int
    factor: int | float | None
    one_in: int | None

    @classmethod
    def of(cls, epsilon: float, delta: float) -> Promise:
        return cls(epsilon, delta, in_a_thousand(right_at_most(epsilon, delta)), odds_factor(epsilon), one_in(delta))


@dataclass(frozen=True)
class Silence:
    """After users said no: requests that devices were `asked`, and `answered` with anything but no; the slowest way to say no took
    so many `seconds` until it was on the disk."""

    asked: int
    answered: int
    seconds: float


@dataclass(frozen=True)
class Facts:
    """Answers by their names."""

    answers: Mapping[str, Field]

    @classmethod
    def of(cls, tables: Iterable[FieldTable]) -> Facts:
        return cls({field.name: field for field in every_field(tables)})

    def value(self, name: str) -> Any:
        """What is answered; None if nothing is, or nobody asked."""
        field = self.answers.get(name)
        return field.value if field else None

    def rows(self, key: str) -> dict[str, Any]:
        """What is answered to one question of several things, by thing; without those that nobody answered for."""
        return {f.row: f.value for f in self.answers.values() if f.key == key and f.row and f.state != "missing"}

    @property
    def stated(self) -> bool:
        """Whether anybody states an epsilon: a number, or that there is none."""
        return self.value("privacy.epsilon_to_public") is not None

    @property
    def to_public(self) -> Promise | None:
        """The promise against who sees all that is published; None where none is made."""
        return self._promise("privacy.epsilon_to_public")

    @property
    def to_server(self) -> Promise | None:
        """The promise against the server, while the sum holds; None where none is made, or the same one."""
        found = self._promise("privacy.epsilon_to_server")
        return None if found == self.to_public else found

    def _promise(self, name: str) -> Promise | None:
        epsilon, delta = self.value(name), self.value("privacy.delta")
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (epsilon, delta))
        return Promise.of(float(epsilon), float(delta)) if numbers else None

    @property
    def asked(self) -> list[MessageKind]:
        """What the run's plan asks for and charges, and what is told outside of every charge."""
        times = self.rows("account.times")
        return [k for k in REGISTER.values() if k.spends is Spends.OUTSIDE_EPSILON or (k.charged and times.get(k.name))]

    @property
    def always(self) -> list[MessageKind]:
        """What leaves under any consent, while the device is not paused."""
        return [kind for kind in self.asked if not kind.consent]

    @property
    def choices(self) -> list[Consent]:
        """What a user can choose, from what tells least to what tells most."""
        return sorted(
            Consent, key=lambda choice: (not all(k.charged for k in self.beyond(choice)), len(self.beyond(choice)))
        )

    def beyond(self, consent: Consent) -> list[MessageKind]:
        """What leaves besides under a consent."""
        return [kind for kind in self.asked if kind.consent and consent.covers(kind.consent)]

    def less_than(self, consent: Consent) -> Consent | None:
        """The choice of which all that leaves also leaves under this one, which tells more; None if there is none."""
        mine = self.beyond(consent)
        below = [
            c for c in self.choices if 0 < len(self.beyond(c)) < len(mine) and all(k in mine for k in self.beyond(c))
        ]
        return below[-1] if below else None

    def added(self, consent: Consent) -> list[MessageKind]:
        """What leaves under a consent and not under the choice that tells less."""
        less = self.less_than(consent)
        return [kind for kind in self.beyond(consent) if less is None or kind not in self.beyond(less)]

    @property
    def moved(self) -> tuple[float, float] | None:
        """By how much leaving one person out moved p of the others in the median, and noise alone; None if nobody measured it."""
        one, noise = (self.value(f"withdrawal.moved_by_{what}") for what in ("one", "noise"))
        return (one["median"], noise["median"]) if one and noise else None

    @property
    def silence(self) -> Silence | None:
        """How soon a device is silent once its user says no, all ways together; None if nobody measured it."""
        ways = list(self.rows("withdrawal.silence").values())
        if not ways:
            return None
        asked, answered = (sum(way[f"{what}_after"] for way in ways) for what in ("asked", "answered"))
        return Silence(asked, answered, max(way["seconds"] for way in ways))

    @property
    def technical(self) -> list[MessageKind]:
        """What says nothing of anybody's behaviour."""
        return [kind for kind in REGISTER.values() if kind.spends is Spends.NOTHING]
