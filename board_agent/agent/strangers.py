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
    """All who are at the handshake.

    Parameters: loop; token, which they have to prove that they know; on_proven, called with one who
    has, the number of its session, and the number of the last frame that came to it.
    """

    def __init__(
        self, loop: Loop, token: bytes, on_proven: Callable[["Stranger", bytes, int], None]
    ) -> None:
        self.loop = loop
        self.token = token
        self.on_proven = on_proven
        self._all: List[Stranger] = []

    def add(self, transport: Any, host: str) -> None:
        """Begin with a new transport; if there are too many, send one away.

        That is any of the host that has most, one that has said nothing if there is one: so a flood
        does not wash those out who are on their way to prove themselves.
        """
        if len(self._all) >= MAX_STRANGERS:
            most = Counter(stranger.host for stranger in self._all).most_common(1)[0][0]
            crowd = [stranger for stranger in self._all if stranger.host == most]
            silent = [stranger for stranger in crowd if stranger.is_silent]
            pool = silent or crowd
            pool[os.urandom(1)[0] % len(pool)].close()
        self._all.append(Stranger(self, transport, host))

    def remove(self, stranger: "Stranger") -> None:
        """Forget one who is past the handshake, one way or the other."""
        if stranger in self._all:
            self._all.remove(stranger)

    def close(self) -> None:
        """Send all away."""
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
        self._cancel = self._loop.call_later(HANDSHAKE_TIMEOUT, self.close)
        transport.watch(self._loop, self._on_readable, None)

    @property
    def is_silent(self) -> bool:
        """Whether the peer has said nothing."""
        return self._room == MAX_BYTES

    def close(self) -> None:
        """Send the peer away."""
        self._leave()
        self.transport.close()

    def accept(self, status: int, received: int) -> bytes:
        """Answer a peer that has proven itself; return what it has said since."""
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
        """Send the peer away after a fault of ours; the log has its traceback."""
        sys.excepthook(type(error), error, error.__traceback__)
        self.close()

    def _send(self) -> None:
        try:
            self.transport.send(self._handshake.data_to_send())
        except OSError:
            pass  # a hundred bytes always fit a new connection; if it is gone, reading tells
