"""What a run was worth: quality of p against honest baselines, of the alerts, what it cost, all in one mapping.

Everything here looks at all devices at once, as only a simulation can. p and alerts are the ones that the devices
computed on their own and showed to their users.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from client.consent import Consent
from client.policy import Intervention, Segment
from client.risk import Direction
from client.watch import Watch, observed, past_steps
from server.state import RISK, ServerFolder
from shared.errors import RefusalCode
from shared.features import History, extract, seen
from shared.network import forward
from shared.plan import Plan

from .bit_rates import rates_beside_truth
from .comparison import compare
from .config import ProtocolSection
from .counted import history_of, rows_of
from .early_warning import lapse_quality
from .notes import read_notes, read_reasons
from .owners import Owners
from .population import Population
from .quality import Rows, auc, figures_of, tenths
from .turns import Alerts, ShownAlerts, Turns, delays, judge, lapse_mask, planted_turns, takeoff_mask, watched

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

CURVE_ROWS = 50_000
DETECTOR_NAMES = {
    "rate": "change rate (the article's)",
    "level": "level of p, fixed line",
    "own_level": "level of p against one's own",
    "cusum": "lasting shift of p (CUSUM)",
    "risk": "phi reaches a line",
}


def interest_quality(rows: Rows, p: Floats) -> dict[str, Any]:
    """AUC, log loss, ROC curve and calibration of the devices' p."""
    fpr, tpr, _ = roc_curve(rows.y, p, drop_intermediate=True) if auc(rows.y, p) is not None else (np.empty(0),) * 3
    keep = np.unique(np.linspace(0, len(fpr) - 1, 200).astype(int)) if len(fpr) else np.empty(0, int)
    return {
        **figures_of(rows.y, p),
        "roc": {"false_positive_rate": fpr[keep].tolist(), "true_positive_rate": tpr[keep].tolist()},
        "calibration": tenths(rows.y, p),
    }


def learning_curve(models: Floats, plan: Plan, rows: Rows) -> list[dict[str, Any]]:
    """AUC of every published model on (at most CURVE_ROWS of) the test rows, by the numpy network."""
    pick = np.random.Generator(np.random.Philox(0)).permutation(len(rows.y))[:CURVE_ROWS]
    x, y = rows.x[pick], rows.y[pick]
    return [{"round": i, "auc": auc(y, forward(plan.network, theta, x))} for i, theta in enumerate(models)]


def turns_of(
    population: Population, history: History, protocol: ProtocolSection, min_active: int, direction: Direction
) -> tuple[Turns, Turns]:
    """(turns that count for recall, turns that make an alert true) in the protocol's alert steps."""
    if population.truth is not None:
        first, last = protocol.alert_steps
        return (
            planted_turns(population.truth, direction, (first, last)),
            planted_turns(population.truth, direction, (0, population.n_steps + last)),
        )
    steps = np.arange(protocol.alert_steps[0], protocol.alert_steps[1] + 1)
    if direction is Direction.FALL:
        mask = lapse_mask(history, steps, protocol, min_active)
    else:
        mask = takeoff_mask(history, steps, protocol)
    turns = Turns.of_runs(mask, steps)
    return turns, turns


def alert_quality(
    population: Population,
    history: History,
    protocol: ProtocolSection,
    plan: Plan,
    theta: Floats,
    p: Floats,
    alerts: ShownAlerts,
) -> dict[str, Any]:
    """The devices' alerts, and beside them the other detectors on the same p and a silence rule, per direction."""
    steps = np.arange(protocol.alert_steps[0], protocol.alert_steps[1] + 1)
    settings = plan.detection
    out: dict[str, Any] = {"detector": DETECTOR_NAMES[settings.detector], "steps": len(steps), "by_step": {}}
    rules = rule_alarms(history, protocol, plan, theta, p)
    for direction in Direction:
        turns, truths = turns_of(population, history, protocol, settings.min_active_steps, direction)
        name = direction.name.lower()
        ours = alerts.of(direction, protocol.alert_steps)
        out[name] = judge(ours, turns, population.n_users, truths=truths)
        out[name]["beside"] = {
            rule: judge(
                Alerts.of_mask(fired[direction], steps, direction, settings.quiet_steps),
                turns,
                population.n_users,
                truths=truths,
            )
            for rule, fired in rules.items()
            if direction in fired
        }
        out["by_step"][name] = np.bincount(ours.step - steps[0], minlength=len(steps)).tolist()
    out["first_step"] = int(steps[0])
    out["interventions"] = intervention_counts(alerts, protocol.alert_steps)
    return out


def intervention_counts(alerts: ShownAlerts, steps: tuple[int, int]) -> list[dict[str, Any]]:
    """How many alerts of steps first..last the policy table answered with each intervention, by direction and by the
    segment of the user."""
    rows: list[dict[str, Any]] = [{"intervention": one.name.lower()} for one in Intervention]
    shown = [alerts.of(direction, steps) for direction in Direction]
    for row, one in zip(rows, Intervention, strict=True):
        for direction, these in zip(Direction, shown, strict=True):
            row[direction.name.lower()] = int((these.intervention == one).sum())
        for segment in Segment:
            row[f"segment_{segment.name.lower()}"] = int(
                sum(((these.intervention == one) & (these.segment == segment)).sum() for these in shown)
            )
    return rows


def rule_alarms(
    history: History, protocol: ProtocolSection, plan: Plan, theta: Floats, p: Floats
) -> dict[str, dict[Direction, NDArray[np.bool_]]]:
    """Where each rule fires in the alert steps, (K, S, C) per direction it can call: the other detectors, run as a
    device runs them on the devices' own p, and rules that look at the counters alone."""
    steps = np.arange(protocol.alert_steps[0], protocol.alert_steps[1] + 1)
    out: dict[str, dict[Direction, NDArray[np.bool_]]] = {}
    lived = np.arange(protocol.train_at + 1, steps[-1] + 1)
    for kind, name in DETECTOR_NAMES.items():
        if kind != plan.detection.detector:
            other = replace(plan, detection=replace(plan.detection, detector=kind))
            past = past_scores(history, other, theta, protocol.train_at)
            raised = watch_all(history, other, past, p, lived)[:, -len(steps) :]
            out[name] = {d: raised[:, :, d] for d in Direction}
    watching = watched(history, steps, protocol, plan.detection.min_active_steps)
    recency = extract(history, plan.features, steps)[..., plan.features.names.index("recency")]
    silent_steps = max(1, protocol.lapse_steps // 2)
    silent = (recency / 2 + 0.5) * protocol.window_steps >= silent_steps - 0.5
    known = seen(history, steps)
    out[f"silence of {silent_steps} steps"] = {Direction.FALL: silent & watching}
    out["always"] = {Direction.FALL: watching, Direction.RISE: known & ~watching}
    out["never"] = {d: np.zeros_like(known) for d in Direction}
    return out


def past_scores(history: History, plan: Plan, theta: Floats, train_at: int) -> Floats:
    """p (K, W, C) of the steps that a device warms its detector up on when the model arrives, by the numpy network."""
    steps = np.arange(max(0, train_at + 1 - past_steps(plan)), train_at + 1)
    p = forward(plan.network, theta, extract(history, plan.features, steps))
    return observed(plan, history, steps, np.where(seen(history, steps), p, np.float32(np.nan)))


def watch_all(history: History, plan: Plan, past: Floats, p: Floats, steps: Ints) -> NDArray[np.bool_]:
    """Alerts of the plan's detector over `steps` for everybody, (K, S, 2, C), by the code that devices run."""
    watch = Watch.start(plan, past, int(steps[0]) - 1)
    return np.stack([watch.see(plan, history.until(step), step, p[:, step])[0] for step in steps.tolist()], axis=1)


def example_user(
    population: Population, protocol: ProtocolSection, history: History, p: Floats, alerts: Alerts, run_folder: Path
) -> dict[str, Any] | None:
    """One planted (simulated) user to draw: of the falls in the test steps that were called, the one with the most
    typical delay; with the reasons that the device showed. None without planted truth."""
    if population.truth is None:
        return None
    turns = planted_turns(population.truth, Direction.FALL, protocol.alert_steps)
    falls = alerts.of(Direction.FALL, protocol.alert_steps)
    delay = delays(falls, turns)
    if not len(turns):
        return None
    found = np.isfinite(delay)
    typical = np.median(delay[found]) if found.any() else 0.0
    index = int(np.argmin(np.where(found, np.abs(np.where(found, delay, 0) - typical), np.inf)))
    user, category = int(turns.user[index]), int(turns.category[index])
    mine = (alerts.user == user) & (alerts.category == category)
    reasons = read_reasons(run_folder, user)
    return {
        "category": population.catalogue.names[category],
        "count": [round(float(v), 2) for v in history.count[user, category]],
        "p": [None if np.isnan(v) else round(float(v), 4) for v in p[user, :, category]],
        "change_step": int(turns.first[index]),
        "last_step_in_time": int(turns.last[index]),
        "alerts": [
            {
                "step": int(s),
                "direction": Direction(int(d)).name.lower(),
                "level": int(w),
                "reasons": reasons.get((int(s), int(d), category), []),
            }
            for s, d, w in zip(alerts.step[mine], alerts.direction[mine], alerts.level[mine], strict=True)
        ],
    }


def traffic_figures(account: dict[str, Any], n_devices: int) -> dict[str, Any]:
    """Bytes of our messages per device, and of one training round for a device that takes part."""
    traffic = account["traffic"]
    sent, received = traffic["sent_bytes"], traffic["received_bytes"]

    def each(bytes_by: dict[str, int], counts: dict[str, int], name: str) -> float:
        return bytes_by.get(name, 0) / max(counts.get(name, 0), 1)

    return {
        "round_down_bytes": each(sent, traffic["sent"], "train_request"),
        "round_up_bytes": each(received, traffic["received"], "update"),
        "query_up_bytes": each(received, traffic["received"], "alerts"),
        "down_bytes_per_device": sum(sent.values()) / n_devices,
        "up_bytes_per_device": sum(received.values()) / n_devices,
        "by_message": {
            name: {"messages": traffic["sent"].get(name, traffic["received"].get(name, 0)), "bytes": total}
            for name, total in {**sent, **received}.items()
        },
        "dropped": traffic["dropped"],
    }


def refused_figures(traffic: Mapping[str, Any]) -> dict[str, int]:
    """How many requests devices declined, by the name of the code."""
    found = {code: traffic["dropped"].get(f"refusal_{code.value}", 0) for code in RefusalCode}
    return {code.name.lower(): n for code, n in found.items() if n}


def evaluate(
    run_folder: Path,
    population: Population,
    protocol: ProtocolSection,
    plan: Plan,
    *,
    with_baselines: bool | None = None,
    held_out: NDArray[np.bool_] | None = None,
    extra: Mapping[str, Floats] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of a run that has ended, from its folder; nothing in it is NaN.

    `with_baselines`: fit the pooled models too (a minute), not only the rules; None: if the data are real. `held_out`
    (K,): users that never trained; pooled models learn without them, and they get a table of their own. `extra`: p (n,)
    of further models by name, on the rows of `rows_of` for the protocol's test steps. `seed` draws the models' rows and
    the bootstrap's users.
    """
    account = json.loads((run_folder / "server" / "account.json").read_text(encoding="utf-8"))
    agreed = Owners.load(run_folder).who(Consent.RANDOMISED)
    models = ServerFolder(run_folder / "server").models()
    history = history_of(population)
    train = rows_of(history, plan.features, plan.horizon_steps, protocol.train_steps)
    test = rows_of(history, plan.features, plan.horizon_steps, protocol.test_steps)
    p, alerts = read_notes(run_folder, population.n_users, len(population.catalogue), population.n_steps)
    scored = p[test.user, test.step, test.category]
    known = ~np.isnan(scored)
    trained = np.ones(len(test.y), bool)
    if held_out is not None:
        train, trained = train.where(~held_out[train.user]), ~held_out[test.user]
    shown = test.where(known & trained)
    with_models = not population.simulated if with_baselines is None else with_baselines
    lapse = None
    if plan.risk:
        weights = ServerFolder(run_folder / "server").models(RISK)[-1]
        lapse = lapse_quality(history, protocol, plan, models[-1], weights, with_models=with_models, seed=seed)
    return {
        "interest": {
            **interest_quality(shown, scored[known & trained]),
            "rows_without_score": int((~known & trained).sum()),
        },
        **compare(
            train,
            test,
            scored,
            history,
            plan,
            until=protocol.train_at,
            with_models=with_models,
            held_out=held_out,
            extra=extra or {},
            seed=seed,
        ),
        "learning_curve": learning_curve(models, plan, shown),
        "lapse": lapse,
        "alerts": alert_quality(population, history, protocol, plan, models[-1], p, alerts),
        "privacy": {k: v for k, v in account.items() if k not in ("traffic", "bits")},
        "refused": refused_figures(account["traffic"]),
        "bits": rates_beside_truth(account["bits"], alerts, agreed) if account.get("bits") else None,
        "traffic": traffic_figures(account, population.n_users),
        "example_user": example_user(population, protocol, history, p, alerts, run_folder),
    }
