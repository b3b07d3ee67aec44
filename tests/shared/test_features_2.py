"""Features of version 2 against a slow plain-Python version; nothing looks ahead, nothing is unbounded, and what a shop does not
have costs nothing."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError, InputError
from shared.events import EventKind
from shared.features import N_KINDS, Crowd, FeatureSpec, Group, History, Richer, extract
from simulations.baselines.bgnbd import BgNbd
from tests.world.basics import counted_history, examples

RICHER = Richer(lapse_steps=5, r=0.6, alpha=3.0, a=0.8, b=2.5)
SPECS = [
    FeatureSpec(12, more=RICHER),
    FeatureSpec(6, (1, 2, 3, 5), (3, 5), replace(RICHER, r=2.0, lapse_steps=13)),
    FeatureSpec(26, (2, 4, 8, 13), (1, 12), RICHER),
]
N_FEATURES = 87


@st.composite
def histories(draw, leading: tuple[int, ...] = (), most_steps: int = 30) -> History:
    shape = (*leading, draw(st.integers(1, 5)), draw(st.integers(1, most_steps)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return counted_history(random, shape, draw(st.sampled_from([0.0, 0.02, 0.2, 1.0])))


def slow_features(history: History, spec: FeatureSpec, t: int) -> list[list[float]]:
    """What version 2 adds, of every category of one (C, T) history as of step t, one number at a time, by its definition."""
    richer, w, mid = spec.more, spec.window_steps, spec.short_steps[2]
    now = slice(0, t + 1)
    active, count, amount = (a[:, now].tolist() for a in (history.active, history.count, history.amount))
    kinds = history.kinds[:, :, now].tolist()
    user = [any(row[s] for row in active) for s in range(t + 1)]
    breadth = [sum(row[s] for row in active) for s in range(t + 1)]
    born = user.index(True) if any(user) else None
    age = 0 if born is None else t - born

    def average(values: list[float], span: int) -> float:
        """The mean of all steps since the user came, each weighing (1 - w) of the next."""
        values = values[t - age :]
        weights = [(1 - 2 / (span + 1)) ** i for i in range(len(values))][::-1]
        return sum(a * b for a, b in zip(values, weights, strict=True)) / sum(weights)

    def since(values: list[float]) -> int:
        past = [s for s in range(t + 1) if values[s]]
        return min(t - past[-1], 3 * w) if past else 3 * w

    def fresh(values: list[float]) -> float:
        return 1 - math.log1p(since(values)) / math.log1p(3 * w)

    def held(value: float) -> float:
        return min(max(value, -3.0), 3.0)

    rows = []
    for c, (a, n, m) in enumerate(zip(active, count, amount, strict=True)):
        past = [s for s in range(t + 1) if a[s]]
        row = [average(a, k) for k in (4, w, 2 * w, 4 * w)]
        row += [average([math.log1p(v) for v in n], k) for k in (w, 2 * w)]
        row += [average([math.log1p(v) for v in m], k) / 3 for k in (w, 2 * w)]
        row += [average(user, k) for k in (4, w, 2 * w)]
        row += [average(breadth, k) / 5 for k in (4, w, 2 * w)]
        row += [math.log1p(100 * average(a, 2 * w)) / 2, math.log1p(age) / 3]
        if past:
            rate = (len(past) + 0.5) / (t - past[0] + 5)
            row += [math.log(rate) / 2, min(rate * (t - past[-1]), 6) / 2]
            row += [math.exp(-min(rate * richer.lapse_steps, 6))]
        else:
            row += [0, 0, 0]
        row += [math.log((sum(user) + 0.5) / (age + 5)) / 2 if any(user) else 0]
        if past:
            model = BgNbd(richer.r, richer.alpha, richer.a, richer.b)
            x, t_x, old = (np.array([float(v)]) for v in (len(past) - 1, past[-1] - past[0], t - past[0]))
            silent, gone = model.p_silent(x, t_x, old, richer.lapse_steps), 1 - model.p_alive(x, t_x, old)
            row += [math.log(p / (1 - p)) / 2 for p in (min(max(float(v[0]), 0.002), 0.998) for v in (silent, gone))]
        else:
            row += [0, 0]
        windows = {}
        for kind in EventKind:
            k = kinds[kind][c] if kind in richer.kinds else [0] * (t + 1)
            windows[kind] = [sum(k[max(0, t + 1 - width) :]) for width in (mid, w)], k
            row += [average([v > 0 for v in k], span) for span in (4, w, 2 * w)]
            row += [math.log1p(windows[kind][0][0]) / 2, math.log1p(windows[kind][0][1]) / 3, fresh(k)]
        (view, _), (cart, carts), (bought, buys) = (
            windows[k] for k in (EventKind.VIEW, EventKind.CART, EventKind.PURCHASE)
        )
        for after, before in ((cart, view), (bought, cart), (bought, view)):
            row += [after[1] / (after[1] + before[1] + 1) if before[1] else 0]
        row += [math.log1p(max(cart[i] - bought[i], 0)) / 2 for i in (0, 1)]
        latest = [max((s for s in range(t + 1) if k[s]), default=-1) for k in (carts, buys)]
        row += [fresh(carts) if latest[0] > latest[1] else 0, 0, 0]
        rows.append([held(value) for value in row])
    return rows


@examples(60)
@given(histories(), st.sampled_from(SPECS))
def test_every_feature_is_what_its_definition_says(history, spec):
    steps = range(history.n_steps)
    slow = np.array([slow_features(history, spec, t) for t in steps])
    found = extract(history, spec, steps)
    np.testing.assert_allclose(found[..., 27:], slow, atol=2e-6)
    np.testing.assert_array_equal(found[..., :27], extract(history, replace(spec, more=None), steps))


def test_there_are_87_features_with_names_of_their_own_whatever_groups_are_used():
    for spec in SPECS:
        assert spec.version == 2 and spec.n_features == len(set(spec.names)) == N_FEATURES
        assert replace(spec, more=replace(RICHER, groups=(), kinds=())).names == spec.names
    assert FeatureSpec(12).version == 1 and FeatureSpec(12).names == SPECS[0].names[:27]


@given(histories(), st.sampled_from(SPECS), st.data())
def test_no_feature_sees_the_future(history, spec, data):
    t = data.draw(st.integers(0, history.n_steps - 1))
    other = counted_history(np.random.default_rng(data.draw(st.integers(0, 2**32))), history.active.shape, 0.5)
    mixed, late = history.counters(), other.counters()
    mixed[..., t + 1 :] = late[..., t + 1 :]
    for changed in (History.of_counters(mixed), history.until(t)):
        found, expected = (extract(one, spec, range(t + 1)) for one in (changed, history))
        assert found.tobytes() == expected.tobytes()


@given(histories(leading=(3,)), st.sampled_from(SPECS))
def test_many_users_at_once_are_each_user_alone(history, spec):
    steps = np.arange(history.n_steps)
    together = extract(history, spec, steps)
    assert together.shape == (3, history.n_steps, history.n_categories, N_FEATURES) and together.dtype == np.float32
    for k in range(3):
        np.testing.assert_allclose(together[k], extract(history[k], spec, steps), atol=1e-6)


@given(histories(), st.sampled_from(SPECS))
def test_steps_may_be_asked_for_in_any_order_and_twice(history, spec):
    steps = [history.n_steps - 1, 0, history.n_steps - 1]
    in_order = extract(history, spec, range(history.n_steps))
    np.testing.assert_allclose(extract(history, spec, steps), in_order[steps], atol=1e-6)


def test_features_stay_in_their_fixed_range_for_any_behaviour():
    wild = np.full((7, 3, 40), 255.0, np.float32)
    wild[0], wild[1] = 1e9, 1e30
    for counters in (wild, 0 * wild, wild * (np.arange(40) == 3), wild * (np.arange(3) == 1)[:, None]):
        x = extract(History.of_counters(counters), SPECS[0], range(40))
        assert np.isfinite(x).all() and np.abs(x[..., 27:]).max() <= 3 and x.min() >= -7 and x.max() <= 5


@pytest.mark.parametrize("missing", [*EventKind, None])
@given(history=histories(), spec=st.sampled_from(SPECS))
def test_a_kind_that_a_shop_does_not_have_costs_nothing(missing, history, spec):
    """The same rows as of a spec without that kind, and zeros where that kind is spoken of; whatever the shop has."""
    kept = tuple(kind for kind in EventKind if kind is not missing) if missing is not None else ()
    without = replace(spec, more=replace(spec.more, kinds=kept))
    steps, counters = range(history.n_steps), history.counters()
    shop = History.of_counters(np.concatenate([counters[:2], counters[2:] * np.isin(EventKind, kept)[:, None, None]]))
    rows = [extract(*one, steps) for one in ((shop, spec), (shop, without), (history, without))]
    assert rows[0].tobytes() == rows[1].tobytes() == rows[2].tobytes()
    gone = [
        i for i, name in enumerate(spec.names) if missing is not None and name.startswith(f"{missing.name.lower()}_")
    ]
    assert not rows[0][..., gone].any() and (len(gone) >= 6) == (missing is not None)
    if missing is None:
        uncounted = History(history.active, history.count, history.amount)
        assert extract(uncounted, without, steps).tobytes() == rows[0].tobytes(), "nobody has to count kinds for it"


@given(histories(), st.sampled_from(Group))
def test_a_group_that_is_not_used_is_zeros_and_changes_no_other(history, group):
    spec = SPECS[0]
    used = replace(spec, more=replace(RICHER, groups=tuple(g for g in Group if g is not group)))
    every, found = (extract(history, one, range(history.n_steps)) for one in (spec, used))
    at = np.isin(spec.names, spec.names_of(group))
    assert not found[..., at].any() and (found[..., ~at] == every[..., ~at]).all() and at.sum() >= 2


def test_what_private_sums_tell_of_others_is_read_and_nothing_before():
    history = counted_history(np.random.default_rng(3), (2, 3, 20), 0.4)
    spec = SPECS[0]
    crowd = Crowd(np.array([1.5, -9.0, 0.0]), np.array([[0, 2.0, 0], [0, 0, 0], [0.5, 0.5, 0]]))
    told, untold = (
        dict(zip(spec.names, np.moveaxis(extract(history, spec, [19], one), -1, 0), strict=True))
        for one in (crowd, None)
    )
    average = untold["average_12"]
    np.testing.assert_allclose(told["popularity"][:, 0], np.broadcast_to([1.5, -3.0, 0.0], (2, 3)))
    np.testing.assert_allclose(told["neighbours"][:, 0, 0], 2 * average[:, 0, 1], rtol=1e-5)
    np.testing.assert_allclose(told["neighbours"][:, 0, 2], average[:, 0, :2].sum(axis=-1) / 2, rtol=1e-5)
    assert not untold["popularity"].any() and not untold["neighbours"].any()
    assert all((told[name] == untold[name]).all() for name in spec.names[:-2])
    for wrong in ((np.zeros(3), np.eye(3)), (np.zeros(3), np.zeros((3, 2))), (np.full(3, np.nan), np.zeros((3, 3)))):
        with pytest.raises(InputError):
            Crowd(*wrong)


def test_long_averages_do_not_drift_with_how_long_a_user_is_known():
    """One visit in four steps is one in four, after three windows as after half of one; uncorrected ones begin at nothing."""
    active = np.zeros((7, 1, 400), np.float32)
    active[0, 0, ::4] = 1
    names = SPECS[0].names
    x = extract(History.of_counters(active), SPECS[0], np.arange(11, 400, 4))[:, 0, names.index("average_48")]
    assert np.abs(x - 0.25).max() < 0.05


def test_kinds_have_to_be_counted():
    history = counted_history(np.random.default_rng(1), (2, 6))
    with pytest.raises(InputError, match="counted by kind"):
        extract(History(history.active, history.count, history.amount), SPECS[0], [5])


@pytest.mark.parametrize(
    "wrong",
    [
        {"lapse_steps": 0}, {"r": 0.0}, {"alpha": math.inf}, {"a": math.nan}, {"b": -1.0},
        {"groups": (1, 0)}, {"groups": (0, 6)}, {"kinds": (0, 0)}, {"kinds": (N_KINDS,)}, {"kinds": (-1,)},
    ],
)  # fmt: skip
def test_what_no_features_can_be_made_with_is_refused(wrong):
    with pytest.raises(ConfigError):
        replace(RICHER, **wrong)
