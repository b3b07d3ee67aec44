"""Devices that cheat in training: which sums the server does not use, and what is not stopped."""

import numpy as np
import pytest

from shared.codec import pack_floats
from shared.events import Catalogue
from simulations.attacks.poisoning import ATTACKS, Attack, Harm, PoisonedHost, Poisoning, table_of
from simulations.people.setup import Crowd
from simulations.published.attacks import bound_numbers, poison_numbers
from simulations.report.cheats import cheat_rows
from simulations.report.figures_json import Published

SMALL = ("data.users=200", "privacy.rounds=6", "simulation.dropout=0.0")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return Poisoning("demo", SMALL, tmp_path_factory.mktemp("poisoning"))


def test_one_loud_device_spoils_every_round_and_teaches_nothing(world):
    quiet, loud = (world.under(ATTACKS[key], seed=0) for key in ("none", "one_1000"))
    assert quiet.rounds_not_used == 0 and quiet.auc > 0.7
    assert loud.rounds_not_used == 6, "everybody is in every round"
    trials, setup = world._trials, world.setup
    untouched = trials.score(setup.plan, trials.start(setup), setup.protocol.test_steps)
    assert loud.auc == untouched.auc, "what is not used moves nothing"


def test_devices_that_keep_to_the_clip_are_not_stopped_and_a_lone_one_does_no_harm(world):
    found = {key: world.under(ATTACKS[key], seed=0) for key in ("one_1", "push_5", "sign_20", "label_20", "free_20")}
    assert all(harm.rounds_not_used == 0 for harm in found.values())
    assert found["one_1"].auc > 0.7


def without_noise(world, attack: Attack, tmp_path):
    """What devices of a host add to the sum under an attack, in a plan without noise; which of them cheat; the clip."""
    scenario, trials = world.scenario, world._trials
    quiet = scenario.model_copy(update={"privacy": scenario.privacy.model_copy(update={"noise_multiplier": 0.0})})
    setup = trials.setup(quiet)
    (kind,), plan = setup.plan.updates, setup.plan
    rows = {kind.request: trials._rows_to_train_on(plan, setup.protocol.train_at)}
    request = {"round": 1, "theta": pack_floats(trials.start(setup))}
    host = PoisonedHost(attack, 0, rows, trials.population.n_users, tmp_path)

    def summed(devices) -> np.ndarray:
        total, survivors = host.collect(devices, plan, request, kind)
        assert survivors == len(devices)
        return total.view(np.int32).astype(np.int64)

    return summed, host._cheats, plan.privacy.steps_per_clip


def of_all(world, vector: str, tmp_path):
    """The sum of devices 0 to 9 if none and if all of them cheat."""
    attacks = ATTACKS["none"], Attack("all", 1.0, 1.0, vector)
    return [without_noise(world, attack, tmp_path)[0](range(10)) for attack in attacks]


def test_a_flipped_sign_is_the_honest_sum_turned_round(world, tmp_path):
    honest, flipped = of_all(world, "sign", tmp_path)
    assert honest.any()
    np.testing.assert_array_equal(honest, -flipped)


def test_free_riders_add_nothing_and_flipped_labels_something_else(world, tmp_path):
    honest, free = of_all(world, "free", tmp_path)
    assert honest.any() and not free.any()
    honest, labels = of_all(world, "label", tmp_path)
    assert labels.any() and not np.array_equal(honest, labels)


def test_a_push_is_as_long_as_it_says_and_against_what_the_others_come_to(world, tmp_path):
    summed, cheats, steps = without_noise(world, Attack("half", 0.5, 1.0), tmp_path)
    devices = np.arange(40)
    honest = summed(devices[~cheats[devices]].tolist())
    pushed = summed(devices.tolist()) - honest
    n = int(cheats[devices].sum())
    assert 0 < n < 40 and 0.98 * steps < np.linalg.norm(pushed) / n <= steps
    assert pushed @ honest < -0.99 * np.linalg.norm(pushed) * np.linalg.norm(honest)


def test_every_attack_is_published_and_shown(monkeypatch):
    names = [attack.name for attack in ATTACKS.values()]
    assert len(set(names)) == len(names) == 13
    monkeypatch.setattr("simulations.published.attacks.ATTACKS", {k: ATTACKS[k] for k in ("none", "one_100")})
    monkeypatch.setattr("simulations.attacks.poisoning.ATTACKS", {k: ATTACKS[k] for k in ("none", "one_100")})
    found = poison_numbers("demo", SMALL, seeds=1)
    published = {key: Published(**vars(number), command="", commit="") for key, number in found.items()}
    rows = cheat_rows(published)
    assert [row.about for row in rows] == [ATTACKS[key].name for key in ("none", "one_100")]
    assert rows[0].auc == pytest.approx(found["poison.demo.none.sum.auc"].value)
    assert table_of("demo", {"none": [Harm(0.8, 0)] * 2}).row_count == 1


def test_the_bounds_of_a_plan_are_published_for_each_part():
    found = bound_numbers("complete-journey-eps1", Crowd(2456, Catalogue(("a", "b"))))
    assert {key.rsplit(".", 1)[0] for key in found} == {f"cheat.complete-journey-eps1.{part}" for part in ("p", "phi")}
    assert all(number.value > 0 for number in found.values())
