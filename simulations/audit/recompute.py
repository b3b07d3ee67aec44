"""An audit worked out again from the folder of its run: whoever has that need not believe the file.

Bounds come from the counts that are written down, canaries from their seed and the sums that the server's iterates give, membership from
people and model; and a fresh look at the mechanism must not show more than is stated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from shared.errors import EbbtideError
from shared.files import text_of
from shared.plan import Plan

from ..federation.run_folder import RunFolder
from ..people.population import Population
from .audit import audit_of, broken_views, stated_of
from .mechanism import Tried, judged, trials_of, tried, views_of

#: Trials of the first view, at most, when it is looked at again.
FRESH_DRAWS: Final = 20_000


def recompute(folder: Path) -> list[str]:
    """What in the audit of a run is not what its folder gives, a line each that begins with the place in the file; and what a fresh look
    at the mechanism finds broken. Empty if all of it holds, or if the run has no audit."""
    run = RunFolder(folder)
    name = run.audit_file.name
    if not run.audit_file.exists():
        return []
    try:
        kept, population = json.loads(text_of(run.audit_file)), Population.load(run.population)
        setup = run.setup(run.scenario(), population)
        counted, seed = _counts_in(kept, setup.plan), kept["canaries"] and kept["canaries"]["seed"]
        again = audit_of(run, setup, population, counted, int(seed or 0))
    except (EbbtideError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return [f"{name}: it is damaged, or not of this run"]
    before, now = _flat(kept), _flat(json.loads(again.canonical))
    wrong = [at for at in sorted({*before, *now}) if not _same(before.get(at), now.get(at))]
    return [*(f"{name}{at}: not what the run's folder gives" for at in wrong), *_looked_at_again(setup.plan)]


def _looked_at_again(plan: Plan) -> list[str]:
    if stated_of(plan) is None:
        return []
    first = views_of(plan)[0]
    trials = min(FRESH_DRAWS, trials_of(plan)[first.key])
    return [f"mechanism, tried again: {said}" for said in broken_views([tried(first, trials, plan.privacy.delta)])]


def _counts_in(kept: Mapping[str, Any], plan: Plan) -> list[Tried]:
    """The views of an audit that was kept, judged again from their counts under this plan."""
    views = {view.key: view for view in views_of(plan, whole=True)}
    out = []
    for one in kept["mechanism"]:
        right, wrong = (np.array(one[side], np.int64) for side in ("right", "wrong"))
        out.append(judged(views[one["key"]], int(one["trials"]), right, wrong, plan.privacy.delta))
    return out


def _flat(value: Any, at: str = "") -> dict[str, Any]:
    """What a JSON value holds, by its place in it (RFC 6901, of keys that need no escape)."""
    if isinstance(value, (dict, list)) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {place: leaf for key, part in items for place, leaf in _flat(part, f"{at}/{key}").items()}
    return {at: value}


def _same(one: Any, other: Any) -> bool:
    """Equal; floats up to the last digits, which another version of a library may round elsewhere."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    return type(one) is type(other) and bool(one == other)
