"""Streams that programs of ours hand over to the agent, through a Unix socket in its folder.

A program connects and sends one byte. With HANDOVER come copies of three of its descriptors: its
stdin, its stdout, and one end of a pair of sockets whose other end it waits for. With RELAY come
none: the connection itself is the stream. Source: unix(7), SCM_RIGHTS and SO_PEERCRED.
"""

import array
import os
import socket
import struct
from typing import Any, Callable, List, Tuple

from ..link.event_loop import AnyLoop
from ..link.transport import PipeTransport, SocketTransport
from .listeners import Acceptor

HANDOVER, RELAY = b"h", b"r"
DESCRIPTORS = 3
MAX_WAITING = 16  # connections that have not said yet what they are
SECONDS = 5.0  # that they may take
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class Handovers:
    """Accept streams from programs of the same user.

    Args:
        loop: The agent's loop.
        listener: A Unix socket, in a folder that only this user can enter.
        on_stream: Called with the transport of each stream.
        on_visit: Called when a program connects.
    """

    def __init__(
        self,
        loop: AnyLoop,
        listener: socket.socket,
        on_stream: Callable[[Any], None],
        on_visit: Callable[[], None] = lambda: None,
    ) -> None:
        self.loop = loop
        self._on_visit = on_visit
        self.on_stream = on_stream
        self._waiting: List[_Visitor] = []
        self._acceptor = Acceptor(loop, listener, self._accept)

    def close(self) -> None:
        """Accept no more."""
        self._acceptor.close()
        for visitor in tuple(self._waiting):
            visitor.close()

    def _accept(self, sock: socket.socket, _: Any) -> None:
        if not _is_ours(sock):
            sock.close()
            return
        self._on_visit()
        if len(self._waiting) >= MAX_WAITING:
            self._waiting[0].close()
        self._waiting.append(_Visitor(self, sock))

    def remove(self, visitor: "_Visitor") -> None:
        """Forget one who has said what it is, or has gone."""
        self._waiting.remove(visitor)


class _Visitor:
    """A program that has connected, until it has handed over its stream."""

    def __init__(self, handovers: Handovers, sock: socket.socket) -> None:
        self._handovers = handovers
        self._sock = sock
        self._cancel = handovers.loop.call_later(SECONDS, self.close)
        handovers.loop.watch(sock, self._on_readable, None)

    def close(self) -> None:
        """Send the program away."""
        self._leave()
        self._sock.close()

    def _leave(self) -> None:
        self._cancel()
        self._handovers.loop.watch(self._sock, None, None)
        self._handovers.remove(self)

    def _on_readable(self) -> None:
        try:
            said, descriptors = _receive(self._sock)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            said, descriptors = b"", []
        if said == RELAY and not descriptors:
            self._leave()
            self._pass_on(SocketTransport(self._sock))
            return
        self.close()
        if said == HANDOVER and len(descriptors) == DESCRIPTORS:
            self._pass_on(PipeTransport(*descriptors))
            return
        for descriptor in descriptors:
            os.close(descriptor)

    def _pass_on(self, transport: Any) -> None:
        try:
            self._handovers.on_stream(transport)
        except OSError:  # it is a file, say, which cannot be watched
            transport.close()


def _receive(sock: socket.socket) -> Tuple[bytes, List[int]]:
    """Receive the byte, and the descriptors that came with it. Raises OSError."""
    descriptors = array.array("i")
    space = socket.CMSG_SPACE(DESCRIPTORS * descriptors.itemsize)
    said, ancillary, _, _ = sock.recvmsg(1, space)
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)  # the kernels that we start need none of them
    return said, list(descriptors)


def _is_ours(sock: socket.socket) -> bool:
    """Say whether the same user is at the other end, where the system can tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the folder keeps others out
    said = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(said)[1] == os.getuid())
