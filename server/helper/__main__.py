"""What a helper's owner gives to who enrols: the keys of this helper in one epoch, as a list.

    python -m server.helper FOLDER --audience NAME --epoch NUMBER --out FILE

The server says the epoch's number: it stands in the list of devices. What is printed is read to who signs, by voice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from shared.errors import EbbtideError
from shared.secure_sum.epoch import EnrolmentList, write_list
from shared.secure_sum.leaves import leaf_of

from ..signing import public_bytes, signing_key
from .answers import KEY_FILE
from .store import HelperStore


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the list; made keys are kept. Exits with 2 and one line for what cannot be."""
    parser = argparse.ArgumentParser(prog="python -m server.helper", description=__doc__)
    parser.add_argument("folder", type=Path, help="the helper's data-dir")
    parser.add_argument("--audience", default="", help="the deployment that it adds up for")
    parser.add_argument("--epoch", type=int, required=True, help="the epoch's number")
    parser.add_argument("--out", type=Path, required=True, help="where the list goes")
    chosen = parser.parse_args(arguments)
    if chosen.out.exists():
        parser.error(f"expected a free place, but {chosen.out} is there")
    try:
        identity = public_bytes(signing_key(chosen.folder / KEY_FILE))
        seat = HelperStore(chosen.folder).seat_key(chosen.epoch).public_key().public_bytes_raw()
        write_list(chosen.out, EnrolmentList(chosen.audience, chosen.epoch, (leaf_of(identity, seat),)))
    except EbbtideError as error:
        parser.error(str(error))
    print(f"identity {identity.hex()}\nseat key {seat.hex()}\nin epoch {chosen.epoch}: {chosen.out}")


if __name__ == "__main__":
    main()
