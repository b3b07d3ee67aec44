"""From a row of the table follow a request, a reply, a charge and a part of a plan; older plans stay as they are."""

from dataclasses import replace

import pytest

from client.answers import HANDLERS
from client.model.recipes import VECTORS
from client.privacy.caps import DEFAULT_LINES, OF_A_PLAN, Cap, LedgerLine
from shared import cbor
from shared.cbor import Limits
from shared.charges import charges_of
from shared.errors import ConfigError
from shared.messages import REGISTER, REQUESTS
from shared.plan import Plan
from shared.rdp import update_cost
from shared.register.kinds import Spends
from shared.register.recipes import (
    LEARNED,
    N_BINS,
    QUERIES,
    RECIPES,
    SCORE_EDGES_MILLI,
    SCORE_WEIGHTS_CENTI,
    SUMMED,
)
from tests.world.basics import make_plan, make_risk
from tests.world.queries import counts, evaluation

SHARE = ("round", "plan_sha256", "ephemeral", "sealed", "signature")
ASKED = make_plan(risk=make_risk(), queries=(evaluation(), counts()))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_all_that_follows_from_a_row_is_there(recipe):
    request, reply = REQUESTS[recipe.request], REGISTER[recipe.name]
    assert request.reply == recipe.name and recipe.request in HANDLERS
    assert tuple(reply.fields) == SHARE and reply.spends is Spends.PARTICIPATION and reply.once_per == "round"
    assert {"run", "step", "round", "plan_sha256", "epoch", "seats", *recipe.fields} <= set(request.fields)
    line = LedgerLine(recipe.name)
    assert line in OF_A_PLAN and DEFAULT_LINES[line] == Cap(*recipe.cap)


@pytest.mark.parametrize("recipe", QUERIES, ids=lambda recipe: recipe.name)
def test_what_trains_nothing_needs_consent_and_has_a_function(recipe):
    assert REGISTER[recipe.name].consent == SUMMED and recipe.name in VECTORS
    assert REQUESTS[recipe.request].endpoint == f"query.{recipe.name}"


def test_no_other_message_takes_part_in_a_sum():
    of_sums = {name for name, kind in REGISTER.items() if kind.spends is Spends.PARTICIPATION}
    assert of_sums == set(RECIPES) and [REGISTER[recipe.name].consent for recipe in LEARNED] == [""] * 5
    assert {line for line in LedgerLine if line in OF_A_PLAN} == set(RECIPES)


def test_edges_rise_and_each_cell_has_a_weight():
    assert list(SCORE_EDGES_MILLI) == sorted(set(SCORE_EDGES_MILLI)) and len(SCORE_EDGES_MILLI) == N_BINS - 1
    assert [len(row) for row in SCORE_WEIGHTS_CENTI] == [N_BINS, N_BINS]
    assert min(min(row) for row in SCORE_WEIGHTS_CENTI) > 0


def test_a_plan_with_queries_is_read_as_it_was_written_and_charges_them():
    assert Plan.from_bytes(ASKED.canonical) == ASKED
    assert [kind.reply for kind in ASKED.sums] == ["update", "risk_update", "evaluation", "alert_counts"]
    assert ASKED.updates == ASKED.sums[:2] and ASKED.sums[2].n_values == 2 * N_BINS and ASKED.sums[3].n_values == 24
    assert [(row.line, row.times) for row in charges_of(ASKED)] == [
        ("update", 3),
        ("risk_update", 2),
        ("evaluation", 4),
        ("alert_counts", 4),
    ]
    noisy = make_plan(queries=(evaluation(noise_multiplier=7.0, steps_per_clip=1024),))
    row = charges_of(noisy)[-1]
    assert (row.cost == update_cost(noisy.queries[0].privacy, 2 * N_BINS)).all() and row.noisy


def test_no_number_means_two_sums_of_a_plan():
    spans = [
        range(ASKED.first_round(part) + 1, ASKED.first_round(part) + 1 + kind.privacy.rounds)
        for part, kind in enumerate(ASKED.sums)
    ]
    numbers = [number for span in spans for number in span]
    assert numbers == list(range(1, 3 + 2 + 4 + 4 + 1))


def test_a_plan_of_before_there_were_queries_has_the_bytes_that_it_had():
    plan = make_plan()
    limits = Limits(1 << 16, most_items=256, most_depth=4, floats=True, simple=True)
    fields = cbor.decode(plan.canonical, limits)
    assert "queries" not in fields and Plan.from_bytes(plan.canonical).queries == ()
    with pytest.raises(ConfigError, match="another spelling"):
        Plan.from_bytes(cbor.encode({**fields, "queries": []}, limits))


@pytest.mark.parametrize(
    "changed",
    [
        {"recipe": "update"},
        {"recipe": "nothing"},
        {"version": 2},
        {"every_steps": 0},
        {"numbers": (64,)},
        {"numbers": (64, 10, 1)},
        {"numbers": (0, 10)},
        {"privacy": replace(evaluation().privacy, sampling_rate=0.5)},
    ],
    ids=str,
)
def test_a_query_that_the_table_does_not_have_is_none(changed):
    with pytest.raises(ConfigError):
        replace(evaluation(), **changed)


@pytest.mark.parametrize("queries", [(counts(), evaluation()), (counts(), counts())])
def test_each_query_is_there_once_in_the_order_of_the_table(queries):
    with pytest.raises(ConfigError, match="each query once"):
        make_plan(queries=queries)


def test_steps_are_due_as_the_calendar_says():
    assert [step for step in range(20) if evaluation(5).is_due(step)] == [4, 9, 14, 19]
