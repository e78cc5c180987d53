"""Peers at the handshake: little memory, little time, and no information."""

import os
import sys
from collections import Counter
from typing import Any, Callable, List

from ..link.event_loop import Loop
from ..link.handshake import AgentHandshake as Handshake
from ..link.handshake import HandshakeError

MAX_STRANGERS = 64  # at once
HANDSHAKE_TIMEOUT = 5.0
MAX_BYTES = 1024  # that one may send


class Strangers:
    """All peers at the handshake.

    Args:
        loop: The agent's.
        token: What they have to prove that they know.
        on_proven: Called with a stranger that has proven it, its session's number, and the number
            of the last frame that it received.
    """

    def __init__(
        self, loop: Loop, token: bytes, on_proven: Callable[["Stranger", bytes, int], None]
    ) -> None:
        self.loop = loop
        self.token = token
        self.on_proven = on_proven
        self._all: List[Stranger] = []

    def add(self, transport: Any, host: str) -> None:
        """Begin with a new connection; if there are too many, close one.

        That is any of the host that has most, if possible one that has sent nothing. So a flood
        does not drive out those that are about to prove themselves.
        """
        if len(self._all) >= MAX_STRANGERS:
            most = Counter(stranger.host for stranger in self._all).most_common(1)[0][0]
            crowd = [stranger for stranger in self._all if stranger.host == most]
            silent = [stranger for stranger in crowd if stranger.is_silent]
            pool = silent or crowd
            pool[os.urandom(1)[0] % len(pool)].close()
        self._all.append(Stranger(self, transport, host))

    def remove(self, stranger: "Stranger") -> None:
        """Forget a peer that is past the handshake, one way or the other."""
        if stranger in self._all:
            self._all.remove(stranger)

    def close(self) -> None:
        """Close all connections."""
        for stranger in tuple(self._all):
            stranger.close()


class Stranger:
    """One peer at the handshake."""

    def __init__(self, strangers: Strangers, transport: Any, host: str) -> None:
        self.transport = transport
        self.host = host
        self._strangers = strangers
        self._handshake = Handshake(strangers.token)
        self._room = MAX_BYTES
        self._loop = strangers.loop.guarded(self._on_fault)
        transport.watch(self._loop, self._on_readable, None)
        self._cancel = self._loop.call_later(HANDSHAKE_TIMEOUT, self.close)

    @property
    def is_silent(self) -> bool:
        """Whether the peer has sent nothing."""
        return self._room == MAX_BYTES

    def close(self) -> None:
        """Close the connection."""
        self._leave()
        self.transport.close()

    def accept(self, status: int, received: int) -> bytes:
        """Answer a peer that has proven itself; return what it has sent since.

        Args:
            status: Of its session, such as RESUMED.
            received: The number of the last frame received in it.
        """
        self._leave()
        self._handshake.accept(status, received)
        self._send()
        return self._handshake.trailing_data()

    def reject(self, status: int) -> None:
        """Tell a peer that has proven itself why its session is over."""
        self.accept(status, 0)
        self.transport.close()

    def _leave(self) -> None:
        self._cancel()
        self.transport.watch(self._loop, None, None)
        self._strangers.remove(self)

    def _on_readable(self) -> None:
        try:
            data = self.transport.recv(self._room)
            if not data:
                raise HandshakeError("gone")
            self._room -= len(data)
            self._handshake.receive_data(data)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, HandshakeError):
            self._send()
            self.close()
            return
        self._send()
        if self._handshake.request is not None:
            self._strangers.on_proven(self, *self._handshake.request)

    def _on_fault(self, error: Exception) -> None:
        """Close the connection after a fault in our code; the log has its traceback."""
        sys.excepthook(type(error), error, error.__traceback__)
        self.close()

    def _send(self) -> None:
        try:
            self.transport.send(self._handshake.data_to_send())
        except OSError:
            pass  # a hundred bytes always fit a new connection; if it is gone, reading tells
