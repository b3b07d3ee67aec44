"""The answer of a run: what its warnings are worth beside simple rules at the same number of contacts, what that costs, what to do.

The rules watch the same streams from the day on which devices got the model, under the same quiet time and budget of alerts; the line
of each is set so that it makes as many contacts in the alert steps as the devices' falls, without a look at what came of them.
Contacts are right, and turns found, as for the devices (`alert_quality.turns_of`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from client.detection.risk_levels import Direction
from shared.arrays import Doubles, Ints, as_declared
from shared.events import Step
from shared.features import History, last_active

from ..baselines import counter_rules
from ..baselines.bgnbd import BgNbd, fit_categories
from ..baselines.interest_models import NO_NOISE
from ..federation.alert_table import Alerts
from ..people.population import Population
from ..people.setup import Setup
from .alert_quality import alert_steps, lived_steps, turns_of
from .contacts import ContactList, Limits, contacts_per_week, per_user
from .ground_truth import Turns, delays, first_in_time, watched
from .result_tables import Answer, ContactsWorth, InterestTables, Price, Range, RuleAhead, RuleWorth
from .results import Privacy, Traffic
from .verdict import Ahead, Comparison, Counted, Interval, Spread, compare_contacts

#: People that numbers are given for.
PEOPLE: Final = 1000
OURS: Final = "Ebbtide, on the devices"
AVERAGE: Final = "average of activity over one window"
TWO_WINDOWS: Final = "average of activity over two windows"
SILENCE: Final = "silence"
OWN_SILENCE: Final = "silence against one's own rhythm"
BG_NBD: Final = "BG/NBD"


def steps_a_week(step: Step) -> int:
    """How many steps make a week."""
    return 7 if step is Step.DAY else 1


def category_models(history: History, setup: Setup) -> list[BgNbd | None]:
    """A BG/NBD for each category (None: nobody was active in it by then), fitted up to the last lapse train step."""
    return fit_categories(history, setup.protocol.lapse_train_steps[1])


@as_declared
def rule_scores(
    history: History, setup: Setup, steps: Ints, models: Sequence[BgNbd | None] | None = None
) -> dict[str, Doubles]:
    """What each rule says of a lapse (K, S, C) at `steps` (S,): the higher, the more it is to be expected. `models`: BG/NBD's of each
    category, where these are fitted already."""
    protocol, known = setup.protocol, history.until(int(steps[-1]))
    out = {
        AVERAGE: counter_rules.ewma(known, steps, protocol.window_steps),
        TWO_WINDOWS: counter_rules.ewma(known, steps, 2 * protocol.window_steps),
        SILENCE: counter_rules.silence(known, steps),
        OWN_SILENCE: counter_rules.silence_per_interval(known, steps),
    }
    silent = np.zeros((len(known.active), len(steps), known.n_categories))
    for category, model in enumerate(category_models(history, setup) if models is None else models):
        if model is not None:
            alone = known[:, category : category + 1]
            silent[..., category] = counter_rules.silent_ahead(alone, steps, model, protocol.lapse_steps)[..., 0]
    return {**out, BG_NBD: silent}


def rule_contacts(
    history: History, setup: Setup, contacts: int, models: Sequence[BgNbd | None] | None = None
) -> dict[str, Alerts]:
    """Whom each rule contacts in the alert steps, about `contacts` times in all."""
    steps, first = lived_steps(setup.protocol), setup.protocol.alert_steps[0]
    watching = watched(history, steps, setup.protocol, setup.plan.detection.min_active_steps)
    user, position, category = np.nonzero(watching)
    step, limits, out = steps[position], Limits.of(setup.plan.detection), {}
    for name, cube in rule_scores(history, setup, steps, models).items():
        listed = ContactList(user, step, category, cube[watching], limits, step >= first)
        chosen = listed.of_number(contacts) & listed.judged
        falls = np.full(int(chosen.sum()), Direction.FALL, np.int64)
        out[name] = Alerts(user[chosen], step[chosen], falls, category[chosen], np.zeros_like(falls))
    return out


def counted(alerts: Alerts, turns: Turns, truths: Turns, n_users: int) -> Counted:
    """What alerts of falls came to, by user."""
    found = np.isfinite(delays(alerts, turns))
    return Counted(
        per_user(np.ones(len(alerts)), alerts.user, n_users),
        per_user(first_in_time(alerts, truths), alerts.user, n_users),
        per_user(np.ones(len(turns)), turns.user, n_users),
        per_user(found, turns.user, n_users),
    )


def verdict_of(
    population: Population,
    history: History,
    setup: Setup,
    falls: Sequence[Alerts],
    models: Sequence[BgNbd | None] | None = None,
    seed: int = 0,
) -> tuple[Comparison, dict[str, Alerts]]:
    """What to do about a population for whom each of so many trainings (one at least, the run's first) raised `falls` in the alert
    steps, and whom the rules would have contacted. Needs no run folder: alerts of weights that a trial ended with are
    `Alerts.of_mask` of `replay.alerts_of`'s falls."""
    turns, truths = turns_of(population, history, setup, Direction.FALL)
    n_users = population.n_users
    ours = [counted(these, turns, truths, n_users) for these in falls]
    rules = rule_contacts(history, setup, len(falls[0]), models) if len(falls[0]) else {}
    judged = {name: counted(these, turns, truths, n_users) for name, these in rules.items()}
    return compare_contacts(ours, judged, seed), rules


def answer_of(
    population: Population,
    history: History,
    setup: Setup,
    falls: Sequence[Alerts],
    price: Price,
    models: Sequence[BgNbd | None] | None = None,
    seed: int = 0,
) -> Answer:
    """The answer of a run, as `verdict_of`; `falls[0]` are those that its devices showed in the alert steps."""
    found, rules = verdict_of(population, history, setup, falls, models, seed)
    turns, truths = turns_of(population, history, setup, Direction.FALL)
    steps, n_users = len(alert_steps(setup.protocol)), population.n_users
    a_week = contacts_per_week(PEOPLE / n_users, steps, steps_a_week(population.step))

    def worth(name: str, alerts: Alerts, spread: Spread) -> ContactsWorth:
        right, waits = first_in_time(alerts, truths), delays(alerts, turns)
        lead = None
        if population.truth is None and right.any():
            last = last_active(history.active)[alerts.user, alerts.category, alerts.step][right]
            lead = float(np.median(setup.protocol.lapse_steps - (alerts.step[right] - last)))
        return ContactsWorth(
            name=name,
            contacts=len(alerts),
            right=int(right.sum()),
            turns=len(turns),
            found=int(np.isfinite(waits).sum()),
            contacts_a_week=_range(spread.contacts.times(a_week)),
            right_a_week=_range(spread.right.times(a_week)),
            precision=_range(spread.precision) if len(alerts) else None,
            recall=_range(spread.recall) if len(turns) else None,
            median_lead_steps=lead,
            median_delay_steps=float(np.median(waits[np.isfinite(waits)])) if np.isfinite(waits).any() else None,
        )

    return Answer(
        verdict=found.verdict,
        rule=found.rival,
        lack=found.lack,
        trainings=found.trainings,
        weeks=steps / steps_a_week(population.step),
        turns_a_week=len(turns) * a_week,
        ours=worth(OURS, falls[0], found.ours),
        rules=[
            RuleWorth(**vars(worth(name, rules[name], spread)), ahead=_ahead(found.ahead[name], a_week))
            for name, spread in found.rules.items()
        ],
        price=price,
    )


def _range(one: Interval) -> Range:
    return Range(**vars(one))


def _ahead(one: Ahead, a_week: float) -> RuleAhead:
    return RuleAhead(right_a_week=_range(one.right.times(a_week)), recall=_range(one.recall))


@as_declared
def price_of(tables: InterestTables, privacy: Privacy, traffic: Traffic, cpu_s: float | None) -> Price:
    """What the answer costs: privacy, what privacy and learning apart cost in AUC, and a device's bytes and seconds."""
    by_name: Mapping[str, float | None] = {row.name: row.ahead for row in tables.baselines}
    return Price(
        epsilon_to_public=privacy.epsilon_to_public,
        auc_lost_to_pooled=tables.gap,
        auc_lost_to_noise=by_name.get(NO_NOISE),
        rounds=privacy.rounds_charged,
        round_down_bytes=traffic.round_down_bytes,
        round_up_bytes=traffic.round_up_bytes,
        down_bytes_per_device=traffic.down_bytes_per_device,
        up_bytes_per_device=traffic.up_bytes_per_device,
        cpu_s_per_device=cpu_s,
    )
