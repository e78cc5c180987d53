"""The private keys that a login tries: the agent's, and those in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import paramiko
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from paramiko.pkey import PublicBlob

from ..private_keys import is_encrypted
from ..process import PERSON_SECONDS
from ..prompts import Prompts, recall
from .settings import Route

_TRIES = 3  # with a passphrase
_KINDS: dict[type, type[paramiko.PKey]] = {
    ed25519.Ed25519PrivateKey: paramiko.Ed25519Key,
    ec.EllipticCurvePrivateKey: paramiko.ECDSAKey,
    rsa.RSAPrivateKey: paramiko.RSAKey,
}
_REQUEST_IDENTITIES, _IDENTITIES = bytes([11]), 12  # of the agent's protocol


class Locked(Exception):
    """Nobody gave the passphrase of a key."""


class Key(NamedTuple):
    """A key to try.

    Attributes:
        kind: Its kind, as servers call it.
        blob: The public key or the certificate, in its wire form (RFC 4253, section 6.6).
        sign: Signs, with the name of an algorithm; it may raise Locked or, if the agent does not
            sign, SSHException or OSError.
    """

    kind: str
    blob: bytes
    sign: Callable[[bytes, str], Any]


class _Agent(paramiko.Agent):
    """An agent whose keys may have comments of any bytes, and which may wait for a person."""

    def _connect(self, conn: Any) -> None:
        self._conn = conn
        with suppress(AttributeError):  # what leads to an agent of Windows has no limit to set
            conn.settimeout(PERSON_SECONDS)
        kind, answer = self._send_message(_REQUEST_IDENTITIES)  # type: ignore[attr-defined]
        if kind != _IDENTITIES:
            raise paramiko.SSHException("the agent does not tell its keys")
        pairs = [(answer.get_binary(), answer.get_binary()) for _ in range(answer.get_int())]
        self._keys = tuple(paramiko.AgentKey(self, blob) for blob, _comment in pairs)


@contextmanager
def held() -> Iterator[dict[bytes, Key]]:
    """Open the agent for as long as the block runs; give its keys, none if there is no agent."""
    agent = None
    with suppress(paramiko.SSHException, OSError):
        agent = _Agent()
    found = [key for key in agent.get_keys() if "-cert-" not in key.name] if agent else []
    try:
        yield {key.blob: Key(key.name, key.blob, key.sign_ssh_data) for key in found}
    finally:
        if agent is not None:
            agent.close()


def candidates(route: Route, agent: dict[bytes, Key], prompts: Prompts | None) -> Iterator[Key]:
    """Go through the keys worth trying, each once, the surest first and those that ask last.

    Args:
        route: The way to the host.
        agent: The agent's keys.
        prompts: How to ask for a passphrase.
    """
    rest = dict(agent)
    locked: list[Path] = []
    for path in route.identities:
        half = public(path)
        if half is not None and half.key_blob in agent:
            yield agent[half.key_blob]
            rest.pop(half.key_blob, None)
        elif is_encrypted(path):
            locked.append(path)
        elif key := _load(path):
            if key.public_blob is not None:  # the certificate beside it
                yield Key(key.public_blob.key_type, key.public_blob.key_blob, key.sign_ssh_data)
            yield Key(key.get_name(), key.asbytes(), key.sign_ssh_data)
    if not route.identities_only:
        yield from rest.values()
    for path in locked:
        if half := public(path):  # so we ask only if the server takes it
            yield Key(half.key_type, half.key_blob, partial(_sign_locked, path, prompts))
        else:
            with suppress(Locked):
                key = _unlock(path, prompts)
                yield Key(key.get_name(), key.asbytes(), key.sign_ssh_data)


def public(path: Path) -> PublicBlob | None:
    """Find the public half of an identity: that may be its name itself, for the agent's keys."""
    for file in (path, path.with_name(path.name + ".pub")):
        with suppress(OSError, ValueError):
            text = file.read_text("latin-1")  # any bytes may be in the comment
            if not text.startswith("-----"):
                return PublicBlob.from_string(text)
    return None


def _sign_locked(path: Path, prompts: Prompts | None, data: bytes, algorithm: str) -> Any:
    return _unlock(path, prompts).sign_ssh_data(data, algorithm)


def _load(path: Path, passphrase: str | None = None) -> paramiko.PKey | None:
    """Read a private key, and the certificate beside it; None if that cannot be done."""
    with suppress(Exception):  # the libraries' reasons are of many families, one of them Exception
        data, secret = path.read_bytes(), None if passphrase is None else passphrase.encode()
        read = form.load_ssh_private_key if b"OPENSSH" in data[:40] else form.load_pem_private_key
        private: Any = read(data, secret)
        # paramiko does not read PKCS #8, but all read this
        openssh = (form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
        text = private.private_bytes(*openssh).decode()
        kind = next(kind for family, kind in _KINDS.items() if isinstance(private, family))
        key: paramiko.PKey = kind.from_private_key(StringIO(text))
        with suppress(OSError, ValueError):
            key.load_certificate(f"{path}-cert.pub")
        return key
    return None


def _unlock(path: Path, prompts: Prompts | None) -> paramiko.PKey:
    """Read a private key by the passphrase that the keyring or the person has."""
    if (kept := recall(str(path))) is not None and (key := _load(path, kept)):
        return key
    for _ in range(_TRIES if prompts else 0):
        assert prompts is not None
        passphrase = prompts.secret(f"Enter passphrase for key '{path}': ")
        if not passphrase:
            break
        if key := _load(path, passphrase):
            prompts.typed[str(path)] = passphrase
            return key
    raise Locked
