"""A client's connection to shell, control or stdin: ZMTP, as a kernel's ROUTER socket speaks it."""

from __future__ import annotations

import socket
from collections.abc import Callable

from board_agent.link.event_loop import Loop
from board_agent.zmtp.wire import ProtocolError, Wire, encode

RECEIVE_SIZE = 1 << 16  # bytes taken from the connection at once
MAX_MESSAGE = 1 << 40  # bytes: what is too long for the board is the board's to refuse
MAX_UNSENT = 1 << 20  # bytes that wait for a client, at which no more should come for it


class ClientConnection:
    """Exchange messages with a client.

    Args:
        loop: Watches the connection.
        sock: The connection; it does not block.
        channel: Which channel the client has connected to.
        on_ready: Called once the client has introduced itself.
        on_message: Called with the frames of each message.
        on_room: Called when what waited for the client has been sent.
        on_closed: Called once the connection is closed.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        channel: str,
        on_ready: Callable[[ClientConnection], None],
        on_message: Callable[[ClientConnection, list[bytes]], None],
        on_room: Callable[[ClientConnection], None],
        on_closed: Callable[[ClientConnection], None],
    ) -> None:
        self.channel = channel
        self._loop = loop
        self._sock = sock
        self._on_ready = on_ready
        self._on_message = on_message
        self._on_room = on_room
        self._on_closed = on_closed
        self._wire = Wire(b"ROUTER", limit=MAX_MESSAGE)
        self._out = bytearray(self._wire.data_to_send())
        self._paused = self._closed = False
        self._flush()

    @property
    def identity(self) -> bytes | None:
        """What the client calls itself, often nothing; None before it has introduced itself."""
        return None if self._wire.peer is None else self._wire.peer.identity

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the client that no more should come for it."""
        return len(self._out) >= MAX_UNSENT

    def send(self, frames: list[bytes]) -> None:
        """Send the client a message."""
        for part in encode(frames):
            self._out += part
        self._flush()

    def pause(self, paused: bool) -> None:
        """Say whether what the client sends has to wait."""
        if paused is not self._paused:
            self._paused = paused
            self._watch()

    def close(self) -> None:
        """Close the connection."""
        if self._closed:
            return
        self._closed = True
        self._loop.watch(self._sock, None, None)
        self._sock.close()
        self._on_closed(self)

    def _on_readable(self) -> None:
        new = self._wire.peer is None
        try:
            data = self._sock.recv(RECEIVE_SIZE)
            messages = self._wire.receive_data(data)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, ProtocolError):
            data = b""
        if not data:
            self.close()
            return
        self._out += self._wire.data_to_send()
        self._flush()
        if new and self._wire.peer is not None:
            self._on_ready(self)
        for frames in messages:
            self._on_message(self, frames)

    def _flush(self) -> None:
        if self._closed:
            return
        waited = bool(self._out)
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._out.clear()  # reading will tell
            self._paused = False
        self._watch()
        if waited and not self._out:
            self._on_room(self)

    def _watch(self) -> None:
        if not self._closed:
            self._loop.watch(
                self._sock,
                None if self._paused else self._on_readable,
                self._flush if self._out else None,
            )
