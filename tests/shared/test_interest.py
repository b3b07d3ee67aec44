"""Which kinds of events are interest: features of version 1, labels and what is watched are made of these alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError, InputError
from shared.events import ENGAGEMENT, EventKind
from shared.features import MOST_EVENTS, History, extract, labels, seen
from shared.features.running import Running
from tests.shared.test_features_2 import SPECS, histories
from tests.world.basics import counted_history, examples

PURCHASES = (int(EventKind.PURCHASE),)
some_kinds = st.sets(st.integers(0, len(EventKind) - 1), min_size=1, max_size=4).map(lambda kinds: tuple(sorted(kinds)))
specs = st.sampled_from([*SPECS, *(replace(spec, more=None) for spec in SPECS)])


@examples(60)
@given(histories(), specs, some_kinds)
def test_only_what_is_interest_is_counted_and_all_kinds_stay(history, spec, kinds):
    spec = replace(spec, interest=kinds)
    held = spec.of(history)
    np.testing.assert_array_equal(held.kinds, history.kinds)
    events = history.kinds[list(kinds)].astype(np.float64)
    np.testing.assert_array_equal(held.active, events.sum(axis=0) > 0)
    np.testing.assert_allclose(held.count, np.tensordot(ENGAGEMENT[list(kinds)], events, 1), rtol=1e-6)
    np.testing.assert_array_equal(held.amount, history.amount if EventKind.PURCHASE in kinds else 0 * history.amount)
    again = spec.of(held)
    for name in ("active", "count", "amount"):
        np.testing.assert_array_equal(getattr(again, name), getattr(held, name), "taking it twice is taking it once")
    at = range(history.n_steps)
    np.testing.assert_array_equal(extract(history, spec, at), extract(held, spec, at))


@examples(60)
@given(histories(), specs, some_kinds)
def test_step_after_step_is_the_whole_history(history, spec, kinds):
    spec = replace(spec, interest=kinds)
    now, every = Running.start(spec, history.active.shape[:-1]), extract(history, spec, range(history.n_steps))
    for step in range(history.n_steps):
        now = now.then(history.count[..., step], history.amount[..., step], history.kinds[..., step])
        np.testing.assert_allclose(now.rows(), every[..., step, :, :], atol=1e-6)
    np.testing.assert_allclose(Running.of(history, spec).rows(), now.rows(), atol=1e-6)


@examples(60)
@given(histories(), specs, st.integers(1, 300), st.data())
def test_added_views_move_nothing_but_the_inputs_of_their_own_kind(history, spec, n_views, data):
    """Where purchases are interest: no input of version 1, no label, not which interests there are."""
    spec = replace(spec, interest=PURCHASES)
    counters = history.counters()
    where = data.draw(st.integers(0, history.n_categories - 1)), data.draw(st.integers(0, history.n_steps - 1))
    counters[(0, *where)] += n_views * ENGAGEMENT[EventKind.VIEW]
    counters[(2 + EventKind.VIEW, *where)] = min(counters[(2 + EventKind.VIEW, *where)] + n_views, MOST_EVENTS)
    added, at = History.of_counters(counters), range(history.n_steps)
    moved = (extract(added, spec, at) != extract(history, spec, at)).any(axis=(0, 1))
    own = np.array([name.startswith(("view_", "cart_per_view", "purchase_per_view")) for name in spec.names])
    assert not moved[~own].any()
    before, after = spec.of(history), spec.of(added)
    np.testing.assert_array_equal(seen(before, at), seen(after, at))
    known = range(history.n_steps - 1)
    np.testing.assert_array_equal(labels(before, known, 1), labels(after, known, 1))


def test_kinds_have_to_be_counted_and_to_be_fewer_than_all():
    history = counted_history(np.random.default_rng(1), (2, 6))
    spec = replace(SPECS[0], more=None, interest=PURCHASES)
    with pytest.raises(InputError, match="counted by kind"):
        extract(History(history.active, history.count, history.amount), spec, [5])
    for wrong in ((4, 3), (5,), (-1,), (0, 0), (0, 1, 2, 3, 4)):
        with pytest.raises(ConfigError):
            replace(spec, interest=wrong)
