"""How the two ends of a link prove that they hold the same token, and agree on where to go on.

Sans-I/O, but for `shake_hands`. The launcher says hello with a nonce, the agent answers with its
own; the launcher proves itself first, so that an agent tells a stranger nothing. Under its proof
the launcher names a session and the last frame that it has of it; under its own, the agent says
what it knows of that session. docs/protocol.md describes every byte.
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
    """The peer is not one of ours, or does not hold the token."""


class NotOurs(HandshakeError):
    """What answered does not speak this protocol."""


class OtherVersion(HandshakeError):
    """The peer speaks another version of the protocol.

    Parameters: version, the peer's.
    """

    def __init__(self, version: int) -> None:
        super().__init__("version %d" % version)
        self.version = version


class WrongToken(HandshakeError):
    """The peer's proof does not fit our token."""


class _Handshake:
    """What both ends do: the hellos, and a proof over all that was said before."""

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
        """Take the peer's hello; say whether it is whole."""
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
        """Take so many bytes and the proof of them; None while they are not there."""
        if len(self._buffer) < size + PROOF:
            return None
        said, proof = self._buffer[:size], self._buffer[size : size + PROOF]
        self._buffer = self._buffer[size + PROOF :]
        if not hmac.compare_digest(proof, self._proof(self._peer_role, before + said)):
            raise WrongToken("the proof does not fit the token")
        return said

    def _prove(self, before: bytes, said: bytes) -> None:
        self._out.append(said + self._proof(self._role, before + said))

    def _proof(self, role: bytes, said: bytes) -> bytes:
        return hmac.new(self._token, role + said, "sha256").digest()


class LauncherHandshake(_Handshake):
    """The launcher's end.

    Parameters: token, the shared secret; session, its 16 bytes; received, the number of the last
    frame that came in it. `answer` is the agent's status and number, once it has come.
    """

    _role, _peer_role = b"launcher", b"agent"

    def __init__(self, token: bytes, session: bytes, received: int) -> None:
        super().__init__(token)
        self._request = RESUME_REQUEST.pack(session, received)
        self._out.append(self._hello)
        self.reply: Optional[Tuple[int, int]] = None

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the agent. Raises a HandshakeError when it is not to be talked to."""
        self._buffer += data
        hellos = self._hello + self._peer_hello
        if not self._peer_hello:
            if not self._receive_hello():
                return
            hellos = self._hello + self._peer_hello
            self._prove(hellos, self._request)
        if self.reply is None:
            said = self._receive_proven(RESUME_REPLY.size, hellos + self._request)
            if said is not None:
                self.reply = RESUME_REPLY.unpack(said)


class AgentHandshake(_Handshake):
    """The agent's end.

    Parameters: token, the shared secret. `claim` is the launcher's session and number, once it has
    proven itself; `accept` answers it.
    """

    _role, _peer_role = b"agent", b"launcher"

    def __init__(self, token: bytes) -> None:
        super().__init__(token)
        self.request: Optional[Tuple[bytes, int]] = None

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the launcher. Raises a HandshakeError when it is not to be talked to."""
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
            said = self._receive_proven(RESUME_REQUEST.size, self._peer_hello + self._hello)
            if said is not None:
                self.request = RESUME_REQUEST.unpack(said)

    def accept(self, status: int, received: int) -> None:
        """Answer the launcher's claim.

        Parameters: status, of the session; received, the number of the last frame that came in it.
        """
        assert self.request is not None
        before = self._peer_hello + self._hello + RESUME_REQUEST.pack(*self.request)
        self._prove(before, RESUME_REPLY.pack(status, received))


def shake_hands(sock: Any, shake: LauncherHandshake) -> Tuple[int, int]:
    """Go through the launcher's handshake on a blocking socket, and return the agent's answer.

    Takes nothing of what follows. Raises EOFError when the agent hangs up, a HandshakeError, or
    OSError.
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
