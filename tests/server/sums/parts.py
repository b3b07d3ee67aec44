"""Plans, worlds and expectations of the tests of secure sums."""

from dataclasses import replace

import numpy as np

from shared.plan import Plan, SumPlan, UpdateKind
from shared.secure_sum.assembly import seats_drawn
from shared.secure_sum.entry import Entry
from shared.secure_sum.share import Contribution, contribute
from shared.secure_sum.sizes import seats
from tests.world.basics import make_plan
from tests.world.seats import World

N_VALUES = 40
#: Of 120 enrolled devices: 40 seats of 58 drawn, of which 27 have to answer.
ENROLLED = 120
SIZES = seats(ENROLLED, N_VALUES, 3)
IN_SEATS = SumPlan(0, SIZES.n_seats, SIZES.n_drawn, SIZES.t_priv, SIZES.t_rec)
IN_BOTH = replace(IN_SEATS, helpers=2)
WAYS = {"2 helpers": SumPlan(2), "3 helpers": SumPlan(3), "5 helpers": SumPlan(5), "seats": IN_SEATS, "both": IN_BOTH}
SOME_WAYS = {name: WAYS[name] for name in ("3 helpers", "seats", "both")}
SEATED = {name: WAYS[name] for name in ("seats", "both")}


def plan_for(way: SumPlan, n: int, min_survivors: int = 2) -> Plan:
    privacy = {"noise_multiplier": 0.0, "population": max(n, 2), "min_survivors": min_survivors}
    return make_plan(privacy=privacy, sum=way)


def world_of(way: SumPlan, n: int, min_survivors: int = 2, **how) -> World:
    plan = plan_for(way, n, min_survivors)
    kind = UpdateKind("train_request", plan.privacy, N_VALUES)
    return World(plan, n, kind=kind, n_enrolled=ENROLLED if way.seats else 0, **how)


def seated(world: World, round_number: int = 1) -> list[int]:
    """Nodes of the devices that hold a round's seats, if nobody is named absent."""
    drawn = seats_drawn(world.plan, world.kind, round_number, world.epoch)
    return [world.node_at(index) for index in drawn[: world.plan.sum.seats]]


def expect_opened(world: World, nodes, round_number: int = 1) -> None:
    total, n = world.collect(round_number)
    assert n == len(nodes)
    np.testing.assert_array_equal(total, world.plain_sum(nodes))


def expect_nothing(world: World, reason: str, round_number: int = 1) -> None:
    total, n = world.collect(round_number)
    assert n == 0 and not total.any() and world.dropped[reason] == 1


def resigned(header, leaf, identity, made: Contribution, **changes) -> Contribution:
    """Other bytes under a right signature of their device."""
    other = replace(made, **changes)
    entry = Entry.sign(header, leaf, identity, other.ephemeral, other.sealed)
    return replace(other, signature=entry.signature)


def bad_boxes(header, leaf, identity, values) -> Contribution:
    made = contribute(header, leaf, identity, values)
    return resigned(header, leaf, identity, made, sealed=bytes(len(made.sealed)))
