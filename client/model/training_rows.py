"""Which of its own rows a device trains on in one round, and which hidden units it drops.

Both come from Philox keyed by (seed, round, device), so that a device and a simulated host draw the same. The draw needs
no secrecy: it buys no privacy amplification, and the noise comes from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.arrays import Bools, Floats, Ints
from shared.features import FeatureSpec, History, established, extract, labels, quiet, seen, taken_up
from shared.plan import LocalTraining, Plan, RiskPlan
from shared.register.heads_plan import HeadPlan


@dataclass(frozen=True)
class Batches:
    """One device's local work: S steps of B rows. Raw behaviour: its repr shows only the shape.

    x (S, B, F), y (S, B), weight (S, B): 1 / B for a real row, 0 for padding; masks (S, B, H): 0 or 1 / keep.
    """

    x: Floats
    y: Floats
    weight: Floats
    masks: Floats

    def __repr__(self) -> str:
        return f"Batches(<raw> shape={self.x.shape})"


def generator(seed: int, round_number: int, device: int) -> np.random.Generator:
    """Philox keyed by (seed, round, device), each below 2^64."""
    key = np.array([seed, device], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, round_number], dtype=np.uint64)))


def labelled_rows(
    history: History, features: FeatureSpec, horizon_steps: int, history_steps: int
) -> tuple[Floats, Floats]:
    """x (n, F) and y (n,) of every (step, category) of the last `history_steps` steps whose label is known.

    A row is a category that the user had engaged with by then. No closed step with a known label: n = 0.
    """
    last = history.n_steps - 1 - horizon_steps
    steps = np.arange(max(0, last - history_steps + 1), last + 1)
    if last < 0:
        return np.empty((0, features.n_features), np.float32), np.empty(0, np.float32)
    chosen = seen(history, steps)
    x = extract(history, features, steps)[chosen]
    return x, labels(history, steps, horizon_steps)[chosen].astype(np.float32)


@dataclass(frozen=True)
class LapseRows:
    """Watched interests of which it is known whether a lapse followed. Raw behaviour: the repr shows only how many.

    x and x_before (n, F): features at the row's step and `rate_steps` earlier; y (n,): a lapse followed. `chosen`
    (..., S, C): where the rows come from; they are in its order.
    """

    x: Floats
    x_before: Floats
    y: Floats
    chosen: Bools

    def __repr__(self) -> str:
        return f"LapseRows(<raw> n={len(self.y)})"


#: What makes features (..., S, C, F) of a history at several lists of steps (S,), each as `extract` does.
Features = Callable[..., tuple[Floats, ...]]


def each_extracted(history: History, features: FeatureSpec, *lists: Ints) -> tuple[Floats, ...]:
    """`Features`, one list after the other."""
    return tuple(extract(history, features, steps) for steps in lists)


def lapse_rows(history: History, plan: Plan, risk: RiskPlan, features_of: Features = each_extracted) -> LapseRows:
    """The rows that phi is learned from, of a history (..., C, T) as of now: watched interests that were known for a whole
    window, so that all features say what they mean."""
    last = history.n_steps - 1 - plan.detection.lapse_steps
    steps = np.arange(max(risk.rate_steps, last - risk.history_steps + 1), last + 1)
    if not steps.size:
        nothing = np.empty((0, plan.features.n_features), np.float32)
        mask = np.zeros((*history.active.shape[:-2], 0, history.n_categories), bool)
        return LapseRows(nothing, nothing, np.empty(0, np.float32), mask)
    chosen = established(
        history,
        steps,
        window_steps=plan.features.window_steps,
        min_active=plan.detection.min_active_steps,
        lapse_steps=plan.detection.lapse_steps,
    )
    begun = steps - plan.features.window_steps
    chosen &= seen(history, np.maximum(begun, 0)) & (begun >= 0)[:, None]
    x, x_before = (at[chosen] for at in features_of(history, plan.features, steps, steps - risk.rate_steps))
    came_back = labels(history, steps, plan.detection.lapse_steps)[chosen]
    return LapseRows(x, x_before, (~came_back).astype(np.float32), chosen)


@dataclass(frozen=True)
class TurnRows:
    """Rows of one head, of which it is known what followed. Raw behaviour: the repr shows only how many.

    x (n, F): the heads' features at each row's step; `category` (n,): of what; y (n,): the turn followed. `chosen` (..., S, C): where the
    rows come from; they are in its order.
    """

    x: Floats
    category: Ints
    y: Floats
    chosen: Bools

    def __repr__(self) -> str:
        return f"TurnRows(<raw> n={len(self.y)})"


def turns_ahead(history: History, plan: Plan, steps: Ints, task: str) -> tuple[Bools, Bools]:
    """Which interests a turn, "lapse" or "takeoff", can be told ahead of at each step, and where it followed: (..., S, C) each.
    InputError unless that is known of every step."""
    ahead, width = plan.detection.lapse_steps, plan.features.window_steps
    if task == "takeoff":
        return quiet(history, steps, width), taken_up(history, steps, ahead)
    least = plan.detection.min_active_steps
    watched = established(history, steps, window_steps=width, min_active=least, lapse_steps=ahead)
    return watched, ~labels(history, steps, ahead)


def head_rows(
    history: History, plan: Plan, head: HeadPlan, task: str, features_of: Features = each_extracted
) -> TurnRows:
    """The rows that a head, of "lapse" or "takeoff", is learned from, of a history (..., C, T) as of now: watched interests, or
    quiet ones, of the last `history_steps` steps of which it is known what followed."""
    ahead, spec = plan.detection.lapse_steps, plan.read_features
    last = history.n_steps - 1 - ahead
    steps = np.arange(max(0, last - head.history_steps + 1), last + 1)
    if not steps.size:
        mask = np.zeros((*history.active.shape[:-2], 0, history.n_categories), bool)
        return TurnRows(
            np.empty((0, spec.n_features), np.float32), np.empty(0, np.int64), np.empty(0, np.float32), mask
        )
    chosen, turn = turns_ahead(history, plan, steps, task)
    x = features_of(history, spec, steps)[0][chosen]
    return TurnRows(x, np.nonzero(chosen)[-1], turn[chosen].astype(np.float32), chosen)


def draw(n_available: int, steps: int, rows: int, random: np.random.Generator) -> Ints:
    """Row numbers (S, B), -1 for padding: a fresh draw without replacement for every step, in ascending order."""
    out = np.full((steps, rows), -1, dtype=np.int64)
    if n_available <= rows:
        out[:, :n_available] = np.arange(n_available)
    else:
        for step in out:  # one at a time: what this takes does not grow with their number
            step[:] = smallest(draw_words(n_available, 1, random), rows)[0]
    return out


def draw_words(n_available: int, steps: int, random: np.random.Generator) -> NDArray[np.uint64]:
    """One random word for every row and step, uint64 (S, n): a step takes the rows with the smallest words."""
    words: NDArray[np.uint64] = random.bit_generator.random_raw(steps * n_available)
    return words.reshape(steps, n_available)


def smallest(words: NDArray[np.uint64], rows: int) -> Ints:
    """Where the `rows` smallest of each n words lie, ascending: (..., n) -> (..., rows). Equal words (once in 2^64
    pairs) leave the choice between them to numpy."""
    return np.sort(np.argpartition(words, rows - 1, axis=-1)[..., :rows], axis=-1)


def draw_masks(training: LocalTraining, n_hidden: int, random: np.random.Generator) -> Floats:
    """Dropout masks (S, B, n_hidden): 1 / keep with probability keep = 1 - dropout, else 0."""
    shape = (training.local_steps, training.rows, n_hidden)
    if not training.dropout:
        return np.ones(shape, np.float32)
    keep = 1 - training.dropout
    return (random.random(shape, dtype=np.float32) < keep).astype(np.float32) / np.float32(keep)


def batches(x: Floats, y: Floats, plan: Plan, round_number: int, device: int) -> Batches:
    """The local work of one device in one round, from its labelled rows x (n, F) and y (n,)."""
    random = generator(plan.training.seed, round_number, device)
    picks = draw(len(x), plan.training.local_steps, plan.training.rows, random)
    masks = draw_masks(plan.training, plan.network.n_hidden, random)
    real = picks >= 0
    padded_x = np.concatenate([x, np.zeros((1, x.shape[1]), np.float32)])
    padded_y = np.append(y, np.float32(0))
    weight = real.astype(np.float32) / np.float32(plan.training.rows)
    return Batches(padded_x[picks], padded_y[picks], weight, masks)
