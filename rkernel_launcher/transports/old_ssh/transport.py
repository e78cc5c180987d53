"""What SSH runs over, a socket or a ProxyCommand, and the connection that runs over it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import IO, cast

import paramiko

DIGESTS = ("hmac-sha2-256-etm@openssh.com",)
"""What to prefer to paramiko's first choice: the cheapest of its strong ones for a small board."""

KEEPALIVE = 30
"""Seconds of silence after which we say that we are still there."""

IDLE_POLL = 10.0
"""Seconds between two looks of an idle connection at whether it has been closed."""

_LAST_WORDS = 3  # lines of a ProxyCommand's stderr that go into a sentence
_MOST_WORDS = 1000  # bytes of it to keep
_BLOCK = 1 << 16
_FAREWELL = 1.0  # seconds that a reader or a process may take to end


class Connection(paramiko.Transport):
    """A transport that wakes up seldom, ends at once, and takes what carries it down with it.

    Parameters: `carrier`, the socket or what acts as one.
    """

    def __init__(self, carrier: socket.socket | Tunnel | CommandSocket) -> None:
        super().__init__(cast(socket.socket, carrier))
        self.below = carrier.below if isinstance(carrier, Tunnel) else None
        self.typed_password: str | None = None
        options = self.get_security_options()
        options.digests = prefer(DIGESTS, tuple(options.digests))

    def settle(self) -> None:
        """Rest, once logged in: an idle paramiko looks at its socket ten times a second.

        It looks in order to notice `close`, which wakes it up itself here, and to send keepalives.
        """
        self.sock.settimeout(IDLE_POLL)
        self.set_keepalive(KEEPALIVE)

    def close(self) -> None:
        """End the connection and those that carry it."""
        # A shutdown wakes the reader, which closes the socket itself. Closed from here, the
        # socket's number could belong to another file by the time the reader waits for it.
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        if self.is_alive() and self is not threading.current_thread():
            self.join(_FAREWELL)
        super().close()


class Tunnel:
    """A channel through a jump host that acts as a socket; its end is the end of the connection.

    A bare channel does not: its `close` raises once the connection to the jump host has gone.

    Parameters: `below`, the connection to the jump host; `channel`, the only one in it.
    """

    def __init__(self, below: Connection, channel: paramiko.Channel) -> None:
        self.below = below
        self.send = channel.send
        self.recv = channel.recv
        self.settimeout = channel.settimeout

    @property
    def _closed(self) -> bool:  # paramiko looks at it
        return not self.below.is_active()

    def shutdown(self, _how: int) -> None:
        """Wake up whoever waits in `recv`."""
        self.below.close()

    def close(self) -> None:
        """End the connection to the jump host."""
        self.below.close()


class CommandSocket:
    """A process that acts as a socket: the ProxyCommand of ssh_config(5).

    paramiko's own cannot be used on Windows, and spins when the process has ended.

    Parameters: `command`, for the shell; `detached`, whether the terminal's signals are kept
    from it.
    """

    def __init__(self, command: str, *, detached: bool) -> None:
        posix = sys.platform != "win32"
        self._process = subprocess.Popen(
            f"exec {command}" if posix else command,
            shell=posix,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=detached and posix,
        )
        self._stdin, self._stdout, self._stderr = (
            cast(IO[bytes], pipe)
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        self._received: SimpleQueue[bytes] = SimpleQueue()
        self._rest = b""
        self._timeout: float | None = None
        self._words = b""
        self._closed = False  # paramiko looks at it
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._pump, self._listen)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, data: bytes) -> int:
        """Hand bytes to the process; returns how many it took."""
        return self._stdin.write(data)

    def recv(self, size: int) -> bytes:
        """Wait for bytes from the process, up to `size`; none at its end."""
        if not self._rest:
            try:
                self._rest = self._received.get(timeout=self._timeout)
            except Empty as error:
                raise TimeoutError from error
            if not self._rest:
                self._received.put(b"")  # the end stays the end
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def settimeout(self, seconds: float | None) -> None:
        """Limit how long `recv` waits."""
        self._timeout = seconds

    def shutdown(self, _how: int) -> None:
        """Wake up whoever waits in `recv`."""
        self._received.put(b"")

    def close(self) -> None:
        """End the process."""
        self._closed = True
        self._received.put(b"")
        with suppress(OSError):
            self._stdin.close()
        with suppress(OSError):
            self._process.terminate()

    def failure(self) -> str:
        """Tell how the process ended, for people; call it after `recv` has come to the end."""
        for thread in self._threads:
            thread.join(_FAREWELL)
        status = self._process.poll()
        words = "; ".join(self._words.decode(errors="replace").strip().splitlines()[-_LAST_WORDS:])
        if status is None:
            return words or "it does not answer as an SSH server"
        return f"it ended with status {status}" + (f": {words}" if words else "")

    def _pump(self) -> None:
        with self._stdout:
            while block := self._stdout.read(_BLOCK):
                self._received.put(block)
        self._received.put(b"")
        self._process.wait()

    def _listen(self) -> None:
        with self._stderr:
            while block := self._stderr.read(_BLOCK):
                self._words = (self._words + block)[-_MOST_WORDS:]


def prefer(first: tuple[str, ...], offered: tuple[str, ...]) -> tuple[str, ...]:
    """Put some algorithms before the others, and keep the order of both.

    Parameters: `first`, the preferred ones; `offered`, all that paramiko can do.
    """
    return tuple(a for a in first if a in offered) + tuple(a for a in offered if a not in first)
