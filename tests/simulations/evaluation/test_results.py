"""results.json of any run is valid, says which format it is, and is refused, by name, if a key is unknown or missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from server.app import run
from server.settings import RunSettings
from shared.errors import InputError
from simulations.evaluation import results_file
from simulations.evaluation.results import FORMAT, Results
from simulations.evaluation.results_file import SCHEMA_FILE, parse, read, schema, schema_text, write
from simulations.federation.equivalence import run_devices, run_hosted, scenario_without_noise, serve_devices
from simulations.federation.in_process import LocalHost
from simulations.federation.run_folder import RESULTS_FILE, RunFolder
from simulations.federation.run_settings import run_settings
from simulations.people.of_scenario import population_of
from simulations.people.planted import plant
from simulations.people.setup import Setup
from simulations.run import evaluate_run
from simulations.scenarios.config import PLANTED_PROTOCOL, load_scenario
from tests.simulations.people.test_datasets import RETAIL_FOLDER, needs_retail
from tests.world.run_results import changed, made_up, make_results, with_everything, with_nothing_known

USERS = 12


def planted(made: Callable[..., RunSettings], fidelity: str) -> Callable[[Path], None]:
    """What runs planted people in a folder."""
    scenario = scenario_without_noise("privacy.rounds=1", f"simulation.fidelity={fidelity}", f"data.users={USERS}")
    return lambda folder: made(RunFolder(folder), plant(USERS, PLANTED_PROTOCOL.n_steps, seed=4), scenario) and None


def real(name: str, path: str = "", fidelity: str = "hosts") -> Callable[[Path], None]:
    """What runs some users of a real data set in a folder, with phi; on a host, some of them held out."""

    def go(folder: Path) -> None:
        held_out = 0.25 if fidelity == "hosts" else 0.0
        few = [
            "data.users=40",
            "privacy.rounds=1",
            "risk.rounds=1",
            "warm_start.users=40",
            f"data.held_out_share={held_out}",
        ]
        few.append(f"simulation.fidelity={fidelity}")
        chosen = load_scenario(f"{name}-eps1", [*few, "privacy.max_epsilon=inf", f"data.path={json.dumps(path)}"])
        people = population_of(chosen)
        own, setup = RunFolder(folder), Setup.of(chosen, people)
        own.prepare(setup, people)
        own.write_public(setup)
        settings = run_settings(setup, own)
        if fidelity == "hosts":
            run(LocalHost(own), settings, settings.schedule.clock())
        else:
            serve_devices(own, settings, people.n_users)

    return go


RUNS = {
    "planted devices": planted(run_devices, "devices"),
    "planted hosts": planted(run_hosted, "hosts"),
    "complete-journey": real("complete-journey"),
    "complete-journey devices": real("complete-journey", fidelity="devices"),
    "online-retail-ii": real("online-retail-ii", str(RETAIL_FOLDER)),
    "online-retail-ii devices": real("online-retail-ii", str(RETAIL_FOLDER), fidelity="devices"),
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[needs_retail] if "retail" in name else []) for name in RUNS],
)
def evaluated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Results]]:
    """A run folder that was evaluated, and what that gave."""
    folder = tmp_path_factory.mktemp("run") / "it"
    with pytest.MonkeyPatch.context() as quick:
        quick.setattr("simulations.baselines.interest_models.DNN_BATCHES", 20)
        RUNS[request.param](folder)
        yield folder, evaluate_run(folder)


@pytest.mark.slow
def test_results_of_a_run_validate_and_are_read_as_they_were_made(evaluated: tuple[Path, Results]) -> None:
    folder, results = evaluated
    file = folder / RESULTS_FILE
    assert read(file) == results
    fields = json.loads(file.read_text())
    assert fields["format"] == FORMAT and set(fields) == set(Results.model_fields)
    jsonschema.validate(fields, schema())


MADE = [make_results, with_everything, with_nothing_known]


@pytest.mark.parametrize("make", MADE)
def test_made_up_results_are_valid_too(make: Callable[[], Results]) -> None:
    jsonschema.validate(make().model_dump(mode="json"), schema())


def places(section: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every object in JSON: the way to it."""
    if isinstance(section, dict):
        yield path
        for key, value in section.items():
            yield from places(value, (*path, key))
    elif isinstance(section, list) and section:
        yield from places(section[0], (*path, 0))


#: Objects whose keys are names of a run's own: baselines, messages, codes, packages.
NAMED = {"beside", "ahead", "by_message", "dropped", "refused", "made_with"}


def closed(section: Any) -> Iterator[tuple[str | int, ...]]:
    """The ways to the objects whose keys are fixed."""
    return (path for path in places(section) if not path or (path[-1] not in NAMED and path != ("caps", "lines")))


def at(section: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        section = section[part]
    return section


def test_an_unknown_key_fails_by_name_wherever_it_is() -> None:
    whole = with_everything().model_dump(mode="json")
    validator = jsonschema.Draft202012Validator(schema())
    assert sum(1 for _ in closed(whole)) > 30
    for path in closed(whole):
        section = json.loads(json.dumps(whole))
        at(section, path)["surprise"] = 1
        with pytest.raises(InputError, match=f"unknown key {re.escape('.'.join(map(str, (*path, 'surprise'))))}$"):
            parse(json.dumps(section), RESULTS_FILE)
        assert not validator.is_valid(section)


def test_a_missing_key_fails_by_name_wherever_it_is() -> None:
    whole = with_everything().model_dump(mode="json")
    checked = 0
    validator = jsonschema.Draft202012Validator(schema())
    for path in closed(whole):
        for key in at(whole, path):
            section = json.loads(json.dumps(whole))
            del at(section, path)[key]
            if (*path, key) == ("format",):
                continue
            with pytest.raises(InputError, match=f"missing key {re.escape('.'.join(map(str, (*path, key))))}$"):
                parse(json.dumps(section), RESULTS_FILE)
            assert not validator.is_valid(section)
            checked += 1
    assert checked > 200


def test_values_of_another_type_and_infinities_fail_and_are_not_quoted() -> None:
    for path, wrong in (("devices", 8.5), ("interest.auc", "0.83186"), ("step", "month"), ("alerts.by_step.fall", 77)):
        with pytest.raises(InputError, match=f"{path}") as caught:
            changed(make_results(), {path: wrong})
        assert str(wrong) not in str(caught.value)
    with pytest.raises(InputError, match="interest.auc: input should be a finite number"):
        changed(make_results(), {"interest.auc": float("nan")})


def test_results_of_another_format_say_what_to_do() -> None:
    section = made_up()
    with pytest.raises(InputError, match="expected results of format 5 in .*, got format 6 of a later ebbtide"):
        parse(json.dumps({**section, "format": 6, "more": True}), RESULTS_FILE)
    with pytest.raises(InputError, match="expected results of format 5 in .*, got format 1: run that scenario again"):
        parse(json.dumps({**section, "format": 1}), RESULTS_FILE)
    del section["format"]
    with pytest.raises(InputError, match="of before there were formats: make them again with `ebbtide evaluate RUN`"):
        parse(json.dumps(section), RESULTS_FILE)
    for never in (0, "1", True, 1.0):
        with pytest.raises(InputError, match="format that never was"):
            parse(json.dumps({**section, "format": never}), RESULTS_FILE)


def test_what_is_no_results_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected results of a run, got no .*results.json"):
        read(tmp_path / RESULTS_FILE)
    for text in ("{", "[]", "7", '{"format": 1'):
        (tmp_path / RESULTS_FILE).write_text(text)
        with pytest.raises(InputError, match="damaged|something else"):
            read(tmp_path / RESULTS_FILE)


def test_what_is_not_valid_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / RESULTS_FILE
    write(make_results(), file)
    before = file.read_bytes()
    for wrong in ({"devices": "many"}, {"cpu": None}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            write(make_results().model_copy(update=wrong), file)
    assert file.read_bytes() == before


def test_the_committed_schema_is_the_one_of_the_code() -> None:
    again = "python -m simulations.evaluation.results_file"
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), f"make it again: {again}"
    jsonschema.Draft202012Validator.check_schema(schema())
    assert again in (results_file.__doc__ or "")
