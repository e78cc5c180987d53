"""How the two ends of a link prove that they hold the same token, and agree on where to go on.

Sans-I/O, but for `shake_hands`. Each end says hello with a nonce. The launcher proves itself first,
so that an agent tells a stranger nothing. Its proof covers its resume request: a session, and the
last frame received in it. The agent's proof covers its reply: what it knows of that session.
docs/protocol.md describes every byte.
"""

import hmac
import os
import struct
from typing import Any, List, Optional, Tuple

VERSION = 3
MAGIC = b"rkernel"
NONCE = 32
HELLO = len(MAGIC) + 1 + NONCE
PROOF = 32
SESSION = 16
RESUME_REQUEST = struct.Struct("!%dsQ" % SESSION)  # session, number of the last frame received
RESUME_REPLY = struct.Struct("!BQ")  # status, number of the last frame received

# What the agent knows of a session. A status above RESUMED says why it is over.
NEW, RESUMED, EXPIRED, STOPPED, REPLACED, TAKEN, BROKEN, NO_MEMORY, FAULT = range(9)


class HandshakeError(Exception):
    """The peer is not ours, or does not hold the token."""


class NotOurs(HandshakeError):
    """What answered does not speak this protocol."""


class OtherVersion(HandshakeError):
    """The peer speaks another version of the protocol.

    Args:
        version: The peer's.
    """

    def __init__(self, version: int) -> None:
        super().__init__("version %d" % version)
        self.version = version


class WrongToken(HandshakeError):
    """The peer's proof does not fit our token."""


class _Handshake:
    """What both ends do: the hellos, and a proof over all that came before it."""

    _role = b""
    _peer_role = b""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._hello = MAGIC + bytes([VERSION]) + os.urandom(NONCE)
        self._peer_hello = b""
        self._buffer = b""
        self._out: List[bytes] = []

    def data_to_send(self) -> bytes:
        """Return the bytes to send now."""
        out, self._out = b"".join(self._out), []
        return out

    def trailing_data(self) -> bytes:
        """Return what came behind the handshake: the link's first bytes."""
        return self._buffer

    def _receive_hello(self) -> bool:
        """Take the peer's hello; return whether it is whole."""
        start = self._buffer[: len(MAGIC)]
        if start != MAGIC[: len(start)]:
            raise NotOurs("no rkernel peer")
        if len(self._buffer) > len(MAGIC) and self._buffer[len(MAGIC)] != VERSION:
            raise OtherVersion(self._buffer[len(MAGIC)])
        if len(self._buffer) < HELLO:
            return False
        self._peer_hello, self._buffer = self._buffer[:HELLO], self._buffer[HELLO:]
        return True

    def _receive_proven(self, size: int, before: bytes) -> Optional[bytes]:
        """Take `size` bytes and the proof of them; return None while they have not come."""
        if len(self._buffer) < size + PROOF:
            return None
        content, proof = self._buffer[:size], self._buffer[size : size + PROOF]
        self._buffer = self._buffer[size + PROOF :]
        if not hmac.compare_digest(proof, self._proof(self._peer_role, before + content)):
            raise WrongToken("the proof does not fit the token")
        return content

    def _prove(self, before: bytes, content: bytes) -> None:
        self._out.append(content + self._proof(self._role, before + content))

    def _proof(self, role: bytes, content: bytes) -> bytes:
        return hmac.new(self._token, role + content, "sha256").digest()


class LauncherHandshake(_Handshake):
    """The launcher's end; `reply` is the agent's status and frame number, once it has come.

    Args:
        token: The secret that both ends share.
        session: Its number, 16 bytes.
        received: The number of the last frame received in it, or 0.
    """

    _role, _peer_role = b"launcher", b"agent"

    def __init__(self, token: bytes, session: bytes, received: int) -> None:
        super().__init__(token)
        self._request = RESUME_REQUEST.pack(session, received)
        self._out.append(self._hello)
        self.reply: Optional[Tuple[int, int]] = None

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the agent.

        Raises:
            HandshakeError: It is no agent, of another version, or without the token.
        """
        self._buffer += data
        hellos = self._hello + self._peer_hello
        if not self._peer_hello:
            if not self._receive_hello():
                return
            hellos = self._hello + self._peer_hello
            self._prove(hellos, self._request)
        if self.reply is None:
            reply = self._receive_proven(RESUME_REPLY.size, hellos + self._request)
            if reply is not None:
                self.reply = RESUME_REPLY.unpack(reply)


class AgentHandshake(_Handshake):
    """The agent's end; `request` is the launcher's session and frame number, once it is proven.

    Args:
        token: The secret that both ends share.
    """

    _role, _peer_role = b"agent", b"launcher"

    def __init__(self, token: bytes) -> None:
        super().__init__(token)
        self.request: Optional[Tuple[bytes, int]] = None

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the launcher.

        Raises:
            HandshakeError: It is no launcher, of another version, or without the token.
        """
        self._buffer += data
        if not self._peer_hello:
            try:
                if not self._receive_hello():
                    return
            except OtherVersion:
                self._out.append(self._hello)  # tells the launcher which version this is
                raise
            self._out.append(self._hello)
        if self.request is None:
            request = self._receive_proven(RESUME_REQUEST.size, self._peer_hello + self._hello)
            if request is not None:
                self.request = RESUME_REQUEST.unpack(request)

    def accept(self, status: int, received: int) -> None:
        """Answer the launcher's request.

        Args:
            status: What the agent knows of the session, such as RESUMED.
            received: The number of the last frame received in it.
        """
        assert self.request is not None
        before = self._peer_hello + self._hello + RESUME_REQUEST.pack(*self.request)
        self._prove(before, RESUME_REPLY.pack(status, received))


def shake_hands(sock: Any, shake: LauncherHandshake) -> Tuple[int, int]:
    """Do the launcher's handshake on a blocking socket; return the agent's status and frame number.

    It reads nothing of what follows.

    Raises:
        EOFError: The agent hung up.
        HandshakeError: As for `LauncherHandshake.receive_data`.
        OSError: The connection broke.
    """
    sock.sendall(shake.data_to_send())
    while shake.reply is None:
        data = sock.recv(1)
        if not data:
            raise EOFError("it hung up")
        shake.receive_data(data)
        if out := shake.data_to_send():
            sock.sendall(out)
    return shake.reply
