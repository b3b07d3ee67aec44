"""Rules and models that the reader of a run brought along, to stand beside ours on the same rows.

A rival is a function of the past: it is called once for every step that is judged, with counters that end with that step, copied,
so that there is no future to look at. Or it is a table of scores that its owner computed elsewhere, of which the last one up to a
step counts.
"""

from __future__ import annotations

import traceback
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np

from shared.arrays import Doubles, Floats, Ints, as_declared, hold_declared
from shared.errors import InputError
from shared.features import History as History

from ..scenarios.config import ProtocolSection

#: Their kind in tables.
YOURS: Final = "yours"
#: What a score says: the higher, the sooner the user leaves; or the higher, the sooner they come back.
Meaning = Literal["leaving", "interest"]
MEANINGS: Final[tuple[Meaning, ...]] = ("leaving", "interest")
#: How the name of a column begins whose scores are of leaving.
LEAVING: Final = "leaving"
Rule = Callable[[History], Any]
#: A rule is tried on so many users first.
TRIED_USERS: Final = 8
LONGEST_NAME: Final = 60


@dataclass(frozen=True)
class Rival:
    """A rule by name. `rule` gets a `History` of counters `active`, `count` and `amount`, each (K, C, t + 1): K users, C
    categories, the steps up to the one that is judged. It returns a score for each user and category, (K, C), of which `of`
    says what it means. One of `interest` whose scores all lie in 0..1 is taken for a probability of coming back within the
    horizon, too."""

    name: str
    rule: Rule
    of: Meaning = "leaving"

    def __post_init__(self) -> None:
        _expect_name(self.name)
        if not callable(self.rule):
            raise InputError(f"expected a function as rival {self.name!r}, got {type(self.rule).__name__}")
        if self.of not in MEANINGS:
            raise InputError(f"expected {' or '.join(MEANINGS)} as what rival {self.name!r} scores, got {self.of!r}")


def rival(rule: Rule, *, of: Meaning = "leaving", name: str | None = None) -> Rival:
    """A rule of one's own to stand beside ours, under the function's name unless another is given."""
    return Rival(name or str(getattr(rule, "__name__", type(rule).__name__)), rule, of)


@dataclass(frozen=True)
class TheirScores:
    """What one rival says: (K, S, C) of consecutive steps from `first_step`; NaN where it has no word yet."""

    name: str
    of: Meaning
    first_step: int
    scores: Floats

    def __post_init__(self) -> None:
        _expect_name(self.name)
        hold_declared(self)

    @property
    def is_probability(self) -> bool:
        """Whether it can be read as that of coming back within the horizon."""
        said = self.scores[~np.isnan(self.scores)]
        return self.of == "interest" and bool(((said >= 0) & (said <= 1)).all())

    @property
    def label(self) -> str:
        """What its rows are called: never as one of ours."""
        return f"{YOURS}: {self.name}"

    @as_declared
    def of_users(self, users: Ints) -> TheirScores:
        """What it says of some users (n,), who are numbered from 0 then."""
        return replace(self, scores=self.scores[users])

    @as_declared
    def at(self, user: Ints, step: Ints, category: Ints) -> Floats:
        """Its scores (n,) at these places. InputError if it has no word on one, or does not go as far."""
        position = step - self.first_step
        if position.size and not 0 <= position.min() <= position.max() < self.scores.shape[1]:
            last = self.first_step + self.scores.shape[1] - 1
            raise InputError(
                f"expected scores of {self.name!r} at steps {step.min()}..{step.max()}, got {self.first_step}..{last}"
            )
        found: Floats = self.scores[user, position, category]
        if missing := int((~np.isfinite(found)).sum()):
            raise InputError(
                f"expected a score of {self.name!r} on every row that is judged, got none on {missing} of {len(found)}"
            )
        return found


def judged_steps(protocol: ProtocolSection) -> tuple[int, int]:
    """The first and the last step at which anything is judged."""
    first, last = protocol.lapse_test_steps
    return min(protocol.test_steps[0], first), max(protocol.test_steps[1], last)


def scores_of(rival: Rival, history: History, steps: tuple[int, int]) -> TheirScores:
    """What a rule says at the close of steps first..last on a history (K, C, T), of which each call sees the steps up to its own.
    It is tried on a few users first. InputError, in one line without anything of the data, if it fails, or returns anything
    but finite numbers for each user and category."""
    first, last = steps
    if not 0 <= first <= last < history.n_steps:
        raise InputError(f"expected steps within 0..{history.n_steps - 1}, got {first}..{last}")
    _called(rival, history[:TRIED_USERS], first)
    return TheirScores(
        rival.name,
        rival.of,
        first,
        np.stack([_called(rival, history, step) for step in range(first, last + 1)], axis=1),
    )


@as_declared
def of_column(name: str, said: Doubles, history: History, steps: tuple[int, int]) -> Rival:
    """A column of scores that a log came with as a rival: `said` (K, C, T), the last value that a pair's events gave by each step.
    A column is one of interest, unless its name begins with LEAVING. InputError if a pair whose first event was by a step of
    first..last has no value yet."""
    known = np.logical_or.accumulate(history.active, axis=-1)
    places = slice(steps[0], steps[1] + 1)
    if missing := int((known & ~np.isfinite(said))[..., places].any(axis=-1).sum()):
        raise InputError(
            f"expected scores {name!r} from the first event of each user in a category on, got none at first in {missing} of "
            f"{int(known[..., -1].sum())} pairs"
        )
    filled = np.where(np.isfinite(said), said, 0.0)  # where nothing has happened yet, and nothing is judged
    of: Meaning = "leaving" if name.lower().startswith(LEAVING) else "interest"
    return Rival(name, lambda past: filled[: len(past.active), :, past.n_steps - 1], of)


def _called(rival: Rival, history: History, step: int) -> Floats:
    """The rule's scores (K, C) at one step, from a copy of what is known by then."""
    past = history.until(step)
    past = History(past.active.copy(), past.count.copy(), past.amount.copy())
    shape = past.active.shape[:-1]
    try:
        found = rival.rule(past)
    except Exception as error:
        place = _place_of(error)
        raise InputError(
            f"rival {rival.name!r} ended with {type(error).__name__}{place} at step {step}: "
            f"expected scores of {shape[0]} users and {shape[1]} categories"
        ) from None
    try:
        scores = np.asarray(found)
    except Exception:
        scores = np.empty(0, object)
    if scores.dtype.kind not in "bifu":
        raise InputError(f"expected numbers from rival {rival.name!r}, got an array of {scores.dtype}")
    if scores.shape != shape:
        raise InputError(
            f"expected scores of shape {shape} from rival {rival.name!r}, one for each user and category, got {scores.shape}"
        )
    with np.errstate(over="ignore"):
        scores = scores.astype(np.float32)
    if bad := int((~np.isfinite(scores)).sum()):
        raise InputError(f"expected finite scores from rival {rival.name!r}, got {bad} that are not, at step {step}")
    return cast(Floats, scores)


def _place_of(error: Exception) -> str:
    """Where in the rule's own code it failed, as far as that is known."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    return f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _expect_name(name: str) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise InputError(f"expected a rival's name of 1 to {LONGEST_NAME} letters in one line, got {name!r}")


def save(found: Sequence[TheirScores], file: Any) -> None:
    """Write what rivals said into an open file."""
    arrays: dict[str, Any] = {f"scores_{i}": each.scores for i, each in enumerate(found)}
    about = [(each.name, each.of, str(each.first_step)) for each in found]
    np.savez_compressed(file, allow_pickle=False, about=np.array(about, np.str_).reshape(-1, 3), **arrays)


def read(file: Path) -> list[TheirScores]:
    """What `save` wrote; nothing without a file."""
    if not file.exists():
        return []
    try:
        with np.load(file, allow_pickle=False) as arrays:
            about = [(str(name), cast(Meaning, str(of)), int(first)) for name, of, first in arrays["about"]]
            return [TheirScores(*each, arrays[f"scores_{i}"]) for i, each in enumerate(about)]
    except (ValueError, LookupError, OSError, EOFError, zipfile.BadZipFile):
        raise InputError(f"expected scores of rivals in {file}: it is damaged") from None


def expect_different_names(names: Sequence[str]) -> None:
    """InputError if a name stands twice."""
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InputError(f"expected a name of its own for rival {name!r}: give it one, as in NAME=FILE.py:FUNCTION")
