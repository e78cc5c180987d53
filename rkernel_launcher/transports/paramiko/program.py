"""A program at the other end of an SSH channel, as a stream.

A socket is what can be waited for, and handed to an event loop, on every system. So a thread for
each direction moves the bytes between the channel and a pair of sockets; while nothing comes, no
thread wakes up.
"""

from __future__ import annotations

import logging
import socket
import threading

import paramiko

from ..process import GRACE, MAX_STDERR
from ..stream import CHUNK, Ending, Stream
from .connection import Connection

log = logging.getLogger(__name__)


def start(connection: Connection, command: str) -> Stream:
    """Start a program, and return the stream to it at once.

    Args:
        connection: Logged in; it ends with the stream.
        command: The program's line.
    """
    return _Program(connection, command).stream


class _Program:
    """A program, and the threads that serve it.

    Args: As for `start`.

    Attributes:
        stream: The stream to it.
    """

    def __init__(self, connection: Connection, command: str) -> None:
        local, self._remote = socket.socketpair()
        self.stream = Stream(local, self._end, self._ending)
        self._connection = connection
        self._command = command
        self._stderr = b""
        self._status: int | None = None
        self._over = threading.Event()
        self._writer: threading.Thread | None = None
        self._reader = threading.Thread(target=self._run, daemon=True)
        self._reader.start()

    def _run(self) -> None:
        """Run the program, in a thread since paramiko has no limit in time for that."""
        try:
            channel = self._connection.open_session()
            channel.exec_command(self._command)
            others = [
                threading.Thread(target=work, args=(channel,), daemon=True)
                for work in (self._pump_in, self._listen)
            ]
            self._writer, listener = others
            for thread in others:
                thread.start()
            self._pump_out(channel)
            listener.join()
            channel.status_event.wait()
            if channel.exit_status >= 0:
                self._status = channel.exit_status
        except (paramiko.SSHException, EOFError, OSError) as error:
            log.debug("ssh: %s", error)
            self._close_output()
        self._over.set()

    def _pump_out(self, channel: paramiko.Channel) -> None:
        try:
            while data := channel.recv(CHUNK):
                self._remote.sendall(data)
        except OSError:
            return  # nobody reads any more
        self._close_output()

    def _pump_in(self, channel: paramiko.Channel) -> None:
        try:
            while data := self._remote.recv(CHUNK):
                channel.sendall(data)
            channel.shutdown_write()
        except (OSError, EOFError):
            pass  # the channel has ended, as the other thread finds, too

    def _listen(self, channel: paramiko.Channel) -> None:
        while data := channel.recv_stderr(CHUNK):
            self._stderr = (self._stderr + data)[-MAX_STDERR:]

    def _close_output(self) -> None:
        try:
            self._remote.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # nobody reads any more

    def _ending(self, timeout: float) -> Ending:
        self._over.wait(max(timeout, 0.0))
        return Ending(self._status, self._stderr.decode("utf-8", "replace"))

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
