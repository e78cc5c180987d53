"""What a link's bytes travel over: a connected socket, or the two pipes of a program.

A transport has `recv`, `send` and `close`, as a socket has, and `watch`, which has an event loop
watch it. It does not block.
"""

import os
from typing import Any, Callable, Optional

from .event_loop import AnyLoop

Callback = Callable[[], None]


class SocketTransport:
    """A connected socket.

    Args:
        sock: The socket, which the transport owns from then on.
    """

    def __init__(self, sock: Any) -> None:
        sock.setblocking(False)
        self._sock = sock
        self.recv, self.send, self.close = sock.recv, sock.send, sock.close

    def watch(
        self, loop: AnyLoop, on_read: Optional[Callback], on_write: Optional[Callback]
    ) -> None:
        """Call back whenever the socket can be read or written; with neither, no more."""
        loop.watch(self._sock, on_read, on_write)


class PipeTransport:
    """The stdin and stdout of a program that were handed over.

    Args:
        reader: Descriptor of what was the program's stdin.
        writer: Descriptor of what was its stdout.
        hold: Descriptor whose end tells the program that it may exit.
    """

    def __init__(self, reader: int, writer: int, hold: int) -> None:
        self._descriptors = [reader, writer, hold]
        self._reader, self._writer = reader, writer
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)

    def recv(self, size: int) -> bytes:
        """Read what has come. Raises OSError."""
        return os.read(self._reader, size)

    def send(self, data: bytes) -> int:
        """Write what can be written now; return how many bytes that were. Raises OSError."""
        return os.write(self._writer, data)

    def watch(
        self, loop: AnyLoop, on_read: Optional[Callback], on_write: Optional[Callback]
    ) -> None:
        """Call back whenever the pipes can be read or written; with neither, no more."""
        loop.watch(self._reader, on_read, None)
        loop.watch(self._writer, None, on_write)

    def close(self) -> None:
        """Let go of the program, which exits then."""
        while self._descriptors:
            os.close(self._descriptors.pop())
