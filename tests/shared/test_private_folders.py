"""A folder that is made is its owner's alone, whatever the umask; one that is there is left as it is."""

import os
import stat

import pytest

from shared.files import private_folder


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids="{:03o}".format)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(place) -> int:
    return stat.S_IMODE(place.stat().st_mode)


def test_a_folder_and_all_above_it_that_are_made_are_the_owner_s_alone(tmp_path, umask):
    folder = tmp_path / "a" / "b" / "c"
    assert private_folder(folder) == folder
    assert [mode(place) for place in (folder, folder.parent, folder.parent.parent)] == [0o700] * 3
    private_folder(folder)
    assert mode(folder) == 0o700


def test_what_is_there_stays_as_it_is(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o755)
    private_folder(tmp_path / "shared")
    private_folder(tmp_path / "shared" / "own")
    assert mode(tmp_path / "shared") == 0o755 and mode(tmp_path / "shared" / "own") == 0o700
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        private_folder(tmp_path / "file")
