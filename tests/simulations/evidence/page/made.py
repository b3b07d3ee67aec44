"""Tables as a run has them, of a few fields each; hostile ones; and a page as a browser reads it."""

from html.parser import HTMLParser
from typing import Any

from simulations.evidence.case import ACCOUNT
from simulations.evidence.fields import Field, FieldTable, Source, missing
from simulations.evidence.page.header import Header

EPSILON = Source("file", ACCOUNT, "ab" * 32, "/epsilon_to_public")
HEADER = Header(
    run="demo",
    simulated=True,
    verifier="ebbtide verify RUN",
    check="ebbtide evidence RUN --check",
    key="0f" * 32,
    checkpoint="ebbtide run log\n7\nAAAA\n\n— ebbtide-server BBBB\n",
    commit="0123abc",
)


def measured(key: str, value: Any, row: str = "", at: str = "/x") -> Field:
    return Field(key, "measured", value, (Source("file", ACCOUNT, "ab" * 32, at),), row)


def declared(question: str, value: Any) -> Field:
    return Field(f"operator.{question}", "declared", value, (Source("operator", question),))


def tables(epsilon: Any = 1.0, delta: float = 1e-5, times: int = 12, said: str = "") -> list[FieldTable]:
    """A small document: the account of a run, an operator who answered `said` or nothing, and a claim that is not made."""
    lines = ("update", "risk_update", "evaluation", "alert_counts", "alert_bit")
    of_operator = (
        declared("controller", said) if said else missing("operator.controller", "the operator has not answered")
    )
    return [
        FieldTable("gdpr-35-7-a", (of_operator, measured("processing.categories", 12))),
        FieldTable(
            "nist-800-226-top",
            (
                measured("privacy.epsilon_to_public", epsilon),
                measured("privacy.epsilon_to_server", epsilon),
                Field("privacy.delta", "configured", delta, (EPSILON,)),
                Field("privacy.min_survivors", "configured", 169, (EPSILON,)),
            ),
        ),
        FieldTable(
            "privacy-account", tuple(measured("account.times", times, line, f"/lines/{line}") for line in lines)
        ),
        FieldTable(
            "nist-800-226-middle",
            (missing("nist.timing", "nobody has measured it"), measured("nist.randomness", "entropy")),
        ),
        FieldTable(
            "claims-not-made",
            (measured("claim.not_made", {"claim": "it is anonymous", "why": "it is not"}, "anonymous"),),
        ),
    ]


def withdrawal() -> FieldTable:
    """What was measured of leaving."""
    moved = {"median": 0.0004, "p95": 0.002}, {"median": 0.004, "p95": 0.01}
    way = {
        "how": "pause",
        "answered_before": 1,
        "asked_after": 4,
        "answered_after": 0,
        "seconds": 0.0123,
        "said": ["refusal: paused"],
    }
    return FieldTable(
        "withdrawal",
        (
            measured("withdrawal.moved_by_one", moved[0]),
            measured("withdrawal.moved_by_noise", moved[1]),
            measured("withdrawal.silence", way, "pause"),
            measured("withdrawal.silence", {**way, "how": "forget", "seconds": 0.31}, "forget"),
        ),
    )


class Read(HTMLParser):
    """A page as a browser reads it: its text, its tags with their attributes, and that every tag is closed where it must be."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())
