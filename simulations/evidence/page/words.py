"""The words of the pages, in every language: sentences, titles of questions, and what English texts are in Chinese.

They lie in TOML files beside this one, both languages of a sentence under each other, so that nobody changes one and forgets the
other. What is said of a field stands under the field's key; what a run or the register says in English is put into another
language only where the very same text has a translation, and is marked as English else.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from markupsafe import Markup, escape

from shared.files import text_of

from .shown import visible

Language = Literal["en", "zh"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")
#: What HTML calls them.
TAGS: Final[Mapping[Language, str]] = {"en": "en", "zh": "zh-Hans"}
#: What stands between two texts that an answer is made of.
JOINTS: Final[Mapping[str, str]] = {": ": "：", "; answered by: ": "；由它回答："}
FOLDER: Final = Path(__file__).parent / "words"


class Term(NamedTuple):
    """What a question, or a table of them, is called, and a sentence of help."""

    title: str
    help: str


class Words:
    """All that pages say in one language."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self.tag = TAGS[language]

    def say(self, key: str, **values: object) -> str:
        """A sentence, with values put in; LookupError if it has no such sentence, or lacks a value."""
        return str(entries("sentences")[key][self.language]).format(**values)

    def has(self, key: str) -> bool:
        return key in entries("sentences")

    def term(self, kind: Literal["fields", "tables", "messages"], key: str) -> Term | None:
        """What a key is called; None for one that nobody has found words for."""
        found = entries(kind).get(key)
        return Term(*found[self.language]) if found else None

    def title(self, kind: Literal["fields", "tables", "messages"], key: str) -> Markup:
        """What a key is called, or the key itself: something new shows before anybody wrote words for it."""
        found = self.term(kind, key)
        return escape(found.title) if found else Markup('<code lang="en">{}</code>').format(visible(key))

    def part(self, key: str) -> Markup:
        """The name of a part of a value."""
        found = entries("parts").get(key)
        return escape(found[self.language]) if found else self.text(key.replace("_", " "))

    def text(self, text: str, own: bool = False) -> Markup:
        """A text from elsewhere: translated, or marked as the English that it is. `own`: an operator's, in whatever language."""
        said = visible(text)
        if self.language == "en" or own:
            return Markup('<bdi class="text">{}</bdi>').format(said)
        translated = _in_chinese(text)
        if translated:
            return Markup('<span class="text">{}</span>').format(translated)
        return Markup('<bdi class="text" lang="en">{}</bdi>').format(said)


@cache
def entries(name: str) -> Mapping[str, Any]:
    """A file of words; of several parts where there are several, as `fields` and `fields-nist` in one."""
    found: dict[str, Any] = {}
    for file in sorted(FOLDER.glob(f"{name}*.toml")):
        found |= tomllib.loads(text_of(file))
    return found


def _in_chinese(text: str) -> str | None:
    """A text in Chinese, whole, or of two known ones that are joined; None if it has no translation."""
    known = entries("texts")
    if text in known:
        return str(known[text])
    for joint, comes_between in JOINTS.items():
        for found in re.finditer(re.escape(joint), text):
            first, second = text[: found.start()], text[found.end() :]
            if first in known and (second in known or re.fullmatch(r"\w+", second)):
                return f"{known[first]}{comes_between}{known.get(second, second)}"
    return None
