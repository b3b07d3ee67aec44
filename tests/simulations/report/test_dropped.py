"""What came to nothing is said in words, whatever the reason."""

import re
from pathlib import Path

from shared.errors import RefusalCode
from simulations.report.dropped import OTHERS, REFUSALS, REPLIES, dropped_in_words
from simulations.report.summary import result_rows
from tests.server.test_channel import OTHERWISE
from tests.world.run_results import changed, make_results

ROOT = Path(__file__).parents[3]


def reasons_of(*files: str) -> set[str]:
    """Why a secure sum is refused, in the code of these files."""
    return {
        reason
        for file in files
        for reason in re.findall(r'SumError\("(\w+)"', (ROOT / file).read_text(encoding="utf-8"))
    }


#: Why a sum is not made, or a device not in it: what the server raises and counts itself, and what is raised below it. What else an
#: entry or a seat refuses, it does so where devices and helpers are asked.
REASONS = reasons_of("shared/secure_sum/correction.py", "shared/secure_sum/consistency.py")
REASONS |= (reasons_of("server/sums/secure_sum.py", "server/state.py") - {"opinion", "other_list"}) | {"signature"}


def test_every_reason_that_the_server_counts_has_words():
    files = [
        *(ROOT / "server").glob("*.py"),
        *(ROOT / "server" / "sums").glob("*.py"),
        ROOT / "simulations/federation/host_server_app.py",
        ROOT / "shared/codec.py",
    ]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    counted = set(re.findall(r'dropped\["(\w+)"\]', text)) | set(re.findall(r'(?:return|else) "(\w+)"\n', text))
    assert {"shape", "oversized", "alert_fields", "not_enrolled", "round_few_survivors", "host"} <= counted
    counted |= set(re.findall(r'_count\("(\w+)"', text))
    counted |= {f"sum_{reason}" for reason in REASONS}
    counted |= {reason for _, reason in OTHERWISE.values()} | {"not_asked", "twice", "deletion"}
    counted |= {f"refusal_{int(code)}" for code in RefusalCode}
    assert counted == REPLIES.keys() | OTHERS.keys()


def test_replies_are_counted_together_and_everything_else_by_itself():
    dropped = {"step": 2, "refusal_11": 1200, "not_enrolled": 1, "error": 2, "round_few_survivors": 3, "twice": 0}
    assert dropped_in_words(dropped) == [
        "1\u202f204 replies were dropped: 1\u202f200 × refused: they took part as often as their owners' caps allow in one "
        "plan; 2 × the device stayed silent, or it or its app failed; 2 × for another step",
        "1 device was connected and not enrolled: the plan has no room",
        "3 rounds were not opened: too few updates in their sums",
    ]
    assert dropped_in_words({"of_another_time": 1}) == ["1 reply was dropped: 1 × of another time"]
    assert dropped_in_words({}) == dropped_in_words({"error": 0}) == []


def test_the_console_says_what_came_to_nothing_but_for_refusals_which_have_a_row_of_their_own():
    def rows(dropped: dict[str, int]) -> dict[str, str]:
        return dict(result_rows(changed(make_results(), {"traffic.dropped": dropped})))

    refused = dict.fromkeys(sorted(REFUSALS), 3)
    assert "came to nothing" not in rows({}) and "came to nothing" not in rows(refused)
    said = rows({**refused, "not_asked": 1, "round_small_cohort": 2})["came to nothing"]
    assert said == (
        "1 reply was dropped: 1 × from a node that was not asked that. 2 rounds were not run: too few devices in them"
    )
