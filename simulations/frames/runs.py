"""A run in Python: begun here or read from its folder, and what it found as data frames."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import numpy as np

from client.detection.risk_levels import Direction
from client.detection.watch import NOT_KNOWN
from shared.errors import ConfigError

from ..decision.choice import SAVE_SHARE, Wish
from ..evaluation import results_file
from ..evaluation.alert_quality import turns_of
from ..evaluation.ground_truth import in_time
from ..evaluation.results import Results
from ..federation.observations import read_notes
from ..federation.run_folder import RunFolder
from ..people.labelled_rows import history_of
from ..people.of_scenario import open_scenario
from ..people.population import Population
from ..people.setup import Setup
from ..report.answer_words import paragraph
from ..report.summary import result_rows
from ..rivals.scores import Rival, Rule, expect_different_names
from ..run import Brought, OnProgress, evaluate_run
from ..run import simulate as carry_out
from ..scenarios.config import Scenario
from ..terminal.lines import Lines, screen
from .decided import Decided, decided
from .people import People
from .shown import shown

WAYS: Final = {Direction.FALL: "fall", Direction.RISE: "rise"}
Rivals = Mapping[str, Rule | Rival]


@dataclass(frozen=True, repr=False)
class Run:
    """A run that has ended, in its `folder`. Everything is read when it is asked for."""

    folder: Path

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the answer and its picture, the lines that the command prints, and where the report is."""
        return shown(self.results, self.report)

    @cached_property
    def results(self) -> Results:
        """All that was found, as results.json holds it."""
        return results_file.read(RunFolder(self.folder).results_file)

    @property
    def report(self) -> Path:
        """The report, a page of HTML."""
        return RunFolder(self.folder).report_file

    @property
    def answer(self) -> str:
        """What to do, and why, in a paragraph; the `answer` of `results` has its numbers."""
        return paragraph(self.results)

    @property
    def summary(self) -> list[tuple[str, str]]:
        """The lines of the report's table: what, and how much."""
        return result_rows(self.results)

    def decide(
        self,
        *,
        contacts_per_week: float | None = None,
        offer_cost: float | None = None,
        saved_value: float | None = None,
        save_share: float = SAVE_SHARE,
    ) -> Decided:
        """Where to warn, and what that is worth, as `ebbtide decide` says it: at so many warnings a week per 1,000 people, or where
        an offer of `offer_cost` is worth it that keeps `save_share` of those rightly contacted, worth `saved_value` each.
        ConfigError if it is asked for in another way, or if there is too little to choose from."""
        return decided(self.folder, Wish(contacts_per_week, offer_cost, saved_value, save_share))

    @cached_property
    def warnings(self) -> Any:
        """A DataFrame of what devices showed their users, a row each: user (a number; identifiers are not kept), category, time (when
        the step was over; missing where the data have no calendar), step, direction ("fall" or "rise"), level (the higher, the
        graver), began (the step at which the change began, as the detector estimates it; missing where it does not), and right:
        whether it was followed by a turn, missing where that is not known."""
        pandas, found, run = importlib.import_module("pandas"), self._lived, RunFolder(self.folder)
        setup, people = found
        _, alerts = read_notes(run, np.empty(0, np.int64), len(people.catalogue), people.n_steps)
        protocol, history = setup.protocol, history_of(people, setup.plan.read_features)
        right: list[Any] = [None] * len(alerts)
        first, last = protocol.alert_steps if people.truth is not None else protocol.lapse_test_steps
        for direction in Direction:
            _, truths = turns_of(people, history, setup, direction)
            judged = (alerts.direction == direction) & (alerts.step >= first) & (alerts.step <= last)
            for row, is_right in zip(np.flatnonzero(judged), in_time(alerts.where(judged), truths), strict=True):
                right[row] = bool(is_right)
        log = setup.scenario.data.file
        times = pandas.Series(pandas.NaT, index=range(len(alerts)), dtype="datetime64[s]")
        if log is not None and log.first_day:
            times = pandas.Timestamp(log.first_day).as_unit("s") + pandas.to_timedelta(
                (alerts.step + 1) * setup.step.seconds, unit="s"
            )
        names = np.array(people.catalogue.names, object)
        return pandas.DataFrame(
            {
                "user": alerts.user,
                "category": names[alerts.category],
                "time": times,
                "step": alerts.step,
                "direction": [WAYS[Direction(int(each))] for each in alerts.direction],
                "level": alerts.level,
                "began": pandas.array([None if step == NOT_KNOWN else step for step in alerts.began], dtype="Int64"),
                "right": pandas.array(right, dtype="boolean"),
            }
        )

    @cached_property
    def learning_curve(self) -> Any:
        """A DataFrame of the model after every round: round, auc."""
        rows = [each.model_dump() for each in self.results.learning_curve]
        return importlib.import_module("pandas").DataFrame(rows, columns=["round", "auc"])

    @cached_property
    def rivals(self) -> Any:
        """A DataFrame of ours and of all that it is compared with, on the same rows: question ("interest", "lapse", "take-off"),
        name, kind ("yours": your own), auc with its 95 % interval over users (low, high), and ahead: how far it is ahead of
        ours, with that difference's interval (ahead_low, ahead_high)."""
        rows: list[dict[str, Any]] = []
        for each in self.results.baselines:
            kept = each.model_dump(include={"name", "kind", "auc", "low", "high", "ahead", "ahead_low", "ahead_high"})
            rows.append({"question": "interest", **kept})
        for question, table in (("lapse", self.results.lapse), ("take-off", self.results.rises)):
            for row in table.table if table else ():
                ahead = next(iter(row.ahead.values()), None)
                rows.append(
                    {
                        "question": question,
                        **row.model_dump(include={"name", "kind", "auc", "low", "high"}),
                        "ahead": ahead and ahead.auc,
                        "ahead_low": ahead and ahead.low,
                        "ahead_high": ahead and ahead.high,
                    }
                )
        columns = ["question", "name", "kind", "auc", "low", "high", "ahead", "ahead_low", "ahead_high"]
        return importlib.import_module("pandas").DataFrame(rows, columns=columns)

    def with_rivals(self, rivals: Rivals) -> Run:
        """The same run with other rules of yours beside ours; nothing is trained again."""
        evaluate_run(self.folder, rivals_of(rivals))
        return Run(self.folder)

    @cached_property
    def _lived(self) -> tuple[Setup, Population]:
        run = RunFolder(self.folder)
        people = Population.load(run.population)
        return run.setup(run.scenario(), people), people


def simulate(
    people: People | Scenario | str = "demo",
    *,
    folder: str | Path | None = None,
    scenario: str | None = None,
    set: Mapping[str, Any] | None = None,
    rivals: Rivals | None = None,
    progress: bool | OnProgress = True,
    resume: bool = False,
    overwrite: bool = False,
) -> Run:
    """Run a whole federation on this machine and return what it found; minutes, on two cores.

    `people`: from `people`, `people_from_file` or `planted`, or a scenario's name or file. `scenario`: a .toml file or a scenario that
    comes along to carry out with these people, in place of the plan that follows from how many they are. `set`: values to
    replace, such as {"privacy.rounds": 8}. `rivals`: your own rules by name, see `rival`. `folder`: where the run is kept;
    a new temporary one without it. `progress`: lines on standard error, or a function of phase, done and total. `resume`: go on with
    a run that was cut off in `folder`, of the same people and values; `overwrite`: replace what is there.
    InputError, before anything is trained, for whatever cannot be; RunError if the federation fails.
    """
    overrides = [f"{key}={value if isinstance(value, str) else _toml(value)}" for key, value in (set or {}).items()]
    theirs = rivals_of(rivals or {})
    if resume and (folder is None or overwrite):
        raise ConfigError(
            "expected resume=True with folder= and without overwrite=: it goes on with the run that is there"
        )
    if isinstance(people, People):
        chosen, population = people.planned(overrides), people.population
        if scenario is not None:
            other = open_scenario_of(scenario, people)
            chosen, population = other.planned(overrides), other.population
    elif scenario is not None:
        raise ConfigError("expected scenario= beside people, got it beside another scenario")
    else:
        chosen = people if isinstance(people, Scenario) else open_scenario(people, overrides)
        population = None
        if isinstance(people, Scenario) and overrides:
            raise ConfigError("expected set= with people or with the name of a scenario, got it with a whole one")
    scores = people.scores if isinstance(people, People) else {}
    place = Path(folder) if folder is not None else Path(mkdtemp(prefix=f"ebbtide-{chosen.name}-"))
    with _told(progress) as on_progress:
        brought = Brought(population, scores, theirs)
        carry_out(chosen, place, on_progress, brought, resume=resume, overwrite=overwrite)
    return Run(place)


def open_scenario_of(name_or_file: str, people: People) -> People:
    """The same people under a scenario's plan: its data are these, its protocol their own where they have one."""
    from ..scenarios.config import load_scenario

    loaded = load_scenario(name_or_file)
    own = people.scenario
    changed = loaded.model_copy(
        update={"data": own.data, "protocol": own.protocol or loaded.protocol, "name": own.name}
    )
    return People(people.population, changed, people.about, whole_plan=True)


def load(folder: str | Path) -> Run:
    """A run that has ended, from its folder; ConfigError if it has not, or if none is there."""
    run = RunFolder(Path(folder))
    if not run.scenario_file.exists():
        raise ConfigError(f"expected the folder of a run, got {folder}")
    if not run.has_ended:
        raise ConfigError(f"expected a run that has ended, got {folder}: go on with it (ebbtide simulate --resume)")
    return Run(Path(folder))


def rivals_of(named: Rivals) -> list[Rival]:
    """The rules as rivals under their names."""
    found = [
        Rival(name, each.rule, each.of) if isinstance(each, Rival) else Rival(name, each)
        for name, each in named.items()
    ]
    expect_different_names([each.name for each in found])
    return found


def _toml(value: Any) -> str:
    """A value as a scenario file says it."""
    return json.dumps(value.item() if isinstance(value, np.generic) else value)


@contextmanager
def _told(progress: bool | OnProgress) -> Iterator[Callable[[str, int, int], None]]:
    if callable(progress):
        yield progress
    elif progress:
        yield Lines(screen()).tell
    else:
        yield lambda phase, done, total: None
