"""The keys that hosts are known by: the known_hosts files, see sshd(8)."""

from __future__ import annotations

import binascii
import logging
import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import paramiko

from ... import errors
from ..prompts import Prompts
from .settings import Route

log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A line about a host.

    Attributes:
        marker: "@revoked", "@cert-authority", or empty.
        exact: Whether it names the host with its port, or by its alias.
        kind: The kind of the key.
        key: The key, in base64.
        path: The file.
    """

    marker: str
    exact: bool
    kind: str
    key: str
    path: Path


def read(route: Route) -> list[Entry]:
    """Find the lines about a host.

    Raises:
        KnownHostsUnusable: A file cannot be read.
    """
    found: list[Entry] = []
    for path in (*route.user_known_hosts, *route.global_known_hosts):
        try:
            text = path.read_text("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise errors.KnownHostsUnusable(path=path, detail=error.strerror) from error
        found += _entries(text, path, route.known_as)
    return found


def preferred(entries: list[Entry], offered: tuple[str, ...]) -> tuple[str, ...]:
    """Put the kinds of the keys that we know first, lest the server show us another one.

    Args:
        entries: The lines about the host.
        offered: What we can do, in our usual order.
    """
    known = {entry.kind for entry in entries if not entry.marker}
    if "ssh-rsa" in known:
        known |= {"rsa-sha2-256", "rsa-sha2-512"}
    return tuple(sorted(offered, key=lambda kind: kind not in known))


def check(route: Route, entries: list[Entry], key: paramiko.PKey, prompts: Prompts | None) -> None:
    """Accept a key that is known, do with a new one as the settings say, and refuse any other.

    Args:
        route: The way to the host.
        entries: The lines about it.
        key: The key, which the host has proved to hold.
        prompts: How to ask a person about a new one.

    Raises:
        RkernelError: UnknownHostKey, ChangedHostKey, RevokedHostKey; SettingNotHonoured if an
            authority would have to tell.
    """
    facts = {**route.facts, "key": f"{key.get_name()} {key.fingerprint}"}
    same = [entry for entry in entries if entry.key == key.get_base64()]
    for entry in same:
        if entry.marker == "@revoked":
            raise errors.RevokedHostKey(**facts, path=entry.path)
    if any(not entry.marker for entry in same):
        return
    for entry in entries:
        if entry.marker == "@cert-authority":
            setting = f"@cert-authority in {entry.path}"
            raise errors.SettingNotHonoured(host=route.host, setting=setting)
        if entry.exact and not entry.marker:
            raise errors.ChangedHostKey(**facts, entry=route.known_as[0], path=entry.path)
    question = "The SSH key of {host} is not known here: {key}. Is this the right machine"
    accepted = route.new_keys in ("accept-new", "no")
    if route.new_keys == "ask" and prompts:
        accepted = prompts.confirm(question.format(**facts))
    if not accepted:
        raise errors.UnknownHostKey(**facts)
    for path in route.user_known_hosts[:1]:
        _append(path, f"{route.known_as[0]} {key.get_name()} {key.get_base64()}\n".encode())


def _entries(text: str, path: Path, names: tuple[str, ...]) -> Iterator[Entry]:
    for line in text.splitlines():
        marker = line.split()[0] if line.startswith("@") else ""
        fields = line.removeprefix(marker).split()
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        for name in names:
            if _is_for(fields[0], name):
                yield Entry(marker, name == names[0], fields[1], fields[2], path)
                break


def _is_for(patterns: str, name: str) -> bool:
    """Say whether a line's first field means a host."""
    if patterns.startswith("|"):
        try:
            return paramiko.HostKeys.hash_host(name, patterns) == patterns
        except (IndexError, ValueError, AssertionError, binascii.Error):
            return False
    listed = [pattern.replace("[", "[[]") for pattern in patterns.lower().split(",")]
    if any(fnmatch(name.lower(), one[1:]) for one in listed if one.startswith("!")):
        return False
    return any(fnmatch(name.lower(), pattern) for pattern in listed)


def _append(path: Path, line: bytes) -> None:
    """Add a line to a file that may not exist, or may not end in a newline."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "rb+") as file:
            if path.stat().st_size and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                line = b"\n" + line
            file.write(line)
    except OSError as error:
        log.warning("ssh: %s cannot take the key of a new host: %s", path, error.strerror)
