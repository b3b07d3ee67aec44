"""What withdrawing from a run comes to: `withdrawal.json` in its folder, measured once and measured again by who checks it.

    {"format", "seed", "rounds", "influence": {...} or null, "joined": {kind: {"planned", "median"}}, "opt_out": [...]}

Aggregates alone: who was left out follows from the seed and the run's people, and stands nowhere; of devices there are medians. Of
real people's logs the influence is a figure of their data that no epsilon covers, as any quality that a simulation measures.

    python -m simulations.evidence.withdrawal RUN
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from shared.arrays import Ints
from shared.errors import ConfigError, EbbtideError
from shared.files import replace_content

from ..federation.run_folder import RunFolder
from ..folder_lock import locked
from ..people.population import Population
from ..terminal.ending import end_with
from .case import ACCOUNT, WITHDRAWAL, value_at
from .withdrawing.joined import rounds_joined
from .withdrawing.left_out import Influence, Moved, influence
from .withdrawing.opt_out import silences

FORMAT: Final = 1
SEED: Final = 0
#: Whose journals are read: of so many.
JOURNALS: Final = 50
#: Figures of a change of p.
DIGITS: Final = 3
#: How many standard errors, by the spread of the pairs that were drawn anew, the logarithm of the noise's change may lie from that of the
#: one that is written down (of Student's t with five degrees of freedom, one in two thousand lies further); and the least of one.
_SPREAD, _LEAST_ERROR = 8.0, 0.02
OnTraining = Callable[[int, int], None]


def measure(run: RunFolder, seed: int = SEED, done: OnTraining = lambda *_: None) -> dict[str, Any]:
    """What `withdrawal.json` holds of a run that has ended; ConfigError if none has. `done` is told how many trainings are over, of
    how many."""
    scenario = run.begun_scenario()
    if scenario is None or not run.has_account:
        raise ConfigError(f"expected the folder of a run that has ended, got {run.path}")
    people = Population.load(run.population)
    setup, rounds = run.setup(scenario, people), _rounds_of(run)
    found = influence(people, scenario, rounds, seed, done) if rounds else None
    joined = rounds_joined(run, setup.plan, _looked_at(people.n_users, seed))
    planned = {kind.reply: kind.privacy.rounds for kind in setup.plan.sums}
    return {
        "format": FORMAT,
        "seed": seed,
        "rounds": rounds,
        "influence": None if found is None else _figures(found),
        "joined": {kind: {"planned": planned[kind], "median": median} for kind, median in joined.items()},
        "opt_out": [{**asdict(one), "seconds": _rounded(one.seconds)} for one in silences(scenario, people)],
    }


def write(run: RunFolder, seed: int = SEED, done: OnTraining = lambda *_: None) -> Path:
    """Measure, and leave the file in the run's folder, whose log vouches for it; what was there is replaced.
    Who calls holds the folder's lock."""
    file = run.path / WITHDRAWAL
    replace_content(file, canonical(measure(run, seed, done)))
    run.vouch()
    return file


def recompute(folder: Path) -> list[str]:
    """What of `withdrawal.json` does not come out again from a run's folder, a line each; empty if all does, or if there is no such
    file. What chance has no part in is compared figure by figure; of the noise, that both medians lie as near to each other
    as its pairs of draws let them; of seconds, that they are some."""
    file = folder / WITHDRAWAL
    if not file.is_file():
        return []
    try:
        data = file.read_bytes()
        told = json.loads(data)
        seed = told["seed"]
        if canonical(told) != data or type(seed) is not int or not 0 <= seed < 1 << 63:
            return [f"{WITHDRAWAL} is not in its one spelling"]
    except (OSError, ValueError, LookupError, TypeError):
        return [f"{WITHDRAWAL} is damaged"]
    try:
        again = json.loads(canonical(measure(RunFolder(folder), seed)))
    except EbbtideError as error:
        return [f"{WITHDRAWAL} cannot be measured again: {error}"]
    found = [f"{WITHDRAWAL}{at} says {one}, and comes out as {other}" for at, one, other in _differing(told, again)]
    return found or _unlikely(told["influence"], again["influence"])


def canonical(document: Mapping[str, Any]) -> bytes:
    """A document in its one spelling, as the log's leaves are."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _rounds_of(run: RunFolder) -> int:
    """How many rounds of p a run charged."""
    account = json.loads((run.path / ACCOUNT).read_bytes())
    return int(value_at(account, "/rounds_charged"))


def _looked_at(n_users: int, seed: int) -> Ints:
    """Whose journals are read; held-out users' devices answer as all do."""
    return np.random.Generator(np.random.Philox(key=[seed, 0x1EFA])).permutation(n_users)[:JOURNALS].astype(np.int64)


def _figures(found: Influence) -> dict[str, Any]:
    def of(moved: Moved) -> dict[str, float]:
        return {"median": _rounded(moved.median), "p95": _rounded(moved.p95)}

    return {
        "people": found.people,
        "rows": found.rows,
        "without_one": of(found.without_one),
        "noise": {**of(found.noise), "pairs": [of(one) for one in found.pairs]},
    }


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _differing(told: Any, again: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two documents differ in what must be alike."""
    if at == "/influence/noise":
        if not _is_noise(told, again):
            yield at, told, again
    elif at.startswith("/opt_out/") and at.endswith("/seconds"):
        if not (isinstance(told, float) and 0 <= told < math.inf):
            yield at, told, again
    elif isinstance(told, dict) and isinstance(again, dict) and told.keys() == again.keys():
        for key in told:
            yield from _differing(told[key], again[key], f"{at}/{key}")
    elif isinstance(told, list) and isinstance(again, list) and len(told) == len(again):
        for number, (one, other) in enumerate(zip(told, again, strict=True)):
            yield from _differing(one, other, f"{at}/{number}")
    elif type(told) is not type(again) or told != again:
        yield at, told, again


def _is_noise(told: Any, again: Any) -> bool:
    """Whether one is of the other's form, of changes that a probability can have."""

    def of_form(one: Any, like: Any) -> bool:
        if isinstance(like, dict):
            return isinstance(one, dict) and one.keys() == like.keys() and all(of_form(one[k], like[k]) for k in like)
        if isinstance(like, list):
            return isinstance(one, list) and len(one) == len(like) and all(map(of_form, one, like))
        return isinstance(one, float) and 0 <= one <= 1

    return of_form(told, again)


def _unlikely(told: Any, again: Any) -> list[str]:
    """Of the noise, what lies further apart than chance lets it: in each file, and between both."""
    if told is None:
        return []
    out = []
    for name in ("median", "p95"):
        pairs = [np.array([pair[name] for pair in one["noise"]["pairs"]]) for one in (told, again)]
        whole = [one["noise"][name] for one in (told, again)]
        where = f"{WITHDRAWAL}/influence/noise/{name}"
        if not (pairs[0].min() <= whole[0] <= pairs[0].max()):
            out.append(f"{where} says {whole[0]}, and its pairs of draws lie all on one side of that")
        elif not all((values > 0).all() for values in pairs):
            if any((values > 0).any() for values in pairs):
                out.append(f"{where} says {whole[0]}, and comes out as {whole[1]}")
        else:
            logs = [np.log(values) for values in pairs]
            error = math.sqrt(2 * float(logs[1].var(ddof=1)) / len(logs[1])) + _LEAST_ERROR
            if abs(float(logs[0].mean() - logs[1].mean())) > _SPREAD * error:
                out.append(f"{where} says {whole[0]}, and comes out as {whole[1]}: further away than chance has it")
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run that has ended")
    chosen = parser.parse_args(arguments)
    with locked(chosen.run):
        print(write(RunFolder(chosen.run)))


if __name__ == "__main__":
    end_with(main)
