"""Every public entry that takes arrays: the same result for every integer and float type and every layout in memory, or a
refusal that names the argument. Here are examples, of every entry in `shared` and some others; what arrives at each of the others:
test_array_entries.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import codec, features, lapse_risk, mechanisms, network, rdp, slow_average
from shared.arrays import as_declared, as_ints
from shared.errors import InputError
from shared.events import Catalogue, Step
from shared.features import Crowd, FeatureSpec, History, Richer, readings, windows
from shared.features.counters import engagement
from shared.features.running import Running
from shared.features.spec import age_of, log_age_of
from shared.network import NetworkSpec
from simulations.baselines import bgnbd
from simulations.evaluation import quality
from simulations.people.population import Population
from simulations.streams.measure import Seen
from tests.world.array_entries import FLOATING, INTEGERS, LAYOUTS, array_entries
from tests.world.basics import examples
from tests.world.head_arrays import PARTS_OF_HEADS
from tests.world.sum_arrays import PARTS_OF_A_SUM

ACTIVE = np.array([[[0, 1, 0, 0, 1, 1], [1, 0, 0, 1, 0, 0]]], bool)
WHOLE = np.array([[[0, 1, 0, 0, 2, 1], [1, 0, 0, 3, 0, 0]]])
KINDS = np.arange(5)[:, None, None, None] * WHOLE
HISTORY = History(ACTIVE, WHOLE, WHOLE, KINDS)
SPEC = FeatureSpec(5, (1, 2, 3, 4), (2, 3))
RICHER = replace(SPEC, more=Richer(lapse_steps=4, r=0.5, alpha=2.0, a=1.0, b=3.0))
NETWORK = NetworkSpec(2, (3,))
THETA = np.arange(NETWORK.n_parameters) % 3
X, Y, WEIGHT = np.array([[1, 0], [2, 1], [0, 3]]), np.array([0, 1, 1]), np.array([1, 2, 1])
ROWS = np.arange(2 * len(SPEC.names)).reshape(2, -1) % 4
CURVE = np.arange(rdp.ORDERS.size) % 7
MODEL = bgnbd.BgNbd(1.0, 4.0, 1.0, 3.0)
SCORE = np.array([1, 0, 1, 0, 1])
TRUE = np.array([True, False, True, False, False])
#: Of each entry: what it is called with (its arrays: whole numbers that every type holds), and the call.
ENTRIES: dict[str, tuple[tuple[Any, ...], Callable[..., Any]]] = {
    "shared.codec.pack_floats": ((THETA,), codec.pack_floats),
    "shared.features.counters.History.__init__": (
        (WHOLE, WHOLE, KINDS),
        lambda c, a, kinds: vars_of(History(ACTIVE, c, a, kinds)),
    ),
    "shared.features.counters.History.of_counters": (
        (KINDS[[0, 1, 2, 3, 4, 0, 1]],),
        lambda c: vars_of(History.of_counters(c)),
    ),
    "shared.features.counters.History.from_events": (
        (np.array([0, 1, 1]), np.array([2, 0, 2]), np.array([4, 0, 4]), np.array([3, 0, 2])),
        lambda c, t, kind, amount: vars_of(History.from_events((2, 3), (c, t), kind, amount)),
    ),
    "shared.features.counters.History.then": (
        (WHOLE[..., 0], WHOLE[..., 1], KINDS[..., 1]),
        lambda c, a, kinds: vars_of(HISTORY.then(c, a, kinds)),
    ),
    "shared.features.counters.engagement": ((), lambda: engagement(np.ones((5, 2, 3), np.uint8), (0, 4))),
    "shared.features.windows.steps_of": ((np.array([0, 2]),), lambda steps: windows.steps_of(HISTORY, steps, 5)),
    "shared.features.windows.cumulative": ((WHOLE,), windows.cumulative),
    "shared.features.windows.window": ((WHOLE, np.array([0, 4])), lambda sums, steps: windows.window(sums, steps, 2)),
    "shared.features.windows.first_active": ((np.array([1, 5]),), lambda steps: windows.first_active(ACTIVE, steps)),
    "shared.slow_average.average": ((np.array([1, 5]),), lambda steps: slow_average.average(ACTIVE, steps, 3)),
    "shared.features.windows.ewma": ((np.array([1, 5]),), lambda steps: windows.ewma(ACTIVE, steps, 3)),
    "shared.features.windows.last_active": ((), lambda: features.last_active(ACTIVE)),
    "shared.features.windows.seen": ((np.array([0, 2, 5]),), lambda steps: features.seen(HISTORY, steps)),
    "shared.features.windows.labels": ((np.array([0, 3]),), lambda steps: features.labels(HISTORY, steps, 2)),
    "shared.features.extraction.extract": ((np.array([4, 5]),), lambda steps: features.extract(HISTORY, RICHER, steps)),
    "shared.features.readings.activity_read": (
        (np.array([4, 5]),),
        lambda at: flat_of(readings.activity_read(HISTORY, SPEC, at)),
    ),
    "shared.features.readings.richer_read": (
        (np.array([4, 5]),),
        lambda at: flat_of(readings.richer_read(HISTORY, RICHER, at)),
    ),
    "shared.features.readings.levels": ((WHOLE, np.array([4, 5])), lambda v, at: readings.levels(v, at, (2, 3))),
    "shared.features.readings.log_of": ((WHOLE,), readings.log_of),
    "shared.features.crowd.Crowd.__init__": (
        (np.array([1, 0]), np.array([[0, 1], [2, 0]])),
        lambda *a: flat_of(vars(Crowd(*a)).values()),
    ),
    "shared.features.windows.quiet": ((np.array([3, 5]),), lambda steps: features.quiet(HISTORY, steps, 4)),
    "shared.features.windows.taken_up": ((np.array([1, 3]),), lambda steps: features.taken_up(HISTORY, steps, 2)),
    "shared.features.spec.log_age_of": ((SCORE,), log_age_of),
    "shared.features.spec.age_of": ((SCORE,), age_of),
    "shared.features.windows.established": (
        (np.array([3, 5]),),
        lambda steps: features.established(HISTORY, steps, window_steps=4, min_active=1, lapse_steps=3),
    ),
    "shared.features.running.Running.__init__": (
        (np.array([[1, 0], [2, 1]]), np.array([0, 3]), np.array([4, 5])),
        lambda levels, last, first: flat_of(
            list(vars(Running(SPEC, 6, HISTORY, *[levels] * 3, last, first, *[last] * 4, first)).values())[3:]
        ),
    ),
    "shared.features.running.Running.then": (
        (WHOLE[..., 0], WHOLE[..., 1], KINDS[..., 1]),
        lambda c, a, kinds: Running.start(RICHER, (1, 2)).then(c, a, kinds).rows(),
    ),
    "shared.lapse_risk.readings": (
        (ROWS, np.array([0, 1]), np.array([1, 0])),
        lambda x, p, before: lapse_risk.readings(SPEC, x, p, before),
    ),
    "shared.lapse_risk.logit": ((np.array([0, 1, 1]),), lapse_risk.logit),
    "shared.lapse_risk.phi": ((np.array([1, 2]), X), lapse_risk.phi),
    "shared.lapse_risk.gradient": (
        (np.array([[1, 0], [0, 2]]), np.array([1, 1]), X, Y, WEIGHT),
        lapse_risk.gradient,
    ),
    "shared.mechanisms.clip_to_grid": ((THETA,), lambda d: mechanisms.clip_to_grid(d, 1.0, 4096)),
    "shared.mechanisms.from_grid": ((THETA,), lambda total: mechanisms.from_grid(total, 0.5)),
    "shared.mechanisms.protect": (
        (THETA,),
        lambda d: mechanisms.protect(d, clip_norm=1.0, steps_per_clip=64, share_sigma=0.0),
    ),
    "shared.network.NetworkSpec.split": (
        (THETA,),
        lambda theta: np.concatenate([p.ravel() for p in NETWORK.split(theta)]),
    ),
    "shared.network.sigmoid": ((SCORE,), network.sigmoid),
    "shared.network.forward": ((THETA, X), lambda theta, x: network.forward(NETWORK, theta, x)),
    "shared.network.gradient": ((THETA, X, Y, WEIGHT), lambda *a: network.gradient(NETWORK, *a, l2=0.5)),
    "shared.network.loss": ((THETA, X, Y, WEIGHT), lambda *a: network.loss(NETWORK, *a)),
    "shared.network.fit": (
        (THETA, X[None], Y[None], WEIGHT[None]),
        lambda *a: network.fit(NETWORK, *a, learning_rate=0.5),
    ),
    "shared.rdp.epsilon": ((CURVE,), lambda curve: rdp.epsilon(curve, 1e-5)),
    "shared.rdp.charge": ((CURVE, CURVE), lambda spent, cost: np.hstack(rdp.charge(spent, cost, 50.0, 1e-5))),
    "simulations.baselines.bgnbd.fit": (
        (np.array([0, 2, 5, 1]), np.array([0, 9, 8, 3]), np.array([10, 10, 9, 7])),
        lambda *a: np.array(list(vars(bgnbd.fit(*a)).values())),
    ),
    "simulations.baselines.bgnbd.BgNbd.p_silent": (
        (np.array([0, 2, 5]), np.array([0, 9, 8]), np.array([10, 10, 9])),
        lambda *a: MODEL.p_silent(*a, 4),
    ),
    "simulations.evaluation.quality.auc": ((SCORE,), lambda score: np.array(quality.auc(TRUE, score))),
    "simulations.evaluation.quality.log_loss": ((SCORE,), lambda p: np.array(quality.log_loss(TRUE, p))),
    "simulations.evaluation.quality.calibration_error": (
        (SCORE,),
        lambda p: np.array(quality.calibration_error(TRUE, p)),
    ),
    "simulations.people.population.Population.from_events": (
        (np.array([1, 0, 0]), np.array([1, 0, 1]), np.array([0, 4, 0]), np.array([3, 90, 5]), np.array([0, 7, 0])),
        lambda *a: columns_of(*a),
    ),
}


def vars_of(history: History) -> np.ndarray:
    """All that it holds: (3 or 8, ..., C, T)."""
    columns = np.stack([history.active, history.count, history.amount])
    return columns if history.kinds is None else np.concatenate([columns, history.kinds])


def flat_of(read: Iterable[Any]) -> np.ndarray:
    """All numbers of arrays and tuples of arrays."""
    return np.concatenate([np.ravel(one) for part in read for one in (part if isinstance(part, tuple) else (part,))])


def columns_of(user: Any, category: Any, kind: Any, time_s: Any, amount: Any) -> np.ndarray:
    made = Population.from_events(
        name="p", catalogue=Catalogue(("a", "b")), step=Step.DAY, n_steps=2, simulated=True, n_users=2,
        user=user, category=category, kind=kind, time_s=time_s, amount=amount,
    )  # fmt: skip
    return np.concatenate([made.category, made.kind, made.time_s, made.amount])


def test_every_public_entry_of_what_both_sides_share_has_an_example():
    named = {name for name in array_entries() if name.startswith("shared.")}
    assert named <= {*ENTRIES, *PARTS_OF_A_SUM, *PARTS_OF_HEADS}, "give it an example here"


@pytest.mark.parametrize("name", [*ENTRIES, *PARTS_OF_A_SUM, *PARTS_OF_HEADS])
@examples(12)
@given(data=st.data())
def test_every_type_and_layout_gives_the_same_result(name: str, data: st.DataObject) -> None:
    arrays, call = (ENTRIES | PARTS_OF_A_SUM | PARTS_OF_HEADS)[name]
    expected = call(*(a.astype(np.float64) for a in arrays))
    given_ = [
        data.draw(st.sampled_from(LAYOUTS))(a.astype(data.draw(st.sampled_from(INTEGERS + FLOATING)))) for a in arrays
    ]
    before = [np.array(a) for a in given_]
    got = call(*given_)
    if isinstance(expected, bytes):
        assert got == expected
    else:
        np.testing.assert_allclose(np.asarray(got, np.float64), np.asarray(expected, np.float64), rtol=2e-5, atol=1e-6)
    for was, now in zip(before, given_, strict=True):
        np.testing.assert_array_equal(was, np.array(now), err_msg="an argument was changed")


@pytest.mark.parametrize("name", [name for name, (arrays, _) in ENTRIES.items() if arrays])
@pytest.mark.parametrize("wrong", ["text", "complex", "object", "masked", "dates"])
def test_what_is_no_number_is_refused_by_name(name: str, wrong: str) -> None:
    arrays, call = ENTRIES[name]
    for i in range(len(arrays)):
        bad = {
            "text": lambda a: np.full(a.shape, "x"),
            "complex": lambda a: a.astype(complex),
            "object": lambda a: a.astype(object),
            "masked": lambda a: np.ma.masked_array(a, np.ones(a.shape, bool)),
            "dates": lambda a: np.zeros(a.shape, "M8[s]"),
        }[wrong](arrays[i])
        with pytest.raises(InputError, match="expected "):
            call(*arrays[:i], bad, *arrays[i + 1 :])


def test_whole_numbers_and_masks_are_what_they_say():
    for bad in ([0.5], [np.nan], [np.inf], [True], [2**64 - 1]):
        with pytest.raises(InputError, match="expected steps "):
            as_ints("steps", np.array(bad))
    assert as_ints("steps", []).dtype == np.int64
    with pytest.raises(InputError, match="expected active as booleans, got int64"):
        features.last_active(np.array([0, 1]))
    with pytest.raises(InputError, match="within 0..2\\^32 - 1"):
        mechanisms.from_grid(np.array([-1]), 1.0)
    with pytest.raises(InputError, match="expected kinds"):
        History.from_events((2, 3), (np.array([0]), np.array([0])), np.array([-1]), np.array([1.0]))
    with pytest.raises(InputError, match="expected places inside"):
        History.from_events((2, 3), (np.array([0]), np.array([3])), np.array([1]), np.array([1.0]))


def test_what_is_of_its_kind_is_passed_on_and_not_copied():
    seen: list[Any] = []

    @as_declared
    def entry(a: Floats, b: Doubles, c: Ints, *, d: Bools, e: Words | None = None) -> None:  # type: ignore[name-defined] # noqa: F821
        seen.extend([a, b, c, d, e])

    right = [np.zeros(3, t) for t in (np.float32, np.float64, np.int64, np.bool_)]
    entry(*right[:3], d=right[3])
    assert all(a is b for a, b in zip(seen, right, strict=False)) and seen[-1] is None
    delays = np.zeros(2)
    assert Seen(delays).delays is delays and Seen([1, 2]).delays.dtype == np.float64
