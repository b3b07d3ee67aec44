"""What attacks on privacy find, beside what is stated: the measurements behind published numbers."""

from __future__ import annotations

from rich.progress import Progress

from ..attacks.distinguishing import plan_of, told
from ..attacks.hostile_server import ATTACKS, gained
from ..attacks.membership import MODELS, TRAININGS, attacked
from ..attacks.unmasked import VIEWS, recovered_by_view
from ..audit.bounds import CONFIDENCE
from ..audit.membership import FALSE_RATE
from .measured import Measured

#: Repetitions of what is drawn anew: noise on the same updates.
REPEATED = 3
#: Trials of each attack of a server, in each of two worlds.
SERVER_TRIALS = 1000
#: What is told apart, of which scenario and how many devices: trials of single releases, and of all of them together.
TOLD = {"demo": (300, 200_000, 100_000), "complete-journey-eps1": (2456, 200_000, 20_000)}


def told_numbers(name: str) -> dict[str, Measured]:
    """`attack.told.<scenario>.<what is seen>`: the epsilon that is told of one device at least; `.stated`: what is promised."""
    n_devices, n, n_plan = TOLD[name]
    out: dict[str, Measured] = {}
    for key, one in told(plan_of(name, n_devices), n, n_plan).items():
        of = f"attack.told.{name}.{key}"
        about = f"{one.name}: stated {one.stated:.4g}"
        out[of] = Measured(round(one.measured, 3), None, f"epsilon at least, {CONFIDENCE:.1%} confidence", about)
        out[f"{of}.stated"] = Measured(round(one.stated, 3), None, "epsilon", one.name)
    return out


def update_numbers() -> dict[str, Measured]:
    """`attack.update.<what is seen>`: what is recovered of the rows of a device of the demo, and how often it is told whose update
    it was."""
    n_devices, runs = 0, []
    for _ in range(REPEATED):
        n_devices, found = recovered_by_view()
        runs.append(found)
    out: dict[str, Measured] = {}
    for key, (about, _) in VIEWS.items():
        for measure, unit, baseline in (
            ("rows", "rank correlation", about),
            ("returned", "rank correlation", about),
            ("told_apart", "share of devices", f"{about}; by chance {1 / n_devices:.4f}"),
        ):
            values = [getattr(found[key], measure) for found in runs]
            out[f"attack.update.{key}.{measure}"] = Measured.over(values, unit, baseline)
    return out


def membership_numbers() -> dict[str, Measured]:
    """`attack.member.<model>`: how well the published model tells who taught it."""
    out: dict[str, Measured] = {}
    with Progress() as progress:
        task = progress.add_task("membership", total=TRAININGS * len(MODELS))
        for key, (name, _) in MODELS.items():
            one = attacked(key, done=lambda: progress.advance(task))
            out[f"attack.member.{key}.auc"] = Measured.over(one.aucs, "AUC", f"{name}; by chance 0.5")
            found = f"share of the trained at {FALSE_RATE:.0%} false"
            out[f"attack.member.{key}.found"] = Measured(round(one.found, 4), None, found, f"{name}; by chance 0.01")
    return out


def server_numbers() -> dict[str, Measured]:
    """`attack.server.<what it does>`: how often a server is refused that wants one vector, and the epsilon that it gains."""
    out: dict[str, Measured] = {}
    for key in ATTACKS:
        one = gained(key, SERVER_TRIALS)
        about = f"{one.name} ({one.reason})" if one.refused else one.name
        refused = one.refused.total() / one.tried
        out[f"attack.server.{key}.refused"] = Measured(refused, None, f"share of {one.tried}", about)
        out[f"attack.server.{key}.epsilon"] = Measured(
            round(one.measured, 3), None, f"epsilon at least, {CONFIDENCE:.1%} confidence", about
        )
    return out
