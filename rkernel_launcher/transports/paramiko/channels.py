"""Channels in an SSH connection as sockets, and programs at their other end as streams.

A socket is what can be waited for, and handed to an event loop, on every system. So a thread for
each direction moves the bytes between the channel and a pair of sockets; while nothing comes, no
thread wakes up.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import paramiko

from ..process import GRACE, MAX_STDERR
from ..stream import CHUNK, Ending, Stream

log = logging.getLogger(__name__)


def spawn(work: Callable[..., None], *args: object) -> threading.Thread:
    """Start a thread that does not keep this process from ending."""
    thread = threading.Thread(target=work, args=args, daemon=True)
    thread.start()
    return thread


def outward(channel: paramiko.Channel, sock: socket.socket) -> None:
    """Bring what comes from a channel to a socket, until either ends."""
    with suppress(OSError):
        while data := channel.recv(CHUNK):
            sock.sendall(data)
    with suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


def inward(sock: socket.socket, channel: paramiko.Channel) -> None:
    """Bring what comes from a socket to a channel, until either ends."""
    with suppress(OSError, EOFError):
        while data := sock.recv(CHUNK):
            channel.sendall(data)
        channel.shutdown_write()


class Program:
    """A program at the other end of a connection.

    Args:
        connection: Logged in; it ends with the stream.
        command: The program's line.

    Attributes:
        stream: The stream to it.
    """

    def __init__(self, connection: paramiko.Transport, command: str) -> None:
        local, self._remote = socket.socketpair()
        self.stream = Stream(local, self._end, self._ending)
        self._connection = connection
        self._stderr, self._status = b"", -1
        self._over = threading.Event()
        self._writer: threading.Thread | None = None
        self._reader = spawn(self._run, command)

    def _run(self, command: str) -> None:
        """Run the program, in a thread since paramiko has no limit in time for that."""
        try:
            channel = self._connection.open_session()
            channel.exec_command(command)
            listener = spawn(self._listen, channel)
            self._writer = spawn(inward, self._remote, channel)
            outward(channel, self._remote)
            listener.join()
            channel.status_event.wait()
            self._status = channel.exit_status
        except (paramiko.SSHException, EOFError, OSError) as error:
            log.debug("ssh: %s", error)
            self._stderr = self._stderr or str(error).encode()
            with suppress(OSError):
                self._remote.shutdown(socket.SHUT_WR)
        self._over.set()

    def _listen(self, channel: paramiko.Channel) -> None:
        while data := channel.recv_stderr(CHUNK):
            self._stderr = (self._stderr + data)[-MAX_STDERR:]

    def _ending(self, timeout: float) -> Ending:
        self._over.wait(max(timeout, 0.0))
        status = self._status if self._status >= 0 else None
        return Ending(status, self._stderr.decode("utf-8", "replace"))

    def _end(self) -> None:
        threading.Thread(target=self._finish, name="end of a program").start()

    def _finish(self) -> None:
        """Let the last bytes get away, and the program end by itself; then end the connection."""
        if self._writer is not None:
            self._writer.join(GRACE)
        self._over.wait(GRACE)
        self._connection.close()
        self._reader.join(GRACE)
        self._remote.close()
