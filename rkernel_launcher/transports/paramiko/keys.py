"""The private keys that a login tries: the agent's, and those in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm

from ...errors import KeyUnusable
from ..private_keys import is_encrypted
from ..process import PERSON_SECONDS
from ..prompts import Prompts, recall
from .settings import Route

_TRIES = 3  # with a passphrase
_REQUEST_IDENTITIES, _IDENTITIES = bytes([11]), 12  # of the agent's protocol


class Declined(Exception):
    """The agent did not sign."""


class Locked(Exception):
    """Nobody gave the passphrase of a key."""


class Key(NamedTuple):
    """A key to try.

    Attributes:
        kind: Its kind, as servers call it.
        blob: The public key or the certificate, in its wire form (RFC 4253, section 6.6).
        sign: Signs, with the name of an algorithm; raises Declined or Locked.
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
    if agent is None:
        yield {}
        return
    try:
        keys = [key for key in agent.get_keys() if "-cert-" not in key.name]
        yield {key.blob: Key(key.name, key.blob, _by_agent(key)) for key in keys}
    finally:
        agent.close()


def candidates(route: Route, agent: dict[bytes, Key], prompts: Prompts | None) -> Iterator[Key]:
    """Go through the keys worth trying, each once, the surest first and those that ask last.

    Args:
        route: The way to the host.
        agent: The agent's keys.
        prompts: How to ask for a passphrase.
    """
    offered: set[bytes] = set()
    locked = []
    for path in route.identities:
        half = public(path)
        if half is not None and half.key_blob in agent:
            yield agent[half.key_blob]
            offered.add(half.key_blob)
        elif is_encrypted(path):
            locked.append(path)
        else:
            with suppress(KeyUnusable):
                yield from _in_file(load(path))
    if not route.identities_only:
        yield from (key for blob, key in agent.items() if blob not in offered)
    for path in locked:
        half = public(path)
        if half is not None:  # asked for only if the server takes it
            yield Key(half.key_type, half.key_blob, _by_passphrase(path, prompts))
        else:
            with suppress(Locked):
                yield from _in_file(_unlock(path, prompts))


def load(path: Path, passphrase: str | None = None) -> paramiko.PKey:
    """Read a private key, and the certificate beside it.

    Raises:
        KeyUnusable: It cannot be read, or not with this passphrase.
    """
    secret = None if passphrase is None else passphrase.encode()
    try:
        return paramiko.PKey.from_path(path, secret)  # type: ignore[arg-type]
    except FileNotFoundError as error:
        raise KeyUnusable(path=path, detail="there is no such file") from error
    except OSError as error:
        raise KeyUnusable(path=path, detail=error.strerror) from error
    except (paramiko.SSHException, UnsupportedAlgorithm, ValueError, TypeError) as error:
        raise KeyUnusable(path=path, detail="it is not a private key that we can read") from error
    except Exception as error:  # UnknownKeyType, which is of no family
        raise KeyUnusable(path=path, detail="it is of a kind that we cannot use") from error


def _in_file(key: paramiko.PKey) -> Iterator[Key]:
    def sign(data: bytes, algorithm: str) -> Any:
        return key.sign_ssh_data(data, algorithm)

    if key.public_blob is not None:
        yield Key(key.public_blob.key_type, key.public_blob.key_blob, sign)
    yield Key(key.get_name(), key.asbytes(), sign)


def _by_agent(key: paramiko.AgentKey) -> Callable[[bytes, str], Any]:
    def sign(data: bytes, algorithm: str) -> Any:
        try:
            return key.sign_ssh_data(data, algorithm)
        except (paramiko.SSHException, OSError) as error:
            raise Declined from error

    return sign


def _by_passphrase(path: Path, prompts: Prompts | None) -> Callable[[bytes, str], Any]:
    def sign(data: bytes, algorithm: str) -> Any:
        return _unlock(path, prompts).sign_ssh_data(data, algorithm)

    return sign


def _unlock(path: Path, prompts: Prompts | None) -> paramiko.PKey:
    if (kept := recall(str(path))) is not None:
        with suppress(KeyUnusable):
            return load(path, kept)
    for _ in range(_TRIES if prompts else 0):
        assert prompts is not None
        passphrase = prompts.secret(f"Enter passphrase for key '{path}': ")
        if not passphrase:
            break
        with suppress(KeyUnusable):
            key = load(path, passphrase)
            prompts.typed[str(path)] = passphrase
            return key
    raise Locked


def public(path: Path) -> paramiko.pkey.PublicBlob | None:
    """Find the public half of an identity: that may be its name itself, for the agent's keys."""
    for file in (path, path.with_name(path.name + ".pub")):
        with suppress(OSError, ValueError):
            text = file.read_text("latin-1")  # any bytes may be in the comment
            if not text.startswith("-----"):
                return paramiko.pkey.PublicBlob.from_string(text)
    return None
