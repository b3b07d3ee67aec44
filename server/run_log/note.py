"""A signed checkpoint of a log: how many leaves it has, and under which root. In the form of the C2SP specifications "signed note" and
"tlog-checkpoint", so that tools for transparency logs read it:

    ebbtide run log
    <number of leaves>
    <root, base64>

    — <name of the key> <base64 of 4 bytes that name the key, and the Ed25519 signature>
"""

from __future__ import annotations

import base64
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: First line of every checkpoint, and the name of the key under it. The key signs requests, too, which begin with another tag.
ORIGIN = "ebbtide run log"
KEY_NAME = "ebbtide-server"
_ED25519 = b"\x01"


def key_id(public_key: bytes) -> bytes:
    """The 4 bytes that name a public key (32 bytes) in a note."""
    return sha256(KEY_NAME.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def checkpoint_text(size: int, root: bytes) -> str:
    """What is signed."""
    return f"{ORIGIN}\n{size}\n{base64.b64encode(root).decode()}\n"


def signed_note(size: int, root: bytes, key: Ed25519PrivateKey) -> str:
    """The checkpoint of a log of `size` leaves with this root, under the server's key."""
    text = checkpoint_text(size, root)
    public = key.public_key().public_bytes_raw()
    signature = base64.b64encode(key_id(public) + key.sign(text.encode())).decode()
    return f"{text}\n— {KEY_NAME} {signature}\n"
