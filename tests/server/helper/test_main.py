"""`python -m server.helper`: the keys of a helper, as a list for who signs."""

import pytest

from server.helper.__main__ import main
from server.helper.store import HelperStore
from shared.secure_sum.epoch import read_list
from shared.secure_sum.leaves import seat_key_of


def test_the_list_holds_the_keys_that_the_helper_answers_with(tmp_path, capsys):
    out = tmp_path / "helper.list"
    main([str(tmp_path / "home"), "--audience", "north", "--epoch", "7", "--out", str(out)])
    listed = read_list(out)
    assert (listed.audience, listed.number, len(listed.leaves)) == ("north", 7, 1)
    again = HelperStore(tmp_path / "home").seat_key(7).public_key().public_bytes_raw()
    assert seat_key_of(listed.leaves[0]) == again and again.hex() in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong", [["--epoch", "6"], ["--epoch", "x"], ["--epoch", "8", "--audience", "x" * 65], ["--epoch", "0"]]
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(tmp_path, wrong, capsys):
    home, out = tmp_path / "home", tmp_path / "helper.list"
    main([str(home), "--epoch", "7", "--out", str(tmp_path / "first.list")])
    with pytest.raises(SystemExit) as ended:
        main([str(home), *wrong, "--out", str(out)])
    assert ended.value.code == 2 and not out.exists() and "error: " in capsys.readouterr().err


def test_a_list_that_is_there_is_not_replaced(tmp_path):
    out = tmp_path / "helper.list"
    out.write_text("mine")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "home"), "--epoch", "7", "--out", str(out)])
    assert out.read_text() == "mine"
