"""Sums that train nothing: each query of the plan, at the steps at which it is due. What came of them lies in `sums.jsonl`.

A query is charged durably before anybody is asked. One that was interrupted stays charged, and is not asked again: no device
makes noise twice for one sum.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.files import append_line, whole_lines
from shared.plan import Plan, UpdateKind
from shared.register.queries import QueryPlan, due_steps

from ..federation import Federation
from ..rounds import ask_cohort
from ..run_log.log import RunLog
from ..settings import RunSettings
from ..state import ServerFolder
from ..training import Training
from .readings import reading_of


@dataclass(frozen=True)
class SumQueries:
    """The queries of a run's plan, and the step of each of their sums: round by number."""

    federation: Federation
    settings: RunSettings
    training: Training
    folder: ServerFolder

    @classmethod
    def of(
        cls, federation: Federation, settings: RunSettings, folder: ServerFolder, log: RunLog | None = None
    ) -> SumQueries:
        """With every sum counted that any process of this run charged."""
        return cls(federation, settings, Training.begin(federation, settings, folder, log=log), folder)

    @property
    def steps(self) -> list[int]:
        """The steps at which any query is due, rising."""
        return sorted({step for query in self.settings.plan.queries for step in self._due(query)})

    def _due(self, query: QueryPlan) -> list[int]:
        schedule = self.settings.schedule
        due = due_steps(schedule.train_step, schedule.last_query_step, query.every_steps)
        return list(due)[: query.privacy.rounds]

    def ask(self, step: int) -> None:
        """Ask for what is due at a step and was not asked for yet: nothing if none is."""
        plan = self.settings.plan
        for query in plan.queries:
            if step in (due := self._due(query)):
                kind = plan.kind_of(query.row.request)
                part = plan.sums.index(kind)
                number = plan.first_round(part) + due.index(step) + 1
                if not self.training.charges.has(number):
                    self._ask(query, kind, part, number, step)

    def _ask(self, query: QueryPlan, kind: UpdateKind, part: int, number: int, step: int) -> None:
        settings, training = self.settings, self.training
        training.charge(part, number)
        request = {
            "audience": settings.audience,
            "run": settings.run,
            "step": step,
            "round": number,
            "plan_sha256": settings.plan.sha256,
            "model_round": training.accountant.rounds_of(0),
        }
        mean, asked, answered = ask_cohort(training.federation, settings.plan, request, kind)
        values = None if mean is None else (mean * kind.privacy.expected_cohort).round(6).tolist()
        said = {"recipe": query.recipe, "step": step, "round": number, "asked": asked, "answered": answered}
        append_line(self.folder.sums_file, json.dumps({**said, "values": values}), durable=True)


def sums_account(file: Path, plan: Plan) -> list[dict[str, Any]]:
    """What was asked for in sums, how many answered, and what the sum says, if it could be opened, in the order in which they
    were asked for."""
    out = []
    for line in whole_lines(file):
        with suppress(ValueError):  # one that was cut off: what it cost is charged
            out.append(_read(json.loads(line), plan))
    return out


def _read(said: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    query, values = plan.query(said["recipe"]), said["values"]
    assert query is not None, "a query of the plan that the run began with"
    told = {name: said[name] for name in ("recipe", "step", "asked", "answered")}
    if values is None:
        return {**told, "noise_sd": None, "reading": None}
    privacy = query.privacy
    noise_sd = privacy.grid_step * privacy.share_sigma * math.sqrt(said["answered"])
    return {**told, "noise_sd": noise_sd, "reading": reading_of(query, np.array(values), noise_sd)}
