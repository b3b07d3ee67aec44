"""Rivals from their owner's own files, as the command line names them: [NAME=]FILE.py:FUNCTION or [NAME=]MODULE:FUNCTION."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from shared.errors import ConfigError

from .scores import Rival, expect_different_names

FORM = "[NAME=]FILE.py:FUNCTION"


def load_rivals(words: Sequence[str]) -> list[Rival]:
    """The rivals that these words name. The code runs here, as its owner's own; ConfigError, in one line, if it is not found or
    fails."""
    found = [_loaded(word) for word in words]
    expect_different_names([rival.name for rival in found])
    return found


def _loaded(word: str) -> Rival:
    name, equals, place = word.partition("=")
    if not equals:
        name, place = "", word
    source, colon, attribute = place.rpartition(":")
    if not colon or not source or not attribute.isidentifier():
        raise ConfigError(f"expected --rival {FORM}, got {word!r}")
    module = _of_file(Path(source)) if source.endswith(".py") else _of_name(source)
    try:
        found = getattr(module, attribute)
    except AttributeError:
        raise ConfigError(f"expected a function {attribute} in {source}: it is not there") from None
    if isinstance(found, Rival):
        return Rival(name or found.name, found.rule, found.of)
    return Rival(name or attribute, found, getattr(found, "of", "leaving"))


def _of_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise ConfigError(f"expected a file with a rival, got {file}: it is not there")
    name = f"_rival_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"expected Python code in {file}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look there
    with _beside(file.resolve().parent), _in_one_line(str(file)):
        spec.loader.exec_module(module)
    return module


def _of_name(name: str) -> ModuleType:
    with _beside(Path.cwd()), _in_one_line(name):
        return importlib.import_module(name)


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """A body that also finds modules in `folder`, after all others: theirs never stand in for ours."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _in_one_line(source: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == source:
            raise ConfigError(f"expected a module or a file ending in .py with a rival, got {source!r}") from None
        frame = traceback.extract_tb(error.__traceback__)[-1]
        line = error.lineno if isinstance(error, SyntaxError) else frame.lineno
        file = error.filename if isinstance(error, SyntaxError) and error.filename else frame.filename
        raise ConfigError(
            f"expected {source} to be imported, but it ended with {type(error).__name__} at {Path(file).name}:{line}"
        ) from None
