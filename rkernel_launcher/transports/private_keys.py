"""Private keys of this PC that open a board: which there are, and making one."""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_MAGIC = b"openssh-key-v1\0"  # PROTOCOL.key of OpenSSH
_BEGIN, _END = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END"


def is_encrypted(path: Path) -> bool:
    """Say whether a private key has a passphrase; False also if there is no such key."""
    try:
        text = path.read_text("ascii", "replace")
        if _BEGIN not in text:
            return "ENCRYPTED" in text
        body = base64.b64decode(text.partition(_BEGIN)[2].partition(_END)[0])
        size = struct.unpack_from(">I", body, len(_MAGIC))[0]
        cipher = body[len(_MAGIC) + 4 : len(_MAGIC) + 4 + size]
    except (OSError, ValueError, struct.error):
        return False
    return body.startswith(_MAGIC) and cipher != b"none"


def public_key(identities: Iterable[Path]) -> Path | None:
    """Choose the public key to install: one whose private key needs no passphrase, if there is one.

    Args:
        identities: Files of private keys, in the order in which they are tried.

    Returns:
        The file of the public key; None if there is none.
    """
    found = [path for path in identities if path.suffix != ".pub" and _public(path).is_file()]
    opens = [path for path in found if not is_encrypted(path)]
    return next((_public(path) for path in (*opens, *found)), None)


def make(path: Path, comment: str) -> Path:
    """Make an Ed25519 key without a passphrase, as ssh-keygen does.

    Args:
        path: Where; its folder is made, too.
        comment: What names it in authorized_keys.

    Returns:
        The file of the public key.

    Raises:
        OSError: It cannot be written, or is there already.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)
    _public(path).write_bytes(public + b" " + comment.encode() + b"\n")
    return _public(path)


def _public(path: Path) -> Path:
    return path.with_name(path.name + ".pub")
