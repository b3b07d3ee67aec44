"""What a plan says of one recipe that is asked for besides training: how often, of what, and what protects its sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .bounds import MAX_PARAMETERS, MAX_STEP
from .recipes import QUERIES, RECIPES, Recipe

if TYPE_CHECKING:
    from ..plan import PrivacyPlan


@dataclass(frozen=True)
class QueryPlan:
    """One recipe of `shared/register/recipes.py`, asked for at the close of every `every_steps`-th step, `privacy.rounds` times in
    all, of every device that agreed (nobody is drawn). `numbers`: what the recipe has to be told, in the order in which its row
    names it. ConfigError for a recipe that is none, is of a later table, or is told something else."""

    recipe: str
    version: int
    every_steps: int
    numbers: tuple[int, ...]
    privacy: PrivacyPlan

    def __post_init__(self) -> None:
        known = {row.name: row for row in QUERIES}
        if self.recipe not in known or self.version != known[self.recipe].version:
            raise ConfigError(f"expected a recipe of {', '.join(known)}, of version 1, got another")
        if not 1 <= self.every_steps <= MAX_STEP:
            raise ConfigError(f"expected every_steps in 1..{MAX_STEP}, got {self.every_steps}")
        bounds = self.row.numbers
        if len(self.numbers) != len(bounds):
            raise ConfigError(f"expected {len(bounds)} numbers of {self.recipe}, got {len(self.numbers)}")
        for (name, within), value in zip(bounds.items(), self.numbers, strict=True):
            if not within.low <= value <= within.high:
                raise ConfigError(f"expected {name} in {within.low}..{within.high}, got {value}")
        if not self.n_values <= MAX_PARAMETERS:
            raise ConfigError(f"expected at most {MAX_PARAMETERS} values in a sum, got {self.n_values}")
        if self.privacy.sampling_rate != 1:
            raise ConfigError(f"expected sampling_rate 1 of {self.recipe}: nobody is drawn for it")

    @property
    def row(self) -> Recipe:
        """What the table says of it."""
        return RECIPES[self.recipe]

    def number(self, name: str) -> int:
        """What the recipe is told by this name; 0 if it is told nothing of that name."""
        return dict(zip(self.row.numbers, self.numbers, strict=True)).get(name, 0)

    def is_due(self, step: int) -> bool:
        """Whether it is asked for at a step."""
        return (step + 1) % self.every_steps == 0

    @property
    def n_values(self) -> int:
        """How many values a vector of it has."""
        length = self.row.length
        assert length is not None, "a recipe that trains nothing"
        return length(dict(zip(self.row.numbers, self.numbers, strict=True)))


def due_steps(after: int, last: int, every_steps: int) -> range:
    """The steps after one, up to a last one, that are every so many-th of the calendar."""
    first = after + 1
    return range(first + -(first + 1) % every_steps, last + 1, every_steps)


def in_order(queries: tuple[QueryPlan, ...]) -> bool:
    """Whether each recipe is there once, in the order of the table: equal plans have equal bytes, and a sum has one slot."""
    places = [[row.name for row in QUERIES].index(query.recipe) for query in queries]
    return places == sorted(set(places))
