"""docs/commands.md: the command's own help as a page. `python -m simulations.cli.commands_page` writes it, a test holds it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import typer

from shared.files import replace_content

from ..provenance import ROOT
from .commands import app

PAGE_FILE = ROOT / "docs" / "commands.md"
HEAD = """# The `ebbtide` command

Written by `python -m simulations.cli.commands_page` from the command's own help. Exit codes: 0 done, 1 a run failed, 2 bad input
(one line says what), 130 stopped by Ctrl-C, 143 by SIGTERM (a sentence says what is left, and how to go on).
A scenario is one of `simulations/scenarios/shipped/`, or a file of that form.

`ebbtide --version` says the version, and in a clone the commit. Completion for bash, zsh and fish: `ebbtide --install-completion` writes it
for the shell that it is called from, `ebbtide --show-completion` prints it. For another shell, or without a terminal:
`_EBBTIDE_COMPLETE=source_zsh ebbtide` (or `source_bash`, `source_fish`)."""


def commands_page() -> str:
    """The page: what the command is for, then each command with its arguments and options."""
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    parts = [
        HEAD,
        _text(group.help),
        *(part for name, command in group.commands.items() for part in _parts(name, command)),
    ]
    return "\n\n".join(parts) + "\n"


def _parts(name: str, command: click.Command) -> Iterator[str]:
    """A command as it is; of a group, what it is for, then its commands."""
    if not isinstance(command, click.Group):
        yield _command(name, command)
        return
    yield f"## ebbtide {name}\n\n{_text(command.help)}"
    for inner, each in command.commands.items():
        yield from _parts(f"{name} {inner}", each)


def _command(name: str, command: click.Command) -> str:
    whole = f"ebbtide {name}"
    usage = command.get_usage(click.Context(command, info_name=whole)).removeprefix("Usage: ")
    rows = list(_rows(command))
    table = "\n".join(["| | | default |", "| --- | --- | --- |", *rows])
    return "\n\n".join([f"## {whole}", f"```console\n$ {usage}\n```", _text(command.help), *([table] if rows else [])])


def _rows(command: click.Command) -> Iterator[str]:
    """A row of the table for each argument and option."""
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
            kind = parameter.metavar or parameter.type.name.removesuffix(" range").upper()
            value = "" if parameter.is_flag else f" {kind}"
        else:
            names, value = f"`{(parameter.name or '').upper()}`", ""
        unset = parameter.default is None or parameter.default == ""
        default = "required" if parameter.required else "" if unset else f"`{parameter.default}`"
        yield f"| {names}{value} | {_text(getattr(parameter, 'help', None))} | {default} |"


def _text(help_text: str | None) -> str:
    """Help as Markdown: what is bold in a terminal is code if it can be typed, else bold."""

    def marked(bold: re.Match[str]) -> str:
        words = " ".join(bold[1].split())
        return f"`{words}`" if words.startswith("ebbtide") else f"**{words}**"

    text = re.sub(r"\[bold\](.*?)\[/\]", marked, help_text or "", flags=re.S)
    return "\n".join(line.strip() for line in text.strip().splitlines())


if __name__ == "__main__":
    replace_content(PAGE_FILE, commands_page())
