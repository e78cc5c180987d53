"""What `ssh` says when it fails, as errors of ours.

ssh has no translations, but its words are no interface either: what is not known is quoted. A test
runs this table against the ssh at hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ... import errors
from ...errors import RkernelError
from ...sanitize import escape_controls
from ...target import Target, join_host
from ..private_keys import is_encrypted
from .settings import Settings

_DEBUG = "debug1: "
_SERVER_SAID = re.compile(_DEBUG + r"kex_exchange_identification: banner line \d+: (.+)")
_KEY_WAITS = re.compile(_DEBUG + r"(Server accepts key: |Offering public key: .*\bagent\b)")
_NO_WORDS = re.compile(r"(OpenSSH_\S+, .*|rkernel: .*|Warning: Permanently added .*)?")
_REPORT = re.compile(r"debug|Authenticated to |Transferred: sent |Bytes per second: sent ")
_LOST_ON_THE_WAY = re.compile(r"(?:Connection closed by|Connection reset by) UNKNOWN port \d+")
_LINES = 3  # that are quoted of what is not known


class Said:
    """What ssh wrote to stderr, for one host.

    Args:
        stderr: The text.
        target: What the person asked for.
        settings: Those of the host.
        command: A command that shows the same in a terminal.
    """

    def __init__(self, stderr: str, target: Target, settings: Settings, command: str) -> None:
        self.target, self.settings, self.command = target, settings, command
        lines = [line.rstrip("\r") for line in stderr.split("\n")]
        self.debug = [line for line in lines if line.startswith("debug")]
        self.lines = [x for x in lines if not x.startswith("debug") and not _NO_WORDS.fullmatch(x)]
        self.host = settings.value("hostname") or target.host
        self.user = settings.value("user")
        self.port = settings.number("port") or 22
        self.address = join_host(target.user, target.host, target.port)

    def find(self, pattern: str) -> re.Match[str] | None:
        """Return the last line that begins with what a pattern matches."""
        found = (re.match(pattern, line) for line in reversed(self.lines))
        return next(filter(None, found), None)

    @property
    def last(self) -> str:
        """The last lines, to be quoted."""
        said = "; ".join(line.strip() for line in self.lines[-_LINES:])
        return escape_controls(said).rstrip(".") or "it said nothing"


def without_reports(stderr: str) -> str:
    """Leave out what ssh says because we ask for it, so that what the program said is left."""
    return "".join(line for line in stderr.splitlines(True) if not _REPORT.match(line))


def waits_for_person(stderr: str) -> bool:
    """Say whether ssh waits for a key that asks at each use: the server has accepted it."""
    lines = [line for line in stderr.splitlines() if line]
    return bool(lines and _KEY_WAITS.match(lines[-1]))


def is_passing(stderr: str) -> bool:
    """Say whether it may help to try again at once: the server hung up before anything was said."""
    return "\nkex_exchange_identification: " in "\n" + stderr and "UNKNOWN port" not in stderr


def explain(said: Said) -> RkernelError:
    """Return the error for an ssh that has failed."""
    if _LOST_ON_THE_WAY.match(said.lines[-1] if said.lines else ""):
        return _on_the_way(said)
    for pattern, make in _TABLE:
        if match := said.find(pattern):
            return make(said, match)
    return errors.SshFailed(host=said.target.host, detail=said.last, command=said.command)


def _on_the_way(said: Said) -> RkernelError:
    """Return the error for a jump host or a ProxyCommand that did not bring us to the server."""
    del said.lines[-1]
    if (m := said.find("kex_exchange_identification: ")) and m.string == said.lines[-1]:
        del said.lines[-1]
    command = said.settings.value("proxycommand")
    if command:
        facts = {"host": said.target.host, "detail": said.last, "command": said.command}
        return errors.ProxyFailed(**facts)
    jump = said.settings.value("proxyjump")
    return errors.JumpFailed(
        host=said.host, port=said.port, jump=jump, detail=said.last, command=said.command
    )


def _changed(said: Said, match: re.Match[str]) -> RkernelError:
    offending = said.find(r"Offending (?P<kind>\S+) key in (?P<file>.+):\d+$")
    name = said.find(r"Host key for (?P<name>\S+) has changed")
    entry = name["name"] if name else said.host
    file = offending["file"] if offending else "~/.ssh/known_hosts"
    return errors.ChangedHostKey(
        host=said.target.host, key=_fingerprint(said), entry=entry, path=file
    )


def _revoked(said: Said, match: re.Match[str]) -> RkernelError:
    place = said.find(
        r".*\b(?:marked as revoked in|revoked by file|found in) (?P<file>.+?):?\d*\.?$"
    )
    path = place["file"] if place else "known_hosts"
    return errors.RevokedHostKey(host=said.target.host, key=_fingerprint(said), path=path)


def _fingerprint(said: Said) -> str:
    for line in said.debug:
        if match := re.match(_DEBUG + r"Server host key: (\S+ \S+)", line):
            return match[1]
    return "its fingerprint was not told"


def _denied(said: Said, match: re.Match[str]) -> RkernelError:
    methods = match["methods"].split(",")
    tried = _tried(said)
    facts = {
        "host": said.target.host,
        "user": said.user,
        "port": said.port,
        "tried": tried,
        "address": said.address,
    }
    if said.find(r"sign_and_send_pubkey: .*agent refused operation"):
        return errors.AgentDeclined(host=said.target.host, user=said.user)
    if said.find("WARNING: UNPROTECTED PRIVATE KEY FILE!|@ .*UNPROTECTED PRIVATE KEY FILE"):
        place = said.find(r"Permissions (?P<mode>\d+) for '(?P<path>.+)' are too open")
        path = place["path"] if place else "of this login"
        return errors.KeyUnusable(path=path, detail="others may read it; run: chmod 600 on it")
    missing = said.find(
        r"(?:Warning: Identity file|no such identity:) (?P<path>.+?)"
        r"(?: not accessible)?: No such file"
    )
    if missing:
        return errors.KeyUnusable(path=missing["path"], detail="there is no such file")
    locked = [path for path in said.settings.identities if is_encrypted(path)]
    if "publickey" in methods and locked and said.target.identity:
        return errors.KeyLocked(path=locked[0])
    if methods == ["keyboard-interactive"]:
        return errors.SecondFactorNeeded(**facts)
    if "password" in methods or "keyboard-interactive" in methods:
        return errors.PasswordNeeded(**facts)
    return errors.KeyLocked(path=locked[0]) if locked else errors.LoginRefused(**facts)


def _tried(said: Said) -> str:
    offered = [line for line in said.debug if line.startswith(_DEBUG + "Offering public key: ")]
    keys = len(offered)
    return f"{keys} key{'s' if keys > 1 else ''}" if keys else "no key"


def _cut(said: Said, match: re.Match[str]) -> RkernelError:
    return errors.LoginCut(host=said.target.host, user=said.user, tried=_tried(said))


_ALGORITHMS = {
    "cipher": "Ciphers",
    "host key type": "HostKeyAlgorithms",
    "key exchange method": "KexAlgorithms",
    "MAC": "MACs",
}


def _nothing_in_common(said: Said, match: re.Match[str]) -> RkernelError:
    offer = escape_controls(match["offer"])
    keyword = _ALGORITHMS.get(match["what"], match["what"])
    return errors.NoCommonAlgorithm(
        host=said.target.host, what=match["what"], offer=offer, setting=f"{keyword} +{offer}"
    )


def _busy(said: Said, match: re.Match[str]) -> RkernelError:
    words = [m[1] for line in said.debug if (m := _SERVER_SAID.match(line))]
    detail = escape_controls("; ".join(words)) or "it gives no reason"
    return errors.SshBusy(host=said.target.host, port=said.port, detail=detail)


def _unknown_key(said: Said, match: re.Match[str]) -> RkernelError:
    key = _fingerprint(said)
    return errors.UnknownHostKey(host=said.target.host, key=key, address=said.address)


def _no_route(said: Said, match: re.Match[str]) -> RkernelError:
    return errors.NoRoute(host=said.target.host, port=said.port, detail=match["why"])


def _refused(said: Said, match: re.Match[str]) -> RkernelError:
    return errors.PortRefused(host=said.target.host, port=said.port, service="an SSH server")


def _unresolved(said: Said, match: re.Match[str]) -> RkernelError:
    return errors.UnknownHost(host=match["name"])


def _settings(said: Said, match: re.Match[str]) -> RkernelError:
    return errors.SshConfigBroken(host=said.target.host, detail=match[0].rstrip("."))


def _silent(said: Said, match: re.Match[str]) -> RkernelError:
    return errors.SshSilent(host=said.target.host, port=said.port)


# Looked for in this order, each in the last line that begins so.
_TABLE: list[tuple[str, Callable[[Said, re.Match[str]], RkernelError]]] = [
    (r"@ +WARNING: REVOKED HOST KEY DETECTED", _revoked),
    (r"@ +WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED", _changed),
    (r"Host key verification failed\.", _unknown_key),
    (r".*: Permission denied \((?P<methods>[\w,@.-]*)\)", _denied),
    (r"Received disconnect from .*Too many authentication failures", _cut),
    (r"Disconnected from authenticating|Connection (closed|reset) by authenticating", _cut),
    (
        r"Unable to negotiate .*: no matching (?P<what>.+) found\. Their offer: (?P<offer>\S+)",
        _nothing_in_common,
    ),
    (r"ssh: Could not resolve hostname (?P<name>.+?): ", _unresolved),
    (r"ssh: connect to host \S+ port \d+: Connection refused", _refused),
    (r"Connection timed out during banner exchange", _silent),
    (r"ssh: connect to host \S+ port \d+: (?P<why>.+)", _no_route),
    (r"kex_exchange_identification: |banner exchange: ", _busy),
    (r".+: line \d+: Bad .+|.+ line \d+: .+|.*terminating, \d+ bad configuration", _settings),
]
