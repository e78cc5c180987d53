"""Logging in (RFC 4252): without a password, by key, by password, by answering questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import paramiko

from ...errors import (
    KeyUnusable,
    LoginCut,
    LoginRefused,
    PasswordNeeded,
    PasswordRefused,
    RkernelError,
)
from . import keys, passwords
from .config import Route
from .passwords import Prompts

_PASSWORD_TRIES = 3
_MOST_STEPS = 8  # a server that wants more proofs than this one after the other is playing with us
_TYPING_TIME = 300.0  # seconds a person may take for the server's questions; it has its own limit
_PASSPHRASE_WANTED = "it has a passphrase, which is neither in the agent nor in the keyring"

Left = list[str] | None  # after a try: the methods still wanted, none when we are in; None: refused
Questions = list[tuple[str, bool]]


def authenticate(
    transport: paramiko.Transport, route: Route, prompts: Prompts | None
) -> str | None:
    """Log in, with as many methods in a row as the server wants.

    Parameters: `transport`, whose host key has been checked; `route`, for user and identities;
    `prompts`, None when nobody can be asked.
    Returns: the password that a person typed, None when none was needed.
    Errors: KeyUnusable, LoginCut, LoginRefused, PasswordNeeded, PasswordRefused.
    """
    with keys.agent_keys() as agent:
        login = _Login(transport, route, prompts, keys.candidates(route, agent, prompts))
        login.run()
    return login.typed


class _Login:
    """One login: what has been tried so far, and what is left to try."""

    def __init__(
        self,
        transport: paramiko.Transport,
        route: Route,
        prompts: Prompts | None,
        keys: Iterator[paramiko.PKey],
    ) -> None:
        self.typed: str | None = None
        self._transport = transport
        self._route = route
        self._prompts = prompts
        self._keys = keys
        self._passwords = self._passwords_to_try()
        self._password: str | None = None  # the last one tried
        self._asked = False  # whether a person typed it
        self._given_up = False
        self._keys_refused = 0
        self._refused: list[str] = []

    def run(self) -> None:
        steps = {
            "publickey": self._publickey,
            "password": self._plain_password,
            "keyboard-interactive": self._interactive,
        }
        wanted = self._try(self._probe)
        if wanted is None:
            wanted = list(steps)
        for _ in range(_MOST_STEPS):
            if not wanted:
                return
            for method, step in steps.items():
                if method in wanted and (left := step()) is not None:
                    wanted = left
                    break
            else:
                break
        raise self._refusal(wanted)

    def _try(self, method: Callable[..., list[str]], *credentials: object) -> Left:
        try:
            return method(self._route.user, *credentials)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if not self._transport.is_active():
                raise LoginCut(**self._facts()) from error
            if isinstance(error, paramiko.AuthenticationException):
                return None
            raise

    def _probe(self, user: str) -> list[str]:
        """Try to come in without any proof; the refusal tells what the server wants."""
        try:
            return self._transport.auth_none(user)
        except paramiko.BadAuthenticationType as refusal:
            self._refused.append("no password")
            return refusal.allowed_types

    def _publickey(self) -> Left:
        for key in self._keys:
            left = self._try(self._transport.auth_publickey, key)
            if left is not None:
                return left
            self._keys_refused += 1
        return None

    def _plain_password(self) -> Left:
        for password in self._passwords:
            left = self._try(self._transport.auth_password, password, None, False)
            if left is not None:
                return self._accepted(left)
        return self._wrong("a password")

    def _interactive(self) -> Left:
        if self._prompts is None and passwords.recall(self._route.account) is None:
            return None
        for _ in range(_PASSWORD_TRIES):
            if self._given_up:
                break
            left = self._try(self._converse)
            if left is not None:
                return self._accepted(left)
        return self._wrong("the answers to its questions")

    def _accepted(self, left: list[str]) -> list[str]:
        if self._asked:
            self.typed = self._password
        return left

    def _wrong(self, what: str) -> Left:
        if self._password is not None:
            raise PasswordRefused(**self._facts())
        if self._prompts is not None:
            self._refused.append(what)
        return None

    def _passwords_to_try(self) -> Iterator[str]:
        """Go through the kept password and then what a person types; remember which is on trial."""
        self._password = passwords.recall(self._route.account)
        if self._password is not None:
            yield self._password
        for _ in range(_PASSWORD_TRIES if self._prompts else 0):
            typed = self._ask(f"Password of {self._route.user}@{self._route.host}")
            if not typed:
                break
            self._password, self._asked = typed, True
            yield typed
        self._given_up = True

    def _ask(self, text: str) -> str:
        return self._prompts.secret(text) if self._prompts else ""

    def _converse(self, user: str) -> list[str]:
        """Answer the server's questions in this thread; paramiko asks in its reader thread."""
        questions: SimpleQueue[tuple[str, Questions] | None] = SimpleQueue()
        answers: SimpleQueue[list[str]] = SimpleQueue()

        def ask(title: str, instructions: str, fields: Questions) -> list[str]:
            questions.put((instructions or title, fields))
            return answers.get()

        self._transport.auth_timeout = _TYPING_TIME
        with ThreadPoolExecutor(1) as pool:
            result = pool.submit(self._transport.auth_interactive, user, ask)
            result.add_done_callback(lambda _: questions.put(None))
            try:
                while (asked := questions.get()) is not None:
                    answers.put(self._answers(*asked))
            except BaseException:  # Ctrl-C among them: let go of both threads, then leave
                answers.put([])
                self._transport.close()
                raise
            return result.result()

    def _answers(self, about: str, fields: Questions) -> list[str]:
        match fields:
            case [(text, False)] if "password" in text.lower():
                return [next(self._passwords, "")]
        return [self._ask(f"{about}\n{text}".strip().rstrip(":")) for text, _ in fields]

    def _refusal(self, wanted: list[str]) -> RkernelError:
        if self._prompts is None:
            if path := keys.locked_identity(self._route):
                return KeyUnusable(path=path, detail=_PASSPHRASE_WANTED)
            if "password" in wanted or "keyboard-interactive" in wanted:
                return PasswordNeeded(**self._facts(), address=self._route.address)
        return LoginRefused(**self._facts())

    def _facts(self) -> dict[str, object]:
        keys = self._keys_refused
        counted = [f"{keys} key{'s' if keys > 1 else ''}"] if keys else []
        return {
            "host": self._route.host,
            "user": self._route.user,
            "port": self._route.port,
            "tried": ", ".join(self._refused + counted) or "nothing",
        }
