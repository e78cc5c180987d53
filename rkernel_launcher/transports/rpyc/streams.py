"""What carries a session's bytes: a socket, an SSH channel, the pipes of a process.

Every read and write has a time limit. rpyc's own streams lack one: they wait for ever for the rest
of a packet.
"""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import socket

    from paramiko import Channel

CHUNK = 1 << 16
_KEPT = 1 << 14  # Bytes of stderr that an `Ending` contains at most.


class Ending(NamedTuple):
    """How the far end of a stream ended, as far as we know.

    Attributes:
        status: The exit status; None if it is not known.
        stderr: The last of what it wrote to stderr.
    """

    status: int | None
    stderr: str


class Stream(Protocol):
    """A two-way stream of bytes."""

    def read(self, count: int, timeout: float) -> bytes:
        """Wait for the first byte, and return what has arrived.

        Args:
            count: How many bytes to return at most.
            timeout: How many seconds to wait.

        Returns:
            The bytes; none if the far end has closed the stream.

        Raises:
            TimeoutError: Nothing came in time.
            OSError: The stream broke.
        """

    def write(self, data: bytes, timeout: float) -> None:
        """Send all bytes.

        Args:
            data: The bytes.
            timeout: How many seconds that may take.

        Raises:
            TimeoutError: It took longer.
            OSError: The stream broke.
        """

    def ending(self, timeout: float) -> Ending:
        """Return how the far end ended; call it after the last byte was read.

        Args:
            timeout: How many seconds to wait for the exit status.
        """

    def close(self) -> None:
        """Close the stream; a second call does nothing."""


class SocketStream:
    """A stream over a connected socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self, count: int, timeout: float) -> bytes:
        """Wait for the first byte, and return what has arrived."""
        self._sock.settimeout(_positive(timeout))
        return self._sock.recv(min(count, CHUNK))

    def write(self, data: bytes, timeout: float) -> None:
        """Send all bytes."""
        self._sock.settimeout(_positive(timeout))
        self._sock.sendall(data)

    def ending(self, timeout: float) -> Ending:
        """Return that nothing is known: a socket does not say how it ended."""
        return Ending(None, "")

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class ChannelStream:
    """A stream over the stdin and stdout of a command that runs in a paramiko channel.

    A thread reads stderr, since unread bytes there use up the window of stdout.

    Args:
        channel: The channel, in which the command runs.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stderr = b""
        self._reader = threading.Thread(target=self._keep, daemon=True)
        self._reader.start()

    def read(self, count: int, timeout: float) -> bytes:
        """Wait for the first byte, and return what has arrived."""
        self._channel.settimeout(_positive(timeout))
        return self._channel.recv(min(count, CHUNK))

    def write(self, data: bytes, timeout: float) -> None:
        """Send all bytes."""
        deadline = time.monotonic() + timeout
        rest = memoryview(data)
        while rest:
            self._channel.settimeout(_positive(deadline - time.monotonic()))
            try:
                sent = self._channel.send(bytes(rest[:CHUNK]))
            except TimeoutError:
                raise
            except Exception as error:  # OSError, EOFError or SSHException, by how far it got.
                raise ConnectionResetError("the SSH connection ended") from error
            rest = rest[sent:]

    def ending(self, timeout: float) -> Ending:
        """Wait for the command's exit status, and return it with stderr."""
        ended = self._channel.status_event.wait(timeout)
        status = self._channel.recv_exit_status() if ended else -1
        self._reader.join(timeout)
        return Ending(status if status >= 0 else None, _text(self._stderr))

    def close(self) -> None:
        """Close the channel."""
        with suppress(Exception):  # The SSH connection may be gone, in one of many ways.
            self._channel.close()
        self._reader.join(1.0)

    def _keep(self) -> None:
        while True:
            try:
                data = self._channel.recv_stderr(CHUNK)
            except TimeoutError:  # The limit is that of whoever reads or writes right now.
                continue
            if not data:
                return
            self._stderr = (self._stderr + data)[-_KEPT:]


class ProcessStream:
    """A stream over the stdin and stdout of a child process.

    Threads move the bytes, because the pipes of Windows have no time limits.

    Args:
        process: The process, with pipes; the stream owns it from now on.
    """

    end_seconds = 2.0  # for the process to end by itself

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._arrived: SimpleQueue[bytes] = SimpleQueue()
        self._rest = b""
        self._stderr = b""
        self._readers = [
            threading.Thread(target=work, args=(pipe,), daemon=True)
            for work, pipe in ((self._pump, process.stdout), (self._keep, process.stderr))
            if pipe is not None
        ]
        for reader in self._readers:
            reader.start()

    @classmethod
    def start(cls, argv: list[str]) -> ProcessStream:
        """Start a command with pipes for its stdin, stdout and stderr.

        Raises:
            OSError: The command does not start.
        """
        pipe = subprocess.PIPE
        return cls(subprocess.Popen(argv, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe))

    def read(self, count: int, timeout: float) -> bytes:
        """Wait for the first byte, and return what has arrived."""
        if not self._rest:
            try:
                self._rest = self._arrived.get(timeout=_positive(timeout))
            except Empty:
                raise TimeoutError from None
            if not self._rest:
                self._arrived.put(b"")  # The end stays the end.
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def write(self, data: bytes, timeout: float) -> None:
        """Send all bytes."""
        failures: list[Exception] = []
        writer = threading.Thread(target=self._push, args=(data, failures), daemon=True)
        writer.start()
        writer.join(_positive(timeout))
        if writer.is_alive():
            raise TimeoutError
        if failures:
            raise OSError(str(failures[0])) from failures[0]

    def ending(self, timeout: float) -> Ending:
        """Wait for the process's exit status, and return it with stderr."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        else:
            self._readers[-1].join(timeout)
        return Ending(status, _text(self._stderr))

    def close(self) -> None:
        """Close the process's stdin, and kill the process if it does not end by itself."""
        process = self._process
        if process.stdin and process.poll() is None:
            _close(process.stdin)
            try:
                process.wait(self.end_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        for reader in self._readers:
            reader.join(self.end_seconds)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                _close(pipe)

    def _pump(self, pipe: IO[bytes]) -> None:
        while data := _read(pipe):
            self._arrived.put(data)
        self._arrived.put(b"")

    def _keep(self, pipe: IO[bytes]) -> None:
        while data := _read(pipe):
            self._stderr = (self._stderr + data)[-_KEPT:]

    def _push(self, data: bytes, failures: list[Exception]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[stdin.write(rest) :]
        except (OSError, ValueError) as error:  # ValueError: closed while we waited.
            failures.append(error)


def _read(pipe: IO[bytes]) -> bytes:
    try:
        return pipe.read(CHUNK)
    except (OSError, ValueError):
        return b""


def _close(pipe: IO[bytes]) -> None:
    with suppress(OSError):
        pipe.close()


def _positive(timeout: float) -> float:
    """Return a timeout above zero: zero means "do not wait", which raises another error."""
    return max(timeout, 0.001)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
