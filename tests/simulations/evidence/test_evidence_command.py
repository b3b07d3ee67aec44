"""`ebbtide evidence` as people type it; and a writer that is killed at any step."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulations.cli.commands import app
from simulations.evidence.case import PROJECT
from simulations.evidence.declarations import QUESTIONS, template
from simulations.evidence.folder import expect_free_folder, write_folder
from simulations.evidence.writers import WRITERS
from tests.world.ended_run import ended_run

FILES = {name: name.encode() for name in WRITERS}
OTHERS = {name: b"another" for name in WRITERS}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return ended_run(tmp_path_factory.mktemp("run") / "run").path


def ebbtide(*arguments: object):
    done = CliRunner().invoke(app, ["evidence", *map(str, arguments)])
    return done, " ".join(done.output.split())


def test_from_the_template_over_the_evidence_to_its_check(run, tmp_path):
    questions, out = tmp_path / "operator.toml", tmp_path / "out" / "evidence"
    done, said = ebbtide(run, "--template", questions)
    assert done.exit_code == 0 and f"{len(QUESTIONS)} questions" in said
    assert questions.read_text(encoding="utf-8") == template()
    questions.write_text('controller = "A Shop"\nassessment_date = 2026-01-31\n')
    done, said = ebbtide(run, "--operator", questions, "--out", out)
    assert done.exit_code == 0, done.exception
    counts = json.loads((out / "evidence.json").read_text(encoding="utf-8"))["counts"]
    total = sum(counts.values())
    assert said.index(f"{total} answers, {counts['measured']} measured") < said.index("Only the operator can answer")
    assert f"{len(QUESTIONS) - 2} of the missing" in said and said.index("Only the operator") < said.index("missing: ")
    assert {file.name for file in out.iterdir()} == set(WRITERS) and "--check" in said
    done, said = ebbtide(run, "--check", "--out", out)
    assert done.exit_code == 0 and f"the evidence holds: {total} answers" in said
    (out / "registry.yaml").write_text("")
    done, said = ebbtide(run, "--check", "--out", out)
    assert done.exit_code == 1 and "registry.yaml: not what the run and the answers give" in said
    assert "1 findings" in str(done.exception)


def test_it_lies_in_the_run_s_folder_and_is_replaced_only_when_told(run):
    assert ebbtide(run)[0].exit_code == 0 and (run / "evidence" / "evidence.json").is_file()
    before = (run / "evidence" / "evidence.json").read_bytes()
    done, _ = ebbtide(run)
    assert done.exit_code and "--overwrite" in str(done.exception)
    assert ebbtide(run, "--overwrite")[0].exit_code == 0
    assert (run / "evidence" / "evidence.json").read_bytes() == before
    assert ebbtide(run, "--check")[0].exit_code == 0


def test_what_the_operator_answered_is_not_lost_when_evidence_is_made_again(run, tmp_path):
    answers, out = tmp_path / "operator.toml", tmp_path / "evidence"
    answers.write_text('controller = "A Shop"\nassessment_date = 2026-01-31\n')
    assert ebbtide(run, "--operator", answers, "--out", out)[0].exit_code == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    done, said = ebbtide(run, "--out", out, "--overwrite")
    assert done.exit_code == 0 and "2 answers of the operator's are kept" in said
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    answers.write_text('controller = "Another Shop"\n')
    assert "kept" not in ebbtide(run, "--operator", answers, "--out", out, "--overwrite")[1]
    assert b"Another Shop" in (out / "evidence.json").read_bytes()


@pytest.mark.parametrize(
    "more, expected",
    [
        (("--check", "--template", "x.toml"), "expected --check alone"),
        (("--operator", "a.toml", "--template", "b.toml"), "expected --template or --operator"),
        (("--operator", "none.toml"), "expected a file with answers"),
        (("--check", "--out", "none"), "expected evidence of a run"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(run, more, expected):
    done, _ = ebbtide(run, *more)
    assert done.exit_code and expected in str(done.exception) and "\n" not in str(done.exception)


def test_a_folder_that_is_no_run_s_is_refused(tmp_path):
    done, _ = ebbtide(tmp_path)
    assert done.exit_code and "a run that has ended" in str(done.exception)


def test_a_folder_that_holds_anything_else_is_never_replaced(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "photo.jpg").write_bytes(b"x")
    with pytest.raises(Exception, match="something else"):
        expect_free_folder(mine, overwrite=True)
    write_folder(tmp_path / "told", FILES)
    (tmp_path / "told" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(Exception, match="something else"):
        expect_free_folder(tmp_path / "told", overwrite=True)
    assert (mine / "photo.jpg").exists() and (tmp_path / "told" / "photo.jpg").exists()


def test_the_page_names_every_file_of_the_folder():
    page = (PROJECT / "docs" / "evidence.md").read_text(encoding="utf-8")
    named = {name for row in re.findall(r"^\| ([\w., ]+\.\w+) \|", page, re.M) for name in row.split(", ")}
    assert named == set(WRITERS)


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
@pytest.mark.parametrize("there", [False, True], ids=["first", "again"])
def test_a_writer_that_is_killed_at_any_step_leaves_nothing_half_written(tmp_path, there):
    steps = killed = 0
    while True:
        target = tmp_path / f"{steps}" / "evidence"
        if there:
            write_folder(target, FILES)
        if not _killed_at(steps, target):
            break
        killed += 1
        left = {file.name: file.read_bytes() for file in target.iterdir()} if target.exists() else None
        assert left in (None, FILES, OTHERS)
        expect_free_folder(target, overwrite=True)
        left = {file.name: file.read_bytes() for file in target.iterdir()} if target.exists() else None
        assert left in ((FILES, OTHERS) if there else (None, OTHERS)), "what was there is there, or the new one"
        write_folder(target, OTHERS)
        assert [*target.parent.iterdir()] == [target] and {f.name: f.read_bytes() for f in target.iterdir()} == OTHERS
        steps += 1
    assert killed >= len(FILES) + 1


def _killed_at(step: int, target: Path) -> bool:
    """Whether a process that writes OTHERS was killed before its `step`-th move or write; it is not if it has fewer."""
    child = os.fork()
    if child == 0:
        left = [step]

        def or_die(call):
            def go(*arguments, **named):
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return call(*arguments, **named)

            return go

        Path.write_bytes, Path.rename, Path.mkdir = map(or_die, (Path.write_bytes, Path.rename, Path.mkdir))
        write_folder(target, OTHERS)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
