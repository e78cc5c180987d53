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
from typing import cast

import paramiko

from ... import os_support
from ...errors import SettingNotHonoured, SshConfigBroken
from ...target import Target, join_host, split_host

CONNECT_SECONDS = 15.0  # unless the settings say otherwise


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HONOURED = _words(
    "connecttimeout globalknownhostsfile hostkeyalias hostname identitiesonly identityfile "
    "kbdinteractiveauthentication passwordauthentication port preferredauthentications proxyjump "
    "pubkeyauthentication stricthostkeychecking user userknownhostsfile"
)
_NO_BEARING = _words(
    "addkeystoagent batchmode canonicaldomains canonicalizefallbacklocal canonicalizemaxdots "
    "canonicalizepermittedcnames channeltimeout checkhostip clearallforwardings compression "
    "connectionattempts controlmaster controlpath controlpersist dynamicforward "
    "enableescapecommandline enablesshkeysign escapechar exitonforwardfailure fingerprinthash "
    "forkafterauthentication forwardagent forwardx11 forwardx11timeout forwardx11trusted "
    "gatewayports gssapiauthentication gssapidelegatecredentials gssapikeyexchange "
    "gssapikexalgorithms gssapirenewalforcesrekey gssapitrustdns hashknownhosts "
    "hostbasedauthentication ignoreunknown ipqos localcommand localforward loglevel logverbose "
    "numberofpasswordprompts obscurekeystroketiming permitlocalcommand permitremoteopen "
    "proxyusefdpass rekeylimit remotecommand remoteforward requesttty sendenv serveralivecountmax "
    "serveraliveinterval sessiontype setenv stdinnull streamlocalbindmask streamlocalbindunlink "
    "syslogfacility tag tcpkeepalive tunnel tunneldevice updatehostkeys usekeychain visualhostkey "
    "warnweakcrypto xauthlocation"
)
_NO_BEARING_AS = {  # keywords that are honoured with one value: what happens without them
    "addressfamily": "any",
    "canonicalizehostname": "no",
    "certificatefile": "none",
    "identityagent": "ssh_auth_sock",
    "knownhostscommand": "none",
    "nohostauthenticationforlocalhost": "no",
    "pkcs11provider": "none",
    "revokedhostkeys": "none",
    "verifyhostkeydns": "no",
}
_METHODS = {
    "publickey": "pubkeyauthentication",
    "keyboard-interactive": "kbdinteractiveauthentication",
    "password": "passwordauthentication",
}
_CRITERIA = _words("all host localuser originalhost user")  # of Match, that are sound
_DEFAULT_KEYS = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
_LINE = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(.*?)\s*$")
_COMMENT = re.compile(r"\s#[^\"]*$")
_NAMES_IN_DNS = [("canonicalizehostname", value) for value in ("yes", "always")]
_BEYOND = "beyondparamiko"  # our keyword for a line that paramiko would take for something else


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
        new_keys: What to do with the key of a new host: "ask", "refuse" or "accept".
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
    def address(self) -> str:
        """The same as --host takes it."""
        return join_host(self.user, self.host, self.port)

    @property
    def command(self) -> str:
        """A command that does the same in a terminal."""
        return shlex.join(["ssh", "-v", "-p", str(self.port), f"{self.user}@{self.host}", "true"])


def resolve(target: Target) -> Route:
    """Complete a target with the person's settings and the system's; the target's word wins.

    Args:
        target: Host, user, port, identity, jump and host_key count.

    Raises:
        SettingNotHonoured: The settings say for this host what we cannot do.
        SshConfigBroken: They cannot be understood.
    """
    try:
        return _resolve(target)
    except (paramiko.SSHException, OSError, ValueError) as error:
        detail = str(error).rstrip(".")
        raise SshConfigBroken(host=target.host, detail=detail) from error


def _resolve(target: Target, *, is_jump: bool = False) -> Route:
    options = _Options(target)
    hop = options.jump(target.jump)
    if is_jump and hop is not None:
        raise options.beyond(f"a ProxyJump to {hop.host}, behind another one")
    hostname, alias = options.text("hostname"), options.text("hostkeyalias")
    port = options.number("port", 22)
    name = hostname.lower()
    named = options.identities()
    folder = Path.home() / ".ssh"
    return Route(
        host=target.host,
        hostname=hostname,
        port=port,
        user=options.text("user") or getpass.getuser(),
        known_as=(alias,) if alias else (name,) if port == 22 else (f"[{name}]:{port}", name),
        identities=tuple(folder / key for key in _DEFAULT_KEYS) if named is None else named,
        named=named or (),
        identity=bool(target.identity),
        identities_only=bool(target.identity) or options.choice("identitiesonly", "no") == "yes",
        methods=options.methods(),
        user_known_hosts=options.files("userknownhostsfile", folder / "known_hosts"),
        global_known_hosts=options.files("globalknownhostsfile", _system() / "ssh_known_hosts"),
        new_keys=options.new_keys(target),
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
        self._values = config.lookup(target.host)
        ignored = self._values.get("ignoreunknown", "").lower().split(",")
        for keyword, value in self._values.items():
            if keyword == _BEYOND:
                raise self.beyond(value)
            known = keyword in _HONOURED or keyword in _NO_BEARING or keyword == "proxycommand"
            as_without = str(value).lower() == _NO_BEARING_AS.get(keyword)
            if not (known or as_without or any(fnmatch(keyword, one) for one in ignored)):
                raise self.beyond(f"{keyword} {value}")

    def beyond(self, setting: str) -> SettingNotHonoured:
        """Return the error for a setting."""
        return SettingNotHonoured(host=self._target.host, setting=setting)

    def text(self, keyword: str, default: str = "") -> str:
        """Return a value; empty if it is `none`."""
        value = self._whole(keyword, self._values.get(keyword, default))
        return "" if value.lower() == "none" else value

    def number(self, keyword: str, default: int) -> int:
        """Return a whole number."""
        value = self.text(keyword) or str(default)
        if not value.isdecimal():
            raise self.beyond(f"{keyword} {value}")
        return int(value)

    def choice(self, keyword: str, default: str, *others: str) -> str:
        """Return one of some words; `yes` and `no` are always among them."""
        value = self.text(keyword, default).lower()
        value = {"true": "yes", "false": "no", "off": "no"}.get(value, value)
        if value not in ("yes", "no", default, *others):
            raise self.beyond(f"{keyword} {value}")
        return value

    def files(self, keyword: str, default: Path) -> tuple[Path, ...]:
        """Return paths, or the usual one and the one beside it that ends in 2."""
        if keyword not in self._values:
            return (default, default.with_name(default.name + "2"))
        names = shlex.split(self._values[keyword].replace("\\", "\\\\"))
        return tuple(Path(self._whole(keyword, n)).expanduser() for n in names if n != "none")

    def identities(self) -> tuple[Path, ...] | None:
        """Return the private keys that are named, perhaps none; None if nothing is said."""
        names = cast("list[str] | None", self._values.get("identityfile"))
        if self._target.identity:
            names = [self._target.identity]
        if names is None:
            return None
        names = [self._whole("IdentityFile", name) for name in names if name != "none"]
        return tuple(Path(name).expanduser() for name in names)

    def methods(self) -> tuple[str, ...]:
        """Return the methods of login."""
        order = self.text("preferredauthentications", ",".join(_METHODS)).split(",")
        return tuple(m for m in order if m in _METHODS and self.choice(_METHODS[m], "yes") == "yes")

    def new_keys(self, target: Target) -> str:
        """Return what to do with the key of a new host."""
        if target.host_key == "accept-new":
            return "accept"
        strict = self.choice("stricthostkeychecking", "ask", "accept-new")
        return {"yes": "refuse", "ask": "ask"}.get(strict, "accept")

    def jump(self, jump: str | None) -> Target | None:
        """Return the jump host: the target's own, or the one that is set before a ProxyCommand."""
        proxies = [word for word in self._values if word in ("proxycommand", "proxyjump")]
        if jump is None:
            if proxies[:1] == ["proxycommand"] and (command := self._values["proxycommand"]):
                raise self.beyond(f"ProxyCommand {command}")
            jump = self.text("proxyjump") if proxies[:1] == ["proxyjump"] else ""
        if not jump or jump.lower() == "none":
            return None
        try:
            user, host, port = split_host(jump)
        except ValueError:
            host = ","
        if "," in host:
            raise self.beyond(f"ProxyJump {jump}")
        return Target(host=host, user=user, port=port, host_key=self._target.host_key)

    def _whole(self, keyword: str, value: str) -> str:
        """Return a value in which paramiko has left nothing to expand."""
        if "%" in value.replace("%%", "") or "${" in value or '"' in value:
            raise self.beyond(f"{keyword} {value}")
        return value.replace("%%", "%")


def _lines(path: Path) -> Iterator[str]:
    """Read a settings file, and mark the lines that paramiko would take for something else."""
    for line in path.read_text("utf-8", "replace").splitlines():
        line = _COMMENT.sub("", line)
        setting = _LINE.match(line)
        keyword, value = (setting[1].lower(), setting[2]) if setting else ("", "")
        if keyword == "match":
            yield from _match(line, value)
        elif keyword == "include" and not any(_is_there(path.parent, w) for w in value.split()):
            continue  # as in Debian's own file
        elif (keyword, value.lower()) in _NAMES_IN_DNS or (
            keyword == "identityfile" and "%C" in value
        ):
            yield f"{_BEYOND} {line.strip()}"  # paramiko looks names up; its %C is another one
        elif keyword.endswith("knownhostsfile") and value.startswith('"'):
            yield f'{keyword} "{value}"'  # it takes the outer quotes off, even of two words
        else:
            yield line


def _match(line: str, value: str) -> Iterator[str]:
    """Keep of a Match what paramiko can tell; what it cannot counts if all the rest fits."""
    words = shlex.split(value)
    kept: list[str] = []
    beyond = False
    while words:
        criterion = words.pop(0)
        word = criterion.lower().lstrip("!")
        pattern = [words.pop(0)] if words and word not in ("all", "canonical", "final") else []
        if word in _CRITERIA:
            kept += [criterion.lower(), *map(shlex.quote, pattern)]
        else:
            beyond = True
    if beyond:
        kept = [word for word in kept if word != "all"]
    yield f"Match {' '.join(kept) or 'all'}"
    if beyond:
        yield f"{_BEYOND} {line.strip()}"


def _is_there(folder: Path, pattern: str) -> bool:
    path = folder / Path(pattern.strip('"')).expanduser()
    return any(Path(path.anchor).glob(str(path.relative_to(path.anchor))))


def _system() -> Path:
    if os_support.WINDOWS:
        return Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "ssh"
    return Path("/etc/ssh")
