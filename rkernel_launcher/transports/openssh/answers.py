"""Answers to what ssh asks: from the keyring, or from the person at the terminal.

ssh has no translations; its questions are those of sshconnect2.c and sshconnect.c.
"""

from __future__ import annotations

import re

from ...sanitize import escape_controls
from ..prompts import Prompts, recall
from .settings import Settings

_PASSWORD = re.compile(r"(?P<login>.+)'s password: ?")
_INTERACTIVE = re.compile(r"(?:\((?P<login>[^()]+)\) )?(?P<text>.*)", re.DOTALL)
_PASSPHRASE = re.compile(r"Enter passphrase for (?:key )?'?(?P<path>.+?)'?: ?")
_HOST_KEY = re.compile(r".*(\(yes/no(/\[fingerprint\])?\)\? ?|Please type 'yes'.*)", re.DOTALL)


class Answers:
    """Answer the questions of one login.

    Args:
        settings: Those of the host.
        prompts: How to ask the person; None to ask nothing.
    """

    def __init__(self, settings: Settings, prompts: Prompts | None) -> None:
        self._settings = settings
        self._prompts = prompts
        self._given: set[str] = set()  # kept secrets, which are wrong if they are asked for again

    def __call__(self, text: str, kind: str) -> str | None:
        """Answer a question, see `askpass.Answer`."""
        if kind == "none":
            if self._prompts is not None:
                self._prompts.say(escape_controls(text))
            return ""
        if kind == "confirm" or _HOST_KEY.fullmatch(text):
            return self._prompts.ask(escape_controls(text)) if self._prompts else None
        name = self._name(text)
        if name and name not in self._given:
            self._given.add(name)
            if (kept := recall(name)) is not None:
                return kept
        if self._prompts is None:
            return None
        typed = self._prompts.secret(escape_controls(text))
        if name and typed:
            self._prompts.typed[name] = typed
        return typed

    def _name(self, text: str) -> str:
        """Return the keyring's name of the secret that is asked for; empty if it is never kept."""
        if match := _PASSPHRASE.fullmatch(text):
            return match["path"]
        if match := _PASSWORD.fullmatch(text):
            return self._account(match["login"])
        match = _INTERACTIVE.fullmatch(text)
        if match and "password" in match["text"].lower():
            return self._account(match["login"] or self._settings.login)
        return ""

    def _account(self, login: str) -> str:
        return self._settings.account if login == self._settings.login else login


def are_kept(settings: Settings) -> bool:
    """Say whether the keyring has a secret that this host's login may want."""
    jumps = settings.value("proxyjump").split(",")
    names = [settings.account, *map(str, settings.identities), *filter(None, jumps)]
    return any(recall(name) is not None for name in names)
