"""What tables of a scenario file are made of, and the one that says who adds rounds up."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.plan import PrivacyPlan, SumPlan
from shared.register.sum_plan import MAX_HELPERS
from shared.secure_sum.field import Field as PrimeField
from shared.secure_sum.sizes import Assumed, seats

Whole = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
#: A number that draws depend on; it goes through Flower as 64 bits.
Seed = Annotated[int, Field(ge=0, lt=2**63)]
#: More people are a mistake, on one machine.
MOST_USERS = 10_000_000
Rate = Annotated[float, Field(gt=0, le=1000)]
Clip = Annotated[float, Field(le=1e6)]
Margin = Annotated[float, Field(le=1000)]


class Section(BaseModel):
    """A table of a scenario file: unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, ser_json_inf_nan="constants")


class SumSection(Section):
    """Who adds a round up, so that the server learns the sum alone: `helpers` servers of other organisations, `devices` drawn
    from the enrolled ones, or devices under a pad of the helpers (`both`). Of device seats, `corrupt_share` may be hostile and
    `seat_loss` of the others give no answer: how many there are follows (`shared/secure_sum/sizes.py`)."""

    seats: Literal["helpers", "devices", "both"] = "helpers"
    helpers: Annotated[int, Field(ge=1, le=MAX_HELPERS)] = SumPlan.helpers
    corrupt_share: Annotated[float, Field(ge=0, lt=0.5)] = Assumed.corrupt_share
    seat_loss: Annotated[float, Field(ge=0, lt=0.5)] = Assumed.seat_loss

    def plan(self, privacy: PrivacyPlan, n_values: int, n_draws: int) -> SumPlan:
        """What the plan says of it; ConfigError where so few devices have no sound seats."""
        if self.seats == "helpers":
            return SumPlan(self.helpers)
        word_bytes = PrimeField.holding(privacy.largest_sum).word_bytes
        assumed = Assumed(corrupt_share=self.corrupt_share, seat_loss=self.seat_loss, draws=max(n_draws, Assumed.draws))
        found = seats(privacy.population, n_values, word_bytes, assumed)
        helpers = self.helpers if self.seats == "both" else 0
        return SumPlan(helpers, found.n_seats, found.n_drawn, found.t_priv, found.t_rec)
