"""How the two ends of a link prove to each other that they hold the same token.

Sans-I/O. The launcher says hello with a nonce, the agent answers with its own; the launcher proves
itself first, so that an agent tells a stranger nothing. docs/protocol.md describes every byte.
"""

import hmac
import os
from typing import Optional

VERSION = 1
MAGIC = b"rkernel"
NONCE = 32
HELLO = len(MAGIC) + 1 + NONCE
PROOF = 32


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


class Handshake:
    """One end of the handshake.

    Parameters: token, the shared secret; launcher, which end this is.
    """

    def __init__(self, token: bytes, launcher: bool) -> None:
        self._token = token
        self._launcher = launcher
        self._hello = MAGIC + bytes([VERSION]) + os.urandom(NONCE)
        self._peer_hello: Optional[bytes] = None
        self._buffer = b""
        self._out = [self._hello] if launcher else []
        self.done = False

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer. Raises a HandshakeError when it is not to be talked to."""
        self._buffer += data
        if self._peer_hello is None:
            self._take_hello()
        if self._peer_hello is not None and not self.done and len(self._buffer) >= PROOF:
            proof, self._buffer = self._buffer[:PROOF], self._buffer[PROOF:]
            if not hmac.compare_digest(proof, self._proof(of_launcher=not self._launcher)):
                raise WrongToken("the proof does not fit the token")
            if not self._launcher:
                self._out.append(self._proof(of_launcher=False))
            self.done = True

    def take(self) -> bytes:
        """Return the bytes to send now."""
        out, self._out = b"".join(self._out), []
        return out

    def rest(self) -> bytes:
        """Return what came behind the handshake: the link's first bytes."""
        return self._buffer

    def _take_hello(self) -> None:
        start = self._buffer[: len(MAGIC)]
        if start != MAGIC[: len(start)]:
            raise NotOurs("no rkernel peer")
        if len(self._buffer) > len(MAGIC) and self._buffer[len(MAGIC)] != VERSION:
            if not self._launcher:
                self._out.append(self._hello)  # tells the launcher which version this is
            raise OtherVersion(self._buffer[len(MAGIC)])
        if len(self._buffer) < HELLO:
            return
        self._peer_hello, self._buffer = self._buffer[:HELLO], self._buffer[HELLO:]
        self._out.append(self._proof(of_launcher=True) if self._launcher else self._hello)

    def _proof(self, of_launcher: bool) -> bytes:
        assert self._peer_hello is not None
        hellos = (self._hello, self._peer_hello)
        if not self._launcher:
            hellos = hellos[::-1]
        role = b"launcher" if of_launcher else b"agent"
        return hmac.new(self._token, role + b"".join(hellos), "sha256").digest()
