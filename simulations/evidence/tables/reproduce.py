"""What made this run, and how anybody checks it: commit, versions, plan, and the log that vouches for its files."""

from __future__ import annotations

from ..case import KEY, LOG, NOTE, PROJECT, RESULTS, SCENARIO, Case, code
from ..fields import Field, FieldTable, Source, missing
from ..grounds import chosen, quoted

VERIFIER, CONSTRAINTS = "simulations/evidence/verifier.py", "constraints.txt"


def reproduce_tables(case: Case) -> list[FieldTable]:
    """What ran; the log; the commands."""
    made_with = case.json_of(RESULTS)["made_with"]
    return [
        FieldTable(
            "reproduce",
            (
                quoted(case, "reproduce.commit", "/commit"),
                *(quoted(case, "reproduce.made_with", f"/made_with/{name}", row=name) for name in made_with),
                chosen(case, "reproduce.plan_sha256", "/plan/sha256"),
                chosen(case, "reproduce.fidelity", "/fidelity"),
                quoted(case, "reproduce.scenario", "/name", name=SCENARIO, state="configured"),
                _constraints(),
                *_log(case),
                *_commands(),
            ),
        )
    ]


def _constraints() -> Field:
    key = "reproduce.constraints_sha256"
    if not (PROJECT / CONSTRAINTS).is_file():
        return missing(key, f"{CONSTRAINTS} is not here: it is in a checkout")
    source = code(CONSTRAINTS)
    return Field(key, "configured", source.sha256, (source,))


def _log(case: Case) -> list[Field]:
    keys = ("reproduce.log_lines", "reproduce.log_checkpoint", "reproduce.server_key")
    if not (case.has(LOG) and case.has(NOTE) and case.has(KEY)):
        return [
            missing(key, "the server of this run kept no log: it is of a release before there was one") for key in keys
        ]
    lines, note = case.content(LOG).count(b"\n"), case.content(NOTE).decode("utf-8", "replace")
    return [
        Field(keys[0], "measured", lines, (case.file(LOG),)),
        Field(keys[1], "measured", note, (case.file(NOTE),)),
        Field(keys[2], "configured", case.content(KEY).hex(), (case.file(KEY),)),
    ]


def _commands() -> list[Field]:
    verifier = code(VERIFIER)
    return [
        Field(
            "reproduce.verify",
            "configured",
            "ebbtide verify RUN --witness FILE",
            (Source("command", "ebbtide verify RUN"),),
        ),
        Field("reproduce.verify_alone", "configured", "python verifier.py RUN", (verifier,)),
        Field(
            "reproduce.check",
            "configured",
            "ebbtide evidence RUN --check",
            (Source("command", "ebbtide evidence RUN --check"),),
        ),
    ]
