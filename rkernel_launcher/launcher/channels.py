"""The endpoints that the frontend connects to.

This module forwards shell, control and stdin connection by connection, as bytes. It receives iopub
over the link once and hands it to every client. It answers the heartbeat itself. While there is no
kernel, it lets a `StandIn` answer shell and control.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zmq

from board_agent.link.driver import LinkDriver
from board_agent.link.event_loop import Loop
from board_agent.link.forwarder import Forwarder
from board_agent.link.link import MAX_STREAMS

from .. import os_support
from ..errors import PortInUse
from .connection_file import CHANNELS, Connection
from .iopub_fanout import Context, IopubFanout, Socket
from .iopub_subscription import IopubSubscription
from .local_client import LocalClient
from .stand_in import StandIn
from .video.frames import VideoStream
from .video.latest_frames import LatestFrames

FORWARDED = ("shell", "control", "stdin")
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
        self._on_answered: Callable[[], None] = lambda: None
        self._local_clients: set[LocalClient] = set()
        try:
            for channel in CHANNELS:
                self._reserved[channel] = _bind(connection, channel)
                if connection.transport == "ipc":
                    self._paths.append(Path(connection.path(channel)))
        except OSError as error:
            self.close()
            raise PortInUse(endpoint=connection.endpoint(channel), detail=error.strerror) from error

    def serve(self, driver: LinkDriver, former_keys: Sequence[str]) -> None:
        """Subscribe to the kernel, then let clients connect and forward them.

        After a takeover clients can connect at once, and the first that subscribes makes us
        subscribe. So a client receives what the kernel has published meanwhile.

        Args:
            driver: The link to the agent.
            former_keys: The keys with which a kernel that was taken over signed before.

        Raises:
            PortInUse: The endpoint of iopub or of the heartbeat is taken.
        """
        self._driver = driver
        self._open(former_keys)
        if former_keys:
            self._listen()
        else:
            self._subscribe()

    def answer(self, stand_in: StandIn, on_answered: Callable[[], None]) -> None:
        """Let clients connect, and answer them in place of a kernel.

        Args:
            stand_in: What they are told.
            on_answered: Called after each message of a client.

        Raises:
            PortInUse: The endpoint of iopub or of the heartbeat is taken.
        """
        self._stand_in = stand_in
        self._on_answered = on_answered
        self._open(())
        self._listen()
        self.pass_on_answers()

    def pass_on_answers(self) -> None:
        """Send clients what the stand-in has to say."""
        assert self._stand_in is not None and self._iopub is not None
        for client, frames in self._stand_in.data_to_send():
            if isinstance(client, LocalClient):
                client.send(frames)
            else:
                self._iopub.publish(frames)

    @property
    def cell(self) -> dict[str, Any] | None:
        """The header of the request whose cell runs, if one does."""
        return self._iopub.cell if self._iopub is not None else None

    @property
    def has_clients(self) -> bool:
        """Whether a client listens to iopub."""
        return self._iopub is not None and self._iopub.has_clients

    def _open(self, former_keys: Sequence[str]) -> None:
        if self._context is None:
            self._context = zmq.Context()
            self._serve_iopub(self._context, former_keys)
            self._serve_heartbeat(self._context)

    def stderr(self, text: str) -> None:
        """Show text on stderr of the cell that runs, if one does."""
        if self._iopub is not None:
            self._iopub.stderr(text)

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

    def _listen(self) -> None:
        for channel in FORWARDED:
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
        for client in tuple(self._local_clients):
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
        if silent or self._clients >= MAX_CLIENTS:
            sock.close()
            return
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._stand_in is not None:
            self._answer_locally(channel, sock)
        elif self._driver is not None:
            self._driver.open(channel, Forwarder(self._loop, sock))

    @property
    def _clients(self) -> int:
        return len(self._local_clients) + (len(self._driver.ends) if self._driver else 0)

    # --- shell, control, stdin, without a kernel ------------------------------------------------

    def _answer_locally(self, channel: str, sock: socket.socket) -> None:
        def on_ready(client: LocalClient) -> None:
            if channel == "shell" and self._stand_in is not None:
                self._stand_in.add_client(client)
                self._answered()

        client = LocalClient(
            self._loop,
            sock,
            on_ready=on_ready,
            on_message=self._on_local_message,
            on_closed=self._on_local_closed,
        )
        self._local_clients.add(client)

    def _on_local_message(self, client: LocalClient, frames: list[bytes]) -> None:
        if self._stand_in is not None:
            self._stand_in.receive_message(client, frames)
            self._answered()

    def _on_local_closed(self, client: LocalClient) -> None:
        self._local_clients.discard(client)
        if self._stand_in is not None:
            self._stand_in.remove_client(client)

    def _answered(self) -> None:
        self.pass_on_answers()
        self._on_answered()

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
            on_subscribed=self._listen,
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
