"""The endpoints that the frontend connects to.

shell, control and stdin are relayed connection by connection, as bytes. iopub comes over the link
once and is handed to every client here; the heartbeat is answered here.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import zmq
from zmq.utils.monitor import recv_monitor_message

from board_agent.loop import Loop
from board_agent.relay import Relay

from . import system
from .connection_file import CHANNELS, Connection
from .errors import PortInUse

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

RELAYED = ("shell", "control", "stdin")
IOPUB_HWM = 100_000  # messages held for a client that does not read; the stock kernel holds 1000
LINGER = 1000  # milliseconds for the last messages to reach clients


class Channels:
    """Hold the endpoints of a connection file.

    From the start nobody else can take them; clients are let in by `serve`.
    Parameters: loop; connection. Raises PortInUse.
    """

    def __init__(self, loop: Loop, connection: Connection) -> None:
        self._loop = loop
        self._connection = connection
        self._reserved: dict[str, socket.socket] = {}
        self._paths: list[Path] = []  # of Unix sockets
        self._relay: Relay | None = None
        self._context: Context | None = None
        self._forwarder: threading.Thread | None = None
        self._heartbeat: threading.Thread | None = None
        self._stop: Socket | None = None
        try:
            for channel in CHANNELS:
                self._reserved[channel] = _bind(connection, channel)
                if connection.transport == "ipc":
                    self._paths.append(Path(connection.path(channel)))
        except OSError as error:
            self.close()
            raise PortInUse(endpoint=connection.endpoint(channel), detail=error.strerror) from error

    def serve(self, relay: Relay) -> None:
        """Subscribe to the kernel, then let clients in and relay them. Raises PortInUse."""
        self._relay = relay
        self._context = zmq.Context()
        self._serve_iopub(self._context)
        self._serve_heartbeat(self._context)

    def _let_clients_in(self) -> None:
        self._loop.call_soon(self._listen)

    def _listen(self) -> None:
        for channel in RELAYED:
            listener = self._reserved[channel]
            listener.setblocking(False)
            listener.listen(128)
            self._loop.watch(listener, lambda ch=channel: self._accept(ch), None)  # type: ignore[misc]

    def close(self) -> None:
        """Take the endpoints away, after the messages that have come for clients."""
        for sock in self._reserved.values():
            self._loop.watch(sock, None, None)
            sock.close()
        self._reserved.clear()
        if self._stop is not None:
            self._stop.send(b"")
            self._stop.close()
        if self._forwarder is not None:
            self._forwarder.join()
        if self._context is not None:
            self._context.term()  # which also ends the heartbeat
        if self._heartbeat is not None:
            self._heartbeat.join()
        for path in self._paths:
            path.unlink(missing_ok=True)

    # --- shell, control, stdin ------------------------------------------------------------------

    def _accept(self, channel: str) -> None:
        try:
            sock, _ = self._reserved[channel].accept()
        except OSError:
            return
        sock.setblocking(False)
        self._loop.watch(sock, lambda: self._first_bytes(channel, sock), None)

    def _first_bytes(self, channel: str, sock: socket.socket) -> None:
        """Open the board's leg once a client says something: probes come and go without a byte."""
        assert self._relay is not None
        try:
            silent = not sock.recv(1, socket.MSG_PEEK)
        except OSError:
            silent = True
        self._loop.watch(sock, None, None)
        if silent or not self._relay.open:
            sock.close()
            return
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._relay.connect(channel, sock)

    # --- iopub ----------------------------------------------------------------------------------

    def _serve_iopub(self, context: Context) -> None:
        """Subscribe to the kernel; clients are let in once that is under way on the link."""
        upstream = context.socket(zmq.XSUB)
        upstream.rcvhwm = 0  # what has come over the link is not to be lost here
        upstream.linger = 0
        monitor = upstream.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._loop.watch(listener, lambda: self._accept_upstream(listener), None)
        upstream.connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        upstream.send(b"\x01")

        downstream = context.socket(zmq.XPUB)
        downstream.linger = LINGER
        downstream.sndhwm = IOPUB_HWM
        downstream.xpub_verbose = True  # each client's subscription earns a welcome from the kernel
        self._bind_zmq(downstream, "iopub")

        stop = context.socket(zmq.PAIR)
        stop.bind("inproc://stop-iopub")
        self._stop = context.socket(zmq.PAIR)
        self._stop.connect("inproc://stop-iopub")

        def forward() -> None:
            try:
                _forward(upstream, downstream, stop, monitor, self._let_clients_in)
            finally:
                for sock in (upstream, monitor, downstream, stop):
                    sock.close()

        self._forwarder = _start_thread(forward, "iopub")

    def _accept_upstream(self, listener: socket.socket) -> None:
        assert self._relay is not None
        sock, _ = listener.accept()
        self._loop.watch(listener, None, None)
        listener.close()
        self._relay.connect("iopub", sock)

    # --- heartbeat ------------------------------------------------------------------------------

    def _serve_heartbeat(self, context: Context) -> None:
        echo = context.socket(zmq.ROUTER)
        echo.linger = 0
        self._bind_zmq(echo, "hb")

        def answer() -> None:
            try:
                zmq.proxy(echo, echo)
            except zmq.ZMQError:
                echo.close()  # the context ends

        self._heartbeat = _start_thread(answer, "heartbeat")

    def _bind_zmq(self, sock: Socket, channel: str) -> None:
        self._reserved.pop(channel).close()
        try:
            sock.bind(self._connection.endpoint(channel))
        except zmq.ZMQError as error:
            endpoint = self._connection.endpoint(channel)
            raise PortInUse(endpoint=endpoint, detail=error.strerror) from error


def _start_thread(target: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def _bind(connection: Connection, channel: str) -> socket.socket:
    if connection.transport == "ipc":
        return system.unix_socket(connection.path(channel))
    sock = socket.socket()
    try:
        system.listen_options(sock)
        host = "" if connection.ip == "*" else connection.ip
        sock.bind((host, connection.ports[channel]))
    except OSError:
        sock.close()
        raise
    return sock


def _forward(
    upstream: Socket,
    downstream: Socket,
    stop: Socket,
    monitor: Socket,
    on_subscribed: Callable[[], None],
) -> None:
    """Pass messages down and subscriptions up until told to stop; then what is on its way."""
    poller = zmq.Poller()
    for sock in (upstream, downstream, stop, monitor):
        poller.register(sock, zmq.POLLIN)
    connected = stopping = False
    while connected or not stopping:
        ready = dict(poller.poll(LINGER if stopping else None))
        if not ready:
            break
        if stop in ready:
            stop.recv()
            stopping = True
        if monitor in ready:
            event = recv_monitor_message(monitor)["event"]
            connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            if connected:
                on_subscribed()
        _pass_all(upstream, downstream)
        _pass_all(downstream, upstream)


def _pass_all(source: Socket, target: Socket) -> None:
    while int(source.get(zmq.EVENTS)) & zmq.POLLIN:
        target.send_multipart(source.recv_multipart(copy=False), copy=False)
