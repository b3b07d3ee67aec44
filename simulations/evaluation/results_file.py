"""results.json: written and read whole, checked against `Results` each time; and its JSON schema.

python -m simulations.evaluation.results_file      writes docs/results.schema.json again
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema

from shared.errors import InputError
from shared.files import replace_content, text_of

from ..provenance import ROOT
from .results import FORMAT, Results

SCHEMA_FILE: Final = ROOT / "docs" / "results.schema.json"
SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def write(results: Results, file: Path) -> None:
    """Write `results` to `file`, whole or not at all; InputError, and nothing is written, if they are not valid."""
    text = json.dumps(results.model_dump(mode="json"), indent=1, allow_nan=False)
    parse(text, file.name)
    replace_content(file, text)


def read(file: Path) -> Results:
    """The results in `file`. InputError says what is missing or unknown, by its name, or what to do about the format."""
    try:
        text = text_of(file)
    except OSError:
        raise InputError(f"expected results of a run, got no {file}") from None
    return parse(text, str(file))


def parse(text: str, name: str) -> Results:
    """Results from JSON; `name` is what an error calls them. Values are in no message."""
    try:
        fields = json.loads(text)
    except ValueError:
        raise InputError(f"expected JSON in {name}, got a damaged file") from None
    if not isinstance(fields, dict):
        raise InputError(f"expected an object in {name}, got something else")
    _expect_format(fields, name)
    try:
        results = Results.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"{name}: {_first_problem(error)}") from None
    if left_out := _left_out(fields, results.model_dump(mode="json")):
        raise InputError(f"{name}: missing key {left_out}")
    return results


def _expect_format(fields: Mapping[str, Any], name: str) -> None:
    found = fields.get("format")
    if found is None:
        raise InputError(
            f"expected results of format {FORMAT} in {name}, got some of before there were formats: "
            "make them again with `ebbtide evaluate RUN`"
        )
    if type(found) is not int or found < 1:
        raise InputError(f"expected results of format {FORMAT} in {name}, got a format that never was")
    if found < FORMAT:
        raise InputError(f"expected results of format {FORMAT} in {name}, got format {found}: run that scenario again")
    if found > FORMAT:
        raise InputError(f"expected results of format {FORMAT} in {name}, got format {found} of a later ebbtide")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    known = {"missing": "missing key", "extra_forbidden": "unknown key", "unexpected_keyword_argument": "unknown key"}
    if (what := known.get(problem["type"])) is not None:
        return f"{what} {where}"
    return f"{where}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _left_out(given: Any, whole: Any, path: str = "") -> str | None:
    """The first key of `whole` that is not in `given`: one for which a class has a default."""
    if isinstance(whole, list):
        pairs = ((str(i), *pair) for i, pair in enumerate(zip(given, whole, strict=True)))
    elif isinstance(whole, dict):
        if missing := [key for key in whole if key not in given]:
            return f"{path}{missing[0]}"
        pairs = ((key, given[key], value) for key, value in whole.items())
    else:
        return None
    return next((found for key, a, b in pairs if (found := _left_out(a, b, f"{path}{key}."))), None)


class _EveryKey(GenerateJsonSchema):
    """A schema in which no key may be left out, whether or not a class has a default for it; keys need no titles."""

    def field_is_required(self, *args: Any, **kwargs: Any) -> bool:
        return True

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> Any:
        return self.generate_inner(schema["schema"])


def schema() -> dict[str, Any]:
    """The JSON schema of results.json."""
    found = Results.model_json_schema(schema_generator=_EveryKey)
    return {"$schema": SCHEMA_DIALECT, **found, "title": f"Ebbtide results, format {FORMAT}"}


def schema_text() -> str:
    """The schema as docs/results.schema.json holds it."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    replace_content(SCHEMA_FILE, schema_text())
