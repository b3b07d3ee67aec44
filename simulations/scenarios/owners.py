"""What the owners of simulated devices decided: what each agrees to tell of alerts, and what all of them let be spent.

A file of each in a run's folder, read by both fidelities: consents, a place in `client.vault.consent.CHOICES` for each user,
and caps.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from client.model.installed import expect_norms, expect_survivors
from client.privacy.alert_bit import own_schedule
from client.privacy.caps import DAY_S, OF_A_PLAN, Cap, Caps, LedgerLine
from client.privacy.ledger import LIFETIME, PERIOD, ROWS, TOTAL, Ledger
from client.vault.consent import CHOICES, Consent
from shared import rdp
from shared.arrays import Bools, hold_declared
from shared.charges import charges_of
from shared.errors import ConfigError, Refusal, RefusalCode
from shared.events import Step
from shared.files import replace_content, replacing, text_of
from shared.plan import Plan
from shared.randomised_response import BitSchedule
from shared.rdp import Curve

#: As many participations under one plan are no cap.
NO_CAP = Caps.none().participations_per_plan


@dataclass(frozen=True)
class Owners:
    """`consents` (K,) uint8: places in CHOICES. `caps`: every owner's."""

    consents: NDArray[np.uint8]
    caps: Caps

    def __post_init__(self) -> None:
        hold_declared(self)

    @classmethod
    def draw(
        cls,
        n_users: int,
        identified_share: float,
        randomised_share: float,
        caps: Caps,
        seed: int,
        summed_share: float = 0.0,
    ) -> Owners:
        """Each user identified, randomised or summed with these probabilities, local otherwise; the same for the same seed.
        ConfigError if they are more than everybody."""
        if identified_share + randomised_share + summed_share > 1 + 1e-9:  # a sum of floats
            raise ConfigError(
                "expected identified_share + randomised_share + summed_share <= 1, got "
                f"{identified_share:g}, {randomised_share:g} and {summed_share:g}"
            )
        lot = np.random.Generator(np.random.Philox(seed)).random(n_users)
        consents = np.full(n_users, CHOICES.index(Consent.LOCAL), np.uint8)
        consents[lot < identified_share + randomised_share + summed_share] = CHOICES.index(Consent.SUMMED)
        consents[lot < identified_share + randomised_share] = CHOICES.index(Consent.RANDOMISED)
        consents[lot < identified_share] = CHOICES.index(Consent.IDENTIFIED)
        return cls(consents, caps)

    @classmethod
    def load(cls, consents_file: Path, caps_file: Path) -> Owners:
        """What `save` left in two files."""
        fields = json.loads(text_of(caps_file))
        lines = {LedgerLine(line): Cap(**cap) for line, cap in fields.pop("lines").items()}
        caps = Caps(**{**fields, "lines": lines, "total": Cap(**fields["total"])})
        return cls(np.load(consents_file, mmap_mode="r"), caps)

    def save(self, consents_file: Path, caps_file: Path) -> None:
        """What everybody decided, consents last: where they are, all is there."""
        fields = {**vars(self.caps), "lines": {line: asdict(cap) for line, cap in self.caps.lines.items()}}
        fields["total"] = asdict(self.caps.total)
        replace_content(caps_file, json.dumps(fields, indent=1))
        with replacing(consents_file) as file:
            np.save(file, self.consents)

    def consent_of(self, user: int) -> Consent:
        return CHOICES[int(self.consents[user])]

    def covering(self, needed: str) -> Bools:
        """Whose decision covers this consent: (K,)."""
        covers = np.array([choice.covers(needed) for choice in CHOICES])
        found: Bools = covers[self.consents]
        return found

    def who(self, consent: Consent) -> Bools:
        """Which users decided so: (K,)."""
        found: Bools = self.consents == CHOICES.index(consent)
        return found


def check_caps(plan: Plan, caps: Caps) -> None:
    """ConfigError, which names the cap, if the plan or something that it charges would be refused by every device that
    agrees: the first round of p or of phi, and with everybody in every round any of them, and then any coin."""
    try:
        expect_norms(plan, caps)
    except Refusal:
        norm = max(kind.privacy.clip_norm for kind in plan.updates)
        raise ConfigError(
            f"expected clip_norm <= {caps.clip_norm:g}, which caps.clip_norm allows, got {norm:g}"
        ) from None
    try:
        expect_survivors(plan, caps)
    except Refusal:
        most = max(privacy.min_survivors for privacy in (kind.privacy for kind in plan.sums))
        raise ConfigError(
            f"expected min_survivors <= {caps.survivors}, which caps.survivors allows, got {most}"
        ) from None
    always = plan.privacy.sampling_rate == 1
    ledger = Ledger.from_bytes(None, caps)
    for row in charges_of(plan):
        line, cost = LedgerLine(row.line), row.cost
        ledger = ledger if always else Ledger.from_bytes(None, caps)
        for number in range(1, row.times + 1 if always else 2):
            try:
                ledger = ledger.charge(line, cost, plan.sha256 if line in OF_A_PLAN else None)
            except Refusal as refusal:
                raise ConfigError(
                    f"expected the owners' caps to allow {row.times} {'rounds' if row.privacy else 'coins'} of {line}, but "
                    f"every device would refuse number {number}: {_cap_behind(refusal.code, ledger, line, cost)}"
                ) from None


def _cap_behind(code: RefusalCode, ledger: Ledger, line: LedgerLine, cost: Curve) -> str:
    """The cap that one more release meets, in words."""
    caps = ledger.caps
    if code == RefusalCode.PARTICIPATIONS:
        return f"caps.participations_per_plan is {caps.participations_per_plan}"
    scope, word = (PERIOD, "period") if code == RefusalCode.PERIOD_BUDGET else (LIFETIME, "lifetime")
    found = [
        (name, float(rdp.epsilon(ledger.spent.curves[scope, row] + cost, caps.delta)), getattr(cap, word))
        for name, row, cap in ((str(line), ROWS[line], caps.lines[line]), ("total", TOTAL, caps.total))
    ]
    name, epsilon, allowed = next(one for one in found if not one[1] <= one[2])
    return f"epsilon of {name} would be {epsilon:.3g} in a {word}, caps.{name} allows {allowed:g}"


class CapsNumbers(BaseModel):
    """The caps' numbers, for people: of all together and of each line of the ledger the most epsilon of a period and of a
    lifetime; None is no cap."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    table: str
    participations_per_plan: int | None
    clip_norm: float | None
    period_days: int
    delta: float
    total: tuple[float | None, float | None]
    lines: dict[str, tuple[float | None, float | None]]


def caps_numbers(caps: Caps, table: str) -> CapsNumbers:
    """The caps of a named table, as numbers for people."""

    def pair(cap: Cap) -> tuple[float | None, float | None]:
        period, lifetime = (value if math.isfinite(value) else None for value in (cap.period, cap.lifetime))
        return period, lifetime

    most = caps.participations_per_plan
    return CapsNumbers(
        table=table,
        participations_per_plan=most if most < NO_CAP else None,
        clip_norm=caps.clip_norm if math.isfinite(caps.clip_norm) else None,
        period_days=round(caps.period_s / DAY_S),
        delta=caps.delta,
        total=pair(caps.total),
        lines={line.value: pair(cap) for line, cap in caps.lines.items()},
    )


def check_bits(asked: BitSchedule, caps: Caps, step: Step) -> None:
    """ConfigError if a schedule of bits asks for more than what the owners' caps pay for."""
    own = own_schedule(caps, step.seconds)
    if own is None or not own.grants(asked, asked.every_steps - 1):
        allowed = f"epsilon {own.epsilon:.3g} every {own.every_steps} steps" if own else "no bit"
        raise ConfigError(
            f"expected bits within the owners' caps.alert_bit and caps.total, which pay for {allowed}; got epsilon "
            f"{asked.epsilon:g} every {asked.every_steps} steps"
        )
