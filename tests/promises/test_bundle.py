"""What Flower ships to every device's node: the app's bundle (FAB) holds what a device and the server's app need, no more."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from flwr.cli.build import get_filtered_fab_paths

ROOT = Path(__file__).parents[2]
ROOMS = ("client", "server", "shared", "simulations", "ebbtide", "tests", "docs")
#: Folders of the server that its app, or a helper's, needs.
OF_THE_SERVER = (
    "server",
    "server/heads",
    "server/helper",
    "server/insights",
    "server/privacy",
    "server/public",
    "server/run_log",
    "server/sums",
)
#: Rooms that the server may get, and code beside the app's that a careless pattern would take along.
LATER = ("server/console/page.py", "docs/server/notes.py", "runs/client/app.py")


@pytest.fixture(scope="module")
def bundled() -> set[str]:
    """The files that Flower takes into the bundle, by its own rules, if the server's later rooms were there."""
    found = [*ROOT.iterdir(), *(path for room in ROOMS for path in (ROOT / room).rglob("*"))]
    names = [path.relative_to(ROOT).as_posix() for path in found if path.is_file()]
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return set(get_filtered_fab_paths(dict.fromkeys([*names, *LATER], b""), config))


def modules(room: str, pattern: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / room).glob(pattern)}


def test_it_holds_the_code_of_client_shared_and_what_the_server_s_app_needs(bundled):
    own = {name for folder in OF_THE_SERVER for name in modules(folder, "*.py")}
    expected = modules("client", "**/*.py") | modules("shared", "**/*.py") | own | {"LICENSE"}
    assert {"client/vault/store.py", "server/app.py", "shared/codec.py"} <= expected
    assert bundled == expected


def test_nothing_of_simulations_tests_docs_or_another_room_of_the_server_is_in_it(bundled):
    assert {name.split("/")[0] for name in bundled} == {"client", "server", "shared", "LICENSE"}
    rooms = {str(Path(name).parent) for name in bundled if name.startswith("server/")}
    assert rooms == set(OF_THE_SERVER)


def test_both_apps_are_imported_from_it_alone(bundled, tmp_path):
    """In a process that has the libraries, but whose modules are those of the unpacked bundle."""
    for name in bundled - {*LATER}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    program = "import client.app, server.app; print(client.app.__file__, server.app.__file__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "client" / "app.py"), str(tmp_path / "server" / "app.py")]
