"""Other planted people as teachers: what is changed of them, and that only train weeks are looked at."""

import numpy as np

from shared.events import Catalogue, Step
from shared.features import History, labels
from simulations.people.setup import Crowd, Setup
from simulations.people.teaching import Lesson, planted_history
from simulations.scenarios.config import PLANTED_PROTOCOL, load_scenario
from simulations.search import other_teachers
from simulations.search.other_teachers import (
    STEPS,
    TEACHERS,
    alerted,
    fared,
    favourite,
    matched,
    shifted,
    thinned,
    with_purchases,
)
from simulations.search.tune import until_last_label


def people(seed: int = 3) -> History:
    return planted_history(PLANTED_PROTOCOL, Step.DAY, 5, 60, seed)


def lesson_of() -> Lesson:
    scenario = load_scenario("demo", ["warm_start.users=40"])
    setup = Setup.of(scenario, Crowd(20, Catalogue(("a", "b", "c"))), PLANTED_PROTOCOL)
    return Lesson.of(scenario, setup.protocol, 3, setup.plan, setup.plan.features)


def philox(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def test_who_is_shifted_does_the_same_later():
    before = people()
    after = shifted(before, philox())
    for one, other in zip(before.count, after.count, strict=True):
        late = next(n for n in range(before.n_steps) if (one[:, : before.n_steps - n] == other[:, n:]).all())
        assert late <= before.n_steps // 2 and not other[:, :late].any()
    assert (before.count != after.count).any()


def test_of_who_is_thinned_some_purchases_are_dropped_and_none_is_added():
    before = people()
    after = thinned(before, philox())
    assert (after.count <= before.count).all() and (after.amount <= before.amount * (1 + 1e-6)).all()
    dropped = 1 - after.count.sum() / before.count.sum()
    assert 0.1 < dropped < 0.3
    np.testing.assert_array_equal(after.active, after.count > 0)


def test_who_is_matched_is_active_as_often_as_real_people():
    ours, theirs = people(), people(4)
    busy = theirs[theirs.active.any(axis=1).sum(axis=-1) > 3]
    drawn = matched(ours, busy, philox())
    assert len(drawn.active) == len(ours.active)
    often, before, wanted = (one.active.any(axis=1).sum(axis=-1).mean() for one in (drawn, ours, busy))
    assert abs(often - wanted) < abs(before - wanted)


def test_added_purchases_are_as_many_as_said_in_their_steps_and_nowhere_else():
    before = people()
    begin = np.full(60, 100)
    category = favourite(before, begin)
    assert (category >= -1).all() and (category >= 0).any()
    for user in np.flatnonzero(category >= 0):
        own = before.active[user, :, :100].sum(axis=-1)
        assert own[category[user]] == own.max() > 0
    after = with_purchases(before, category, begin, np.full(60, 3), philox())
    more = after.count - before.count
    np.testing.assert_allclose(more.sum(axis=(1, 2)), np.where(category >= 0, 3, 0))
    users = np.flatnonzero(category >= 0)
    np.testing.assert_allclose(more[users, category[users], 100 : 100 + STEPS].sum(axis=-1), 3)
    np.testing.assert_array_equal(after.active, after.count > 0)


def test_labels_of_who_is_attacked_are_those_without_the_attack(monkeypatch):
    """Only what is seen changes: the network is taught by the same answers."""
    taught = {}

    def pretrain(network, rows, warm):
        taught[who] = rows
        return network.initial_theta(0)

    monkeypatch.setattr(other_teachers, "pretrain", pretrain)
    lesson = lesson_of()
    history = lesson.history()
    for who in ("plain", "attacked"):
        other_teachers.theta_of(who, (lesson, history), history)
    np.testing.assert_array_equal(taught["plain"].y, taught["attacked"].y)
    np.testing.assert_array_equal(taught["plain"].user, taught["attacked"].user)
    assert (taught["plain"].x != taught["attacked"].x).any()
    steps = np.unique(taught["plain"].step)
    assert labels(history, steps, lesson.protocol.horizon_steps).any()


SMALL = ["data.users=40", "warm_start.users=40", "privacy.rounds=2"]


def test_every_teacher_fares_on_every_fold_and_nothing_behind_train_steps_is_looked_at(monkeypatch):
    seen_steps = []
    monkeypatch.setattr(
        other_teachers,
        "until_last_label",
        lambda people, protocol: seen_steps.append(until_last_label(people, protocol)) or seen_steps[-1],
    )
    found = fared("demo", SMALL, 1)
    assert set(found) == set(TEACHERS) and {len(each) for each in found.values()} == {other_teachers.FOLDS}
    assert seen_steps[0].n_steps == PLANTED_PROTOCOL.train_at + 1 < PLANTED_PROTOCOL.test_steps[0] + 1
    for one in (each for every in found.values() for each in every):
        assert 0 < one.auc < 1 and set(one.under) == {0, *other_teachers.ADDED}


def test_who_is_attacked_is_alerted_in_that_category(monkeypatch):
    monkeypatch.setattr(other_teachers, "ALERT_USERS", 40)
    found = alerted("demo", [*SMALL, 'detection.detector="risk"'], 0, ("plain",))
    assert set(found) == {"plain"} and all(0 <= share <= 1 for share in found["plain"].values())
