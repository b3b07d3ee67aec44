"""What only the operator of a deployment can answer: the questions, a template of them, and answers read from a TOML file.

An answer is the operator's own word: nothing here can check it, and everything says so. What nobody answered stays missing, by
its key. Whoever shows an answer escapes it.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from shared.errors import ConfigError
from shared.files import text_of

#: Characters of a text; texts of a list; bytes of a file.
MOST_LETTERS, MOST_TEXTS, MOST_BYTES = 2000, 50, 1 << 20
Kind = Literal["text", "texts", "date", "yes or no"]
#: What stands for an answer in the template, and what each kind is in words.
_EXAMPLES: Final[Mapping[Kind, str]] = {
    "text": '"..."',
    "texts": '["...", "..."]',
    "date": "2026-01-31",
    "yes or no": "false",
}
_WORDS: Final[Mapping[Kind, str]] = {
    "text": f"a text of 1 to {MOST_LETTERS:,} characters",
    "texts": f"a list of 1 to {MOST_TEXTS} texts of 1 to {MOST_LETTERS:,} characters each",
    "date": "a date, such as 2026-01-31, without quotes",
    "yes or no": "true or false",
}
#: Characters that change in which direction a text is read, or hide in it.
_TURNING: Final = frozenset(
    "\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)


@dataclass(frozen=True)
class Question:
    """One question: what is asked, in which part of the template, what an answer is, and the choices if there are few."""

    part: str
    asks: str
    kind: Kind = "text"
    choices: tuple[str, ...] = ()

    @property
    def expects(self) -> str:
        return f"one of {', '.join(self.choices)}" if self.choices else _WORDS[self.kind]


_WHO, _WHY, _PEOPLE = "Who processes data, and for whom", "Why, and on what basis", "What people are told and can do"
_ASSESSED, _CHINA, _REGISTRY = "The assessment", "PIPL, articles 55 and 56", "The registry of deployments"
SECTORS: Final = ("Technology", "Healthcare", "Education", "Government", "Energy", "Finance")
QUESTIONS: Final[Mapping[str, Question]] = MappingProxyType(
    {
        "controller": Question(_WHO, "Who decides why and how data are processed: name, address, representative."),
        "data_protection_officer": Question(_WHO, "Your data protection officer, and how to reach them."),
        "recipients": Question(_WHO, "Everybody who gets models, rates or alerts, inside and outside.", "texts"),
        "transfers": Question(
            _WHO, "Countries that anything goes to, and the safeguards for each; or that there are none."
        ),
        "helpers": Question(_WHO, "The organisations that run the helpers of the secure sum.", "texts"),
        "enrolment_signer": Question(_WHO, "Who signs the list of devices, offline, and is not the server."),
        "purpose": Question(_WHY, "Your purposes, in the words that users read."),
        "legal_basis": Question(_WHY, "The legal basis of each purpose: GDPR 6(1), the letter, and why it holds."),
        "legitimate_interests": Question(_WHY, "Interests pursued, if that is the basis; else that it is not."),
        "necessity": Question(_WHY, "Why the purpose needs this, and why less, or another way, would not do."),
        "retention": Question(_WHY, "How long your servers keep alerts, rates, models and logs, and who deletes them."),
        "security": Question(_WHY, "Your own measures: who has access, how bytes travel (TLS), backups, keys, staff."),
        "informing": Question(_PEOPLE, "How and when users are told, and where they decide."),
        "contact": Question(_PEOPLE, "Where users ask for access, erasure, or object."),
        "consequences": Question(_PEOPLE, "What your app does with an alert, and what follows from it for a person."),
        "human_contact": Question(
            _PEOPLE, "Whom a user reaches who wants a person to look at a decision (GDPR 22(3))."
        ),
        "end_of_service": Question(_PEOPLE, "What becomes of devices, keys and models when the service ends."),
        "dpo_advice": Question(_ASSESSED, "The advice of your data protection officer (GDPR 35(2))."),
        "views_of_users": Question(_ASSESSED, "The views of users or of who speaks for them, or why not (GDPR 35(9))."),
        "prior_consultation": Question(_ASSESSED, "Whether the authority was consulted, and what it said (GDPR 36)."),
        "risk_severity": Question(_ASSESSED, "How severe each risk is for the people concerned."),
        "residual_risk": Question(_ASSESSED, "Which risks remain, and who accepts them."),
        "assessment_date": Question(
            _ASSESSED, "When this assessment was made; it is kept for three years from then.", "date"
        ),
        "review": Question(_ASSESSED, "What makes you assess anew, and when at the latest."),
        "pipl_legitimate": Question(_CHINA, "Why purpose and manner are lawful, legitimate and necessary (56 (1))."),
        "pipl_sensitive": Question(
            _CHINA, "Is sensitive personal information processed? See the categories.", "yes or no"
        ),
        "pipl_entrusts": Question(_CHINA, "Is information entrusted, provided to others, or published?", "yes or no"),
        "pipl_cross_border": Question(_CHINA, "Does information leave the country?", "yes or no"),
        "pipl_other_impact": Question(_CHINA, "Is there another major impact on people?", "yes or no"),
        "pipl_notes": Question(_CHINA, "What the four answers rest on."),
        "data_curators": Question(_REGISTRY, "Who publishes the model.", "texts"),
        "intended_use": Question(_REGISTRY, "What the model is used for."),
        "data_region": Question(_REGISTRY, "Which region the data describe, or whose law applies."),
        "data_sector": Question(_REGISTRY, "Sector.", choices=SECTORS),
        "publication_date": Question(_REGISTRY, "When the first model was published.", "date"),
        "registry_authors": Question(_REGISTRY, "Who fills the record in.", "texts"),
    }
)


def answers_in(file: Path) -> dict[str, Any]:
    """The answers in a TOML file, as JSON has them: a date as a text. ConfigError, in one line, names the key that is wrong and
    what is expected; it repeats no answer."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ConfigError(f"expected at most {MOST_BYTES:,} bytes of answers in {file}, got more")
        given = tomllib.loads(text_of(file))
    except OSError as error:
        raise ConfigError(f"expected a file with answers, got {file}: {error.strerror or error}") from None
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at .*\)$", str(error))
        raise ConfigError(
            f"expected answers in TOML in {file}, got something else {where[0] if where else ''}".rstrip()
        ) from None
    except (ValueError, RecursionError):
        raise ConfigError(f"expected answers in TOML, in UTF-8, in {file}, got something else") from None
    return checked(given, str(file))


def checked(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Answers that are what their questions expect; ConfigError for the first that is not. `where` is what the error names."""
    answers = {}
    for key, value in given.items():
        question = QUESTIONS.get(key)
        if question is None:
            known = key if re.fullmatch(r"\w{1,60}", key) else "a key of another form"
            raise ConfigError(f"{where}: unknown key {known}: --template FILE writes all that there are")
        answer = _answer(question, value)
        if answer is None:
            raise ConfigError(f"{where}: {key}: expected {question.expects}{_got(value)}")
        answers[key] = answer
    return answers


def _answer(question: Question, value: object) -> Any:
    """The answer as JSON; None if it is not what is expected."""
    match question.kind:
        case "yes or no":
            return value if isinstance(value, bool) else None
        case "date":
            if isinstance(value, date) and not isinstance(value, datetime):
                return value.isoformat()
            return None
        case "texts":
            if not isinstance(value, list) or not 1 <= len(value) <= MOST_TEXTS:
                return None
            return value if all(map(_is_text, value)) else None
    chosen = not question.choices or value in question.choices
    return value if _is_text(value) and chosen else None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MOST_LETTERS and bool(value.strip()) and not _hidden_in(value)


def _hidden_in(text: str) -> bool:
    """Whether a text holds what moves a cursor, turns the direction of reading, or is no character; line breaks are none."""
    return any(
        letter in _TURNING or (unicodedata.category(letter) in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp") and letter != "\n")
        for letter in text
    )


def _got(value: object) -> str:
    """What is wrong with a text, without a word of it."""
    texts = value if isinstance(value, list) else [value]
    for text in texts:
        if isinstance(text, str):
            if len(text) > MOST_LETTERS:
                return f", got {len(text):,}"
            if not text.strip():
                return ", got an empty one: leave the line out until there is an answer"
            if _hidden_in(text):
                return ", got control characters in it"
    return ""


def template() -> str:
    """The file to fill in: every question as a comment, and a line to take the mark off; as it is, it answers nothing."""
    lines = [
        "# What only the operator can answer. Take the # off a line and write the answer; what is left out stays missing,",
        "# and stands first on the page. Every answer is shown as your word, which nothing here can check.",
        f"# A text has at most {MOST_LETTERS:,} characters; of several lines it stands between three quotes on each side.",
    ]
    part = ""
    for key, question in QUESTIONS.items():
        if question.part != part:
            part = question.part
            lines += ["", f"# ---- {part}"]
        example = f'"{question.choices[0]}"' if question.choices else _EXAMPLES[question.kind]
        asked = textwrap.wrap(
            question.asks + (f" One of {', '.join(question.choices)}." if question.choices else ""), 110
        )
        lines += ["", *(f"# {line}" for line in asked), f"#{key} = {example}"]
    return "\n".join(lines) + "\n"
