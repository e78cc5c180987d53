"""A client's connection that the launcher answers itself, in place of a kernel's ROUTER socket."""

from __future__ import annotations

import socket
from collections.abc import Callable

from board_agent.link.event_loop import Loop
from board_agent.zmtp.wire import ProtocolError, Wire, encode

RECEIVE_SIZE = 1 << 16  # bytes taken from the connection at once


class LocalClient:
    """Speak ZMTP with a client.

    Args:
        loop: Watches the connection.
        sock: The connection; it does not block.
        on_ready: Called once the client has introduced itself.
        on_message: Called with the frames of each message.
        on_closed: Called once the connection is closed.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_ready: Callable[[LocalClient], None],
        on_message: Callable[[LocalClient, list[bytes]], None],
        on_closed: Callable[[LocalClient], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._on_ready = on_ready
        self._on_message = on_message
        self._on_closed = on_closed
        self._wire = Wire(b"ROUTER")
        self._out = bytearray(self._wire.data_to_send())
        self._closed = False
        self._flush()

    def send(self, frames: list[bytes]) -> None:
        """Send the client a message."""
        for part in encode(frames):
            self._out += part
        self._flush()

    def close(self) -> None:
        """Close the connection."""
        if self._closed:
            return
        self._closed = True
        self._loop.watch(self._sock, None, None)
        self._sock.close()
        self._on_closed(self)

    def _on_readable(self) -> None:
        try:
            data = self._sock.recv(RECEIVE_SIZE)
            new = self._wire.peer is None
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
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._out.clear()  # reading will tell
        self._loop.watch(self._sock, self._on_readable, self._flush if self._out else None)
