"""How much a run cost in privacy: both epsilons, what they are about and rest on, and every row that was charged."""

from __future__ import annotations

from ..case import ACCOUNT, SCENARIO, Case
from ..fields import Field, FieldTable
from ..grounds import chosen, epsilon, quoted
from ..project_pages import stated

PAGE = "docs/privacy.md"
SENSITIVITY, NOISE = "tests/promises/test_sensitivity.py", "tests/promises/test_noise.py"


def privacy_tables(case: Case) -> list[FieldTable]:
    """The top of the pyramid of NIST SP 800-226; then the account, row by row; then what no epsilon covers."""
    return [
        FieldTable("nist-800-226-top", tuple(_guarantee(case))),
        FieldTable("privacy-account", tuple(_account(case))),
        FieldTable("privacy-not-covered", tuple(stated("privacy.not_covered", PAGE, "What no epsilon covers"))),
    ]


def _guarantee(case: Case) -> list[Field]:
    plan = {
        "clip_norm": (SENSITIVITY,),
        "steps_per_clip": (SENSITIVITY,),
        "noise_multiplier": (NOISE,),
        "sampling_rate": (),
        "min_survivors": ("tests/server/test_rounds.py",),
        "max_colluders": ("tests/shared/test_attendance.py",),
    }
    return [
        epsilon(case, "privacy.epsilon_to_public", ACCOUNT, "/epsilon_to_public"),
        epsilon(case, "privacy.epsilon_to_server", ACCOUNT, "/epsilon_to_server"),
        epsilon(case, "privacy.epsilon_bound", ACCOUNT, "/epsilon_bound"),
        quoted(case, "privacy.by_bound", "/by_bound", name=ACCOUNT),
        quoted(case, "privacy.to_server", "/to_server", name=ACCOUNT),
        chosen(case, "privacy.delta", "/plan/delta", tests=("tests/shared/test_plan.py",)),
        quoted(case, "privacy.rounds_charged", "/rounds_charged", name=ACCOUNT),
        quoted(case, "privacy.rounds_planned", "/rounds_planned", name=ACCOUNT),
        *(chosen(case, f"privacy.{name}", f"/plan/{name}", tests=tests) for name, tests in plan.items()),
        *_fewest(case),
        *stated("privacy.statement", PAGE, "The statement"),
        *stated("privacy.mechanism", PAGE, "The mechanism"),
        *stated("privacy.composition", PAGE, "What every number covers"),
    ]


def _fewest(case: Case) -> list[Field]:
    """How many devices any sum of the plan is over at least, training or not; nothing is said of a plan without a secure sum."""
    if case.setup.plan.sum is None:
        return []
    fewest = min(kind.privacy.min_survivors for kind in case.setup.plan.sums)
    return [Field("privacy.fewest_in_a_sum", "configured", fewest, (case.file(SCENARIO),))]


def _account(case: Case) -> list[Field]:
    fields = []
    lines = case.json_of(ACCOUNT)["lines"] if case.has(ACCOUNT) else []
    for at, line in enumerate(lines):
        where, row = f"/lines/{at}", str(line["line"])
        fields.append(quoted(case, "account.times", f"{where}/times", name=ACCOUNT, row=row))
        noise = "coin_epsilon" if line["coin_epsilon"] is not None else "noise_multiplier"
        fields.append(quoted(case, f"account.{noise}", f"{where}/{noise}", name=ACCOUNT, row=row))
        for name in ("epsilon_to_public", "epsilon_to_server", "epsilon_if_broken"):
            fields.append(epsilon(case, f"account.{name}", ACCOUNT, f"{where}/{name}", row))
        held = "holds_against_server"
        fields.append(quoted(case, f"account.{held}", f"{where}/{held}", name=ACCOUNT, row=row))
    return fields
