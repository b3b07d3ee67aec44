"""Results of made-up runs, for tests of what is made from results. Sections are given as results.json holds them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from client.privacy.caps import LedgerLine
from simulations.baselines.interest_models import (
    BY_ITSELF,
    EBBTIDE,
    KINDS,
    POOLED_DNN,
    POOLED_LR,
    RECENCY_FREQUENCY,
)
from simulations.evaluation.results import FORMAT, Results
from simulations.evaluation.results_file import parse
from simulations.scenarios.config import PLANTED_PROTOCOL
from tests.world.answers import NO_ANSWER, answer
from tests.world.turn_tables import Section, lapse, never_bought, rises

LEARNS = "the noisy sum of each round over at least 2 devices, if one of 3 helpers is honest"


def results_of(section: Mapping[str, Any]) -> Results:
    """Results, as if these had been read from a file."""
    return parse(json.dumps(section), "a made-up run")


def changed(results: Results, changes: Mapping[str, Any]) -> Results:
    """The same results with other values at dotted paths, such as `alerts.by_step.rise` or `example_users.0.alerts`."""
    section = results.model_dump(mode="json")
    for path, value in changes.items():
        *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
        at: Any = section
        for part in way:
            at = at[part]
        at[last] = value
    return results_of(section)


def judged(alerts: int = 20, **changes: Any) -> Section:
    numbers = {"precision": 0.25, "recall": 0.5, "median_delay_steps": 11.5, "false_per_user": 0.375}
    return {"alerts": alerts, "turns": 10, **numbers, **changes}


def baseline(name: str, auc: float | None, ahead: float | None = None) -> Section:
    """A row of the table of baselines, with intervals of .01 each way."""
    row = {"name": name, "kind": KINDS[name], "auc": auc, "log_loss": 0.52, "calibration_error": 0.08}
    row.update({"low": auc and auc - 0.01, "high": auc and auc + 0.01})
    return {**row, "ahead": ahead, "ahead_low": ahead and ahead - 0.01, "ahead_high": ahead and ahead + 0.01}


def curves() -> Section:
    """Two detectors at three settings each, the quietest of which calls nothing."""
    quiet = judged(0, precision=None, recall=0.0, median_delay_steps=None, false_per_user=0.0)
    points = [judged(40, recall=0.8, false_per_user=4.0), judged(), quiet]
    names = {"own_level": "level of p against one's own", "rate": "change rate (the article's)"}
    detectors = [
        {
            "detector": kind,
            "name": name,
            "key": "fall_margin",
            "points": [{"setting": i, "planned": i == 1, **point} for i, point in enumerate(points)],
        }
        for kind, name in names.items()
    ]
    return {"users": 6, "detectors": detectors}


#: Caps of owners who set none.
LIFTED = {
    "table": "lifted",
    "participations_per_plan": None,
    "clip_norm": None,
    "period_days": 182,
    "delta": 1e-5,
    "total": [None, None],
    "lines": {line: [None, None] for line in LedgerLine},
}


def make_results(*, simulated: bool = True, **changes: Any) -> Results:
    """Results of a small run, of planted data or of purchases; the arguments replace whole sections."""
    return results_of({**made_up(simulated=simulated), **changes})


def made_up(*, simulated: bool = True) -> Section:
    """The results.json of such a run."""
    nothing = {"precision": None, "recall": 0.0, "median_delay_steps": None, "false_per_user": 0.0}
    beside = {"change rate (the article's)": judged(33), "silence of 10 steps": judged(0, **nothing)}
    p = [None] * 10 + [0.9] * 8 + [0.7, 0.5, 0.3, 0.2, 0.1, 0.1] + [None] * 2
    return {
        "format": FORMAT,
        "name": "small",
        "about": "eight people",
        "simulated": simulated,
        "data": "planted" if simulated else "online-retail-ii",
        "devices": 8,
        "looked_at": 8,
        "disk_bytes": 1_260_000,
        "categories": 4,
        "step": "day" if simulated else "week",
        "fidelity": "devices",
        "sum": "3 helpers",
        "identified_share": 0.3,
        **dict.fromkeys(("randomised_share", "summed_share"), 0.0),
        "caps": LIFTED,
        "protocol": {
            **PLANTED_PROTOCOL.model_dump(mode="json"),
            "window_steps": 6,
            "horizon_steps": 3,
            "lapse_steps": 5,
            "train_steps": [6, 9],
            "test_steps": [10, 23],
            "alert_steps": [10, 23],
        },
        "plan": {
            "horizon_steps": 3,
            "parameters": 1441,
            "hidden": [32, 16],
            "clip_norm": 0.1,
            "noise_multiplier": 1.0,
            "sampling_rate": 0.2,
            "rounds": 2,
            "population": 8,
            "min_survivors": 2,
            "max_colluders": 0,
            "steps_per_clip": 4096,
            "delta": 1e-5,
            "learning_rate": 0.3,
            "local_steps": 1,
            "rows": 64,
            "l2": 0.0,
            "dropout": 0.0,
            "history_steps": 19,
            "seed": 0,
            "detection": {
                "detector": "own_level",
                "rate_window_steps": 2,
                "rate_threshold": 0.05,
                "fall_level": 0.15,
                "rise_level": 0.85,
                "risk_line": 0.25,
                "own_span_steps": 42,
                "fall_margin": 1.5,
                "rise_margin": 2.0,
                "min_active_steps": 4,
                "lapse_steps": 5,
                "quiet_steps": 5,
                "false_alerts": 3,
                "budget_steps": 182,
                "warm_steps": 28,
                "season_steps": 1,
                "takeoff_line": None,
            },
            "sha256": "ab" * 32,
        },
        "answer": answer(),
        "interest": {
            "rows": 1234,
            "base_rate": 0.5,
            "auc": 0.83186,
            "log_loss": 0.52372,
            "calibration_error": 0.07952,
            "rows_without_score": 0,
            "roc": {"false_positive_rate": [0.0, 0.2, 1.0], "true_positive_rate": [0.0, 0.7, 1.0]},
            "calibration": [{"rows": 137, "mean_p": d / 10, "share": d / 11} for d in range(1, 10)],
        },
        "baselines": [
            baseline(EBBTIDE, 0.83186),
            baseline(RECENCY_FREQUENCY, 0.8142, ahead=-0.0177),
            baseline("frequency", 0.81, ahead=-0.0219),
            baseline("recency", 0.762, ahead=-0.0699),
        ],
        "gap": None,
        "gap_to": None,
        "groups": [],
        "held_out_users": None,
        "learning_curve": [{"round": i, "auc": 0.4 + 0.2 * i} for i in range(3)],
        "alerts": {
            "detector": "level of p against one's own",
            "steps": 14,
            "first_step": 10,
            "by_step": {"fall": [1, 2] * 7, "rise": [0, 3] * 7},
            "interventions": [
                {
                    "intervention": "small_offer",
                    "fall": 17,
                    "rise": 0,
                    "segment_low": 0,
                    "segment_middle": 12,
                    "segment_high": 5,
                }
            ],
            "fall": {**judged(21), "beside": beside},
            "rise": {**judged(), "beside": beside},
            "budget": {"false_alerts": 3, "steps": 182, "over": 0.125, "beside": {"always": 1.0, "never": 0.0}},
            "curves": curves(),
        },
        "lapse": None,
        "rises": None,
        "never_bought": None,
        "privacy": {
            "rounds_charged": 2,
            "rounds_planned": 2,
            "delta": 1e-5,
            "epsilon_to_public": 9.0814,
            "by_bound": False,
            "epsilon_bound": 10.3185,
            "epsilon_to_server": 9.0814,
            "to_server": LEARNS,
            "lines": [LINE],
            "plan_sha256": "ab" * 32,
            "identified_alerts": 135,
        },
        "refused": {},
        **{"bits": None, "sums": []},
        "traffic": {
            "round_down_bytes": 5850.4,
            "round_up_bytes": 5837.4,
            "query_up_bytes": 27.5,
            "down_bytes_per_device": 94621.9,
            "up_bytes_per_device": 46963.6,
            "by_message": {
                "model_offer": {"messages": 16, "bytes": 381_680},
                "train_request": {"messages": 5, "bytes": 29_252},
                "update": {"messages": 5, "bytes": 29_187},
                "alerts": {"messages": 72, "bytes": 1_980},
            },
            "dropped": {},
        },
        "cheat_bounds": [{"part": "update", "mean_clips": 1.0, "found_clips": 61.5}],
        "example_users": [
            {
                "category": "coats",
                "direction": "fall",
                "found": True,
                "count": [1.0, 0.4, 0.0, 2.2] * 6 + [0.0, 0.0],
                "p": p,
                "change_step": 15,
                "last_step_in_time": 23,
                "alerts": [
                    {
                        "step": 20,
                        "direction": "fall",
                        "level": 1,
                        "began": 16,
                        "reasons": ["visits fell: 0, usually 3", "no alert if 3"],
                    },
                    {"step": 11, "direction": "rise", "level": 0, "began": None, "reasons": []},
                ],
            }
        ]
        if simulated
        else [],
        "cpu": {"round_ms": None, "s_per_device": None},
        "commit": "0123abc",
        "utility": None,
        "seconds": {"federation": 71.3},
        "made_with": {"ebbtide": "0.1.0", "python": "3.11"},
    }


def charged_line(line: str, times: int, epsilon: float | None, **noise: float) -> Section:
    known = {
        "line": line,
        "times": times,
        **dict.fromkeys(("epsilon_to_public", "epsilon_to_server"), epsilon),
        "epsilon_if_broken": epsilon and 10 * epsilon,
        "holds_against_server": "coin_epsilon" in noise,
    }
    return {"noise_multiplier": None, "coin_epsilon": None, **known, **noise}


LINE = charged_line("update", 2, 9.0814, noise_multiplier=1.0)


def with_nothing_known() -> Results:
    """A run that cost no privacy budget to speak of and found nothing: every number that may be None is."""
    empty = judged(0, turns=0, precision=None, recall=None, median_delay_steps=None, false_per_user=0.0)
    nothing = ("auc", "base_rate", "log_loss", "calibration_error")
    epsilons = ("epsilon_to_public", "epsilon_to_server", "epsilon_bound")
    return changed(
        make_results(example_users=[]),
        {
            **{f"interest.{key}": None for key in nothing},
            "interest.calibration": [],
            "interest.roc": {"false_positive_rate": [], "true_positive_rate": []},
            "baselines": [baseline(name, None) for name in (EBBTIDE, "recency", "frequency")],
            "learning_curve": [{"round": i, "auc": None} for i in range(3)],
            "answer": NO_ANSWER,
            "alerts.by_step": {"fall": [0] * 14, "rise": [0] * 14},
            "alerts.fall": {**empty, "beside": {}},
            "alerts.rise": {**empty, "beside": {}},
            **{f"privacy.{key}": None for key in epsilons},
            "traffic.dropped": {"round_few_survivors": 2, "error": 1},
            "seconds.federation": None,
        },
    )


QUALITY = {"rows": 77, "base_rate": 0.2, "auc": 0.707, "log_loss": 0.459, "calibration_error": 0.0245}


CAPS = {
    "table": "default",
    "participations_per_plan": 14,
    "clip_norm": 1.0,
    "period_days": 182,
    "delta": 1e-5,
    "total": [7.5, 20.0],
    "lines": {"update": [4.5, 10.0], "risk_update": [1.0, 2.0], "alert_bit": [2.0, 8.0]},
}
BITS = {
    "epsilon": 1.0,
    "every_steps": 7,
    "coins": 2,
    "epsilon_together": 2.0,
    "agreed": 5,
    "rates": [
        {"step": 16, "estimate": -0.12, "low": -0.6, "high": 0.36, "answers": 5, "true_rate": 0.2},
        {"step": 23, "estimate": 0.43, "low": -0.05, "high": 0.91, "answers": 4, "true_rate": 0.4},
    ],
}


def utility_point(epsilon: float | None, mean: float | None, sd: float | None, pooled: float | None) -> Section:
    return {"epsilon": epsilon, "auc_mean": mean, "auc_sd": sd, "pooled_auc": pooled, "start_auc": None}


def with_everything() -> Results:
    """A run with pooled models, users held out, groups, several epsilons, owners' caps and randomised bits."""
    table = [
        baseline(EBBTIDE, 0.782),
        baseline(POOLED_DNN, 0.787, ahead=0.005),
        baseline(POOLED_LR, 0.786, ahead=0.004),
        baseline(RECENCY_FREQUENCY, 0.755, ahead=-0.027),
        baseline(BY_ITSELF, 0.738, ahead=-0.044),
        baseline("recency", None),
    ]
    about = {"members": 3, "users": 3, "unit": "active steps", "smallest": 1, "largest": 9, "low": 0.61, "high": 0.83}
    group = {**about, **QUALITY, "beside": {POOLED_LR: 0.71}}
    nobody = {**group, "group": "heavy users", **dict.fromkeys((*QUALITY, "low", "high")), "rows": 0, "users": 0}
    nobody |= {"beside": {POOLED_LR: None}}
    points = (
        (0.75, 0.781, 0.001, 0.787),
        (7.0, 0.784, None, 0.787),
        (None, 0.785, 0.0, None),
        (1.8, None, None, 0.787),
    )
    return make_results(
        simulated=False,
        baselines=table,
        gap=0.005,
        gap_to=POOLED_DNN,
        caps=CAPS,
        refused={"consent": 6, "participations": 3, "period_budget": 1200},
        bits=BITS,
        privacy=made_up()["privacy"] | {"lines": [LINE, charged_line("alert_bit", 2, 2.0, coin_epsilon=1.0)]},
        randomised_share=0.6,
        lapse=lapse(),
        rises=rises(),
        never_bought=never_bought(),
        held_out_users={"users": 3, "rows": 99, "baselines": table, "gap": 0.005, "gap_to": POOLED_DNN},
        groups=[{**group, "group": "light users"}, nobody],
        utility={"points": [utility_point(*point) for point in points], "published": True},
        cpu={"round_ms": 1.2345, "s_per_device": 0.0421},
    )
