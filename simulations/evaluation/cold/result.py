"""The table of never-bought categories, as numbers."""

from __future__ import annotations

from ..result_tables import Part, Range


class ColdScores(Part):
    """One score of the rows. `ahead`: its AUC minus that of the user's own features. `recall`: of what users touch for the first time,
    the share among the highest three of their list; `recall_ahead` likewise. Intervals are over draws of users."""

    name: str
    kind: str
    auc: Range | None
    recall: Range | None
    ahead: Range | None
    recall_ahead: Range | None


class ColdTable(Part):
    """Every score; rows of so many users; `lists`: how many (user, step) had something new within the horizon."""

    steps: tuple[int, int]
    horizon_steps: int
    rows: int
    users: int
    lists: int
    base_rate: float | None
    table: list[ColdScores]
