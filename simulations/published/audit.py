"""What the audit of a run shows, and would show: the measurements behind published numbers."""

from __future__ import annotations

import numpy as np

from ..attacks.distinguishing import plan_of
from ..audit.bounds import CONFIDENCE
from ..audit.mechanism import DRAWS, tried, views_of
from ..audit.power import TOO_SMALL
from .measured import Measured

#: Of which scenario, of how many devices, the whole run is told; and in how many trials.
WHOLE = ("complete-journey-eps1", 2456, 1_000_000)
#: Where noise four times too small is looked for: in as many audits, each with the draws of a run.
QUARTER, REPEATED = ("demo", 300), 50


def audit_numbers() -> dict[str, Measured]:
    """`audit.mechanism_lower_bound_eps1`: epsilon of a whole run at least, by the real mechanism; `audit.finds_quarter_noise`: in which
    share of audits noise four times too small is found."""
    name, n_devices, n = WHOLE
    plan = plan_of(name, n_devices)
    whole = tried(views_of(plan, whole=True)[-1], n, plan.privacy.delta)
    demo = plan_of(*QUARTER)
    first = views_of(demo)[0]
    found = [tried(first, DRAWS, demo.privacy.delta, noise=1 / TOO_SMALL).breaks for _ in range(REPEATED)]
    about = f"every sum of a run of {name}, {n:,} draws in each world: stated {whole.stated:.4g}"
    return {
        "audit.mechanism_lower_bound_eps1": Measured(
            round(whole.at_least, 3), None, f"epsilon at least, {CONFIDENCE:.1%} confidence", about
        ),
        "audit.finds_quarter_noise": Measured(
            float(np.mean(found)), None, f"share of {REPEATED} audits", f"one round of {QUARTER[0]}, {DRAWS:,} draws"
        ),
    }
