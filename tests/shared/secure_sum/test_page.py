"""The table of docs/secure-sum.md is what the code computes."""

import re

import pytest

from shared.plan import PrivacyPlan
from shared.secure_sum.entry import ENTRY_BYTES
from shared.secure_sum.field import Field
from shared.secure_sum.keys import TAG_BYTES
from shared.secure_sum.packed_shamir import TESTS
from shared.secure_sum.sizes import max_colluders, min_survivors, seats
from tests.world.cited import ROOT

PAGE = (ROOT / "docs" / "secure-sum.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([\d,]+) \| .*$", PAGE, re.MULTILINE)
N_VALUES = 1601


def row(n: int) -> str:
    privacy = PrivacyPlan(
        clip_norm=1.0,
        noise_multiplier=1.0,
        sampling_rate=1.0,
        rounds=12,
        population=n,
        min_survivors=min_survivors(n, 1.0, 0.1),
        max_colluders=max_colluders(n, 1.0),
        steps_per_clip=4096,
    )
    word = Field.holding(privacy.largest_sum).word_bytes
    size = seats(n, N_VALUES, word)
    box = (-(-N_VALUES // size.packing) + TESTS) * word + TAG_BYTES
    lists = privacy.honest / (n - privacy.max_colluders)
    assert lists > 0.75
    return (
        f"| {n:,} | {privacy.min_survivors:,} | {size.n_seats} ({size.n_drawn}) | {size.t_priv} / {size.t_rec} | {word} "
        f"| {size.sealed_bytes(N_VALUES, word):,} | {n * (box + ENTRY_BYTES) / 1000:,.0f} | {int(100 * lists)} % |"
    )


@pytest.mark.parametrize("n_devices", ROWS)
def test_a_row_is_what_the_functions_say(n_devices):
    assert row(int(n_devices.replace(",", ""))) in PAGE


def test_there_are_rows_and_what_helpers_take_is_what_one_box_is():
    assert len(ROWS) == 6
    assert f"{N_VALUES * 3 + TAG_BYTES:,} bytes at 3 bytes a word, {N_VALUES * 4 + TAG_BYTES:,} at 4" in PAGE
