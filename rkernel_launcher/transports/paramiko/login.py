"""Logging in (RFC 4252): by key, by answering questions, by password, or several in a row.

paramiko sends a signature with each key at once, and asks a person in its reader thread. Here a key
is signed with once the server has said that it takes it, and all is asked in the caller's thread.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
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

log = logging.getLogger(__name__)

_SECONDS = 30.0  # for the server to answer
_TRIES = 3  # with a password
_MOST_STEPS = 20  # a server that wants more proofs or answers than this is playing with us
_MORE = 60  # the kind of several messages: each depends on what it answers
_KINDS = (common.MSG_SERVICE_ACCEPT, *range(50, 80))  # those of a login, RFC 4250 4.1


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
        login = _Login(_Conversation(transport), route, prompts, agent)
        try:
            login.run()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise errors.LoginCut(**route.facts, tried=login.tried) from error


class _Conversation(AuthHandler):
    """The messages about a login: one from us, then one from the server.

    Args:
        transport: What carries them.

    Attributes:
        greeting: What the server says to whoever logs in.
    """

    _handler_table: Any = None  # which is a property of paramiko's class

    def __init__(self, transport: paramiko.Transport) -> None:
        super().__init__(transport)
        self.connection: Any = transport  # whose underscored methods paramiko's handlers call
        self.greeting = b""
        self._answers: SimpleQueue[tuple[int, paramiko.Message] | None] = SimpleQueue()
        self._handler_table = {kind: partial(self._take, kind) for kind in _KINDS}
        transport.auth_handler = self

    def exchange(self, message: paramiko.Message) -> tuple[int, paramiko.Message]:
        """Send a message, and return the kind of the server's, and that. Raises EOFError."""
        self.connection._send_message(message)
        answer = None
        if self.connection.is_active():
            with suppress(Empty):
                answer = self._answers.get(timeout=_SECONDS)
        if answer is None:
            raise EOFError("the server ended the login")
        return answer

    def algorithm(self, kind: str) -> str | None:
        """Return the algorithm to sign with by a kind of key; None if the server has none."""
        try:
            return str(self._finalize_pubkey_algorithm(kind))  # type: ignore[attr-defined]
        except paramiko.AuthenticationException:  # it takes none that RSA has
            return None

    def abort(self) -> None:
        """Tell who waits that the connection has ended; called by paramiko."""
        self._answers.put(None)

    def _take(self, kind: int, message: paramiko.Message) -> None:
        if kind == common.MSG_USERAUTH_BANNER:
            self.greeting += message.get_string()
            return
        if kind == common.MSG_USERAUTH_SUCCESS:
            self.authenticated = True
            self.connection._auth_trigger()
        self._answers.put((kind, message))


@dataclass
class _Login:
    """One login: what was tried so far, and what is left to try."""

    conversation: _Conversation
    route: Route
    prompts: Prompts | None
    agent: dict[bytes, keys.Key]
    wanted: list[str] = field(default_factory=list)
    inside: bool = False
    declined: bool = False
    kept_given: bool = False
    answered: bool = False
    keys_tried: int = 0

    @property
    def tried(self) -> str:
        """What was tried, for people."""
        count = self.keys_tried
        return f"{count} key{'s' if count > 1 else ''}" if count else "no key"

    def run(self) -> None:
        """Log in."""
        self.keys = keys.candidates(self.route, self.agent, self.prompts)
        self.conversation.exchange(_message(common.cMSG_SERVICE_REQUEST, "ssh-userauth"))
        self._try("none")  # the refusal tells what the server wants
        if self.prompts and (said := self.conversation.greeting):
            self.prompts.say(escape_controls(said.decode("utf-8", "replace").rstrip()))
        for _ in range(_MOST_STEPS):
            if self.inside or not any(map(self._step, self.route.methods)):
                break
        if not self.inside:
            raise self._refusal()
        log.info("ssh: logged in after %s", self.tried)

    def _step(self, method: str) -> bool:
        """Try a method, if it is wanted; say whether the server is content with it."""
        if method not in self.wanted:
            return False
        if method == "publickey":
            return any(map(self._key, self.keys))
        if self.prompts is None and recall(self.route.account) is None:
            return False  # nobody can answer
        proof = self._password if method == "password" else self._dialogue
        return any(proof() for _ in range(_TRIES) if method in self.wanted)

    def _request(self, method: str, *fields: Any) -> paramiko.Message:
        start = (common.cMSG_USERAUTH_REQUEST, self.route.user, "ssh-connection", method)
        return _message(*start, *fields)

    def _try(self, method: str, *fields: Any) -> bool:
        return self._passes(*self.conversation.exchange(self._request(method, *fields)))

    def _passes(self, kind: int, message: paramiko.Message) -> bool:
        """Note what the server says to a proof; say whether it is content with it."""
        self.inside = kind == common.MSG_USERAUTH_SUCCESS
        if kind != common.MSG_USERAUTH_FAILURE:
            return self.inside
        self.wanted = message.get_list()
        return message.get_boolean()

    def _key(self, key: keys.Key) -> bool:
        algorithm = self.conversation.algorithm(key.kind)
        if algorithm is None or "publickey" not in self.wanted:
            return False
        self.keys_tried += 1
        query = self._request("publickey", False, algorithm, key.blob)
        kind, answer = self.conversation.exchange(query)
        if kind != _MORE:  # it does not take this key
            return self._passes(kind, answer)
        proof = self._request("publickey", True, algorithm, key.blob)
        data = _message(self.conversation.connection.session_id).asbytes() + proof.asbytes()
        try:
            proof.add_string(key.sign(data, algorithm))
        except keys.Locked:
            return False
        except (paramiko.SSHException, OSError):
            self.declined = True
            return False
        return self._passes(*self.conversation.exchange(proof))

    def _password(self) -> bool:
        password = self._secret(f"{self.route.login}'s password: ", is_password=True)
        return bool(password) and self._try("password", False, password)

    def _dialogue(self) -> bool:
        kind, message = self.conversation.exchange(self._request("keyboard-interactive", "", ""))
        for _ in range(_MOST_STEPS):
            if kind != _MORE:
                break
            answers = self._answers(message)
            if answers is None:
                return False
            reply = _message(common.cMSG_USERAUTH_INFO_RESPONSE)
            reply.add_int(len(answers))
            for answer in answers:
                reply.add_string(answer)
            kind, message = self.conversation.exchange(reply)
        return self._passes(kind, message)

    def _answers(self, message: paramiko.Message) -> list[str] | None:
        """Answer the server's questions; None if nobody can."""
        _title, about, _language, count = *(message.get_string() for _ in "123"), message.get_int()
        if about and self.prompts:
            self.prompts.say(escape_controls(about.decode("utf-8", "replace")))
        answers = []
        for _ in range(count):
            text = message.get_string().decode("utf-8", "replace")
            question = escape_controls(f"({self.route.login}) {text}")
            if message.get_boolean():
                answer = self.prompts.ask(question) if self.prompts else None
            else:
                answer = self._secret(question, is_password="password" in text.lower())
            if not answer:
                return None
            self.answered = True
            answers.append(answer)
        return answers

    def _secret(self, question: str, *, is_password: bool) -> str | None:
        account = self.route.account
        secret = None
        if is_password and not self.kept_given:
            self.kept_given = True
            secret = recall(account)
        if secret is None and self.prompts:
            secret = self.prompts.secret(question)
            if secret and is_password:
                self.prompts.typed[account] = secret
        self.answered |= bool(secret)
        return secret

    def _refusal(self) -> errors.RkernelError:
        facts = {**self.route.facts, "tried": self.tried}
        wanted = set(self.wanted)
        locked = [path for path in self.route.identities if is_encrypted(path)]
        missing = [path for path in self.route.named if not (path.exists() or keys.public(path))]
        if self.declined:
            return errors.AgentDeclined(**facts)
        if missing:
            return errors.KeyUnusable(path=missing[0], detail="there is no such file")
        if locked and (self.route.identity or not wanted & {"password", "keyboard-interactive"}):
            return errors.KeyLocked(path=locked[0])
        if self.answered:
            return errors.PasswordRefused(**facts)
        if wanted == {"keyboard-interactive"}:
            return errors.SecondFactorNeeded(**facts)
        if wanted & {"password", "keyboard-interactive"}:
            return errors.PasswordNeeded(**facts)
        return errors.LoginRefused(**facts)


def _message(*fields: Any) -> paramiko.Message:
    """Write a message: a kind as it is, then strings and truth values."""
    message = paramiko.Message()
    for value in fields:
        if isinstance(value, bool):
            message.add_boolean(value)
        elif isinstance(value, bytes) and len(value) == 1:
            message.add_byte(value)
        else:
            message.add_string(value)
    return message
