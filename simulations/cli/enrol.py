"""`ebbtide enrol`: the offline key of the secure sum, and the epochs that it signs."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from shared.clock import WallClock
from shared.errors import ConfigError, DataError, WireError

from ..terminal.printing import say, say_path, say_table, shown
from .options import Overwrite, expect_free_file

if TYPE_CHECKING:
    from shared.secure_sum.epoch import Epoch

_HOUR_S, _DAY_S = 3_600, 86_400
#: A week; and the draws that the sizes of the secure sum are stated for.
DAYS, DRAWS = 7, 64

PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="A file whose one line is the passphrase that the key is encrypted under."),
]

app = typer.Typer(
    no_args_is_help=True,
    suggest_commands=False,
    rich_markup_mode="rich",
    help="""Say which devices and helpers are in a secure sum: make the offline key, sign a list, look at an epoch.

    Whoever signs the list decides whose numbers are added up. So this is for somebody who does not run the server, on a machine
    that the server cannot reach: keys come in as a file, a signed epoch goes out as one.""",
)


def register(parent: typer.Typer) -> None:
    """Add the commands to `parent`, as a group."""
    parent.add_typer(app, name="enrol")


@app.command()
def key(
    file: Annotated[Path, typer.Argument(help="Where to write the private key. Nothing may be there.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make the key that signs enrolment, once, and print its public half, which every app pins.

    Keep the file where no server can read it, and a copy of it: devices that pinned the public half believe no other key.

    Example: [bold]ebbtide enrol key enrolment.pem --passphrase-file passphrase[/]
    """
    from .offline_key import make_key, public_half, read_passphrase

    made = make_key(file, read_passphrase(passphrase_file))
    say_path("private key, for its owner only", file)
    say(f"public key: {public_half(made).hex()}")
    say("give the public key to the app as enrolment_key of its devices' profiles; keep the private one offline")


@app.command()
def sign(
    file: Annotated[
        Path, typer.Argument(metavar="LIST", help="Keys that asked to be enrolled, as a server wrote them.")
    ],
    key_file: Annotated[Path, typer.Option("--key", help="The private key, as made by [bold]ebbtide enrol key[/].")],
    out: Annotated[Path, typer.Option("--out", help="Where the signed epoch goes.")],
    days: Annotated[int, typer.Option(min=1, max=31, help="How long it holds, from this full hour on.")] = DAYS,
    draws: Annotated[
        int, typer.Option(min=1, max=1 << 16, help="The last round that seats are drawn for; more need more seats.")
    ] = DRAWS,
    helpers: Annotated[
        list[Path] | None,
        typer.Option(
            help="The keys of a helper server of another organisation, in a file like LIST; once for each of up to 5."
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    overwrite: Overwrite = False,
) -> None:
    """Close a list of keys, draw the seed that seats come from, and sign both as an epoch.

    Look at what it says before the epoch leaves your hands: whether there are as many devices as you know of, and whether the
    helpers' fingerprints are those that their owners read to you. Sign each number once.

    Example: [bold]ebbtide enrol sign keys.list --key enrolment.pem --helpers helpers.list --out epoch.cbor[/]
    """
    from shared.files import replace_content
    from shared.secure_sum import epoch as epochs

    from .offline_key import public_half, read_key, read_passphrase

    expect_free_file(out, overwrite=overwrite)
    listed = epochs.read_list(file)
    helping = [epochs.read_list(helper) for helper in helpers or ()]
    for one in helping:
        if (one.audience, one.number) != (listed.audience, listed.number):
            raise ConfigError(
                f"expected helpers' keys for epoch {listed.number} of audience {listed.audience!r}, "
                f"got some for epoch {one.number} of {one.audience!r}"
            )
    private = read_key(key_file, read_passphrase(passphrase_file))
    begins_s = int(WallClock().now_s()) // _HOUR_S * _HOUR_S
    closed = epochs.Epoch.close(
        listed.audience,
        listed.number,
        begins_s,
        begins_s + days * _DAY_S,
        listed.leaves,
        [leaf for one in helping for leaf in one.leaves],
        draws,
    )
    replace_content(out, epochs.sign(closed, private), durable=True)
    _say_epoch(closed)
    say(f"signed by {public_half(private).hex()}, after the list was closed and its seed drawn")
    say_path("epoch", out)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(metavar="EPOCH", help="A signed epoch.")],
    public_key: Annotated[
        str, typer.Option("--key", metavar="PUBLIC", help="The public key, in hex, that it should be signed by.")
    ] = "",
) -> None:
    """Say what is in an epoch, and whether its signature and its window hold. Exit code 1 if they do not.

    Example: [bold]ebbtide enrol show epoch.cbor --key 3b6a27bc...[/]
    """
    from shared.secure_sum import epoch as epochs

    pinned = _public_key(public_key) if public_key else b""
    data = epochs.read_epoch(file)
    try:
        found = epochs.unverified(data)
    except WireError as error:
        raise DataError(f"expected a signed epoch in {file}: {error}") from None
    _say_epoch(found)
    if pinned:
        epochs.signed_by(data, pinned)
        say("its signature holds")
    else:
        say("its signature was not looked at: give --key PUBLIC")
    found.expect_now(WallClock().now_s())
    say("its window holds now")


def _say_epoch(epoch: Epoch) -> None:
    """What is in an epoch, in words."""
    table = Table(show_header=False, title=f"epoch {epoch.number} of audience {shown(repr(epoch.audience))}")
    table.add_row("devices", f"{epoch.n_devices}")
    table.add_row("helpers", f"{len(epoch.helpers)}" if epoch.helpers else "none: seats are drawn from the devices")
    for helper in epoch.helpers:
        table.add_row("a helper's fingerprint", _fingerprint(helper))
    table.add_row("holds", f"from {_date(epoch.begins_s)} until {_date(epoch.ends_s)}")
    table.add_row("seats are drawn for", f"rounds 1 to {epoch.draws} of each kind of sum")
    table.add_row("fingerprint", epoch.sha256.hex())
    say_table(table)


def _fingerprint(leaf: bytes) -> str:
    return sha256(leaf).hexdigest()


def _date(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"second {seconds}"


def _public_key(text: str) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != 32:
        raise ConfigError("expected --key, the 32 bytes of a public key in hex")
    return data
