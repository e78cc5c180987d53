"""Take secrets, keys, and the names of people and machines out of a report."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ... import errors
from ...transports import ssh
from .visit import Visit

Scrub = Callable[[str], str]

_SHORTEST_NAME = 3  # characters of a word among others, such as those of a command
_SHORTEST_SECRET = 6  # characters: a shorter one, such as 1 or yes, is in every text

# What has no place in a report, whatever it is called.
_SECRETS = [
    (r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", "<key>"),
    (r"\bAAAA[\w+/]{20,}=*", "<key>"),
    (r"\b[0-9a-fA-F]{32,}\b", "<secret>"),
]
# What names people and machines, wherever it stands. An @ is in algorithms' names, too.
_NAMES = [
    (r"\b(?:SHA256:[\w+/]{20,}|MD5(?::[0-9a-f]{2}){16})", "<fingerprint>"),
    (r"(Executing proxy command: )[^\n]*", r"\1<command>"),
    (r"((?:/home|/Users|\\Users)[/\\])[^/\\\s'\":;,]+", r"\1<user>"),
    (r"[\w.+%-]+@(?!openssh\.com|libssh\.org|lysator\.liu\.se)\[?[\w.:%-]+\]?", "<user>@<host>"),
    (r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)", "<address>"),
    (r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?:%\w+)?(?![\w:])", "<address>"),
]


def scrubber(visits: Iterable[Visit], names_stay: bool) -> Scrub:
    """Return what takes out of a text what must not be in a report.

    Args:
        visits: The boards that were visited.
        names_stay: Whether names and addresses may stay.
    """
    known: dict[str, str] = {}
    patterns = list(_SECRETS)
    if not names_stay:
        known = _of_this_pc()
        patterns += _NAMES
    for visit in visits:
        known |= _secrets(visit) if names_stay else {**_names(visit), **_secrets(visit)}
    compiled = [(re.compile(pattern, re.DOTALL), text) for pattern, text in patterns]
    words = _alternatives(known)

    def scrub(text: str) -> str:
        text = words.sub(lambda match: known[match[0].lower()], text)
        for pattern, placeholder in compiled:
            text = pattern.sub(placeholder, text)
        return text

    return scrub


def _alternatives(known: Mapping[str, str]) -> re.Pattern[str]:
    """Return a pattern for words, the longest first; they end where letters and digits do."""
    words = sorted(filter(None, known), key=len, reverse=True)
    either = "|".join(map(re.escape, words)) or r"(?!)"
    return re.compile(rf"(?<![^\W_])(?:{either})(?![^\W_])", re.IGNORECASE)


def _of_this_pc() -> dict[str, str]:
    names = {str(Path.home()): "<home>", **_hosts([socket.gethostname()])}
    try:
        names[getpass.getuser()] = "<user>"
    except (OSError, KeyError, ImportError):
        pass  # an account without a name
    return _lower(names)


def _names(visit: Visit) -> dict[str, str]:
    """Return the names of a board and of accounts there."""
    names = {visit.name: "<kernel>"}
    target = visit.target
    if target is None:
        return _lower(names)
    hosts = [target.host, visit.facts.hostname if visit.facts else ""]
    users = [target.user or ""]
    said = [target.command, target.identity, target.ssh_command, target.workdir, target.jump]
    if target.via in ("ssh", "auto"):
        with suppress(errors.RkernelError):
            said += ssh.names(target)
            account, _ = ssh.login(target)
            user, _, host = account.rpartition(":")[0].rpartition("@")
            users.append(user)
            hosts.append(host)
    names |= dict.fromkeys(filter(None, said), "<setting>")
    names |= dict.fromkeys(
        (piece for text in filter(None, said) for piece in _pieces(text)), "<setting>"
    )
    names |= dict.fromkeys(users, "<user>") | _hosts(hosts)
    return _lower(names)


def _pieces(said: str) -> Iterator[str]:
    """Yield the words of a setting or a command that may be hosts or accounts."""
    for word in re.split(r"[\s,@=]+", said):
        word = re.sub(r":\d+$", "", word).strip("[]\"'")
        if len(word) >= _SHORTEST_NAME and word[0].isalnum() and not word.isdigit():
            yield word
            if len(short := word.partition(".")[0]) >= _SHORTEST_NAME and not short.isdigit():
                yield short


def _secrets(visit: Visit) -> dict[str, str]:
    """Return what the person has said about a board that may be secret."""
    if visit.target is None:
        return {}
    said = [value for _, value in visit.target.env] + [visit.target.video_path or ""]
    secrets = [value for value in said if len(value) >= _SHORTEST_SECRET]
    return _lower(dict.fromkeys(secrets, "<secret>"))


def _hosts(names: Iterable[str]) -> dict[str, str]:
    """Return hosts, and what they are called without their domain."""
    plain = [name for name in names if name and name != "localhost"]
    short = [name.partition(".")[0] for name in plain if not name[0].isdigit() and ":" not in name]
    return dict.fromkeys([*plain, *short], "<host>")


def _lower(names: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): text for name, text in names.items() if name}
