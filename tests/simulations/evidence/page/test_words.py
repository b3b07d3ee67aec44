"""Every word is there in every language, and means what it stands for: keys of tables, sentences, texts of the register."""

import re
import string

import pytest

from client.vault.consent import Consent
from shared.messages import REGISTER, REQUESTS, SIGNED
from shared.register.kinds import ListOf
from simulations.evidence.case import Case
from simulations.evidence.declarations import QUESTIONS
from simulations.evidence.document import document_of
from simulations.evidence.fields import STATES
from simulations.evidence.page.layout import LIGHTS
from simulations.evidence.page.words import FOLDER, LANGUAGES, Words, entries
from tests.world.ended_run import ended_run

HAN = re.compile(r"[\u4e00-\u9fff]")
KINDS = ("fields", "tables", "messages")


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    return document_of(Case.of(ended_run(tmp_path_factory.mktemp("run") / "run").path))


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_key_of_a_document_is_without_words(document, language):
    words = Words(language)
    lacking = {a.key for a in document.answers if words.term("fields", a.key) is None}
    lacking |= {table.key for table in document.tables if words.term("tables", table.key) is None}
    assert lacking == set()


def test_no_question_of_the_operator_and_no_message_is_without_words():
    words = Words("zh")
    assert [key for key in QUESTIONS if words.term("fields", f"operator.{key}") is None] == []
    assert [name for name in REGISTER if words.term("messages", name) is None] == []
    assert [consent for consent in Consent if not words.has(f"consent_{consent.value}")] == []
    assert [state for state in STATES if not words.has(f"state_{state}_help")] == []
    assert [light for light in LIGHTS if not words.has(f"light_{light}_help")] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_title_and_help_is_there_in_both_languages(kind):
    for key, said in entries(kind).items():
        assert set(said) == set(LANGUAGES), key
        for language in LANGUAGES:
            title, help_ = said[language]
            assert title.strip() and help_.strip(), key
        assert HAN.search("".join(said["zh"])) and not HAN.search("".join(said["en"])), key


@pytest.mark.parametrize("name", ["sentences", "parts"])
def test_every_sentence_is_there_in_both_languages_with_the_same_gaps(name):
    def gaps(text: str) -> set[str]:
        return {gap for _, gap, _, _ in string.Formatter().parse(text) if gap}

    for key, said in entries(name).items():
        assert set(said) == set(LANGUAGES), key
        assert all(said[language] for language in LANGUAGES), key
        assert gaps(said["en"]) == gaps(said["zh"]), key
        assert not HAN.search(said["en"]), key
        assert HAN.search(said["zh"]) or not re.search(r"[a-z]{3}", re.sub(r"\{\w+\}", "", said["zh"])), key


def test_no_number_is_typed_into_what_users_read():
    """But those of the bet itself, which are no facts of a run, and names of laws."""
    typed = set()
    for file in FOLDER.glob("sentences*.toml"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if " = " in line:
                key, said = line.split(" = ", 1)
                typed |= {(key, n) for n in re.findall(r"\d+", re.sub(r"\{\w+\}", "", said))}
    assert {number for _, number in typed} <= {"500", "1", "000", "1000"}
    assert {key.rpartition(".")[0] for key, _ in typed} <= {
        "sure_bet", "sure_bet_all", "sure_nearer", "sure_server", "sure_odds", "sure_odds_pure", "guessing", "always_right",
    }  # fmt: skip


def texts_of_the_register() -> set[str]:
    found = set()

    def take(fields) -> None:
        for field in fields.values():
            found.update((field.sensitivity, field.purpose))
            if isinstance(field.type, ListOf):
                take(field.type.fields)

    for kind in (*REGISTER.values(), *REQUESTS.values(), *SIGNED.values()):
        found.update((kind.purpose, kind.cost, kind.spends.value, kind.condition))
        take(kind.fields)
    return found - {""}


def test_every_text_of_the_register_is_known_in_chinese():
    assert sorted(texts_of_the_register() - set(entries("texts"))) == []


def test_a_text_of_the_register_that_changed_is_translated_no_more():
    """Translations go by the very text; one that is left over translates nothing."""
    of_register = {key for key in entries("texts-register")}
    assert sorted(of_register - texts_of_the_register()) == []


def test_a_text_without_a_translation_is_marked_as_english():
    words = Words("zh")
    assert words.text("a purpose of tomorrow") == '<bdi class="text" lang="en">a purpose of tomorrow</bdi>'
    assert 'lang="en"' not in words.text("one seat's share of a sum")
    assert words.text("every decision of the user, dated: what may leave, and whether at all") == (
        '<span class="text">用户的每项决定，注明日期：什么可以离开，以及是否允许离开</span>'
    )
    assert (
        words.text("ask for one update; answered by: update")
        == '<span class="text">请求一次更新；由它回答：update</span>'
    )
    assert 'lang="en"' in words.text("ask for one update: and what nobody knows yet")
    assert 'lang="en"' not in words.text("Acme", own=True)
    assert words.title("fields", "new.key") == '<code lang="en">new.key</code>'
    assert words.part("new_part") == '<bdi class="text" lang="en">new part</bdi>'
