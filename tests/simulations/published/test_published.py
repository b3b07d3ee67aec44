"""README and docs say what docs/figures.json says, to the digits shown."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from client.privacy.caps import LedgerLine
from simulations.evaluation.results_file import write
from simulations.federation.run_folder import RESULTS_FILE
from simulations.provenance import commits_of, stamp
from simulations.published.__main__ import UTILITY_FILE, bench_numbers, run_numbers
from simulations.report.figures_json import FIGURES_FILE, Published, agrees, publish, quotes, read, without_key
from simulations.report.plots import save_utility_panels
from simulations.report.utility import utility_points
from tests.world.run_results import BITS, make_results

ROOT = Path(__file__).parents[3]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("text", TEXTS, ids=lambda file: file.name)
def test_every_quoted_figure_and_its_spread_are_the_file_s(text):
    figures = read()
    for written, spread, key in quotes(text.read_text(encoding="utf-8")):
        assert key in figures, f"{text.name} quotes {key}, which docs/figures.json does not hold"
        assert agrees(figures[key], written, spread), f"{text.name}: {written} ± {spread} for {key}: {figures[key]}"


@pytest.mark.parametrize("text", TEXTS, ids=lambda file: file.name)
def test_tables_and_spreads_quote_the_file(text):
    assert without_key(text.read_text(encoding="utf-8")) == []


def test_the_readme_quotes_figures():
    assert len(list(quotes((ROOT / "README.md").read_text(encoding="utf-8")))) >= 10


def test_every_figure_says_where_it_comes_from():
    for key, figure in read().items():
        assert figure.command and figure.commit and figure.unit, key


def figure(value, spread=None):
    return Published(value, spread, "AUC", "", "make figures", "abc")


def test_what_a_text_quotes_is_read_with_its_spread():
    text = "**0.785 <!-- a.b -->** ± 0.001 (x), 94 563 <!-- c -->, 8 <!-- d --> % ± 2 and - 0.1 <!-- e -->"
    assert list(quotes(text)) == [("0.785", "0.001", "a.b"), ("94563", "", "c"), ("8", "2", "d"), ("0.1", "", "e")]


def test_a_wrong_or_missing_digit_is_noticed():
    assert agrees(figure(0.7849), "0.785") and not agrees(figure(0.7839), "0.785")
    assert agrees(figure(0.3151), "32") and not agrees(figure(0.3151), "33")
    assert agrees(figure(94563.0), "94563")
    assert agrees(figure(0.7849, 0.0005), "0.7849", "0.0005") and not agrees(figure(0.7849, 0.0005), "0.7849", "0.0905")
    assert not agrees(figure(0.7849), "0.7849", "0.0005"), "it has no spread"
    assert agrees(figure(0.081, 0.02), "8", "2") and not agrees(figure(0.081, 0.02), "8", "0.02")


def test_a_figure_without_a_key_is_noticed():
    line = "| ours | 0.7858 <!-- a --> ± 0.0005 | 0.7742 |"
    assert without_key(f"{line}\nprose says 0.1\n| ours | 0.7858 <!-- a --> ± 0.0005 | `0.3` |") == [line]
    assert without_key("between 1 and 2, ± 0.3") == ["between 1 and 2, ± 0.3"]
    assert without_key("| ours | .001 |") and not without_key("| rate `0.9` | no better |")


def test_the_picture_of_utility_shows_the_file_s_figures(tmp_path):
    """Drawn again from docs/figures.json it is the same: `python -m simulations.published --only utility` makes both."""
    again, figures = tmp_path / "again.svg", read()
    names = ("complete-journey", "online-retail-ii")
    save_utility_panels({name: utility_points(figures, name) for name in names}, again)
    assert again.read_bytes() == UTILITY_FILE.read_bytes()


def test_publishing_adds_and_replaces(tmp_path, monkeypatch):
    file = tmp_path / "figures.json"
    monkeypatch.setattr("simulations.report.figures_json.FIGURES_FILE", file)
    publish({"b": figure(1.0)})
    publish({"a": figure(1.0), "b": figure(2.0, 0.1)})
    kept = json.loads(file.read_text())
    assert list(kept) == ["a", "b"] and kept["b"]["spread_kind"] == "standard deviation"
    assert file != FIGURES_FILE


#: What each row of the demo says, number by number: keys of demo.*, or what is the same in every run.
DEMO: Final = {
    "devices and data": ("devices",),
    "interest AUC, on the devices": ("auc",),
    "beside it: recency + frequency (pooled LR)": ("auc_recency_frequency",),
    "beside it: frequency": ("auc_frequency",),
    "beside it: recency": ("auc_recency",),
    "beside it: pooled logistic regression": ("auc_pooled_lr",),
    "beside it: pooled DNN": ("auc_pooled_dnn",),
    "beside it: pooled DNN, numpy": ("auc_pooled_numpy",),
    "gap to the better pooled model": ("gap",),
    "calibration error": ("calibration_error",),
    "fall alerts": ("fall_precision", "fall_recall", "fall_median_delay_steps", "fall_false_per_user", "alert_steps"),
    "rise alerts": (),  # none are shown
    "epsilon to the public": ("epsilon", "delta"),
    "by the Rényi bound, all together": ("epsilon_bound",),
    **{
        f"of that, {line} alone": tuple(f"line.{line}.{key}" for key in ("epsilon", "times", "noise"))
        for line in LedgerLine
    },
    "owners' caps on a device": (14, 7.5, 182),
    "came to nothing": ("silent", "silent"),
    "epsilon to the server and the seats": (),
    "if a sum is broken, one message": tuple(
        f"line.{line}.broken" for line in ("update", "risk_update", "evaluation", "alert_counts", "alert_bit")
    ),
    "what the server learns": ("fewest_in_a_sum", 3, "bits.coins", "bits.epsilon", "bits.epsilon_together"),
    "rounds are added up by": (3,),
    "alerted lately, by randomised bits": ("bits.estimate", 95, "bits.low", "bits.high", "bits.true_rate"),
    "bytes per device and round": ("round_down_bytes", "round_up_bytes"),
    "bytes per device, whole run": ("down_bytes_per_device", "up_bytes_per_device"),
    "CPU per device, simulated here": ("cpu_round_ms", "cpu_s_per_device"),
}


#: The row that tells what one user's device said: an example, no figure.
EXAMPLE: Final = "one simulated user was told"


def rows_of_demo(text):
    """Label and value of each row of a printed table, lines joined."""
    rows = []
    for line in text.splitlines():
        if line.startswith("│"):
            label, value = (part.strip() for part in line.strip("│").split("│"))
            if label and not (rows and rows[-1][0].count("(") > rows[-1][0].count(")")) and value:
                rows.append([label, value])
            else:
                rows[-1] = [f"{rows[-1][0]} {label}".strip(), f"{rows[-1][1]} {value}".strip()]
    return dict(rows)


def demo_disagrees(text, figures):
    """Every number of a printed demo that is not the figures'."""
    wrong = []
    for label, value in rows_of_demo(text).items():
        if label == EXAMPLE:
            continue
        found = re.findall(r"-?\d+(?:[ \u202f]\d{3})*(?:\.\d+)?(?:e-\d+)?", value.replace("−", "-"))
        keys = DEMO.get(label, ())
        if len(found) != len(keys):
            wrong.append(f"{label}: {found} for {keys}")
        for written, key in zip(found, keys, strict=False):
            if isinstance(key, str):
                figure, plain = figures[f"demo.{key}"], re.sub(r"[ \u202f]", "", written)
                right = float(plain) == figure.value if "e-" in plain else agrees(figure, plain)
            else:
                right = float(written) == key
            wrong += [] if right else [f"{label}: {written} is not {key}"]
    return wrong


def printed_demo(file):
    return re.search(r"```console\n\$ make demo\n(.*?)```", (ROOT / file).read_text(encoding="utf-8"), re.S)[1]


#: Where the demo stands, whole or in parts, and how many rows it has there at least.
SHOWN: Final = {"docs/results.md": 11, "README.md": 1}


@pytest.mark.parametrize("file", SHOWN)
def test_every_number_of_a_printed_demo_is_the_file_s(file):
    assert len(rows_of_demo(printed_demo(file))) >= SHOWN[file]
    assert demo_disagrees(printed_demo(file), read()) == []


def test_the_readme_s_lines_of_the_demo_are_lines_of_the_whole():
    whole = printed_demo("docs/results.md").splitlines()
    assert [line for line in printed_demo("README.md").splitlines() if line not in whole] == []


#: What the first paragraph says, and the figures that it says it of.
PARAGRAPH: Final = {
    r"devices warn (\d+) times a week \(here: (\d+) times in (\d+) weeks\)": ("contacts_a_week", "contacts", "weeks"),
    r"(\d+) % \(95 % interval (\d+) to (\d+)\) of these warnings were right": ("precision", "precision.low", "precision.high"),
    r"Of the (\d+) times that .* found (\d+) % \(95 % interval (\d+) to (\d+)\), half of them within (\d+) days": (
        "turns", "recall", "recall.low", "recall.high", "delay_steps",
    ),
    r"was right in (\d+) % and found (\d+) %": ("rule.precision", "rule.recall"),
    r"([\d.]+) right warnings more a week than our ([\d.]+) \(95 % interval \+([\d.]+) to \+([\d.]+)\)": (
        "rule.ahead", "right_a_week", "rule.ahead.low", "rule.ahead.high",
    ),
}  # fmt: skip


def paragraph_disagrees(text, figures):
    """Every number of the demo's first paragraph that is not the figures'."""
    said, wrong = " ".join(text.split()), []
    for pattern, keys in PARAGRAPH.items():
        found = re.search(pattern, said)
        assert found, f"the paragraph says no more: {pattern}"
        for written, key in zip(found.groups(), keys, strict=True):
            if not agrees(figures[f"demo.answer.{key}"], written):
                wrong.append(f"{key}: {written}")
    return wrong


@pytest.mark.parametrize("file", SHOWN)
def test_every_number_of_the_answer_is_the_file_s_and_any_other_is_noticed(file):
    text, figures = printed_demo(file), read()
    assert paragraph_disagrees(text, figures) == []
    said, noticed = " ".join(text.split()), 0
    for pattern, keys in PARAGRAPH.items():
        for group in range(1, len(keys) + 1):
            last = re.search(pattern, said).end(group)
            other = said[: last - 1] + str((int(said[last - 1]) + 1) % 10) + said[last:]
            noticed += bool(paragraph_disagrees(other, figures))
    assert noticed == sum(map(len, PARAGRAPH.values()))


@pytest.mark.parametrize("file", SHOWN)
def test_any_other_digit_in_a_printed_demo_is_noticed(file):
    block, figures = printed_demo(file), read()
    block = re.sub(rf"^│ {EXAMPLE} .*?(?=^│ \S)", "", block, flags=re.S | re.M)
    for at in [match.start() for match in re.finditer(r"\d", block)]:
        if (line := block[block.rfind("\n", 0, at) + 1 :]).startswith("│") and "│" in line[
            1 : at - block.rfind("\n", 0, at)
        ]:
            other = block[:at] + str((int(block[at]) + 1) % 10) + block[at + 1 :]
            assert demo_disagrees(other, figures), f"unnoticed: {other[at - 20 : at + 5]}"


def results_file(folder, content):
    file = folder / "results.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def test_a_run_s_figures_have_the_run_s_commit(tmp_path):
    cpu = {"round_ms": 1.2345, "s_per_device": 0.0421}
    write(make_results(bits=BITS, cpu=cpu, commit="0ld"), tmp_path / RESULTS_FILE)
    found = run_numbers("demo", tmp_path)
    assert {figure.commit for figure in found.values()} == {"0ld"}
    assert found["demo.cpu_round_ms"].value == 1.2345 and found["demo.bits.true_rate"].value == 0.4
    assert found["demo.fall_false_per_user"].value == 0.375


def test_a_bench_s_figures_have_its_commit_half_ranges_and_baselines(tmp_path):
    def measured(value, spread, n, beside=""):
        return {"what": "w", "value": value, "spread": spread, "n": n, "unit": "s", "beside": beside}

    kept = {
        "training.planted.seconds": measured(20.0, [20.0, 20.0], 1),
        "hosts.devices_per_s": measured(9.0, [8.0, 11.0], 3, "the bare loop"),
        "bare_loop.devices_per_s": measured(9.0, [8.0, 11.0], 3),
        "hosts.gib_100k": {"what": "w", "skipped": "no"},
    }
    found = bench_numbers(results_file(tmp_path, {"commit": "0ld", "figures": kept}))
    assert set(found) == {"training.planted.seconds", "hosts.devices_per_s"}
    rate, seconds = found["hosts.devices_per_s"], found["training.planted.seconds"]
    assert (rate.spread, rate.spread_kind, rate.baseline, rate.commit) == (1.5, "half-range", "the bare loop", "0ld")
    assert (seconds.spread, seconds.baseline) == (None, "")


def test_a_folder_tells_every_commit_that_worked_there(tmp_path, monkeypatch):
    assert commits_of(tmp_path) == "unknown"
    for at in ("a710d33", "a710d33", "b" * 7 + "-dirty"):
        monkeypatch.setattr("simulations.provenance.commit", lambda at=at: at)
        stamp(tmp_path)
    assert commits_of(tmp_path) == "a710d33+bbbbbbb-dirty"
