"""Who imports whom: asked of fresh interpreters, and of the files."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("shared", "client", "server", "simulations", "ebbtide", "tests")
MOST_LINES, MOST_FILES = 400, 20

#: Prints every module that an import brought in or asked for in vain: a guarded `try: import tensorflow` counts too.
FRESH = """
import json, sys
asked = set()
class Listener:
    def find_spec(self, name, path=None, target=None):
        asked.add(name)
sys.meta_path.insert(0, Listener())
before = set(sys.modules)
import importlib
importlib.import_module(sys.argv[1])
print(json.dumps(sorted((set(sys.modules) - before) | asked)))
"""


def packages_after(module: str) -> set[str]:
    """Top-level packages that importing `module` brings into a fresh interpreter, or asks for."""
    done = subprocess.run(
        [sys.executable, "-c", FRESH, module], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def modules_of(room: str) -> list[str]:
    return sorted(f"{room}.{file.stem}" for file in (ROOT / room).glob("*.py") if file.stem != "__init__")


HEAVY = {"tensorflow", "keras", "torch", "pandas", "sklearn", "matplotlib"}


def test_the_listener_hears_a_guarded_import(tmp_path):
    """The test below would notice: a module that tries and gives up."""
    (tmp_path / "guarded.py").write_text("try:\n    import tensorflow\nexcept ImportError:\n    pass\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{FRESH}"
    done = subprocess.run([sys.executable, "-c", code, "guarded"], capture_output=True, text=True, check=True)
    assert "tensorflow" in json.loads(done.stdout)


def test_the_client_app_brings_in_neither_tensorflow_nor_the_server_nor_simulations():
    found = packages_after("client.app")
    assert {"client", "shared", "flwr", "numpy"} <= found
    assert not found & (HEAVY | {"server", "simulations", "dp_accounting", "sqlalchemy"})


def test_a_device_without_its_flower_app_brings_in_no_flower():
    found = packages_after("client.device")
    assert {"client", "shared"} <= found
    assert not found & (HEAVY | {"flwr", "ray", "server", "simulations", "dp_accounting", "sqlalchemy"})


def test_the_server_app_brings_in_neither_tensorflow_nor_the_client_nor_simulations():
    found = packages_after("server.app")
    assert {"server", "shared", "flwr"} <= found
    assert not found & ({"tensorflow", "keras", "torch", "client", "simulations"})


def test_shared_brings_in_numpy_and_nothing_else():
    for module in modules_of("shared"):
        found = packages_after(module)
        theirs = {"shared", "numpy", "org"}  # "org": the standard library's copy asks for Jython
        foreign = found - set(sys.stdlib_module_names) - theirs
        assert not foreign, module


def test_the_secure_sum_brings_in_numpy_and_cryptography_and_nothing_else():
    ours = packages_after("cryptography.hazmat.primitives.asymmetric.ed25519") | {"shared", "numpy", "org"}
    for file in (ROOT / "shared" / "secure_sum").glob("*.py"):
        foreign = packages_after(f"shared.secure_sum.{file.stem}") - set(sys.stdlib_module_names) - ours
        assert not foreign, file.name


def imports_of(file: Path) -> set[str]:
    """Top-level packages that a file imports by absolute name, wherever in the file."""
    out = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            out |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            out.add(node.module.partition(".")[0])
    return out


FORBIDDEN = {
    "shared": {"client", "server", "simulations", "ebbtide", "tests", "flwr", "tensorflow", "cbor2"},
    "client": {"server", "simulations", "ebbtide", "tests", "tensorflow", "dp_accounting", "sqlalchemy", "cbor2"},
    "server": {"client", "simulations", "ebbtide", "tests", "cbor2"},
    "simulations": {"ebbtide", "tests", "tensorflow", "cbor2"},
    "ebbtide": {"shared", "server", "tests", "flwr", "ray", "tensorflow", "pandas", "numpy", "cbor2"},
}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_no_file_of_a_room_names_a_room_it_must_not_know(room):
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        assert not imports_of(file) & FORBIDDEN[room], file.name
        assert room not in imports_of(file), f"{file.name}: imports inside a room are relative"


def test_tensorflow_is_named_by_the_exporter_alone():
    named = {file.relative_to(ROOT).as_posix() for room in FORBIDDEN for file in (ROOT / room).rglob("*.py")
             if "tensorflow" in imports_of(file)}  # fmt: skip
    assert named == {"server/export.py"}


def test_flower_is_named_by_the_client_s_app_alone():
    named = {file.name for file in (ROOT / "client").rglob("*.py") if "flwr" in imports_of(file)}
    assert named == {"app.py"}


@pytest.mark.parametrize("room", ROOMS)
def test_the_names_of_the_rooms_are_ours(room):
    assert Path(importlib.import_module(room).__file__).parent == ROOT / room


def test_no_file_is_too_long_to_read():
    long = {
        file.relative_to(ROOT).as_posix(): n
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
        if (n := len(file.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }
    assert not long


def test_no_folder_has_too_many_files_to_look_through():
    """Tests are left out: a room's are as many as the room has promises."""
    full = {
        folder.relative_to(ROOT).as_posix(): n
        for room in set(ROOMS) - {"tests"}
        for folder in (ROOT / room, *(ROOT / room).rglob("*/"))
        if folder.name != "__pycache__" and (n := sum(1 for file in folder.glob("*") if file.is_file())) > MOST_FILES
    }
    assert not full
