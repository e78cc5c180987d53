"""Logging in (RFC 4252): by key, by answering questions, by password, or several in a row.

paramiko sends a signature with each key at once, and asks a person in its reader thread. Here a key
is signed with once the server has said that it takes it, and all is asked in the caller's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import paramiko
from paramiko import common
from paramiko.auth_handler import AuthHandler

from ... import errors
from ...sanitize import escape_controls
from ..private_keys import is_encrypted
from ..prompts import Prompts, recall
from . import keys
from .settings import Route

_SECONDS = 30.0  # for the server to answer
_PASSWORD_TRIES = 3
_MOST_STEPS = 8  # a server that wants more proofs than this one after the other is playing with us
_MOST_QUESTIONS = 20
# The numbers of several messages: each depends on what it answers.
_MORE = common.MSG_USERAUTH_INFO_REQUEST


def log_in(transport: paramiko.Transport, route: Route, prompts: Prompts | None) -> None:
    """Log in, with as many methods in a row as the server wants.

    Args:
        transport: One whose host key has been checked.
        route: The account, and the keys to try.
        prompts: How to ask a person; None to ask nothing.

    Raises:
        RkernelError: AgentDeclined, KeyLocked, KeyUnusable, LoginCut, LoginRefused, PasswordNeeded,
            PasswordRefused, SecondFactorNeeded.
    """
    with keys.held() as agent:
        login = _Login(transport, route, prompts, agent)
        try:
            login.run()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise errors.LoginCut(host=route.host, user=route.user, tried=login.tried) from error


class _Conversation(AuthHandler):
    """The messages about a login: one from us, then one from the server.

    Args:
        transport: What carries them.
    """

    def __init__(self, transport: paramiko.Transport) -> None:
        super().__init__(transport)
        self._answers: SimpleQueue[tuple[int, paramiko.Message] | None] = SimpleQueue()
        kinds = (common.MSG_SERVICE_ACCEPT, common.MSG_USERAUTH_FAILURE, _MORE)
        self._table: dict[int, Callable[[paramiko.Message], None]] = {
            kind: partial(self._take, kind) for kind in kinds
        }
        self._table[common.MSG_USERAUTH_SUCCESS] = self._succeed
        self._table[common.MSG_USERAUTH_BANNER] = self._show
        transport.auth_handler = self
        self._carrier: Any = transport  # whose underscored methods paramiko's handlers call
        self.greeting = b""

    @property
    def _client_handler_table(self) -> dict[int, Callable[[paramiko.Message], None]]:
        return self._table

    def exchange(self, message: paramiko.Message) -> tuple[int, paramiko.Message]:
        """Send a message, and return the server's and its kind. Raises EOFError."""
        self._carrier._send_message(message)
        try:
            answer = self._answers.get(timeout=_SECONDS) if self._carrier.is_active() else None
        except Empty:
            answer = None
        if answer is None:
            raise EOFError("the server ended the login")
        return answer

    def abort(self) -> None:
        """Tell who waits that the connection has ended; called by paramiko."""
        self._answers.put(None)

    def algorithm(self, kind: str) -> str | None:
        """Return the algorithm to sign with by a kind of key; None if the server has none."""
        try:
            return str(self._finalize_pubkey_algorithm(kind))  # type: ignore[attr-defined]
        except paramiko.AuthenticationException:  # it takes none that RSA has
            return None

    def _show(self, message: paramiko.Message) -> None:
        self.greeting += message.get_string()

    def _succeed(self, message: paramiko.Message) -> None:
        self.authenticated = True
        self._carrier._auth_trigger()
        self._take(common.MSG_USERAUTH_SUCCESS, message)

    def _take(self, kind: int, message: paramiko.Message) -> None:
        self._answers.put((kind, message))


class _Login:
    """One login: what was tried so far, and what is left to try.

    Args: As for `log_in`, and the agent's keys.
    """

    def __init__(
        self,
        transport: paramiko.Transport,
        route: Route,
        prompts: Prompts | None,
        agent: dict[bytes, keys.Key],
    ) -> None:
        self._transport = transport
        self._route = route
        self._prompts = prompts
        self._conversation = _Conversation(transport)
        self._keys = keys.candidates(route, agent, prompts)
        self._keys_tried = 0
        self._wanted: list[str] = []
        self._inside = False
        self._declined = False
        self._kept_given = False
        self._answered = False

    @property
    def tried(self) -> str:
        """What was tried, for people."""
        keys = self._keys_tried
        return f"{keys} key{'s' if keys > 1 else ''}" if keys else "no key"

    def run(self) -> None:
        """Log in."""
        self._conversation.exchange(_message(common.cMSG_SERVICE_REQUEST, "ssh-userauth"))
        self._passes(self._send("none"))  # the refusal tells what the server wants
        self._show_banner()
        for _ in range(_MOST_STEPS):
            if self._inside or not any(map(self._step, self._route.methods)):
                break
        if not self._inside:
            raise self._refusal()

    def _step(self, method: str) -> bool:
        """Try a method, if it is wanted; say whether the server is content with it."""
        steps = {
            "publickey": self._by_key,
            "keyboard-interactive": self._by_answers,
            "password": self._by_password,
        }
        return method in self._wanted and steps[method]()

    def _send(self, method: str, *fields: Any) -> tuple[int, paramiko.Message]:
        return self._conversation.exchange(self._request(method, *fields))

    def _request(self, method: str, *fields: Any) -> paramiko.Message:
        head = (common.cMSG_USERAUTH_REQUEST, self._route.user, "ssh-connection", method)
        return _message(*head, *fields)

    def _passes(self, answer: tuple[int, paramiko.Message]) -> bool:
        kind, message = answer
        if kind == common.MSG_USERAUTH_SUCCESS:
            self._inside = True
        elif kind == common.MSG_USERAUTH_FAILURE:
            self._wanted = message.get_list()
            return message.get_boolean()
        return self._inside

    def _by_key(self) -> bool:
        for key in self._keys:
            algorithm = self._conversation.algorithm(key.kind)
            if algorithm is None:
                continue
            self._keys_tried += 1
            answer = self._send("publickey", False, algorithm, key.blob)
            if answer[0] == _MORE:  # it would take this key
                body = self._request("publickey", True, algorithm, key.blob).asbytes()
                assert self._transport.session_id is not None
                data = _message(self._transport.session_id).asbytes() + body
                try:
                    signature = key.sign(data, algorithm)
                except keys.Declined:
                    self._declined = True
                    continue
                except keys.Locked:
                    continue
                answer = self._send("publickey", True, algorithm, key.blob, signature)
            if self._passes(answer):
                return True
            if "publickey" not in self._wanted:
                break
        return False

    def _by_password(self) -> bool:
        for _ in range(_PASSWORD_TRIES):
            password = self._secret(f"{self._route.login}'s password: ", is_password=True)
            if not password:
                break
            self._answered = True
            if self._passes(self._send("password", False, password)):
                return True
        return False

    def _by_answers(self) -> bool:
        if self._prompts is None and recall(self._route.account) is None:
            return False
        for _ in range(_PASSWORD_TRIES):
            kind, message = self._send("keyboard-interactive", "", "")
            for _ in range(_MOST_QUESTIONS):
                if kind != _MORE:
                    break
                answers = self._answers(message)
                if answers is None:
                    return False
                reply = _message(common.cMSG_USERAUTH_INFO_RESPONSE)
                reply.add_int(len(answers))
                for answer in answers:
                    reply.add_string(answer)
                kind, message = self._conversation.exchange(reply)
            if self._passes((kind, message)):
                return True
            if "keyboard-interactive" not in self._wanted:
                break
        return False

    def _answers(self, message: paramiko.Message) -> list[str] | None:
        """Answer the server's questions; None if nobody can."""
        _title, about, _language = (message.get_string() for _ in range(3))
        if about and self._prompts:
            self._prompts.say(escape_controls(about.decode("utf-8", "replace")))
        answers = []
        for _ in range(message.get_int()):
            text = message.get_string().decode("utf-8", "replace")
            question = escape_controls(f"({self._route.login}) {text}")
            if message.get_boolean():
                answer = self._prompts.ask(question) if self._prompts else None
            else:
                answer = self._secret(question, is_password="password" in text.lower())
            if not answer:
                return None
            self._answered = True
            answers.append(answer)
        return answers

    def _secret(self, question: str, *, is_password: bool) -> str | None:
        account = self._route.account
        if is_password and not self._kept_given:
            self._kept_given = True
            if (kept := recall(account)) is not None:
                return kept
        if self._prompts is None:
            return None
        typed = self._prompts.secret(question)
        if typed and is_password:
            self._prompts.typed[account] = typed
        return typed

    def _show_banner(self) -> None:
        if self._prompts and (said := self._conversation.greeting):
            self._prompts.say(escape_controls(said.decode("utf-8", "replace").rstrip()))

    def _refusal(self) -> errors.RkernelError:
        route = self._route
        facts = {
            "host": route.host,
            "user": route.user,
            "port": route.port,
            "tried": self.tried,
            "address": route.address,
        }
        if self._declined:
            return errors.AgentDeclined(host=route.host, user=route.user)
        for path in route.named:
            if not path.exists() and keys.public(path) is None:
                return errors.KeyUnusable(path=path, detail="there is no such file")
        locked = [path for path in route.identities if is_encrypted(path)]
        if "publickey" in self._wanted and locked and route.identity:
            return errors.KeyLocked(path=locked[0])
        if self._answered:
            return errors.PasswordRefused(**facts)
        if self._wanted == ["keyboard-interactive"]:
            return errors.SecondFactorNeeded(**facts)
        if "password" in self._wanted or "keyboard-interactive" in self._wanted:
            return errors.PasswordNeeded(**facts)
        return errors.KeyLocked(path=locked[0]) if locked else errors.LoginRefused(**facts)


def _message(*fields: Any) -> paramiko.Message:
    """Write a message: a kind as it is, then strings and truth values."""
    message = paramiko.Message()
    for field in fields:
        if isinstance(field, bool):
            message.add_boolean(field)
        elif isinstance(field, bytes) and len(field) == 1:
            message.add_byte(field)
        else:
            message.add_string(field)
    return message
