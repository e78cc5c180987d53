"""Host keys: known, unknown, changed or revoked, by the known_hosts files (sshd(8))."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko

from ...errors import ChangedHostKey, KnownHostsUnusable, RevokedHostKey, UnknownHostKey
from .config import Route

_RSA_SIGNATURES = {"rsa-sha2-512", "rsa-sha2-256"}  # an ssh-rsa key signs with either (RFC 8332)


@dataclass(frozen=True)
class Entry:
    """One line of a known_hosts file."""

    names: str
    kind: str
    blob: bytes
    revoked: bool
    path: Path

    def is_for(self, name: str) -> bool:
        """Tell whether the line speaks of a host.

        Parameters: `name`, in lower case, as "[name]:port" when the port is not 22.
        """
        if self.names.startswith("|1|"):
            return _hash_matches(self.names, name)
        hit = False
        for pattern in self.names.lower().split(","):
            wildcards = (
                re.escape(pattern.removeprefix("!")).replace(r"\*", ".*").replace(r"\?", ".")
            )
            if re.fullmatch(wildcards, name):
                if pattern.startswith("!"):
                    return False
                hit = True
        return hit


def read(route: Route) -> list[Entry]:
    """Read the entries for a host from its known_hosts files; lines that make no sense are skipped.

    Parameters: `route`, which names the files and the host.
    Errors: KnownHostsUnusable.
    """
    entries = []
    for path in (*route.user_known_hosts, *route.global_known_hosts):
        try:
            text = path.read_text("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise KnownHostsUnusable(path=path, detail=error.strerror) from error
        entries += [e for e in _parse(text, path) if any(map(e.is_for, route.known_as))]
    return entries


def preferred(entries: list[Entry], offered: tuple[str, ...]) -> tuple[str, ...]:
    """Put the key algorithms of keys we know first, lest the server show us another key.

    Parameters: `entries` of the host; `offered`, the algorithms we can do, in our usual order.
    Returns: the same algorithms in the order to ask for.
    """
    known = {entry.kind for entry in entries if not entry.revoked}
    if "ssh-rsa" in known:
        known |= _RSA_SIGNATURES
    return tuple(sorted(offered, key=lambda algorithm: algorithm not in known))


def check(
    route: Route,
    entries: list[Entry],
    key: paramiko.PKey,
    confirm: Callable[[str], bool] | None,
) -> None:
    """Accept a known key; ask about an unknown one and note it down; refuse any other.

    Parameters: `route` and its `entries`; `key`, which the host has proved to hold; `confirm` to
    ask a person with, None when there is nobody.
    Errors: UnknownHostKey, ChangedHostKey, RevokedHostKey, KnownHostsUnusable.
    """
    blob, name = key.asbytes(), route.known_as[0]
    facts = {"host": route.host, "kind": key.algorithm_name, "fingerprint": fingerprint(blob)}
    revoked = [e for e in entries if e.revoked and e.blob == blob]
    if revoked:
        raise RevokedHostKey(**facts, path=revoked[0].path)
    good = [e for e in entries if not e.revoked]
    here = [e for e in good if e.is_for(name)]
    if any(e.blob == blob for e in here):
        return
    if any(e.kind == key.get_name() for e in here):
        raise ChangedHostKey(**facts, entry=name)
    if any(e.blob == blob for e in good):  # known without its port: good enough for ssh too
        return
    if confirm is None or not confirm(_question(facts, bool(here))):
        raise UnknownHostKey(**facts, address=route.address)
    _append(route.user_known_hosts[0], f"{name} {key.get_name()} {key.get_base64()}")


def fingerprint(blob: bytes) -> str:
    """Name a public key as ssh-keygen -l does.

    Parameters: `blob`, the key in its wire form (RFC 4253, section 6.6).
    """
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return "SHA256:" + digest.rstrip("=")


def _question(facts: dict[str, str], others: bool) -> str:
    note = " Keys of another kind are known for it." if others else ""
    return (
        "The SSH key of {host} is not known here: {kind} {fingerprint}.".format(**facts)
        + note
        + " Is this the right machine"
    )


def _parse(text: str, path: Path) -> Iterator[Entry]:
    for line in text.splitlines():
        fields = line.split()
        marker = fields.pop(0) if line.lstrip().startswith("@") else ""
        # @cert-authority lines name keys that sign host keys: nothing that a host itself shows
        if len(fields) < 3 or fields[0].startswith("#") or marker not in ("", "@revoked"):
            continue
        try:
            blob = base64.b64decode(fields[2], validate=True)
        except binascii.Error:
            continue
        yield Entry(fields[0], fields[1], blob, bool(marker), path)


def _hash_matches(hashed: str, name: str) -> bool:
    """Compare a name with an entry of HashKnownHosts: |1|salt|HMAC-SHA1(salt, name)."""
    try:
        salt, digest = map(base64.b64decode, hashed[3:].split("|"))
    except ValueError:
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)


def _append(path: Path, line: str) -> None:
    """Add a line to a file that may not exist, or may not end in a newline."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b") as file:
            if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                line = "\n" + line
            file.write(line.encode() + b"\n")
    except OSError as error:
        raise KnownHostsUnusable(path=path, detail=error.strerror) from error
