"""A scenario about a log of one's own, with all in it that only the log can say: columns, unit of steps, first day, protocol."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

from shared.arrays import Doubles
from shared.errors import ConfigError, DataError
from shared.events import Step

from ...scenarios.config import Scenario
from ...scenarios.own_data import FileSection
from ..population import Population
from . import events
from .events import FilePeople
from .reading import Understanding, understand
from .windows import Proposal, check_length, propose_protocol


@dataclass(frozen=True)
class Resolved:
    """`scenario` is whole: nothing of it is derived from the log again. `understood`: what the log holds. `proposal`: the
    protocol with its reasons; None where the scenario says its own."""

    scenario: Scenario
    understood: Understanding
    proposal: Proposal | None


def is_resolved(scenario: Scenario) -> bool:
    """Whether a scenario needs no look at a log before it is carried out."""
    log = scenario.data.file
    return scenario.data.name != "file" or (
        scenario.protocol is not None
        and log is not None
        and log.step != "auto"
        and bool(log.first_day)
        and not draws_anew(scenario)
    )


def draws_anew(scenario: Scenario) -> bool:
    """Whether a look at the log draws its top categories behind noise: only the first one does."""
    log = scenario.data.file
    return scenario.data.name == "file" and log is not None and log.top_epsilon > 0 and not log.chosen


def resolved(scenario: Scenario) -> Resolved:
    """The scenario with what its log says. ConfigError or DataError, before anything is written, if the log cannot be read, is
    too short or too thin, or ends before the ranges of a protocol that the scenario says."""
    data = scenario.data
    found = _understood(_path_of(scenario), (data.file or FileSection()).model_dump_json(), *_stamp(_path_of(scenario)))
    if data.users > found.users:
        raise ConfigError(f"expected data.users <= {found.users}, the people of your data, got {data.users}")
    section, proposal, protocol = found.section, None, scenario.protocol
    if protocol is None:
        proposal = propose_protocol(found.rhythm, section.step)
        protocol, step, first_day = proposal.protocol, proposal.step, proposal.first_day
        if section.first_day and (given := _day(section.first_day)) != first_day:
            raise ConfigError(
                f"expected data.file.first_day with a [protocol] that counts from it, or {first_day} without, got {given}"
            )
    else:
        if section.step == "auto":
            raise ConfigError("expected data.file.step day or week beside a [protocol], which counts in it, got auto")
        step = Step(section.step)
        first_day = _day(section.first_day) if section.first_day else found.rhythm.first_day
        end = found.rhythm.first_day + timedelta(days=found.rhythm.n_days)
        if not found.rhythm.first_day <= first_day < end:
            raise ConfigError(
                f"expected data.file.first_day in {found.rhythm.first_day}..{end - timedelta(days=1)}, the days of your data, "
                f"got {first_day}"
            )
        check_length(protocol, (end - first_day).days, step)
    filled = section.model_copy(update={"step": step.value, "first_day": first_day.isoformat()})
    update = {"data": data.model_copy(update={"file": filled}), "protocol": protocol}
    return Resolved(scenario.model_copy(update=update), found, proposal)


def people_of_file(scenario: Scenario) -> Population:
    """The people of a resolved scenario's log, all or as many as it says."""
    return file_people(scenario).population


def file_people(scenario: Scenario) -> FilePeople:
    """The same with the columns of scores that the scenario names."""
    data, protocol = scenario.data, scenario.protocol
    assert data.file is not None and protocol is not None, "a resolved scenario"
    return events.people_of_file(
        _path_of(scenario),
        data.file,
        step=Step(data.file.step),
        first_day=_day(data.file.first_day),
        n_steps=protocol.n_steps,
        users=data.users or None,
        seed=data.seed,
    )


def scores_of_file(scenario: Scenario) -> dict[str, Doubles]:
    """What the columns of scores of a resolved scenario's log say, by name, (K, C, T); nothing, and no look at it, without any."""
    if scenario.data.file is None or not scenario.data.file.scores:
        return {}
    found = file_people(scenario)
    return {name: found.scores_at(name) for name in found.scores}


def _path_of(scenario: Scenario) -> Path:
    path = scenario.data.path
    if not path:
        raise ConfigError('expected data.path, where the log of data.name "file" lies, got none')
    if not Path(path).exists():
        raise DataError(f"expected a log of events, a file or a folder, got {path}, which is not there")
    return Path(path)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"expected data.file.first_day as a day such as 2026-01-05, got {text}") from None


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=4)
def _understood(path: Path, section: str, _changed_ns: int, _size: int) -> Understanding:
    """What the log holds; looked at once for the many scenarios of a search."""
    return understand(path, FileSection.model_validate_json(section))
