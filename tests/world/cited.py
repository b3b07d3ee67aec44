"""What a text cites of this repository, and what of it is not there: files, modules, their names, commands."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import typer

ROOT = Path(__file__).parents[2]
ROOMS = ("client", "server", "shared", "simulations", "ebbtide", "tests")
ENDINGS = "py|md|toml|tflite|json|svg|html|txt|yml"
#: Written by a run or a device, or other people's: names that no file of the repository has.
NOT_OURS = {
    *(
        "results.json",
        "scenario.json",
        "population.json",
        "account.json",
        "traffic.json",
        "caps.json",
        "results.jsonl",
        "withdrawal.json",
    ),
    *("scenario.toml", "runs/shop/scenario.toml", "my-shop.toml"),
    *(
        "runs/demo/report.html",
        "report.html",
        "decide.html",
        "FILE.toml",
        "mine.toml",
        "commit.txt",
        "product_categories.csv",
        "tuned.toml",
        "streams.json",
        "sweep.svg",
    ),
    *("server.pub", "dp_event.py", "passphrase.txt", "scenario.toml", "my-shop.toml"),
    *("evidence.json", "dpia.json", "sbom.json", "audit.json", "operator.toml"),
    *("evidence.html", "evidence.zh.html", "plain.en.html", "plain.zh.html", "label.en.html", "label.zh.html"),
    *("FILE.py", "rules.py", "models.py"),
}
#: Classes of other people's libraries that our texts name, and constants of the language.
THEIRS = {"Context", "True", "False", "None"}
#: What begins like a command and is none: the tag that a signature covers.
NO_COMMAND = {"ebbtide request v1"}


def prose_of(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every docstring and comment of a Python file."""
    for node in ast.walk(ast.parse(source)):
        has_docstring = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if has_docstring and (text := ast.get_docstring(node, clean=False)):
            yield node.body[0].lineno, text
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


class Repository:
    """Files, modules and names under a root."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root

    @cached_property
    def files(self) -> set[str]:
        """Every file of the rooms, docs and the root itself, by its path."""
        inside = (file for room in (*ROOMS, "docs", ".ci") for file in (self.root / room).rglob("*"))
        return {file.relative_to(self.root).as_posix() for file in (*self.root.iterdir(), *inside) if file.is_file()}

    @cached_property
    def file_names(self) -> set[str]:
        return {Path(file).name for file in self.files}

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """Every Python file, parsed."""
        files = (file for file in self.files if file.endswith(".py"))
        return {file: ast.parse((self.root / file).read_text(encoding="utf-8")) for file in files}

    @cached_property
    def modules(self) -> dict[str, set[str]]:
        """Names at the top of every module, by its dotted path."""
        dotted = {file: file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in self.trees}
        return {dotted[file]: _names_in(tree) for file, tree in self.trees.items()}

    @cached_property
    def classes(self) -> dict[str, set[str]]:
        """What can stand behind the dot of every class, its bases' names too."""
        own: dict[str, set[str]] = {}
        bases: dict[str, set[str]] = {}
        for node in (node for tree in self.trees.values() for node in ast.walk(tree)):
            if isinstance(node, ast.ClassDef):
                own.setdefault(node.name, set()).update(_names_in(node))
                bases.setdefault(node.name, set()).update(base.id for base in node.bases if isinstance(base, ast.Name))
        for _ in range(4):  # as deep as bases of bases go
            for name, of in bases.items():
                own[name].update(*(own[base] for base in of if base in own))
        return own

    def missing_files(self, text: str, folder: str = "") -> list[str]:
        """Cited files and folders that are not there. A path is taken from the root, or from the page's own `folder`."""
        found = [
            match[0] for match in re.finditer(rf"(?<![\w/.:<-])[\w.-]+(?:/[\w.-]+)*\.(?:{ENDINGS})\b(?!/|\.\w)", text)
        ]
        found += [
            match[0]
            for match in re.finditer(rf"(?<![\w/.])(?:{'|'.join((*ROOMS, 'docs'))})/(?:[\w-]+/)*(?![\w.-])", text)
        ]
        found += [match[1] for match in re.finditer(r"\]\(([^)#:]+)\)", text)]
        return [path for path in dict.fromkeys(found) if not self._is_file(path, folder)]

    def _is_file(self, path: str, folder: str) -> bool:
        bare = path.lstrip("-")
        if bare in NOT_OURS or ("/" not in bare and bare in self.file_names):
            return True
        return any((self.root / place / bare).exists() for place in ("", folder))

    def missing_names(self, text: str) -> list[str]:
        """Cited dotted names of rooms, and of classes and modules in backticks, that are not there."""
        dotted = re.findall(rf"(?<![\w/.])(?:{'|'.join(ROOMS)})(?:\.\w+)+", text)
        out = [name for name in dotted if name not in NOT_OURS and not self._is_module(name)]
        for whole in re.findall(r"`([A-Za-z_]\w*\.\w+)`", text):
            first, name = whole.split(".")
            if first not in ROOMS and name not in ENDINGS.split("|") and not self._is_said(first, name):
                out.append(whole)
        out += [name for name in re.findall(r"`([A-Z][a-z]+[A-Za-z]*)`", text) if not self._is_class(name)]
        return out

    def _is_module(self, dotted: str) -> bool:
        parts = dotted.split(".")
        for n in range(len(parts), 0, -1):
            if (module := ".".join(parts[:n])) in self.modules or f"{'/'.join(parts[:n])}/" in self._folders:
                rest = parts[n:]
                if not rest:
                    return True
                return rest[0] in self.modules.get(module, ()) and (
                    len(rest) == 1 or rest[1] in self.classes.get(rest[0], ())
                )
        return False

    @cached_property
    def _folders(self) -> set[str]:
        return {f"{Path(file).parent.as_posix()}/" for file in self.files}

    def _is_said(self, first: str, name: str) -> bool:
        """Whether `first.name` is a class's or a module's name; or a file that is written, a key, a field."""
        if f"{first}.{name}" in self.strings:
            return True
        if name in self.classes.get(f"{first.capitalize()}Section", ()):  # a key of a scenario
            return True
        if first[0].isupper():
            return first in THEIRS or name in self.classes.get(first, ())
        of = [names for dotted, names in self.modules.items() if dotted.rpartition(".")[2] == first]
        return any(name in names for names in of) if of else first in self.fields

    @cached_property
    def strings(self) -> set[str]:
        """Every string in the code, tests left out."""
        trees = (tree for file, tree in self.trees.items() if not file.startswith("tests/"))
        nodes = (node for tree in trees for node in ast.walk(tree))
        return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}

    @cached_property
    def fields(self) -> set[str]:
        """Every name that a class has: a section of a scenario, a field."""
        return set().union(*self.classes.values())

    def _is_class(self, name: str) -> bool:
        return name in self.classes or name in THEIRS or any(name in names for names in self.modules.values())

    # ---- commands

    @cached_property
    def targets(self) -> set[str]:
        """What `make` can be asked for."""
        return set(re.findall(r"^([\w.-]+):", (self.root / "Makefile").read_text(encoding="utf-8"), re.M))

    def unknown_commands(self, text: str) -> list[str]:
        """`ebbtide`, `make` and `python -m` commands, in code or on a console line, that do not exist."""
        code = re.findall(r"`([^`\n]+)`", text) + [
            line.removeprefix("$ ")
            for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.S | re.M)
            for line in block.splitlines()
        ]
        out = []
        for line in code:
            for words in (part.split() for part in re.split(r"&&|;|\|", line)):
                if words and line not in NO_COMMAND and not self._is_command(words):
                    out.append(" ".join(words))
        return list(dict.fromkeys(out))

    def _is_command(self, words: list[str]) -> bool:
        """False for one of the three that is none; true for anything else."""
        program = words[0].rpartition("/")[2]
        if program == "make" and len(words) > 1:
            return all(word in self.targets for word in words[1:] if "=" not in word and "/" not in word)
        if program == "ebbtide" and len(words) > 1 and words[1][0] not in "[-":
            options = {word.split("=")[0] for word in words[2:] if word.startswith("--")}
            name = next((name for name in (" ".join(words[1:3]), words[1]) if name in commands()), "")
            return name in commands() and options <= commands()[name]
        if program.startswith("python") and words[1:2] == ["-m"] and words[2].split(".")[0] in ROOMS:
            return words[2] in self.modules and (f"{words[2]}.__main__" in self.modules or self._runs(words[2]))
        return True

    def _runs(self, module: str) -> bool:
        file = self.root / f"{module.replace('.', '/')}.py"
        return file.exists() and "__main__" in file.read_text(encoding="utf-8")


def commands() -> dict[str, set[str]]:
    """Options of each command of `ebbtide`."""
    from simulations.cli.commands import app

    found = dict(typer.main.get_command(app).commands)
    for group, inner in list(found.items()):
        found |= {f"{group} {name}": command for name, command in getattr(inner, "commands", {}).items()}
    return {
        name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in found.items()
    }


def _names_in(node: ast.Module | ast.ClassDef) -> set[str]:
    """Names that a module or class defines or imports, wherever in its blocks; of a class, what it sets on itself too."""
    out: set[str] = set()
    for inner in ast.walk(node) if isinstance(node, ast.ClassDef) else _outside_functions(node):
        if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            out.add(inner.name)
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            out.add(inner.id)
        elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
            out.add(inner.attr)
        elif isinstance(inner, ast.Import | ast.ImportFrom):
            out |= {alias.asname or alias.name for alias in inner.names}
    return out


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _outside_functions(node)
