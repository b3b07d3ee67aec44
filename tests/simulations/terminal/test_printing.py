"""What is printed reaches any terminal, and is what it says: paths of any letters, tables on narrow screens, few lines in pipes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from simulations.report.format import between, grouped, percent, signed
from simulations.terminal import lines, printing
from simulations.terminal.lines import Lines
from simulations.terminal.printing import say, say_path, say_table, shown

ROOT = Path(__file__).parents[3]


@pytest.fixture
def printed(monkeypatch):
    """A console into memory, of a width."""

    def on(width: int) -> io.StringIO:
        sink = io.StringIO()
        monkeypatch.setattr(
            printing, "out", Console(file=sink, width=width, highlight=False, markup=False, emoji=False)
        )
        return sink

    return on


@pytest.mark.parametrize("name", ["run [copy]", "[bold]x[/]", "a  b", ":smile:", "ü 😀", "-dash", "x" * 300])
def test_a_path_is_printed_as_it_is(printed, name):
    sink = printed(20)
    say_path("report", Path("/") / name)
    assert sink.getvalue() == f"report: /{name}\n"


def test_no_control_character_reaches_a_terminal():
    assert shown("a\nb\x1b[31m\x9b\u202e\u2028") == "a\\nb\\x1b[31m\\x9b\\u202e\\u2028"


def test_a_table_is_not_cut_on_a_narrow_terminal(printed):
    sink = printed(20)
    table = Table("name", "precision", "recall", title="numbers")
    table.add_row("something", "[0.5]", grouped(94622))
    say_table(table)
    assert "[0.5]" in sink.getvalue() and "…" not in sink.getvalue() and grouped(94622) in sink.getvalue()


SAY = """
from simulations.terminal.printing import complain, ready_streams, say
import sys
ready_streams()
say(sys.argv[1])
complain(sys.argv[1])
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8", "cp437"])
def test_every_encoding_takes_every_letter(encoding):
    told = f"{percent(-0.39)} {grouped(94622)} {signed(-0.5)} {between(None, 1)} ± ü 😀"
    command = [sys.executable, "-c", SAY, os.fsencode(told) + b" \xff"]
    environment = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict", "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip(b"\n").endswith(b" \xff"), "bytes of a name stay as they are"
    assert done.stdout.count(b"\n") == done.stderr.count(b"\n") == 1
    if encoding == "ascii":
        assert done.stdout.startswith(b"-39 % 94 622 -0.500 - +- \\xfc \\U0001f600")


def test_in_a_pipe_a_phase_is_a_line_and_a_long_one_is_a_line_a_minute(monkeypatch):
    sink, now_s = io.StringIO(), [0.0]
    monkeypatch.setattr(lines.time, "monotonic", lambda: now_s[0])
    told = Lines(Console(file=sink))
    for done in range(301):
        now_s[0] = float(done)
        told.tell("rounds", done, 300)
    told.tell("results", 0, 1)
    assert sink.getvalue().splitlines() == [f"rounds: {n} of 300" for n in range(0, 301, 60)] + ["results"]


def test_a_line_of_a_sentence_is_never_wrapped(printed):
    sink = printed(20)
    say("one two three four five six seven eight nine ten")
    assert sink.getvalue().count("\n") == 1


@pytest.mark.parametrize(
    "terminal", [{"COLUMNS": "10"}, {"COLUMNS": "1"}, {"COLUMNS": "x", "TERM": "nonsense"}, {"TERM": ""}]
)
def test_help_cuts_no_word_on_any_terminal(terminal):
    from tests.world.mistakes import group

    names = [[], ["simulate"]]
    words = [
        list(group().commands),
        [p.opts[0] for p in group().commands["simulate"].params if p.opts[0].startswith("-")],
    ]
    environment = {**{k: v for k, v in os.environ.items() if k != "TERM"}, "PYTHONPATH": str(ROOT), **terminal}
    for arguments, expected in zip(names, words, strict=True):
        command = [sys.executable, "-m", "simulations.cli", *arguments, "--help"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert [word for word in expected if word not in done.stdout] == [] and "…" not in done.stdout
