"""docs/commands.md is what the command says of itself."""

import click
import typer

from simulations.cli import commands_page
from simulations.cli.commands import app


def test_the_page_is_the_command_s_own_help():
    written = commands_page.PAGE_FILE.read_text(encoding="utf-8")
    assert written == commands_page.commands_page(), "run python -m simulations.cli.commands_page"


def every_command(group, before=""):
    """Name and command, those of groups included."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_every_command_and_option_is_on_the_page():
    page = commands_page.commands_page()
    for name, command in every_command(typer.main.get_command(app)):
        section = page.split(f"\n## ebbtide {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            assert f"`{max(parameter.opts, key=len)}`" in section or f"`{parameter.name.upper()}`" in section, name


def test_a_command_that_changed_is_noticed(monkeypatch):
    changed = typer.Typer()
    changed.command()(lambda: None)
    monkeypatch.setattr(commands_page, "app", changed)
    changed.command("other")(lambda: None)
    assert commands_page.commands_page() != commands_page.PAGE_FILE.read_text(encoding="utf-8")
