"""The ways in which a session's bytes go: a socket, an SSH channel, the pipes of a process.

Each has a limit in time on every read and write, which rpyc's own streams lack: they wait for ever
for the rest of a packet.
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
_KEPT = 1 << 14  # Bytes of stderr that an ending may quote.


class Ending(NamedTuple):
    """How the far end of a stream ended, as far as it says: exit status and stderr's last bytes."""

    status: int | None
    stderr: str


class Stream(Protocol):
    """A two-way stream of bytes."""

    def read(self, count: int, timeout: float) -> bytes:
        """Take what has arrived, waiting for the first byte.

        Parameters: count, the most bytes to return; timeout in seconds.
        Returns: bytes, empty when the far end has closed. Errors: TimeoutError, OSError.
        """

    def write(self, data: bytes, timeout: float) -> None:
        """Send everything.

        Parameters: data; timeout in seconds. Errors: TimeoutError, OSError.
        """

    def ending(self, timeout: float) -> Ending:
        """Tell how the far end ended, after its last byte was read.

        Parameters: timeout, how many seconds to wait for its exit status.
        """

    def close(self) -> None:
        """Let go of the stream; twice does no harm."""


class SocketStream:
    """A stream over a connected socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self, count: int, timeout: float) -> bytes:
        """Take what has arrived."""
        self._sock.settimeout(_some(timeout))
        return self._sock.recv(min(count, CHUNK))

    def write(self, data: bytes, timeout: float) -> None:
        """Send everything."""
        self._sock.settimeout(_some(timeout))
        self._sock.sendall(data)

    def ending(self, timeout: float) -> Ending:
        """Say that a socket does not tell."""
        return Ending(None, "")

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


class ChannelStream:
    """A stream over the stdio of a command that runs in a paramiko channel.

    A thread reads stderr along, since what lies unread there uses up the window of stdout.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stderr = b""
        self._reader = threading.Thread(target=self._keep, daemon=True)
        self._reader.start()

    def read(self, count: int, timeout: float) -> bytes:
        """Take what has arrived."""
        self._channel.settimeout(_some(timeout))
        return self._channel.recv(min(count, CHUNK))

    def write(self, data: bytes, timeout: float) -> None:
        """Send everything."""
        deadline = time.monotonic() + timeout
        rest = memoryview(data)
        while rest:
            self._channel.settimeout(_some(deadline - time.monotonic()))
            try:
                sent = self._channel.send(bytes(rest[:CHUNK]))
            except TimeoutError:
                raise
            except Exception as error:  # OSError, EOFError or SSHException, by how far it got.
                raise ConnectionResetError("the SSH connection ended") from error
            rest = rest[sent:]

    def ending(self, timeout: float) -> Ending:
        """Wait for the command's exit status."""
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
    """A stream over the stdin and stdout of a child process, which it owns from then on.

    Threads move the bytes, because the pipes of Windows know no time limits.
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
        """Start a command with pipes for its stdio.

        Parameters: argv. Returns: the stream. Errors: OSError when it cannot be started.
        """
        pipe = subprocess.PIPE
        return cls(subprocess.Popen(argv, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe))

    def read(self, count: int, timeout: float) -> bytes:
        """Take what has arrived."""
        if not self._rest:
            try:
                self._rest = self._arrived.get(timeout=_some(timeout))
            except Empty:
                raise TimeoutError from None
            if not self._rest:
                self._arrived.put(b"")  # The end stays the end.
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def write(self, data: bytes, timeout: float) -> None:
        """Send everything."""
        failures: list[Exception] = []
        writer = threading.Thread(target=self._push, args=(data, failures), daemon=True)
        writer.start()
        writer.join(_some(timeout))
        if writer.is_alive():
            raise TimeoutError
        if failures:
            raise OSError(str(failures[0])) from failures[0]

    def ending(self, timeout: float) -> Ending:
        """Wait for the process's exit status."""
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
        while data := _take(pipe):
            self._arrived.put(data)
        self._arrived.put(b"")

    def _keep(self, pipe: IO[bytes]) -> None:
        while data := _take(pipe):
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


def _take(pipe: IO[bytes]) -> bytes:
    try:
        return pipe.read(CHUNK)
    except (OSError, ValueError):
        return b""


def _close(pipe: IO[bytes]) -> None:
    with suppress(OSError):
        pipe.close()


def _some(timeout: float) -> float:
    """Keep a time limit that has run out from meaning "do not wait", another kind of error."""
    return max(timeout, 0.001)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
