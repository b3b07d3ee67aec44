"""A file that grows, cut at any byte: whole lines and rows are read, and the next one stands on its own."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from shared.files import append_line, append_rows, whole_lines, whole_rows

LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=8)


@given(before=st.lists(LINE, max_size=4), cut=st.integers(0, 40), after=st.lists(LINE, min_size=1, max_size=3))
def test_whatever_was_cut_off_what_comes_later_is_whole(before, cut, after):
    with TemporaryDirectory() as folder:
        file = Path(folder) / "lines"
        for line in before:
            append_line(file, line)
        assert whole_lines(file) == before
        if before:
            file.write_bytes(file.read_bytes()[:-cut] if cut else file.read_bytes())
        kept = whole_lines(file)
        for line in after:
            append_line(file, line, durable=True)
        found = whole_lines(file)
        assert kept == before[: len(kept)] and found[-len(after) :] == after
        assert found[: len(kept)] == kept and len(found) - len(kept) - len(after) in (0, 1), "one that was cut, at most"


@given(rows=st.integers(0, 5), cut=st.integers(0, 60))
def test_half_a_row_is_none(rows, cut):
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rows"
        assert whole_rows(file, 12) == b""
        for i in range(rows):
            append_rows(file, bytes([i]) * 12, 12)
        if rows:
            file.write_bytes(file.read_bytes()[: max(0, 12 * rows - cut)])
        whole = whole_rows(file, 12)
        append_rows(file, b"x" * 12, 12)
        assert whole_rows(file, 12) == file.read_bytes() == whole + b"x" * 12


def test_progress_goes_on_after_half_a_line(tmp_path):
    """As a full disk leaves it, written on by a process that knew nothing of it, and then by one that does."""
    from server.state import ServerFolder
    from simulations.run import watching

    folder = ServerFolder(tmp_path)
    folder.progress_file.write_bytes(
        b'{"phase": "rou{"phase": "rounds", "done": 1, "total": 9}\n\xff[]\n7\n{"done": 1}\n{"pha'
    )
    folder.report("rounds", 2, 9)
    told = []
    with watching(folder.progress_file, lambda *entry: told.append(entry)):
        pass
    assert told == [("rounds", 2, 9)]
    assert json.loads(whole_lines(folder.progress_file)[-1])["done"] == 2
