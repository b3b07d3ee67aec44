"""Files that are no log, and names that would be commands: one line each that says what was expected, and nothing left behind."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from shared.errors import DataError, InputError
from shared.events import Step
from simulations.cli.main import main
from simulations.people.own_data.events import people_of_file
from simulations.people.own_data.reading import understand
from simulations.scenarios.own_data import FileSection

duckdb = pytest.importorskip("duckdb", reason="needs the extra ebbtide[simulations]")

HEAD = "user_id,time,category,price\n"
SECRET = "Rosamund-Secret"
GOOD = HEAD + "".join(f"{SECRET}{n % 3},2026-01-{n % 28 + 1:02},tea,1.50\n" for n in range(40))
LONG = HEAD + "u,2026-01-01," + "a" * (10 << 20) + ",1\n"
OTHER = "user_id,time\n1,2026-01-01\n"
NOBODY = GOOD.replace(SECRET, "").replace("\n0,", "\n,").replace("\n1,", "\n,").replace("\n2,", "\n,")


def parquet(
    folder: Path, query: str = "SELECT 'u' || i AS user_id, DATE '2026-01-01' + i::INTEGER AS time FROM range(30) t(i)"
) -> bytes:
    file = folder / "made.parquet"
    duckdb.connect().execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
    content = file.read_bytes()
    file.unlink()
    return content


Make = Callable[[Path], Path]


def holds(name: str, content: str | bytes) -> Make:
    def make(folder: Path) -> Path:
        (file := folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return make


def of_parquet(name: str, change: Callable[[bytes], bytes]) -> Make:
    return lambda folder: holds(name, change(parquet(folder)))(folder)


def folder_of(*files: Make) -> Make:
    def make(folder: Path) -> Path:
        (inside := folder / "inside").mkdir()
        for file in files:
            file(inside)
        return inside

    return make


def unreadable(folder: Path) -> Path:
    (file := folder / "closed.csv").write_text(GOOD)
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("needs a user who is not root")
    return file


def years(year: str) -> str:
    return GOOD.replace("2026-01", f"{year}-01")


DAMAGED: dict[str, tuple[Make, str]] = {
    "empty": (holds("a.csv", ""), "expected lines in .*, got an empty file"),
    "header only": (holds("a.csv", HEAD), "expected lines below the header"),
    "one column": (holds("a.csv", "user_id\n1\n2\n"), "columns of users and of times .* got 1 column"),
    "binary": (holds("a.csv", bytes(range(256)) * 40), "bytes of 0: it is binary"),
    "control characters": (holds("a.csv", bytes(range(1, 30)) * 40), "control characters: it is binary"),
    "NUL bytes": (holds("a.csv", GOOD.replace("tea", "t\0a")), "bytes of 0"),
    "cut Parquet": (of_parquet("a.parquet", lambda whole: whole[: len(whole) // 2]), "Parquet file: it is cut, damaged"),
    "damaged Parquet": (of_parquet("a.parquet", lambda whole: whole[:40] + b"x" * 300 + whole[-8:]), "Parquet file: it is cut, damaged"),
    "text as Parquet": (holds("a.parquet", GOOD), "Parquet file, which begins with PAR1"),
    "Parquet as text": (of_parquet("a.csv", lambda whole: whole), "let its name end in .parquet"),
    "packed as text": (holds("a.csv", gzip.compress(GOOD.encode())), "something packed: unpack it"),
    "text as packed": (holds("a.csv.gz", GOOD), "to be a .gz file: it is cut or damaged"),
    "cut .gz": (holds("a.csv.gz", gzip.compress(os.urandom(4000).hex().encode())[:-900]), "it is cut or damaged"),
    "bomb": (holds("a.csv.gz", gzip.compress(HEAD.encode() + b"a" * (60 << 20))), "unpack to at most 250 times"),
    "another ending": (holds("a.xlsx", GOOD), "expected a file that ends in .csv"),
    "long lines": (holds("a.csv", LONG), "expected lines below the header|it is cut or damaged"),
    "names twice": (holds("a.csv", "user_id,time,User_ID\n1,2026-01-01,2\n"), "columns of different names .* got a name twice"),
    "no names": (holds("a.csv", "17,2026-01-01,3\n18,2026-01-02,3\n"), "the names of columns in the first line"),
    "folder without files": (folder_of(), "expected files that end in"),
    "mixed folder": (
        folder_of(holds("a.csv", GOOD), of_parquet("b.parquet", lambda whole: whole)), "got 2 forms mixed"
    ),
    "other columns": (folder_of(holds("a.csv", GOOD), holds("b.csv", OTHER)), "expected the columns of a.csv in b.csv"),
    "closed": (unreadable, "cannot read .*closed.csv"),
    "nowhere": (lambda folder: folder / "nowhere.csv", "which does not exist"),
    "year 1": (holds("a.csv", years("0001")), "none of 40; the most, 40: a time before 1970 or after 2099 .first: line 2"),
    "year 9999": (holds("a.csv", years("9999")), "a time before 1970 or after 2099"),
    "no dates": (holds("a.csv", GOOD.replace("2026-01", "soon")), "a time that cannot be read"),
    "no users": (holds("a.csv", NOBODY), "40: no user"),
    "no column of users": (holds("a.csv", GOOD.replace("user_id", "shade")), "a column of users .* data.file.user=COLUMN "),
    "no column of times": (holds("a.csv", "user_id,shade\n1,red\n2,blue\n"), "a column of times"),
    "prices without end": (holds("a.csv", GOOD.replace("1.50", "inf")), "40: an amount that cannot be read"),
    "nothing but a quote": (holds("a.csv", HEAD + '"' + GOOD), "it is cut or damaged|expected lines|none of"),
}  # fmt: skip


@pytest.fixture
def own_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (own := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    return own


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_one_line_and_leaves_nothing(
    case: str, tmp_path: Path, own_temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, expected = DAMAGED[case]
    (folder := tmp_path / "logs").mkdir()
    file = make(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=expected) as refused:
        understand(file)
    assert "\n" not in str(refused.value) and SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    with pytest.raises(SystemExit) as ended:
        main(["data", "check", str(file), "--out", str(tmp_path / "made.toml")])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    complaints = [line for line in error.splitlines() if line.startswith("ebbtide: ")]
    assert len(complaints) == 1 and SECRET not in error and "Traceback" not in error
    assert sorted(tmp_path.rglob("*")) == before, "nothing is left behind"


@pytest.mark.parametrize(
    "name",
    [
        "a'; DROP TABLE lines; --.csv",
        'x".csv',
        "new\nline.csv",
        "star*[ab]?.csv",
        "$source {}.csv",
        "ü ̈日本.csv",
        "'.csv.gz",
    ],
)
def test_names_of_files_are_names(name: str, tmp_path: Path, own_temporary: Path) -> None:
    content = gzip.compress(GOOD.encode()) if name.endswith(".gz") else GOOD.encode()
    (tmp_path / name).write_bytes(content)
    (tmp_path / "stara1.csv").write_text(GOOD)
    found = understand(tmp_path / name)
    assert (found.account.read, found.account.kept, found.users) == (40, 40, 3)
    assert list(own_temporary.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["a'; DROP TABLE lines; --", 'x"', 'x", c0 AS "y', "line", "sample", "c0", "SELECT", "--", "file_row_number"],
)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_names_of_columns_are_names(name: str, form: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{form}"
    quoted = '"' + name.replace('"', '""') + '"'
    query = f"SELECT (i % 3)::VARCHAR AS user_id, DATE '2026-01-01' + i::INTEGER AS time, 'b' AS {quoted} FROM range(30) t(i)"
    duckdb.connect().execute(f"COPY ({query}) TO '{file}' (FORMAT {form})")
    found = understand(file, FileSection(category=name))
    assert (found.account.kept, found.users, found.categories.names) == (30, 3, ("b",))


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"user": "no'; DROP"}, 'expected the column "no\'; DROP" of data.file.user'),
        ({"scores": {"churn": "none"}}, "expected the column 'none' of data.file.scores.churn"),
        ({"zone": "Mars/Base'"}, "expected the name of a time zone"),
        ({"preset": "rees46"}, "of the schema rees46: not there"),
        ({"categories": "file"}, "expected data.file.category_file"),
        ({"category_file": "nowhere.csv"}, "nowhere.csv, which does not exist"),
    ],
)
def test_words_of_a_scenario_that_the_log_contradicts(section: dict[str, str], expected: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=expected):
        understand(holds("a.csv", GOOD)(tmp_path), FileSection(**section))  # type: ignore[arg-type]


def test_logs_of_one_user_or_one_time_are_read(tmp_path: Path) -> None:
    one = understand(holds("one.csv", HEAD + "".join(f"7,2026-01-{n:02},tea,1\n" for n in range(1, 29)))(tmp_path))
    assert (one.users, one.account.kept, one.rhythm.gap_days_quantiles) == (1, 28, (1.0, 1.0, 1.0, 1.0))
    still = understand(holds("still.csv", HEAD + "".join(f"{n},2026-01-01,tea,1\n" for n in range(28)))(tmp_path))
    assert (still.users, still.rhythm.n_days, still.rhythm.gap_days_quantiles) == (28, 1, (0.0, 0.0, 0.0, 0.0))


def test_steps_without_events_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected events in the 4 weeks from 2030-01-07 on"):
        people_of_file(
            holds("a.csv", GOOD)(tmp_path), FileSection(), step=Step.WEEK, first_day=date(2030, 1, 7), n_steps=4
        )
