"""`ebbtide verify`: whether a run's log holds, and its files with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.errors import ConfigError, RunError

from ..terminal.printing import say

if TYPE_CHECKING:
    from ..evidence.verifier import Seen


def register(parent: typer.Typer) -> None:
    """Add the command to `parent`."""
    parent.command()(verify)


def verify(
    run: Annotated[Path, typer.Argument(help="The folder of a run, e.g. runs/demo, or of a server.")],
    key: Annotated[
        str, typer.Option(help="The server's public key that devices pinned: 64 hex digits, or a file of 32 bytes.")
    ] = "",
    witness: Annotated[
        list[Path] | None,
        typer.Option(help="What a device saw of the log: JSON lines, or the folder of a simulated device."),
    ] = None,
) -> None:
    """Check what a run's server wrote down: in order, signed, nothing changed, and the files are what it says.

    A log that was cut off, rewritten or forked after devices were asked anything is found by what any of them saw: each signed
    request tells its device how the log stands. Ends with 1 if anything does not hold.

    Example: [bold]ebbtide verify runs/demo --witness runs/demo/devices/7[/]
    """
    from ..evidence.verifier import check, holds_in_words, key_of

    try:
        seen = [head for place in witness or () for head in _seen_by(place)]
        found = check(run, key_of(key) if key else None, seen)
    except (OSError, ValueError) as error:
        raise ConfigError(f"expected a run whose server kept a log, got {run}: {error}") from None
    for line in found:
        say(line)
    if found:
        raise RunError(f"the log of {run} does not hold: {len(found)} findings")
    say(holds_in_words(run, seen))


def _seen_by(place: Path) -> list[Seen]:
    from ..evidence.verifier import read_witness

    if place.is_dir():
        from ..evidence.witness import seen_by_device

        return seen_by_device(place)
    return read_witness(place)
