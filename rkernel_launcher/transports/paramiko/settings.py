"""The person's ssh settings, as far as paramiko's parser understands them; see ssh_config(5).

What the settings say about a host is honoured, or has no bearing on a stream of bytes, or is an
error: nothing is passed over.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import paramiko

from ... import os_support
from ...errors import SettingNotHonoured, SshConfigBroken
from ...target import Target, join_host, split_host

CONNECT_SECONDS = 15.0  # unless the settings say otherwise

# Keywords that are honoured, or are no matter to a stream of bytes; some with one value only.
_HONOURED = """
connecttimeout globalknownhostsfile hostkeyalias hostname identitiesonly identityfile
kbdinteractiveauthentication passwordauthentication port preferredauthentications proxycommand
proxyjump pubkeyauthentication stricthostkeychecking user userknownhostsfile
"""
_NO_MATTER = """
addkeystoagent addressfamily=any batchmode canonical* certificatefile=none channeltimeout
checkhostip clearallforwardings compression connectionattempts control* dynamicforward enable*
escapechar exitonforwardfailure fingerprinthash forkafterauthentication forward* gatewayports
gssapi* hashknownhosts hostbased* identityagent=ssh_auth_sock ignoreunknown ipqos
knownhostscommand=none localcommand localforward log* nohostauthenticationforlocalhost=no
numberofpasswordprompts obscurekeystroketiming permit* pkcs11provider=none proxyusefdpass rekeylimit
remotecommand remoteforward requesttty revokedhostkeys=none sendenv serveralive* sessiontype setenv
stdinnull streamlocal* syslogfacility tag tcpkeepalive tunnel* updatehostkeys usekeychain
verifyhostkeydns=no visualhostkey warnweakcrypto xauthlocation
"""
_METHODS = {
    "publickey": "pubkeyauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
    "password": "passwordauthentication",
}
_DEFAULT_KEYS = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
_LINE = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(.*?)(?:\s+#[^\"]*)?\s*$")
_BEYOND = "beyondparamiko"  # our keyword for a line that paramiko would take for something else
_MISREAD = re.compile(r"canonicalizehostname (yes|always)|identityfile .*%C.*")  # %C: another hash
_CRITERIA = ("all", "host", "localuser", "originalhost", "user")  # of Match, that paramiko can tell


@dataclass(frozen=True)
class Route:
    """Where to connect to, as whom, with what, and through what.

    Attributes:
        host: The host as the person called it.
        hostname: Its name or address.
        port: Its port.
        user: The account there.
        known_as: Its names in known_hosts files, the one to write first.
        identities: The files of the private keys, in the order to try.
        named: Those of them that the settings or the person name.
        identity: Whether the person names one for this host alone.
        identities_only: Whether other keys of the agent must not be tried.
        methods: The methods of login that are allowed, in the order to try.
        user_known_hosts: The known_hosts files of the person.
        global_known_hosts: Those of the system.
        new_keys: What to do with the key of a new host: "ask", "accept-new", "no", which means
            the same here, or "yes", which refuses it.
        seconds: How long it may take to answer.
        jump: The way to the host that connects us to this one; None if none does.
    """

    host: str
    hostname: str
    port: int
    user: str
    known_as: tuple[str, ...]
    identities: tuple[Path, ...]
    named: tuple[Path, ...]
    identity: bool
    identities_only: bool
    methods: tuple[str, ...]
    user_known_hosts: tuple[Path, ...]
    global_known_hosts: tuple[Path, ...]
    new_keys: str
    seconds: float
    jump: Route | None

    @property
    def login(self) -> str:
        """The account on the host."""
        return f"{self.user}@{self.hostname}"

    @property
    def account(self) -> str:
        """The same as the keyring knows it."""
        return f"{self.login}:{self.port}"

    @property
    def facts(self) -> dict[str, Any]:
        """What errors about this host tell."""
        command = shlex.join(
            ["ssh", "-v", "-p", str(self.port), f"{self.user}@{self.host}", "true"]
        )
        address = join_host(self.user, self.host, self.port)
        found = {"host": self.host, "user": self.user, "port": self.port}
        return {**found, "address": address, "command": command}


def resolve(target: Target) -> Route:
    """Complete a target with the person's settings and the system's; the target's word wins.

    Args:
        target: Host, user, port, identity, jump and host_key count.

    Raises:
        SettingNotHonoured: The settings say for this host what we cannot do.
        SshConfigBroken: They cannot be understood.
    """
    try:
        return _resolve(target, is_jump=False)
    except (paramiko.SSHException, OSError, ValueError) as error:
        detail = str(error).rstrip(".")
        raise SshConfigBroken(host=target.host, detail=detail) from error


def _resolve(target: Target, *, is_jump: bool) -> Route:
    options = _Options(target)
    hop = options.jump(target.jump)
    if is_jump and hop is not None:
        raise options.beyond(f"a ProxyJump to {hop.host}, behind another one")
    hostname, alias = options.hostname(), options.text("hostkeyalias")
    port = options.number("port", 22)
    name = hostname.lower()
    named = options.identities(target.identity)
    new_keys = "accept-new"
    if target.host_key != "accept-new":
        new_keys = options.choice("stricthostkeychecking", "ask", "yes", "accept-new", "no")
    home = Path.home() / ".ssh"
    return Route(
        host=target.host,
        hostname=hostname,
        port=port,
        user=options.text("user") or getpass.getuser(),
        known_as=(alias,) if alias else (name,) if port == 22 else (f"[{name}]:{port}", name),
        identities=tuple(home / key for key in _DEFAULT_KEYS) if named is None else named,
        named=named or (),
        identity=bool(target.identity),
        identities_only=bool(target.identity) or options.is_on("identitiesonly", "no"),
        methods=options.methods(),
        user_known_hosts=options.files("userknownhostsfile", home / "known_hosts"),
        global_known_hosts=options.files("globalknownhostsfile", _system() / "ssh_known_hosts"),
        new_keys=new_keys,
        seconds=float(options.number("connecttimeout", 0) or CONNECT_SECONDS),
        jump=_resolve(hop, is_jump=True) if hop else None,
    )


class _Options:
    """What the settings say for one host, all of which we can honour.

    Args:
        target: The host, and what the person says of it.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        said = {"User": target.user, "Port": target.port}
        config = paramiko.SSHConfig()
        config.parse(f"{name} {value}" for name, value in said.items() if value is not None)
        for path in (Path.home() / ".ssh" / "config", _system() / "ssh_config"):
            if path.exists():
                config.parse(_lines(path))
        self._values: dict[str, Any] = config.lookup(target.host)
        known = [*_HONOURED.split(), *_NO_MATTER.split()]
        known += self._values.get("ignoreunknown", "").lower().split(",")
        for keyword, value in self._values.items():
            said_here = (keyword, f"{keyword}={value}".lower())
            if not any(fnmatch(one, pattern) for one in said_here for pattern in known):
                raise self.beyond(f"{keyword} {value}".removeprefix(_BEYOND).strip())

    def beyond(self, setting: str) -> SettingNotHonoured:
        """Return the error for a setting."""
        return SettingNotHonoured(host=self._target.host, setting=setting)

    def text(self, keyword: str, default: str = "") -> str:
        """Return a value; empty if it is `none`."""
        value = self._whole(keyword, self._values.get(keyword, default))
        return "" if value.lower() == "none" else value

    def hostname(self) -> str:
        """Return the host's name or address, which may have a zone: fe80::1%usb0."""
        host = self._target.host
        return host if self._values["hostname"] == host else self.text("hostname")

    def number(self, keyword: str, default: int) -> int:
        """Return a whole number."""
        value = self.text(keyword) or str(default)
        if not value.isdecimal():
            raise self.beyond(f"{keyword} {value}")
        return int(value)

    def choice(self, keyword: str, default: str, *others: str) -> str:
        """Return one of some words."""
        value = self.text(keyword, default).lower()
        value = {"true": "yes", "false": "no", "off": "no"}.get(value, value)
        if value not in (default, *others):
            raise self.beyond(f"{keyword} {value}")
        return value

    def is_on(self, keyword: str, default: str) -> bool:
        """Return a truth value."""
        return self.choice(keyword, default, "yes", "no") == "yes"

    def methods(self) -> tuple[str, ...]:
        """Return the methods of login."""
        order = self.text("preferredauthentications", ",".join(_METHODS)).split(",")
        return tuple(one for one in order if one in _METHODS and self.is_on(_METHODS[one], "yes"))

    def files(self, keyword: str, default: Path) -> tuple[Path, ...]:
        """Return paths, or the usual one and the one beside it that ends in 2."""
        if keyword not in self._values:
            return (default, default.with_name(default.name + "2"))
        names = shlex.split(self._values[keyword].replace("\\", "\\\\"))
        return tuple(Path(self._whole(keyword, n)).expanduser() for n in names if n != "none")

    def identities(self, identity: str | None) -> tuple[Path, ...] | None:
        """Return the private keys that are named, perhaps none; None if nothing is said."""
        names = [identity] if identity else self._values.get("identityfile")
        if names is None:
            return None
        whole = [self._whole("IdentityFile", name) for name in names if name != "none"]
        return tuple(Path(name).expanduser() for name in whole)

    def jump(self, jump: str | None) -> Target | None:
        """Return the jump host: the target's own, or the one that is set before a ProxyCommand."""
        if jump is None:
            first = next((word for word in self._values if word.startswith("proxy")), "")
            jump = self._values.get(first) or ""
            if first == "proxycommand" and jump:
                raise self.beyond(f"ProxyCommand {jump}")
        if jump.lower() in ("", "none"):
            return None
        try:
            user, host, port = split_host(jump.replace(",", "/:/"))  # of two hosts none is left
        except ValueError:
            raise self.beyond(f"ProxyJump {jump}") from None
        return Target(host=host, user=user, port=port, host_key=self._target.host_key)

    def _whole(self, keyword: str, value: str) -> str:
        """Return a value in which paramiko has left nothing to expand."""
        if "%" in value.replace("%%", "") or "${" in value or '"' in value:
            raise self.beyond(f"{keyword} {value}")
        return value.replace("%%", "%")


def _lines(path: Path) -> Iterator[str]:
    """Read a settings file, and mark the lines that paramiko would take for something else."""
    for line in path.read_text("utf-8", "replace").splitlines():
        setting = _LINE.match(line)
        keyword, value = (setting[1].lower(), setting[2]) if setting else ("", "")
        if keyword == "match":
            yield from _match(value)
        elif keyword == "include" and not any(_is_there(path.parent, w) for w in value.split()):
            continue  # as in Debian's own file
        elif _MISREAD.fullmatch(f"{keyword} {value}"):
            yield f"{_BEYOND} {keyword} {value}"
        elif keyword.endswith("knownhostsfile") and value.startswith('"'):
            yield f'{keyword} "{value}"'  # it takes the outer quotes off, even of two words
        else:
            yield f"{keyword} {value}" if keyword else line


def _match(value: str) -> Iterator[str]:
    """Keep of a Match what paramiko can tell; what it cannot counts if all the rest fits."""
    words, kept = shlex.split(value), []
    beyond = False
    while words:
        criterion = words.pop(0).lower()
        name = criterion.lstrip("!")
        pattern = [words.pop(0)] if words and name not in ("all", "canonical", "final") else []
        if name in _CRITERIA:
            kept.append(shlex.join([criterion, *pattern]))
        beyond |= name not in _CRITERIA
    if beyond:
        kept = [one for one in kept if one != "all"] or ["all"]
    yield f"Match {' '.join(kept)}"
    if beyond:
        yield f"{_BEYOND} Match {value}"


def _is_there(folder: Path, pattern: str) -> bool:
    path = folder / Path(pattern.strip('"')).expanduser()
    return any(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def _system() -> Path:
    if os_support.WINDOWS:
        return Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "ssh"
    return Path("/etc/ssh")
