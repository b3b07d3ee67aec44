"""Pages say what the answers say, to anybody, without loading or running anything; nothing that is told in them gets out of its cell."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.evidence.case import ACCOUNT
from simulations.evidence.fields import Field, FieldTable, Source, missing
from simulations.evidence.grounds import INFINITE
from simulations.evidence.page.layout import blanks, groups_of, light_of
from simulations.evidence.page.pages import evidence_page, label, plain_page
from simulations.evidence.page.shown import number, visible
from simulations.evidence.page.words import LANGUAGES, TAGS, Words
from tests.simulations.evidence.page.made import HEADER, Read, measured, tables, withdrawal
from tests.world.basics import examples

PAGES = {"evidence": evidence_page, "plain": plain_page, "label": label}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><style>*{display:none}",
    "{{ 7 * 7 }} {% raw %} {run} {0}",
    "paid \u202eyldednetni\u202c \u2066x\u2069 \u200f",
    "a\x00b\x1b[2J\ud800",
    "&lt;b&gt; &amp;",
    "javascript:alert(1)",
    "https://example.org/tracker.png",
]


@pytest.fixture(params=[(page, language) for page in PAGES for language in LANGUAGES], ids="-".join)
def page_of(request):
    page, language = request.param
    return language, lambda *arguments, **more: PAGES[page](HEADER, tables(*arguments, **more), language)


def test_a_page_loads_nothing_runs_nothing_and_names_its_language(page_of):
    language, page = page_of
    read = Read(page())
    tags = [tag for tag, _ in read.tags]
    assert not set(tags) & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio", "video"}
    assert ("html", {"lang": TAGS[language]}) in read.tags
    for _, attributes in read.tags:
        assert not {name for name in attributes if name.startswith("on")}
        for name in ("href", "src", "action", "data", "poster", "srcset"):
            assert re.fullmatch(r"#[\w.-]+|\.\./[\w./-]+", attributes.get(name) or "#x")
    assert "url(" not in page() and "@import" not in page() and "http" not in read.text
    policy = next(
        a["content"] for t, a in read.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_headings_are_in_order_tables_have_heads_and_names_are_one_each(page_of):
    read = Read(page_of[1]())
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all("scope" in attributes for tag, attributes in read.tags if tag == "th")
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {a.get("aria-labelledby") for _, a in read.tags} | {
        (a.get("href") or "").removeprefix("#") for _, a in read.tags
    }
    assert {name for name in named if name and "/" not in name} <= set(ids)
    assert sum(tag == "title" for tag, _ in read.tags) == 1


@pytest.mark.parametrize("said", HOSTILE)
def test_what_an_operator_says_stays_what_they_said(page_of, said):
    plain, hostile = Read(page_of[1](said="Acme")), page_of[1](said=said)
    read = Read(hostile)
    assert [tag for tag, _ in read.tags] == [tag for tag, _ in plain.tags]
    assert [a for _, a in read.tags] == [a for _, a in plain.tags]
    assert " ".join(visible(said).split()) in read.text
    assert not set(hostile) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\x00\x1b")
    hostile.encode()


@given(said=st.text(min_size=1).filter(str.strip))
@examples(50)
def test_any_text_at_all_stays_text(said):
    page = evidence_page(HEADER, tables(said=said), "en")
    assert [tag for tag, _ in Read(page).tags] == [
        tag for tag, _ in Read(evidence_page(HEADER, tables(said="x"), "en")).tags
    ]
    page.encode()


def test_hostile_keys_rows_sources_and_whys_are_text_too():
    evil = '"><script>x</script>\u202e'
    table = FieldTable(
        "t",
        (
            Field(
                evil,
                "measured",
                {evil: [evil, {evil: evil}]},
                (Source("file", f"a/{evil}", evil, evil), Source("test", evil)),
                evil,
            ),
            missing(evil, evil, "other"),
            missing(f"operator.{evil}", evil),
        ),
    )
    for language in LANGUAGES:
        page = evidence_page(HEADER, [table], language)
        assert "<script" not in page and "\u202e" not in page
        assert not [a for _, a in Read(page).tags if any(n.startswith("on") for n in a)]


def test_first_comes_what_this_is_then_what_the_operator_owes_then_lights_then_answers(page_of):
    page = evidence_page(HEADER, tables(), page_of[0])
    order = [
        'class="badge"',
        'class="counts"',
        'id="blanks"',
        'id="lights"',
        'id="answers"',
        'id="claims"',
        'id="check"',
        'id="sources"',
    ]
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    assert page.index('id="t-claims-not-made"') > page.index('id="claims"')


def test_every_answer_has_its_ground_and_leads_to_its_sources():
    made = tables(said="Acme")
    read = Read(evidence_page(HEADER, made, "en"))
    fields = [field for table in made for field in table.fields]
    for state in ("measured", "configured", "declared", "missing"):
        n = sum(field.state == state for field in fields)
        in_rows = [a for t, a in read.tags if t == "span" and a.get("class") == f"state {state}"]
        assert len(in_rows) == n + 1  # and once in the counts at the top
    cited = {a["href"] for t, a in read.tags if t == "a" and (a.get("href") or "").startswith("#s")}
    assert cited == {"#s1", "#s2"} and "ab" * 32 in read.text
    assert ("a", {"href": f"../{ACCOUNT}"}) in read.tags


def test_made_up_people_and_a_log_that_is_replayed_are_each_called_that(page_of):
    words = Words(page_of[0])
    made_up, replayed = (words.say(f"{what}_badge") for what in ("simulation", "replay"))
    for make in PAGES.values():
        simulated, real = (
            Read(make(replace(HEADER, simulated=which), tables(), page_of[0])).text for which in (True, False)
        )
        assert made_up in simulated and made_up not in real
        assert replayed in real and replayed not in simulated


def test_lights_say_whose_turn_it_is():
    answered, operator, open_ = (
        measured("a", 1),
        missing("operator.b", "not answered"),
        missing("c", "nobody measured it"),
    )
    assert light_of(FieldTable("t", (answered,))) == "answered"
    assert light_of(FieldTable("t", (answered, operator))) == "operator"
    assert light_of(FieldTable("t", (answered, operator, open_))) == "open"
    assert light_of(FieldTable("t", (measured("control", {"result": "failed", "failed": 1}, "r"),))) == "open"
    assert light_of(FieldTable("t", (measured("control", {"result": "passed", "failed": 0}, "r"),))) == "answered"


def test_neighbours_about_one_thing_stand_together_and_no_field_is_lost():
    fields = (
        measured("a.x", 1, "one"), measured("a.y", 2, "one"), measured("b", 1, "p"), measured("b", 2, "q"), measured("c", 3),
        measured("d", 4, "r"),
    )  # fmt: skip
    groups = list(groups_of(fields))
    assert [len(group.fields) for group in groups] == [2, 2, 1, 1]
    assert [(group.row, group.key) for group in groups] == [("one", ""), ("", "b"), ("", "c"), ("", "d")]
    assert tuple(field for group in groups for field in group.fields) == fields


def test_blanks_are_told_once_each():
    one = missing("operator.controller", "not answered")
    assert blanks([FieldTable("a", (one,)), FieldTable("b", (one, missing("c", "why")))]) == [one]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("epsilon", "right", "factor"), [(1.0, "732", "2.8"), (6.331064665112756, "999", "562"), (0.2, "550", "1.3")]
)
def test_users_read_the_run_s_own_epsilon_as_odds(language, epsilon, right, factor):
    for make in (plain_page, label):
        text = Read(make(HEADER, tables(epsilon), language)).text
        assert right in text and factor in text and "100 000" in text and number(epsilon) in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_noise_users_read_that_nothing_is_promised(language):
    for make in (plain_page, label):
        endless, unknown = (Read(make(HEADER, tables(e), language)).text for e in (INFINITE, "x"))
        assert "732" not in endless and endless == unknown
        nobody = Read(make(HEADER, [], language)).text
        assert nobody != endless and "None" not in nobody


@pytest.mark.parametrize("language", LANGUAGES)
def test_users_read_how_leaving_was_measured_or_that_it_was_not(language):
    for make in (plain_page, label):
        said = Read(make(HEADER, [*tables(), withdrawal()], language)).text
        assert all(number in said for number in ("0.0004", "0.004", "0.31", "8"))
        assert "0.31" not in Read(make(HEADER, tables(), language)).text


def test_what_a_plan_does_not_ask_for_does_not_stand_on_its_label():
    asked, silent = (Read(label(HEADER, tables(times=times), "en")).text for times in (12, 0))
    assert "Your part in a training round" in asked and "Your part in a training round" not in silent
    assert "The alerts themselves" in asked and "The alerts themselves" in silent


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (12345, "12\u202f345"),
        (-3, "−3"),
        (0.5, "0.5"),
        (1e-5, "0.00001"),
        (1e-12, "1e-12"),
        (2.0, "2"),
        (1e30, "1e+30"),
        (-0.25, "−0.25"),
        (0.0004, "0.0004"),
    ],
)
def test_numbers_as_people_write_them(value, written):
    assert number(value) == written
