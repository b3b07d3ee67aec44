"""What a run was worth: quality of p against honest baselines, of the alerts, what it cost.

Everything here looks at many devices at once, as only a simulation can: at all of them, or at a sample of users that stands for
them (`simulations/people/looked_at.py`). What is counted over all devices, is counted over all: alerts by step, what the policy table
answered, refusals, rates, bytes, processor time and privacy. p and alerts are the ones that the devices computed on their own
and showed to their users.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from client.detection.risk_levels import Direction
from client.vault.consent import Consent
from server.privacy.accounting import account_of
from server.state import RISK
from shared.arrays import Bools, Floats, as_declared
from shared.charges import charges_of
from shared.errors import RefusalCode
from shared.features import History
from shared.files import text_of
from shared.heads import Heads
from shared.network import forward
from shared.plan import Plan

from ..baselines.interest_models import NO_NOISE
from ..federation.metering import cpu_numbers
from ..federation.observations import read_notes
from ..federation.run_folder import RunFolder
from ..people.labelled_rows import Rows
from ..people.population import Population
from ..people.private_choice import choices_of
from ..people.setup import Setup
from ..provenance import commit, commits_of
from .aggregates.answered_sums import answered_sums
from .aggregates.bit_rates import rates_with_truth
from .aggregates.bounds_power import cheat_bounds
from .alert_quality import alert_quality, lived_steps
from .answer import answer_of, price_of
from .beforehand import Beforehand, beforehand
from .cold.result import ColdTable
from .cold.table import ColdPeople, cold_table, published_scores
from .examples import example_users
from .interest_table import compare
from .noiseless_rerun import theta_without_noise
from .quality import auc, metrics_of, tenths
from .replay import scores_at
from .result_tables import InterestQuality, Roc
from .results import Evaluation, MessageCount, Privacy, RoundAuc, Traffic
from .turn_quality import lapse_quality, rise_quality

CURVE_ROWS = 50_000


@as_declared
def interest_quality(rows: Rows, p: Floats, rows_without_score: int = 0) -> InterestQuality:
    """AUC, log loss, ROC curve and calibration of the devices' p (n,); so many further rows had none."""
    fpr, tpr, _ = roc_curve(rows.y, p, drop_intermediate=True) if auc(rows.y, p) is not None else (np.empty(0),) * 3
    keep = np.unique(np.linspace(0, len(fpr) - 1, 200).astype(int)) if len(fpr) else np.empty(0, int)
    return InterestQuality(
        **vars(metrics_of(rows.y, p)),
        roc=Roc(false_positive_rate=fpr[keep].tolist(), true_positive_rate=tpr[keep].tolist()),
        calibration=tenths(rows.y, p),
        rows_without_score=rows_without_score,
    )


@as_declared
def learning_curve(models: Floats, plan: Plan, rows: Rows) -> list[RoundAuc]:
    """AUC of every published model on (at most CURVE_ROWS of) the test rows, by the numpy network."""
    pick = np.random.Generator(np.random.Philox(0)).permutation(len(rows.y))[:CURVE_ROWS]
    x, y = rows.x[pick], rows.y[pick]
    return [RoundAuc(round=i, auc=auc(y, forward(plan.network, theta, x))) for i, theta in enumerate(models)]


#: What is asked of who holds a seat, and what that answers.
OF_SEATS = frozenset(("opinion_request", "sum_request", "opinion", "seat_sum"))


def traffic_numbers(
    traffic: Mapping[str, Mapping[str, int]], n_devices: int, *, devices_hold_seats: bool = False
) -> Traffic:
    """Bytes of our messages per device, and of one training round for a device that takes part; what helpers get and send is no
    device's."""
    sent, received = traffic["sent_bytes"], traffic["received_bytes"]

    def of_devices(bytes_by: Mapping[str, int]) -> float:
        return sum(n for name, n in bytes_by.items() if devices_hold_seats or name not in OF_SEATS) / n_devices

    def each(bytes_by: Mapping[str, int], counts: Mapping[str, int], name: str) -> float:
        return bytes_by.get(name, 0) / max(counts.get(name, 0), 1)

    return Traffic(
        round_down_bytes=each(sent, traffic["sent"], "train_request"),
        round_up_bytes=each(received, traffic["received"], "update"),
        query_up_bytes=each(received, traffic["received"], "alerts"),
        down_bytes_per_device=of_devices(sent),
        up_bytes_per_device=of_devices(received),
        by_message={
            name: MessageCount(messages=traffic["sent"].get(name, traffic["received"].get(name, 0)), bytes=total)
            for name, total in {**sent, **received}.items()
        },
        dropped=dict(traffic["dropped"]),
    )


def refusals_by_code(traffic: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """How many requests devices declined, by the name of the code."""
    found = {code: traffic["dropped"].get(f"refusal_{code.value}", 0) for code in RefusalCode}
    return {code.name.lower(): n for code, n in found.items() if n}


def disk_bytes(run: RunFolder) -> int:
    """What the people of a run and their devices take on the disk."""
    files = (file for folder in (run.population, run.devices, run.hosts) for file in folder.rglob("*"))
    return sum(file.stat().st_size for file in files if file.is_file())


@as_declared
def evaluate(
    run: RunFolder,
    setup: Setup,
    population: Population,
    *,
    every_model: bool | None = None,
    held_out: Bools | None = None,
    seed: int = 0,
    before: Beforehand | None = None,
) -> Evaluation:
    """What a run that has ended was worth, from its folder.

    `every_model`: fit trees and each device's own model too (a minute), not only pooled logistic regression and DNN;
    None: if the data are real. `held_out` (K,): users that never trained; pooled models learn without them, and they get
    a table of their own. `seed`, the scenario's, draws the users that are looked at, whom hosts noted p of, the models' rows and the
    bootstrap's users. `before`: what `beforehand` says to the same arguments, where it was asked already.
    """
    protocol, plan, server = setup.protocol, setup.plan, run.server
    account, traffic = whole_account(setup, json.loads(text_of(server.account_file))), server.traffic()
    agreed = run.owners().who(Consent.RANDOMISED)
    models = server.models()
    every_model = not population.simulated if every_model is None else every_model
    if before is None:
        before = beforehand(setup, population, every_model=every_model, held_out=held_out, seed=seed)
    history, test, levels, bgnbd = before.history, before.test, before.levels, before.bgnbd
    users, some, n_devices = before.looked_at.users, before.looked_at.population, population.n_users
    held_out = None if held_out is None else held_out[users]
    rivals = [each.of_users(users) for each in run.rivals()]
    p, shown_to_all = read_notes(run, users, len(population.catalogue), population.n_steps)
    alerts = shown_to_all.of_users(users)
    scored = p[test.user, test.step, test.category]
    known = ~np.isnan(scored)
    trained = np.ones(len(test.y), bool) if held_out is None else ~held_out[test.user]
    shown = test.where(known & trained)
    weights = server.models(RISK)[-1] if plan.risk else np.empty(0, np.float32)
    heads = run.heads(plan)
    scores = scores_at(history, setup, models[-1], weights, lived_steps(protocol), heads)
    tables = compare(
        before.train,
        test,
        scored,
        history,
        plan,
        until=protocol.train_at,
        pooled=before.pooled,
        held_out=held_out,
        extra=without_noise(run, plan, models[0], test.x) if every_model else {},
        yours={each.label: each.at(test.user, test.step, test.category) for each in rivals if each.is_probability},
        seed=seed,
    )
    privacy = Privacy(**{k: v for k, v in account.items() if k not in ("bits", "sums", "stopped")})
    sent = traffic_numbers(traffic, n_devices, devices_hold_seats=bool(plan.sum and plan.sum.seats))
    cpu = cpu_numbers(run, traffic["received"].get("update", 0), n_devices)
    falls = [alerts.of(Direction.FALL, protocol.alert_steps)]
    price = price_of(tables, privacy, sent, cpu.s_per_device)
    return Evaluation(
        **vars(tables),
        looked_at=len(users),
        disk_bytes=disk_bytes(run),
        answer=answer_of(some, history, setup, falls, price, bgnbd, seed),
        interest=interest_quality(shown, scored[known & trained], int((~known & trained).sum())),
        learning_curve=learning_curve(models, plan, shown),
        lapse=lapse_quality(history, setup, scores, levels, seed, bgnbd, rivals, before.lapses),
        rises=rise_quality(history, setup, scores, levels, seed, bgnbd, rivals, before.takeoffs),
        never_bought=never_bought(setup, history, heads, seed) if heads is not None and held_out is None else None,
        alerts=alert_quality(some, history, setup, scores, alerts, shown_to_all),
        privacy=privacy,
        refused=refusals_by_code(traffic),
        bits=rates_with_truth(account["bits"], shown_to_all, agreed) if account["bits"] else None,
        sums=answered_sums(account["sums"]),
        traffic=sent,
        cheat_bounds=cheat_bounds(setup),
        cpu=cpu,
        example_users=example_users(run, setup, before.looked_at, history, p, alerts),
        commit="+".join(dict.fromkeys([*commits_of(run.flower).split("+"), commit()])),
    )


def never_bought(setup: Setup, history: History, heads: Heads, seed: int) -> ColdTable | None:
    """Categories that a user never touched, by the popularity that this run has published; None where everybody knows every category,
    or train steps hold one kind of outcome."""
    people = ColdPeople(history, setup.plan.features, setup.protocol)
    if not len(people.test) or people.train.y.all() or not people.train.y.any():
        return None
    return cold_table(people, published_scores(people, heads.popularity, seed), seed)


def whole_account(setup: Setup, account: dict[str, Any]) -> dict[str, Any]:
    """The server's account, composed with what was chosen by votes before its run, which it knows nothing of."""
    if not (choices := choices_of(setup.scenario)):
        return account
    rows = zip(charges_of(setup.plan), account["lines"], strict=True)
    spent = tuple(replace(row, times=line["times"]) for row, line in rows)
    return {**account, **account_of(setup.plan, (*spent, *choices))}


@as_declared
def without_noise(run: RunFolder, plan: Plan, theta: Floats, x: Floats) -> dict[str, Floats]:
    """p (n,) on rows x (n, F) of the run's training without noise, by its name; empty where that is not to be had."""
    quiet = theta_without_noise(run, plan, theta)
    return {} if quiet is None else {NO_NOISE: forward(plan.network, quiet, x)}
