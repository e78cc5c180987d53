"""A stand-in for adb's server, which has what a device of this machine cannot have.

The adbd of Debian asks nobody for a key and is on no USB bus, so it is never unauthorized, and
always permitted; and it is too new to lack a service. So this server lists the devices that it is
told to, refuses the services that it is told to, and passes everything else on to a real server.
"""

from __future__ import annotations

import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_TRANSPORT = 12  # bytes of the answer to host:tport, after which another request comes


@contextmanager
def stand_in(real: int, *, devices: str | None = None, refused: str = "none:") -> Iterator[int]:
    """Run such a server; give its port.

    Parameters: real, the port of the real one; devices, what it lists, as `adb devices -l` shows
    it; refused, how the services begin that no device has.
    """

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", real)) as upstream:
                while True:
                    size = self.request.recv(4, socket.MSG_WAITALL)
                    if len(size) < 4:
                        return
                    request = self.request.recv(int(size, 16), socket.MSG_WAITALL).decode()
                    if request == "host:devices-l" and devices is not None:
                        return self.request.sendall(b"OKAY%04x" % len(devices) + devices.encode())
                    if request.startswith(refused):
                        return self.request.sendall(b"FAIL0006closed")
                    upstream.sendall(size + request.encode())
                    if not request.startswith("host:tport:"):
                        return _join(self.request, upstream)
                    self.request.sendall(upstream.recv(_TRANSPORT, socket.MSG_WAITALL))

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _join(one: socket.socket, other: socket.socket) -> None:
    """Move bytes both ways until either end closes."""
    with selectors.DefaultSelector() as ready:
        ready.register(one, selectors.EVENT_READ, other)
        ready.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in ready.select():
                data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                if not data:
                    return
                key.data.sendall(data)
