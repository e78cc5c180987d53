"""A board we have reached: its facts, its agent, and a link to that agent.

Everything here is the same however the board was reached; `ways.reach` does that.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from board_agent.handshake import Handshake, HandshakeError, NotOurs, OtherVersion

from . import code, errors
from .rpyc_session import Session
from .target import Target

LINK_SECONDS = 15.0
_NO_SPACE = ("ENOSPC", "EDQUOT")


@dataclass
class Board:
    """A bootstrap session with a board.

    `connect` opens a connection to a port of the board's agent, and `bind` is where the agent is
    to listen for it. `close` ends what the way to the board holds open; links made before end too.
    `offer_key` asks whether the next login may do without the password that this one needed.
    """

    target: Target
    session: Session
    bind: str
    connect: Callable[[int], socket.socket]
    close: Callable[[], None]
    offer_key: Callable[[Any], None] = lambda prompts: None

    def prepare(self) -> None:
        """Put our code on the board, unless it is there. Raises NoSpace or CacheUnusable."""
        self.session.execute(code.install_source())
        if self.session.call("load", code.version())["installed"]:
            return
        said = self.session.call("install", code.version(), code.archive())
        if "error" in said:
            wrong = errors.NoSpace if said["error"] in _NO_SPACE else errors.CacheUnusable
            raise wrong(path=said["path"], detail=said["detail"])
        if not self.session.call("load", code.version())["installed"]:
            raise errors.CacheUnusable(path="~/.cache/rkernel", detail="it does not keep files")

    def facts(self) -> dict[str, Any]:
        """Return what the board is. Raises NoPython."""
        said = self._call("facts", python=self.target.python)
        if "error" in said:
            raise errors.NoPython(detail=_last_line(said["detail"]))
        return said

    def open_link(self, idle: float | None = None) -> socket.socket:
        """Return a connection to the agent, past the handshake; start the agent if need be.

        Parameters: idle, seconds after which an agent that is started now ends itself.
        Raises errors of the agent's port, see `errors`.
        """
        said = self._call(
            "ensure_agent",
            code=code.version(),
            bind=self.bind,
            python=self.target.python,
            idle=idle,
        )
        if "error" in said:
            raise _agent_error(said, self.bind)
        sock = self.connect(int(said["port"]))
        try:
            shake_hands(sock, bytes.fromhex(said["token"]), self.target.host or "this machine")
        except BaseException:
            sock.close()
            raise
        return sock

    def end_session(self) -> None:
        """End the bootstrap session; the link stays. Nothing of rpyc is left on the board."""
        self.session.close()

    def _call(self, name: str, **arguments: object) -> dict[str, Any]:
        return dict(self.session.call("call", name, json.dumps(arguments)))


def shake_hands(sock: socket.socket, token: bytes, host: str) -> None:
    """Prove ourselves to the agent at the other end of `sock`, and have it prove itself.

    Raises NotAnAgent, OtherAgent or WrongToken.
    """
    sock.settimeout(LINK_SECONDS)
    shake = Handshake(token, launcher=True)
    sock.sendall(shake.take())
    try:
        while not shake.done:
            data = sock.recv(1)
            if not data:
                raise errors.LinkRefused(host=host)
            shake.receive(data)
            if out := shake.take():
                sock.sendall(out)
    except OtherVersion as error:
        raise errors.OtherAgent(host=host, version=error.version) from error
    except NotOurs as error:
        raise errors.NotAnAgent(host=host) from error
    except HandshakeError as error:
        raise errors.WrongToken(host=host) from error
    except OSError as error:
        raise errors.NotAnAgent(host=host) from error
    sock.settimeout(None)


def _agent_error(said: dict[str, Any], bind: str) -> errors.RkernelError:
    if isinstance(said["error"], int):
        return errors.LinkPortTaken(port=bind.rpartition(":")[2], detail=said["detail"])
    if said["error"] == "no_home":
        return errors.CacheUnusable(path="a private folder", detail=said["detail"])
    return errors.AgentFailed(detail=_last_line(said["detail"]))


def _last_line(text: str) -> str:
    """Return the line of a traceback, or of another complaint, that says what is wrong."""
    return text.strip().rpartition("\n")[2] or "it said nothing"
