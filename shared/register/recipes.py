"""The recipes of secure sums: a closed, versioned table of what a device computes for one, and of all that follows from it.

From a row follow the request and where it arrives (`query.<recipe>`), the reply that carries shares into the sum, the line of
the ledger and its default cap, and the consent that lets it leave. A plan says of each recipe how often it is asked for, and what
protects a sum of it (`shared/register/queries.py`); `client/model/recipes.py` has the device's function. A new recipe is a row here
and a function there. One that computes anything else has another name: a row is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .bounds import MAX_COEFFICIENTS, MAX_HEAD_INPUTS, MAX_HEADS, MAX_PARAMETERS, MAX_READINGS, MAX_STEP
from .kinds import (
    HASH,
    PUBLIC,
    ROUND,
    RUN,
    SEATED,
    STEP,
    Bytes,
    Field,
    Int,
    MessageKind,
    request_kind,
    summed_kind,
)

#: Of the table. It rises with what is added.
VERSION = 2
#: The consent under which a sum that trains nothing is answered: see `client/vault/consent.py`.
SUMMED = "summed"

#: `evaluation`: scores fall into bins between these, in thousandths of p; each bin is counted for each label.
SCORE_EDGES_MILLI = (81, 92, 103, 113, 123, 133, 149, 179, 209, 238, 270, 311, 359, 418, 488, 572, 676, 801, 919)
#: How much one row counts in its cell, in hundredths: of label 0, then of label 1. What is rare in a cell, and moves an AUC, weighs
#: more than what is common and moves nothing, so that neither clip nor noise falls on what matters. Edges and weights are those of
#: planted people, who are public (simulations/search/score_cells.py).
SCORE_WEIGHTS_CENTI = (
    (44, 41, 43, 43, 41, 42, 38, 36, 38, 39, 40, 39, 45, 52, 60, 72, 86, 103, 140, 208),
    (202, 178, 173, 165, 159, 159, 136, 115, 99, 93, 93, 85, 82, 76, 68, 68, 69, 68, 67, 61),
)
N_BINS = len(SCORE_EDGES_MILLI) + 1
#: `alert_counts`: directions, and levels of each.
DIRECTIONS, LEVELS = 2, 3

#: What a plan says of a recipe, by name.
Numbers = Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Recipe:
    """One row: `name`, the message that a device sends and its ledger line; `request`, what asks for it, with `fields` of its
    own; `version`, that of the table in which it came.

    Of one that trains nothing: `numbers`, what a plan says of it, each within its bounds; `length`, how many values a vector has
    then; `cap`, the default for its ledger line, epsilon of a period and of a life; `consent`. `unit`: what the clip is counted
    in.
    """

    name: str
    request: str
    version: int
    asks: str
    tells: str
    cost: str
    unit: str
    cap: tuple[float, float]
    fields: Mapping[str, Field] = field(default_factory=dict)
    endpoint: str = ""
    consent: str = ""
    numbers: Mapping[str, Int] = field(default_factory=dict)
    length: Callable[[Numbers], int] | None = None

    @property
    def request_kind(self) -> MessageKind:
        return request_kind(
            self.request,
            self.endpoint or f"query.{self.name}",
            self.name,
            purpose=self.asks,
            run=RUN,
            step=STEP,
            round=ROUND,
            plan_sha256=HASH,
            **self.fields,
            **SEATED,
        )

    @property
    def reply_kind(self) -> MessageKind:
        return summed_kind(self.name, cost=self.cost, purpose=self.tells, consent=self.consent)


_THETA = Field(Bytes(4, 4 * MAX_PARAMETERS, unit=4), PUBLIC, "weights, little-endian float32")
#: Of a query: p is that of the model which was offered as of this round.
_MODEL = MappingProxyType({"model_round": Field(Int(0, 1 << 31), PUBLIC, "the offer whose model is meant")})

#: What rounds learn, in the order in which they learn it.
LEARNED = (
    Recipe(
        name="update",
        request="train_request",
        version=1,
        asks="ask for one update",
        tells="one device's share of a training round",
        cost="one participation of the plan: clip_norm against the round's noise",
        unit="model units",
        cap=(4.5, 10.0),
        endpoint="train",
        fields=MappingProxyType({"theta": _THETA}),
    ),
    Recipe(
        name="risk_update",
        request="risk_request",
        version=1,
        asks="ask for one update of phi",
        tells="one device's share of a round that learns phi",
        cost="one participation of the plan's phi: its clip_norm against its round's noise",
        unit="phi's units",
        cap=(1.0, 2.0),
        endpoint="train.risk",
        fields=MappingProxyType(
            {
                "theta": Field(Bytes(4, 4 * MAX_PARAMETERS, unit=4), PUBLIC, "weights that make p"),
                "basis": Field(
                    Bytes(4, 4 * MAX_READINGS * MAX_COEFFICIENTS, unit=4),
                    PUBLIC,
                    "phi's weights are basis @ coefficients",
                ),
                "coefficients": Field(Bytes(4, 4 * MAX_COEFFICIENTS, unit=4), PUBLIC, "what the rounds learn"),
            }
        ),
    ),
    Recipe(
        name="crowd",
        request="crowd_request",
        version=2,
        asks="ask which categories a user's activity falls into, and which of them go together",
        tells="one device's share of how popular categories are, and which go together",
        cost="one participation: 1, the norm of whoever did anything, against the plan's noise",
        unit="users",
        cap=(0.5, 1.0),
        endpoint="train.crowd",
    ),
    Recipe(
        name="curvature",
        request="curvature_request",
        version=2,
        asks="ask how a user's rows curve the loss of both heads where they start",
        tells="one device's share of that curvature",
        cost="one participation of the plan's heads: 1 at most, both clipped, against its noise",
        unit="contributions",
        cap=(0.75, 1.5),
        endpoint="train.curvature",
    ),
    Recipe(
        name="head_update",
        request="head_request",
        version=2,
        asks="ask for one update of both heads",
        tells="one device's share of a round that learns when interests lapse and take off",
        cost="one participation of the plan's heads: 1 at most, both clipped, against its noise",
        unit="contributions",
        cap=(1.5, 3.0),
        endpoint="train.heads",
        fields=MappingProxyType(
            {
                "basis": Field(
                    Bytes(4, 4 * MAX_HEADS * MAX_HEAD_INPUTS**2, unit=4),
                    PUBLIC,
                    "weights are where they start and basis @ coefficients, one head after the other",
                ),
                "coefficients": Field(Bytes(4, 4 * MAX_HEADS * MAX_HEAD_INPUTS, unit=4), PUBLIC, "what rounds learn"),
            }
        ),
    ),
)
#: What is asked for besides, in this order.
QUERIES = (
    Recipe(
        name="evaluation",
        request="evaluation_request",
        version=1,
        asks="ask how p of labelled rows, and their labels, are distributed",
        tells="one device's share of the histogram of p by label: AUC and calibration of the model in use",
        cost="one participation in the plan's evaluation: its clip_norm against its noise",
        unit="weighted rows",
        cap=(1.5, 6.0),
        consent=SUMMED,
        fields=_MODEL,
        numbers=MappingProxyType({"rows": Int(1, 4096), "history_steps": Int(1, MAX_STEP)}),
        length=lambda _: 2 * N_BINS,
    ),
    Recipe(
        name="alert_counts",
        request="alert_counts_request",
        version=1,
        asks="ask how many alerts there were since the last count, by category, direction and level",
        tells="one device's share of the count of alerts",
        cost="one participation in the plan's count of alerts: its clip_norm against its noise",
        unit="alerts",
        cap=(1.5, 6.0),
        consent=SUMMED,
        fields=_MODEL,
        numbers=MappingProxyType({"categories": Int(1, 512)}),
        length=lambda numbers: numbers["categories"] * DIRECTIONS * LEVELS,
    ),
)
#: All of them, by the message that a device sends.
RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in (*LEARNED, *QUERIES)})
#: By the request that asks for it.
BY_REQUEST: Mapping[str, Recipe] = MappingProxyType({recipe.request: recipe for recipe in RECIPES.values()})
