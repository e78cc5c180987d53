"""The route to a host over SSH: what the user said, completed by ssh_config(5)."""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import paramiko

from ...errors import SshConfigBroken
from ...target import Target, join_host

_SETTING = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(.*?)\s*$")
_WORD = re.compile(r'"([^"]*)"|(\S+)')
_ADDRESS = re.compile(
    r"(?:\[([^]]+)\]|([^:\[\]/]+|(?=.*:.*:)[0-9A-Fa-f:.]+))(?::(\d+))?/?"  # [IPv6], name or IPv6
)
_FILE_LISTS = ("userknownhostsfile", "globalknownhostsfile")
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_DEEPEST_INCLUDE = 16  # as ssh


@dataclass(frozen=True)
class Route:
    """Where to connect to, as whom, with what, and through what."""

    host: str
    """as the user called it; what sentences say"""
    hostname: str
    port: int
    user: str
    known_as: tuple[str, ...]
    """its names in known_hosts files, the one to write first"""
    identities: tuple[Path, ...]
    """files of private keys, in the order to try"""
    identities_from: str
    """"target", "config" or "default": who named the identities"""
    identities_only: bool
    """whether other keys of the agent must not be tried"""
    user_known_hosts: tuple[Path, ...]
    global_known_hosts: tuple[Path, ...]
    connect_timeout: float | None
    """seconds; None when the settings say nothing"""
    proxy_command: str | None
    jump: Route | None

    @property
    def account(self) -> str:
        """Name the account, as the keyring knows it."""
        return f"{self.user}@{self.hostname}:{self.port}"

    @property
    def address(self) -> str:
        """Name it as --host does."""
        return join_host(self.user, self.host, self.port)


def resolve(target: Target) -> Route:
    """Complete a target with ~/.ssh/config and the system's ssh_config; the target's word wins.

    StrictHostKeyChecking is not looked at: host keys are always checked. For that reason a
    UserKnownHostsFile of `none` or the null device counts as not set.

    Parameters: `target`, of which host, user, port, identity and jump are used.
    Returns: the route, with a route for each jump host inside.
    Errors: SshConfigBroken.
    """
    return _resolve(target, ())


def _resolve(target: Target, behind: tuple[Target, ...]) -> Route:
    home = Path.home() / ".ssh"
    try:
        if target in behind:
            raise ValueError(f"the ProxyJump of {target.host} leads back to itself")
        options = _options(target, home)
        hostname = options["hostname"]
        port = int(options.get("port", 22))
        timeout = options.get("connecttimeout", "none")
        proxy_command, jump = _proxy(options, target)
        identities, source, only = _identities(options, target, home)
        return Route(
            host=target.host,
            hostname=hostname,
            port=port,
            user=options.get("user") or getpass.getuser(),
            known_as=_known_as(hostname, port, options.get("hostkeyalias")),
            identities=identities,
            identities_from=source,
            identities_only=only,
            user_known_hosts=_files(options.get("userknownhostsfile"), home, "known_hosts"),
            global_known_hosts=_files(
                options.get("globalknownhostsfile"), _system_folder(), "ssh_known_hosts"
            ),
            connect_timeout=None if timeout == "none" else float(timeout),
            proxy_command=proxy_command,
            jump=_resolve(jump, (*behind, target)) if jump else None,
        )
    except (paramiko.SSHException, OSError, ValueError, KeyError, ImportError) as error:
        # KeyError and ImportError: paramiko's answers to CanonicalizeHostname without
        # CanonicalDomains and to Match exec without invoke; getpass's to a nameless user
        detail = str(error).rstrip(".")
        raise SshConfigBroken(path=home / "config", detail=detail, host=target.host) from error


def _options(target: Target, home: Path) -> paramiko.SSHConfigDict:
    # the first value found for a setting stands, so the target's own words come first; they are
    # part of the settings because ProxyCommand and Match refer to them
    said = {"User": target.user, "Port": target.port}
    config = paramiko.SSHConfig()
    config.parse([f"{name} {value}" for name, value in said.items() if value is not None])
    for path in (home / "config", _system_folder() / "ssh_config"):
        if path.is_file():
            config.parse(_lines(path, path.parent))
    return config.lookup(target.host)


def _lines(path: Path, folder: Path, depth: int = 0) -> Iterator[str]:
    """Read a settings file, with what it includes in place of each Include (paramiko has none)."""
    section = "Host *"
    for line in path.read_text("utf-8", "surrogateescape").splitlines():
        setting = _SETTING.match(line)
        keyword, value = (setting[1].lower(), setting[2]) if setting else ("", "")
        if keyword == "include":
            if depth == _DEEPEST_INCLUDE:
                raise ValueError(f"too many nested Include lines in {path}")
            for pattern in _words(value):
                for file in _glob(folder, pattern):
                    yield from _lines(file, folder, depth + 1)
            yield section  # the included file may have opened sections of its own
            continue
        if keyword in ("host", "match"):
            section = line
        elif keyword in _FILE_LISTS and value.startswith('"') and value.endswith('"'):
            line = f'{keyword} "{value}"'  # paramiko takes the outer quotes off, even of two words
        yield line


def _glob(folder: Path, pattern: str) -> list[Path]:
    path = folder / Path(pattern).expanduser()
    return sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def _words(text: str) -> list[str]:
    return [quoted or bare for quoted, bare in _WORD.findall(text)]


def _system_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "ssh"
    return Path("/etc/ssh")


def _files(setting: str | None, folder: Path, default: str) -> tuple[Path, ...]:
    ignored = ("none", os.devnull)
    named = tuple(Path(w).expanduser() for w in _words(setting or "") if w not in ignored)
    return named or (folder / default, folder / f"{default}2")


def _known_as(hostname: str, port: int, alias: str | None) -> tuple[str, ...]:
    if alias:
        return (alias,)
    name = hostname.lower()
    return (name,) if port == 22 else (f"[{name}]:{port}", name)


def _identities(
    options: paramiko.SSHConfigDict, target: Target, home: Path
) -> tuple[tuple[Path, ...], str, bool]:
    """Choose the private keys, who named them, and whether they are the only ones to try."""
    only = options.get("identitiesonly", "no").lower() == "yes"
    named = cast("list[str]", options.get("identityfile", []))
    if target.identity:
        return (Path(target.identity).expanduser(),), "target", True
    if named:
        return tuple(Path(n).expanduser() for n in named if n != "none"), "config", only
    return tuple(home / name for name in _DEFAULT_KEYS), "default", only


def _proxy(options: paramiko.SSHConfigDict, target: Target) -> tuple[str | None, Target | None]:
    """Choose between ProxyCommand and ProxyJump: the target's jump, else what is set first."""
    settings = [key for key in options if key in ("proxycommand", "proxyjump")]
    jump = target.jump or (options["proxyjump"] if settings[:1] == ["proxyjump"] else "none")
    if jump.lower() == "none":
        return options.get("proxycommand"), None
    return None, _last_hop(jump)


def _last_hop(jump: str) -> Target:
    """Take the hop next to the target from a ProxyJump list; it is reached through the others."""
    before, _, last = jump.rpartition(",")
    user, _, address = last.strip().removeprefix("ssh://").rpartition("@")
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(f"{last!r} is not a jump host")
    port = int(match[3]) if match[3] else None
    return Target(host=match[1] or match[2], user=user or None, port=port, jump=before or None)
