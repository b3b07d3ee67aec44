"""The `ebbtide` command's entry: signals are watched before anything large is loaded. Exit codes: `simulations/terminal/ending.py`."""

from __future__ import annotations

from collections.abc import Sequence

from ..terminal.ending import end_with


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `ebbtide`; `arguments` are those of the process unless some are given."""

    def ebbtide() -> object:
        from .commands import app

        return app(args=arguments, prog_name="ebbtide", standalone_mode=False)

    end_with(ebbtide)
