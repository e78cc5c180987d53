"""Private keys: of the agent, in files, behind passphrases; and the making of a new one."""

from __future__ import annotations

import base64
import binascii
import getpass
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ...errors import KeyUnusable
from . import passwords
from .config import Route
from .passwords import Prompts

_PASSPHRASE_TRIES = 3


class PassphraseMissing(Exception):
    """The key's file is encrypted, and the passphrase given is none or wrong."""


@contextmanager
def agent_keys() -> Iterator[list[paramiko.AgentKey]]:
    """Open the agent's keys for as long as the block runs; none when there is no agent."""
    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):  # an agent that speaks something else, or is going
        yield []
        return
    try:
        yield [_AgentKey(key.agent, key.blob, key.comment) for key in agent.get_keys()]
    finally:
        agent.close()


class _AgentKey(paramiko.AgentKey):
    """A key whose agent may refuse to sign.

    paramiko signs in its reader thread, where an exception would end the connection; an empty
    signature is merely refused by the server, and the next key gets its turn.
    """

    def sign_ssh_data(self, data: Any, algorithm: str | None = None) -> paramiko.Message:
        try:
            return super().sign_ssh_data(data, algorithm)
        except (paramiko.SSHException, OSError):
            return paramiko.Message()


def candidates(
    route: Route, agent: list[paramiko.AgentKey], prompts: Prompts | None
) -> Iterator[paramiko.PKey]:
    """Go through the keys worth trying, each once, the surest first, and those that ask last.

    The order: the agent's copies of the identities, identities without a passphrase, other keys of
    the agent unless identities_only, identities with a passphrase.

    Parameters: `route`; `agent`, the agent's keys; `prompts` for passphrases, or None.
    Errors: KeyUnusable, for an identity that the target names; others are passed over.
    """
    offered: set[bytes] = set()
    held = {key.asbytes(): key for key in agent}
    locked = []
    for path in route.identities:
        key: paramiko.PKey | None = held.get(public_blob(path) or b"")
        try:
            key = key or load(path)
        except PassphraseMissing:
            locked.append(path)
        except KeyUnusable:
            if route.identities_from == "target":
                raise
        if key is not None and key.asbytes() not in offered:
            offered.add(key.asbytes())
            yield held.get(key.asbytes(), key)
    if not route.identities_only:
        yield from (key for blob, key in held.items() if blob not in offered)
    for path in locked:
        unlocked = _unlock(path, prompts)
        if unlocked is not None:
            yield unlocked
        elif route.identities_from == "target":
            raise KeyUnusable(path=path, detail="its passphrase was not given")


def locked_identity(route: Route) -> Path | None:
    """Find an identity that the user named and whose passphrase is not at hand, to blame it.

    Parameters: `route`, of a login that failed with nobody to ask.
    """
    for path in route.identities if route.identities_from != "default" else ():
        try:
            load(path)
        except PassphraseMissing:
            if passwords.recall(str(path)) is None:
                return path
        except KeyUnusable:
            pass
    return None


def load(path: Path, passphrase: str | None = None) -> paramiko.PKey:
    """Read a private key, in OpenSSH's or a PEM format, and the certificate beside it.

    Parameters: `path`; `passphrase`, None to try without.
    Errors: PassphraseMissing, KeyUnusable.
    """
    secret = passphrase.encode() if passphrase is not None else None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KeyUnusable(path=path, detail=error.strerror) from error
    openssh = b"BEGIN OPENSSH PRIVATE KEY" in data
    read = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    try:
        private = read(data, secret)
    except TypeError as error:  # how cryptography says that a passphrase is missing
        raise PassphraseMissing from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if secret is not None:
            raise PassphraseMissing from error
        raise KeyUnusable(path=path, detail="it is not a private key that we can read") from error
    key = _to_paramiko(private, path)
    certificate = path.with_name(path.name + "-cert.pub")
    if certificate.exists():
        with suppress(paramiko.SSHException, ValueError, OSError):  # the bare key may do
            key.load_certificate(str(certificate))
    return key


def public_blob(path: Path) -> bytes | None:
    """Find the public half of an identity without its passphrase.

    Parameters: `path`, of the private key, or of a public key whose private half the agent holds.
    Returns: its wire form (RFC 4253, section 6.6), or None when no file tells.
    """
    for file in (path, path.with_name(path.name + ".pub")):
        with suppress(OSError, UnicodeDecodeError, IndexError, binascii.Error):
            line = file.read_text("ascii").splitlines()[0]
            if not line.startswith("-----"):
                return base64.b64decode(line.split()[1], validate=True)
    return None


def make(path: Path) -> str:
    """Make an ed25519 key without a passphrase, as ssh-keygen does.

    Parameters: `path`, for the private key, which must not exist; ".pub" goes beside it.
    Returns: the public key's line.
    Errors: KeyUnusable.
    """
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    line = f"{public.decode()} {getpass.getuser()}@{platform.node()}\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_openssh(private))
        path.with_name(path.name + ".pub").write_text(line)
    except OSError as error:
        raise KeyUnusable(path=path, detail=error.strerror) from error
    return line


def _unlock(path: Path, prompts: Prompts | None) -> paramiko.PKey | None:
    kept = passwords.recall(str(path))
    if kept is not None:
        with suppress(PassphraseMissing):
            return load(path, kept)
    if prompts is None:
        return None
    for _ in range(_PASSPHRASE_TRIES):
        passphrase = prompts.secret(f"Passphrase of {path}")
        if not passphrase:
            return None
        with suppress(PassphraseMissing):
            key = load(path, passphrase)
            passwords.offer_to_keep(str(path), passphrase, prompts)
            return key
    return None


_Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def _to_paramiko(private: object, path: Path) -> paramiko.PKey:
    wrapper: type[paramiko.PKey]
    match private:
        case rsa.RSAPrivateKey():
            wrapper = paramiko.RSAKey
        case ec.EllipticCurvePrivateKey():
            wrapper = paramiko.ECDSAKey
        case ed25519.Ed25519PrivateKey():
            wrapper = paramiko.Ed25519Key
        case _:
            raise KeyUnusable(path=path, detail="it is of a kind that SSH servers no longer take")
    return wrapper.from_private_key(StringIO(_openssh(private).decode()))


def _openssh(private: _Private) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
