"""The endpoints that the frontend connects to.

This module passes on shell, control and stdin, connection by connection. It receives iopub over
the link once and hands it to every client. It answers the heartbeat itself. While there is no
kernel, it lets a `StandIn` answer shell and control.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import zmq

from board_agent.link.driver import LinkDriver
from board_agent.link.event_loop import Loop
from board_agent.link.link import MAX_STREAMS

from .. import os_support
from ..errors import PortInUse
from .client_connection import ClientConnection
from .connection_file import CHANNELS, Connection
from .iopub_fanout import Context, IopubFanout, Socket
from .iopub_subscription import IopubSubscription
from .kernel_connection import KernelConnection
from .stand_in import StandIn
from .video.frames import VideoStream
from .video.latest_frames import LatestFrames

PASSED_ON = ("shell", "control", "stdin")
ANSWERED = ("shell", "control")  # of those, where clients ask
GRACE = 10.0  # seconds that a client stays connected to a kernel that says no more
MAX_CLIENTS = MAX_STREAMS // 2  # connections of clients: the agent has a limit, too


class Channels:
    """Hold the endpoints of a connection file.

    From the start no other program can take them. Clients can connect after `serve`.

    Args:
        loop: The event loop that calls everything here.
        connection: What the connection file says.
        on_error: Called with the reason when what comes from the kernel makes no sense.
        latest_frames: Where to put pictures for viewers that are not clients; None for nowhere.

    Raises:
        PortInUse: An endpoint is taken.
    """

    def __init__(
        self,
        loop: Loop,
        connection: Connection,
        on_error: Callable[[Exception], None],
        latest_frames: LatestFrames | None = None,
    ) -> None:
        self._on_error = on_error
        self._latest_frames = latest_frames
        self._loop = loop
        self._connection = connection
        self._reserved: dict[str, socket.socket] = {}
        self._paths: list[Path] = []  # of Unix sockets
        self._driver: LinkDriver | None = None
        self._context: Context | None = None
        self._iopub: IopubFanout | None = None
        self._subscription: IopubSubscription | None = None
        self._heartbeat: threading.Thread | None = None
        self._stand_in: StandIn | None = None  # while it answers
        self._on_message: Callable[[], None] = lambda: None
        self._passes_on = False  # what clients say, to the kernel
        self._clients: dict[ClientConnection, KernelConnection | None] = {}
        try:
            for channel in CHANNELS:
                self._reserved[channel] = _bind(connection, channel)
                if connection.transport == "ipc":
                    self._paths.append(Path(connection.path(channel)))
        except OSError as error:
            self.close()
            raise PortInUse(endpoint=connection.endpoint(channel), detail=error.strerror) from error

    def serve(
        self,
        driver: LinkDriver,
        stand_in: StandIn,
        on_message: Callable[[], None],
        former_keys: Sequence[str],
    ) -> None:
        """Subscribe to the kernel, then let clients connect and pass on what they say.

        After a takeover clients can connect at once, and the first that subscribes makes us
        subscribe. So a client receives what the kernel has published meanwhile.

        Args:
            driver: The link to the agent.
            stand_in: What notes which requests the kernel has not answered.
            on_message: Called after each message of a client.
            former_keys: The keys with which a kernel that was taken over signed before.

        Raises:
            PortInUse: The endpoint of iopub or of the heartbeat is taken.
        """
        self._driver = driver
        self._stand_in = stand_in
        self._on_message = on_message
        self._open(former_keys)
        if former_keys:
            self._give_way()
        else:
            self._subscribe()

    def answer(self, stand_in: StandIn, on_message: Callable[[], None]) -> None:
        """Let clients connect, and answer them in place of a kernel.

        Args:
            stand_in: What they are told.
            on_message: Called after each message of a client.

        Raises:
            PortInUse: The endpoint of iopub or of the heartbeat is taken.
        """
        self._stand_in = stand_in
        self._on_message = on_message
        self._passes_on = False
        self._open(())
        self._listen()
        self.pass_on_answers()

    def pass_on_answers(self) -> None:
        """Send clients what the stand-in has to say."""
        assert self._stand_in is not None and self._iopub is not None
        for client, frames in self._stand_in.data_to_send():
            if isinstance(client, ClientConnection):
                client.send(frames)
            else:
                self._iopub.publish(frames)

    @property
    def has_clients(self) -> bool:
        """Whether a client listens to iopub."""
        return self._iopub is not None and self._iopub.has_clients

    def _open(self, former_keys: Sequence[str]) -> None:
        if self._context is None:
            self._context = zmq.Context()
            self._serve_iopub(self._context, former_keys)
            self._serve_heartbeat(self._context)

    def stderr(self, text: str) -> bool:
        """Show text on stderr of the cell that runs, or else of one that waits for the link.

        Returns:
            Whether there is such a cell.
        """
        if self._iopub is None or self._stand_in is None:
            return False
        if not self._iopub.cell:
            self._stand_in.announce_cell()
            self.pass_on_answers()
        return self._iopub.stderr(text)

    def show_video(self, rate: int) -> None:
        """Show the kernel's pictures until the link breaks.

        Args:
            rate: How many pictures a second of each stream to ask for, at most.
        """
        assert self._driver is not None and self._iopub is not None
        video = VideoStream(rate)
        self._driver.open("video", video)
        self._iopub.show(video)

    def update_video_demand(self) -> None:
        """Ask the kernel for pictures if somebody wants to see them now."""
        if self._iopub is not None:
            self._iopub.update_video_demand()

    def _give_way(self) -> None:
        """Let the kernel answer, first what has come for it already."""
        assert self._stand_in is not None
        self._passes_on = True
        for client in self._clients:
            if client.identity is not None:
                self._connect(client)
        for client, frames in self._stand_in.give_way():
            if (kernel := self._clients[client]) is not None:
                kernel.send(frames)
        self._listen()

    def _listen(self) -> None:
        for channel in PASSED_ON:
            listener = self._reserved[channel]
            listener.setblocking(False)
            listener.listen(128)
            self._loop.watch(listener, lambda ch=channel: self._accept(ch), None)  # type: ignore[misc]

    def close(self) -> None:
        """Send clients the messages that have come, then close the endpoints."""
        for sock in self._reserved.values():
            self._loop.watch(sock, None, None)
            sock.close()
        self._reserved.clear()
        for client in tuple(self._clients):
            client.close()
        if self._iopub is not None:
            self._iopub.close()
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
        """Open a stream to the board once a client sends something: probes send no byte."""
        try:
            silent = not sock.recv(1, socket.MSG_PEEK)
        except OSError:
            silent = True
        self._loop.watch(sock, None, None)
        if silent or len(self._clients) >= MAX_CLIENTS:
            sock.close()
            return
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = ClientConnection(
            self._loop,
            sock,
            channel,
            on_ready=self._on_client_ready,
            on_message=self._on_client_message,
            on_room=self._on_client_room,
            on_closed=self._on_client_closed,
        )
        self._clients[client] = None

    def _on_client_ready(self, client: ClientConnection) -> None:
        if self._passes_on:
            self._connect(client)

    def _on_client_message(self, client: ClientConnection, frames: list[bytes]) -> None:
        assert self._stand_in is not None
        if client.channel in ANSWERED:
            self._stand_in.receive_message(client, frames)
        if not self._passes_on:
            self.pass_on_answers()
            self._on_message()
        elif (kernel := self._clients[client]) is not None:
            kernel.send(frames)
            self._on_message()

    def _on_client_room(self, client: ClientConnection) -> None:
        if (kernel := self._clients.get(client)) is not None:
            kernel.passed_on()

    def _on_client_closed(self, client: ClientConnection) -> None:
        if (kernel := self._clients.pop(client, None)) is not None:
            kernel.end()
        if self._stand_in is not None:
            self._stand_in.remove_client(client)

    def _connect(self, client: ClientConnection) -> None:
        """Connect a client to the kernel."""
        assert self._driver is not None and self._stand_in is not None
        stand_in = self._stand_in

        def on_message(frames: list[bytes]) -> None:
            if client.channel in ANSWERED:
                stand_in.receive_reply(client, frames)
            client.send(frames)

        def on_room() -> None:
            client.pause(kernel.is_full)
            if not client.is_full:
                kernel.passed_on()

        kernel = KernelConnection(
            client.identity or b"",
            on_message=on_message,
            on_room=on_room,
            on_over=lambda: self._on_kernel_over(client),
            on_error=self._on_error,
        )
        self._clients[client] = kernel
        self._driver.open(client.channel, kernel)

    def _on_kernel_over(self, client: ClientConnection) -> None:
        """Keep a client for a moment: if the kernel has died, we answer what it has not."""

        def close() -> None:
            if self._passes_on:
                client.close()

        if client in self._clients:
            self._clients[client] = None
            self._loop.call_later(GRACE, close)

    # --- iopub ----------------------------------------------------------------------------------

    def _serve_iopub(self, context: Context, former_keys: Sequence[str]) -> None:
        self._iopub = IopubFanout(
            self._loop,
            context,
            self._connection,
            bind=lambda sock: self._bind_zmq(sock, "iopub"),
            on_subscription=self._on_subscription,
            former_keys=former_keys,
            latest_frames=self._latest_frames,
        )

    def _subscribe(self) -> None:
        assert self._driver is not None and self._iopub is not None
        self._subscription = IopubSubscription(
            on_subscribed=self._give_way,
            on_message=self._iopub.publish,
            on_error=self._on_error,
        )
        self._driver.open("iopub", self._subscription)

    def _on_subscription(self, parts: Sequence[bytes]) -> None:
        if self._driver is None or self._driver.closed:
            return  # there is no kernel to tell
        if self._subscription is None:
            self._subscribe()
        assert self._subscription is not None
        self._subscription.pass_up(parts)

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

        self._heartbeat = threading.Thread(target=answer, name="heartbeat", daemon=True)
        self._heartbeat.start()

    def _bind_zmq(self, sock: Socket, channel: str) -> None:
        self._reserved.pop(channel).close()
        try:
            sock.bind(self._connection.endpoint(channel))
        except zmq.ZMQError as error:
            endpoint = self._connection.endpoint(channel)
            raise PortInUse(endpoint=endpoint, detail=error.strerror) from error


def _bind(connection: Connection, channel: str) -> socket.socket:
    if connection.transport == "ipc":
        return os_support.unix_socket(connection.path(channel))
    sock = socket.socket()
    try:
        os_support.listen_options(sock)
        host = "" if connection.ip == "*" else connection.ip
        sock.bind((host, connection.ports[channel]))
    except OSError:
        sock.close()
        raise
    return sock
