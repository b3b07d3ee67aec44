"""Made-up logs in three public schemas, and in forms that people have: every line is accounted for, as counted by hand."""

from __future__ import annotations

import codecs
import gzip
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.privacy.accounting import epsilon_unamplified
from shared.errors import ConfigError, DataError
from shared.events import Step
from shared.plan import MAX_SHARE_SIGMA
from simulations.people.datasets import RETAIL_CATEGORIES
from simulations.people.own_data.account import Reason
from simulations.people.own_data.events import people_of_file
from simulations.people.own_data.reading import Understanding, understand
from simulations.people.private_choice import DELTA, MOST_VOTES, choice_charge, top_of_noise
from simulations.scenarios.own_data import FileSection
from tests.world.basics import examples

pytest.importorskip("duckdb", reason="needs the extra ebbtide[simulations]")


RETAIL_NAMES = {line.split(",")[1] for line in RETAIL_CATEGORIES.read_text(encoding="utf-8-sig").splitlines()[1:]}


def dropped(found: Understanding) -> dict[Reason, tuple[int, str]]:
    account = found.account
    assert account.read == account.kept + sum(each.lines for each in account.dropped)
    return {each.reason: (each.lines, each.first) for each in account.dropped}


def write(folder: Path, name: str, *lines: str) -> Path:
    (file := folder / name).write_text("".join(f"{line}\n" for line in lines))
    return file


def test_retailrocket(tmp_path: Path) -> None:
    day_ms = 86_400_000
    start = 1_433_116_800_000  # 2015-06-01
    file = write(
        tmp_path, "events.csv",
        "timestamp,visitorid,event,itemid,transactionid",
        *(f"{start + n * day_ms},{n % 2},view,{100 + n % 3}," for n in range(10)),  # lines 2 to 11
        f"{start},5,addtocart,100,",  # 12
        f"{start},5,transaction,100,9",  # 13
        f"{start},5,transaction,100,9",  # 14: twice
        f"{start},,view,100,",  # 15: nobody's
        ",5,view,100,",  # 16
        "soon,5,view,100,",  # 17
        f"{start},5,wink,100,",  # 18
        f"{start},5,view",  # 19: too few values
        f"{start},5,view,100,,,more",  # 20: too many
        "-5,5,view,100,",  # 21: before 1970
        *(f"{start + second * 1000},66,view,100," for second in range(2001)),  # 22 to 2022: no person
    )  # fmt: skip
    found = understand(file)
    assert found.section.preset == "retailrocket" and found.section.time_unit == "ms"
    assert found.account.read == 2021
    assert dropped(found) == {
        Reason.MALFORMED: (2, "line 19"),
        Reason.NO_USER: (1, "line 15"),
        Reason.NO_TIME: (1, "line 16"),
        Reason.UNREADABLE_TIME: (1, "line 17"),
        Reason.UNKNOWN_EVENT: (1, "line 18"),
        Reason.FAR_TIME: (1, "line 21"),
        Reason.DUPLICATE: (1, "line 14"),
        Reason.BOT: (2001, "line 22"),
    }
    assert found.account.kept == 12 and found.users == 3
    assert {(each.name, each.kind) for each in found.events} == {
        ("view", "view"), ("addtocart", "cart"), ("transaction", "purchase"), ("wink", ""),
    }  # fmt: skip
    assert any("wink" in warning for warning in found.warnings)
    assert (found.first, found.last) == (datetime(2015, 6, 1), datetime(2015, 6, 10))
    assert (found.rhythm.n_days, found.rhythm.first_day) == (10, date(2015, 6, 1))


def test_rees46_with_two_fifths_of_categories_missing(tmp_path: Path) -> None:
    codes = ("electronics.phone", "", "home.lamp", "", "home.lamp")
    file = write(
        tmp_path, "2019-Oct.csv",
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session",
        *(f"2019-10-{n % 30 + 1:02} 0{n % 10}:00:00 UTC,view,{n},7,{codes[n % 5]},b,{n}.50,{n % 7},s{n}" for n in range(100)),
        "2019-10-01 00:00:00 UTC,purchase,3,7,home.lamp,b,12.50,1,s",  # 102
        "2019-10-01 00:00:00 UTC,purchase,3,7,home.lamp,b,free,1,s",  # 103: unreadable
        "2019-10-01 00:00:00 UTC,remove_from_cart,3,7,home.lamp,b,12.50,1,s",  # 104: ignored
        "2019-10-01 00:00:00 UTC,cart,3,7,home.lamp,b,NaN,1,s",  # 105: a price is no matter
    )  # fmt: skip
    found = understand(file)
    assert found.section.preset == "rees46" and found.section.category == "category_code"
    assert dropped(found) == {Reason.BAD_AMOUNT: (1, "line 103"), Reason.IGNORED_EVENT: (1, "line 104")}
    assert found.account.kept == 102
    assert found.categories.names == ("electronics.phone", "home.lamp", "everything else")
    assert found.categories.lines == (20, 42, 40) and found.categories.without == 40
    assert any("39%" in warning for warning in found.warnings)
    strict = understand(file, FileSection(missing_category="drop"))
    assert dropped(strict)[Reason.NO_CATEGORY] == (40, "line 3") and len(strict.categories.names) == 2
    assert understand(file, found.section).account == found.account, "a complete section says the same"


PURCHASES = ("customer_id,order_date,category,quantity,price,order_id", (
    ("A,{0},tea,2,\"{1}\",10", (5, 13)),  # line 2
    ("A,{0},tea,1,{2},11", (6, 2)),  # 3
    ("B,{0},cups,-1,{2},12", (7, 2)),  # 4: returned
    ("B,{0},cups,1,{2},C13", (7, 2)),  # 5: cancelled
    ("B,{0},cups,1,{2},14", (8, 2)),  # 6
    ("B,{0},cups,1,,15", (8, 3)),  # 7: no price
    ("B,{0},cups,1,,15", (8, 3)),  # 8: twice
    ("B,{0},cups,1,many,16", (8, 3)),  # 9
    ("C,{0},,1,1,16", (8, 3)),  # 10
))  # fmt: skip
DATES = {"ymd": "2026-{m:02}-{d:02} 10:00", "dmy": "{d}/{m}/2026 10:00", "mdy": "{m}/{d}/2026 10:00 AM"}
PRICES = {".": ("£ 1,299.00", "3.50"), ",": ("1.299,00 €", '"3,50"')}


@pytest.mark.parametrize("order", DATES)
@pytest.mark.parametrize("decimal", PRICES)
def test_purchases_in_three_forms_of_dates_and_two_of_prices(order: str, decimal: str, tmp_path: Path) -> None:
    head, rows = PURCHASES
    lines = [text.format(DATES[order].format(m=m, d=d), *PRICES[decimal]) for text, (m, d) in rows]
    found = understand(file := write(tmp_path, "orders.csv", head, *lines))
    assert (found.section.preset, found.section.date_order, found.section.decimal) == ("purchases", order, decimal)
    assert dropped(found) == {
        Reason.RETURNED: (2, "line 4"), Reason.DUPLICATE: (1, "line 8"), Reason.BAD_AMOUNT: (1, "line 9"),
    }  # fmt: skip
    people = people_of_file(file, found.section, step=Step.DAY, first_day=date(2026, 5, 13), n_steps=100).population
    assert people.n_users == 3 and people.catalogue.names == ("cups", "tea", "everything else")
    assert people.amount.tolist() == [2598.0, 3.5, 3.5, 0.0, 1.0]
    assert people.time_s[0] == 36_000.0


def test_dates_that_both_forms_fit_are_said_to_be_ambiguous(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", "user,date,category", *(f"{n},0{n}/02/2026,tea" for n in range(1, 8)))
    found = understand(file)
    assert found.section.date_order == "dmy" and "AMBIGUOUS" in found.warnings[0]
    assert understand(file, FileSection(date_order="mdy")).last == datetime(2026, 7, 2)


@pytest.mark.parametrize(
    ("value", "zone", "bare", "expected"),
    [
        ("2026-07-01 23:30:00", "Europe/Berlin", "zone", datetime(2026, 7, 1, 23, 30)),
        ("2026-07-01 23:30:00", "Europe/Berlin", "UTC", datetime(2026, 7, 2, 1, 30)),
        ("2026-07-01T23:30:00Z", "Europe/Berlin", "zone", datetime(2026, 7, 2, 1, 30)),
        ("2026-07-01 23:30:00 +0530", "UTC", "zone", datetime(2026, 7, 1, 18, 0)),
        ("2026-07-01 23:30:00-03", "UTC", "zone", datetime(2026, 7, 2, 2, 30)),
        ("1782948600", "Europe/Berlin", "zone", datetime(2026, 7, 2, 1, 30)),
        ("1782948600000", "America/New_York", "zone", datetime(2026, 7, 1, 19, 30)),
        ("1782948600000000", "UTC", "zone", datetime(2026, 7, 1, 23, 30)),
        ("20260701", "UTC", "zone", datetime(2026, 7, 1)),
        ("01-Jul-2026", "UTC", "zone", datetime(2026, 7, 1)),
        ("2026.07.01", "UTC", "zone", datetime(2026, 7, 1)),
    ],
)
def test_times_mean_what_they_say(value: str, zone: str, bare: Any, expected: datetime, tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", "user,time,category", f"1,{value},tea")
    assert understand(file, FileSection(zone=zone, without_offset=bare)).first == expected


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("a.csv", lambda text: text.encode()),
        ("bom.csv", lambda text: text.encode("utf-8-sig")),
        ("wide.csv", lambda text: text.encode("utf-16")),
        ("big.csv", lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be")),
        ("old.csv", lambda text: text.encode("latin-1")),
        ("packed.csv.gz", lambda text: gzip.compress(text.encode())),
        ("tabs.tsv", lambda text: text.replace(",", "\t").encode()),
        ("marks.csv", lambda text: text.replace(",", ";").encode()),
        ("windows.csv", lambda text: text.replace("\n", "\r\n").encode()),
    ],
)
def test_texts_in_any_form_are_the_same(name: str, encode: Any, tmp_path: Path) -> None:
    text = "user_id,time,category\n" + "".join(f"{n},2026-01-{n:02},café\n" for n in range(1, 20))
    (tmp_path / name).write_bytes(encode(text))
    found = understand(tmp_path / name)
    assert (found.account.kept, found.users, found.categories.names) == (19, 19, ("café",))
    assert found.columns == ("user_id", "time", "category")


def test_a_folder_is_one_log_and_says_in_which_file_a_line_stands(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "user_id,time,category", "1,2026-01-01,tea", "2,x,tea")
    write(tmp_path, "b.csv", "user_id,time,category", "too,few", "1,2026-01-01,tea", ",2026-01-02,tea")
    found = understand(tmp_path)
    assert dropped(found) == {
        Reason.MALFORMED: (1, "line 2 of b.csv"),
        Reason.NO_USER: (1, "line 4 of b.csv"),
        Reason.UNREADABLE_TIME: (1, "line 3 of a.csv"),
        Reason.DUPLICATE: (1, "line 3 of b.csv"),
    }


def test_categories_come_from_a_file_or_are_the_largest(tmp_path: Path) -> None:
    rows = [f"{user},2026-01-0{item + 1},i{item}" for user in range(9) for item in range(user % 4 + 1)]
    file = write(tmp_path, "a.csv", "user_id,time,item_id", *rows)
    mapping = write(tmp_path, "map.csv", "item,category", "i0,tea", "i1,tea", "i2,cups")
    found = understand(file, FileSection(category_file=str(mapping)))
    assert found.categories.names == ("cups", "tea", "everything else")
    assert found.categories.lines == (4, 15, 2)
    top = understand(file, FileSection(top=2))
    assert top.categories.names == ("i0", "i1", "everything else") and top.categories.lines == (9, 6, 6)


def test_a_private_choice_hides_what_one_user_brought() -> None:
    votes = np.array([1, 5000, 1, 9000, 1, 7000])
    assert top_of_noise(votes, 2, 1.0) == [3, 5]
    assert sorted(top_of_noise(votes, 30, 1.0)) == [1, 3, 5]
    alone = np.ones(400, np.int64)
    assert all(top_of_noise(alone, 30, 1.0) == [] for _ in range(20)), "names of one user do not show"
    assert len({tuple(top_of_noise(np.full(40, 400), 5, 1.0)) for _ in range(6)}) > 1, "noise is noise"


@pytest.mark.parametrize("epsilon", [0.05, 1.0, 8.0])
def test_a_private_choice_costs_what_it_says(epsilon: float) -> None:
    charge = choice_charge(epsilon)
    assert charge.steps >= MOST_VOTES**0.5 and charge.sigma <= MAX_SHARE_SIGMA
    assert 0.95 * epsilon < epsilon_unamplified((charge,), DELTA) <= epsilon


def test_names_that_were_chosen_stay(tmp_path: Path) -> None:
    """Nothing is drawn again: a section that was completed reads the same from a log in which others are larger."""
    rows = [f"{user},2026-01-0{item + 1},i{item}" for user in range(900) for item in range(3)]
    file = write(tmp_path, "a.csv", "user_id,time,item_id", *rows, "7,2026-01-08,mine")
    found = understand(file, FileSection(top_epsilon=2.0))
    assert found.section.chosen == ("i0", "i1", "i2") and found.categories.names == (
        "i0",
        "i1",
        "i2",
        "everything else",
    )
    other = write(tmp_path, "b.csv", "user_id,time,item_id", *(row.replace("i1", "j") for row in rows))
    again = understand(other, found.section)
    assert again.section == found.section and again.categories.lines == (900, 0, 900, 900)
    alone = write(tmp_path, "c.csv", "user_id,time,item_id", *(f"{n},2026-01-08,i{n}" for n in range(400)))
    with pytest.raises(DataError, match="stand out of noise"):
        understand(alone, FileSection(top_epsilon=2.0))
    with pytest.raises(ConfigError, match="only a choice of the top ones"):
        understand(file, FileSection(top_epsilon=2.0, category_file=str(file)))


def test_online_retail_ii_brings_its_categories_along(tmp_path: Path) -> None:
    codes = dict(line.split(",")[:2] for line in RETAIL_CATEGORIES.read_text(encoding="utf-8-sig").splitlines()[1:4])
    rows = [f"{n},{code},1,2010-01-0{n + 1} 10:00:00,2.5,{n}" for n, code in enumerate([*codes, "99999Z"])]
    file = write(tmp_path, "shop.csv", "Invoice,StockCode,Quantity,InvoiceDate,Price,Customer ID", *rows)
    found = understand(file)
    assert set(found.categories.names) == {*RETAIL_NAMES, "everything else"} and found.categories.without == 1
    counted = dict(zip(found.categories.names, found.categories.lines, strict=True))
    assert all(counted[name] for name in codes.values())
    again = understand(file, found.section)
    assert again.section == found.section and again.categories == found.categories
    assert len(understand(file, FileSection(categories="top", top=2)).categories.names) == 3


def test_a_log_with_german_columns_and_prices(tmp_path: Path) -> None:
    file = tmp_path / "shop.csv"
    rows = [
        "Kundennr;Bestelldatum;Warengruppe;Menge;Stückpreis;Bestellnr",
        "7;31.12.2025 14:05;Möbel;2;1.299,00;1",
        "7;31.12.2025 14:05;Möbel;2;1.299,00;1",  # 3: twice
        "7;02.01.2026 09:00;Möbel;-1;1.299,00;1",  # 4: sent back
        "8;03.01.2026 09:00;Bücher;1;9,50;2",
    ]
    file.write_bytes("\n".join(rows).encode("latin-1"))
    found = understand(file)
    assert dropped(found) == {Reason.DUPLICATE: (1, "line 3"), Reason.RETURNED: (1, "line 4")}
    assert found.categories.names == ("Bücher", "Möbel")
    said = {each.role: each.column for each in found.proposals}
    assert (said["price"], said["quantity"], said["order"]) == ("Stückpreis", "Menge", "Bestellnr")
    people = people_of_file(file, found.section, step=Step.DAY, first_day=date(2025, 12, 31), n_steps=4).population
    assert sorted(people.amount.tolist()) == [9.5, 2598.0]


def test_events_are_told_by_their_verbs_and_said_to_be(tmp_path: Path) -> None:
    names = ("play", "like", "add_to_playlist", "buy_ticket", "purchase_failed", "wink")
    file = write(
        tmp_path, "a.csv", "memberUuid,ts,action,genre",
        *(f"{n}-a,2026-01-0{n + 1}T10:00:00+02:00,{name},rock" for n, name in enumerate(names)),
    )  # fmt: skip
    found = understand(file)
    kinds = {each.name: each.kind for each in found.events}
    assert kinds == {
        "play": "view", "like": "favourite", "add_to_playlist": "favourite", "buy_ticket": "purchase", "purchase_failed": "",
        "wink": "",
    }  # fmt: skip
    assert {each.role: each.column for each in found.proposals}["user"] == "memberUuid"
    assert any("by their verbs" in each and "play is view" in each for each in found.warnings)
    assert any("no known kind" in each and "wink" in each for each in found.warnings)
    own = understand(file, FileSection(events={"wink": "click", "play": "ignore"}))
    assert {each.name: each.kind for each in own.events}["play"] == "ignore" and own.account.kept == 4
    strange = write(tmp_path, "b.csv", "user,ts,action,genre", "1,2026-01-01,zap,rock", "2,2026-01-02,zup,rock")
    assert any("every line is a purchase: of action no value" in each for each in understand(strange).warnings)


def test_without_categories_a_warning_says_what_is_missing_and_what_happens_instead(tmp_path: Path) -> None:
    rows = [f"{1_433_116_800_000 + n},{n % 7},view,{n % 50}" for n in range(500)]
    file = write(tmp_path, "events.csv", "timestamp,visitorid,event,itemid", *rows)
    (said,) = understand(file, FileSection(preset="retailrocket")).warnings
    assert "no column or file of categories: the 30 items" in said and "40% of the lines" in said
    assert "data.file.category_file=FILE.csv" in said
    bare = write(tmp_path, "bare.csv", "user,time", "1,2026-01-01", "2,2026-01-02")
    assert any("count as one category" in each for each in understand(bare).warnings)


def test_scores_are_read_beside_the_events(tmp_path: Path) -> None:
    file = write(
        tmp_path, "a.csv", "user_id,time,category,churn",
        "2,2026-01-03,tea,0.5", "1,2026-01-01,tea,0.25", "1,2026-01-03,tea,", "1,2026-01-02,cups,0.75",
    )  # fmt: skip
    section = FileSection(scores={"theirs": "churn"})
    people = people_of_file(file, section, step=Step.DAY, first_day=date(2026, 1, 1), n_steps=4)
    np.testing.assert_array_equal(people.scores["theirs"], [0.25, 0.75, np.nan, 0.5])
    table = people.scores_at("theirs")
    np.testing.assert_array_equal(table[0], [[np.nan, 0.75, 0.75, 0.75], [0.25] * 4])
    np.testing.assert_array_equal(table[1, 1], [np.nan, np.nan, 0.5, 0.5])


CELLS = st.sampled_from(
    ["", "1", "7", "view", "cart", "purchase", "2026-01-02", "03/02/2026", "-4", "1,299.00", 'a"b', "x;y", "é", "nan"]
)


@given(st.lists(st.lists(CELLS, min_size=1, max_size=7), min_size=1, max_size=30), st.sampled_from(["drop", "keep"]))
@examples(40)
def test_whatever_the_table_lines_read_are_lines_kept_and_dropped(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], policy: Any
) -> None:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    file = tmp_path_factory.mktemp("any") / "any.csv"
    lines = [",".join(map(cell, row)) for row in rows]
    file.write_text(
        "user_id,time,event,category,price\n1,2026-01-01,view,tea,\n" + "".join(f"{line}\n" for line in lines)
    )
    section = FileSection(duplicates=policy, returns=policy, most_events_per_day=2)
    try:
        found = understand(file, section)
    except DataError as error:
        assert "none of" in str(error)
        return
    dropped(found)
    assert found.account.read == 1 + len(rows)
    assert found.account.lines_of(Reason.MALFORMED) == sum(len(row) < 5 or any(row[5:]) for row in rows), (
        "empty values at a line's end are none"
    )
    assert found.account.kept == found.rhythm.events == sum(found.categories.lines)
