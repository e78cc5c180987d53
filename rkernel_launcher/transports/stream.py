"""A stream of bytes to a program on the target: a connected socket, and what belongs to it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeAlias

CHUNK = 1 << 16  # bytes that are read at once
MIN_TIMEOUT = 0.001  # seconds: none at all would mean not to wait, which is another kind of error

Start: TypeAlias = "Callable[[Sequence[str], bytes, float], Stream]"
"""Starts a program on the target and returns the stream to it.

Args: the program and its arguments; the first bytes for its stdin, which it answers; how many
seconds it may take until it does. Raises the errors of the transport, and `BoardSilent`. A program
that ends without an answer is no error: its stream tells.
"""

Dial: TypeAlias = "Callable[[int], Stream]"
"""Connects to a port of the target. Raises the errors of the transport."""


class Ending(NamedTuple):
    """How the program at the other end of a stream ended.

    Attributes:
        status: Its exit status, as a shell gives it; None if that is not known.
        stderr: The last that it, or what carries the stream, wrote there.
    """

    status: int | None
    stderr: str


def unknown(timeout: float) -> Ending:
    """Return the ending of a stream that does not tell of its own."""
    return Ending(None, "")


class Stream:
    """A stream to a program, with a limit in time on every read and write.

    Args:
        sock: A connected socket, which the stream owns from then on.
        end: Ends what carries the stream, once its socket is closed.
        ending: Tells how the program ended; its argument is how many seconds to wait for that.
    """

    def __init__(
        self,
        sock: socket.socket,
        end: Callable[[], None] = lambda: None,
        ending: Callable[[float], Ending] = unknown,
    ) -> None:
        self._sock = sock
        self._end = end
        self.ending = ending

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._sock.fileno()

    def setblocking(self, blocking: bool) -> None:
        """Have `recv` and `send` wait, or not."""
        self._sock.setblocking(blocking)

    def recv(self, size: int) -> bytes:
        """Return what has come, as a socket does."""
        return self._sock.recv(size)

    def send(self, data: bytes) -> int:
        """Send what can be sent, as a socket does."""
        return self._sock.send(data)

    def read(self, size: int, timeout: float) -> bytes:
        """Take what has arrived, waiting for the first byte.

        Args:
            size: The most bytes to return.
            timeout: Seconds.

        Returns:
            Bytes; none when the other end has closed.

        Raises:
            TimeoutError: Nothing came in time.
            OSError: The connection broke.
        """
        self._sock.settimeout(max(timeout, MIN_TIMEOUT))
        return self._sock.recv(min(size, CHUNK))

    def write(self, data: bytes, timeout: float) -> None:
        """Send everything.

        Args:
            data: Bytes.
            timeout: Seconds.

        Raises:
            TimeoutError: Not everything was taken in time.
            OSError: The connection broke.
        """
        self._sock.settimeout(max(timeout, MIN_TIMEOUT))
        self._sock.sendall(data)

    def answers(self, timeout: float) -> bool:
        """Wait until there is something to read; say whether that is more than the stream's end.

        Args:
            timeout: Seconds.

        Raises:
            TimeoutError: Nothing came in time.
        """
        self._sock.settimeout(max(timeout, MIN_TIMEOUT))
        try:
            return bool(self._sock.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            raise
        except OSError:
            return False

    def close(self) -> None:
        """Close the stream; twice does no harm."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._end()
