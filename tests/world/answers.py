"""Made-up answers, as results.json holds them."""

from typing import Any

from simulations.baselines.interest_models import EBBTIDE
from tests.world.turn_tables import Section


def worth(name: str, contacts: int = 20, right: int = 5, found: int = 5, **changes: Any) -> Section:
    """What contacts came to among 8 people in 2 weeks."""
    numbers = {"contacts": contacts, "right": right, "turns": 10, "found": found}
    a_week = {"contacts_a_week": ranged(62.5 * contacts, 100.0), "right_a_week": ranged(62.5 * right, 100.0)}
    shares = {"precision": ranged(right / contacts) if contacts else None, "recall": ranged(found / 10)}
    return {
        "name": name,
        **numbers,
        **a_week,
        **shares,
        "median_lead_steps": None,
        "median_delay_steps": 11.5,
        **changes,
    }


def ranged(value: float, away: float = 0.1) -> Section:
    return {"value": value, "low": value - away, "high": value + away}


def rule(name: str, right: float, **changes: Any) -> Section:
    """A rule with so many right contacts a week per 1,000 people more than ours."""
    ahead = {"right_a_week": ranged(right, 100.0), "recall": ranged(right / 1000)}
    return {**worth(name, right=5 + round(right / 62.5)), "ahead": ahead, **changes}


#: What privacy and devices pay.
PRICE = {
    **{"epsilon_to_public": 9.0814, "auc_lost_to_pooled": None, "auc_lost_to_noise": None, "rounds": 2},
    **{"round_down_bytes": 5850.4, "round_up_bytes": 5837.4},
    **{"down_bytes_per_device": 94621.9, "up_bytes_per_device": 46963.6, "cpu_s_per_device": None},
}


def answer(**changes: Any) -> Section:
    """An answer that cannot tell ours from silence."""
    return {
        **{
            "verdict": "cannot_tell",
            "rule": "silence",
            "lack": None,
            "trainings": 1,
            "weeks": 2.0,
            "turns_a_week": 625.0,
        },
        "ours": worth(EBBTIDE),
        "rules": [rule("silence", 62.5), rule("average of activity over one window", -125.0)],
        "price": PRICE,
        **changes,
    }


#: The answer of a run that found nothing.
NOTHING = worth(EBBTIDE, contacts=0, right=0, found=0, turns=0, precision=None, recall=None, median_delay_steps=None)
NO_ANSWER = answer(
    **{"verdict": "not_enough", "rule": None, "lack": "no_contacts", "rules": [], "turns_a_week": 0.0},
    ours={**NOTHING, **dict.fromkeys(("contacts_a_week", "right_a_week"), ranged(0.0, 0.0))},
    price={**PRICE, "epsilon_to_public": None},
)
