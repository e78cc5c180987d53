"""iopub on the PC: what the kernel publishes comes once, and is handed to every client from here.

Also the place where the launcher itself has something to say in a cell, and pictures to show.
"""

from __future__ import annotations

import functools
import queue
import socket
import threading
from collections.abc import Callable
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from .connection_file import Connection
from .jupyter_messages import CellPublisher, Resigner
from .video.frames import Video
from .video.latest_frames import LatestFrames

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

HWM = 100_000  # messages held for a client that does not read; the stock kernel holds 1000
LINGER = 1000  # milliseconds for the last messages to reach clients


class IopubFanout:
    """Hand what the kernel publishes to the clients, in a thread of its own.

    Parameters: context; connection; upstream, the endpoint where the kernel's iopub is to be had;
    bind, which gives a socket the clients' endpoint; on_subscribed, called in the thread once the
    kernel sends all it publishes; on_client, called there when the first client subscribes;
    former_keys, that a kernel which was taken over signed with before; gallery, for those who look
    at pictures elsewhere.
    """

    def __init__(
        self,
        context: Context,
        connection: Connection,
        upstream: str,
        bind: Callable[[Socket], None],
        on_subscribed: Callable[[], None],
        on_client: Callable[[], None],
        former_keys: list[str],
        latest_frames: LatestFrames | None = None,
    ) -> None:
        self._latest_frames = latest_frames
        self._on_subscribed = on_subscribed
        self._on_client = on_client
        self._publisher = CellPublisher(connection)
        self._resigner = Resigner(connection, former_keys) if former_keys else None

        self._upstream = context.socket(zmq.XSUB)
        self._upstream.rcvhwm = 0  # what has come over the link is not to be lost here
        self._upstream.linger = 0
        self._upstream.handshake_ivl = 0  # it may take as long as the link is down
        self._monitor = self._upstream.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self._upstream.connect(upstream)
        self._upstream.send(b"\x01")

        self._downstream = context.socket(zmq.XPUB)
        self._downstream.linger = LINGER
        self._downstream.sndhwm = HWM
        self._downstream.xpub_verbose = True  # each subscription earns a welcome from the kernel
        bind(self._downstream)

        self._viewers: set[bytes] = set()  # topics that clients have subscribed to
        self._video: Video | None = None
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = False
        self._orders = context.socket(zmq.PAIR)
        self._orders.bind("inproc://iopub-orders")
        self._remote = context.socket(zmq.PAIR)
        self._remote.connect("inproc://iopub-orders")
        self._thread = threading.Thread(target=self._run, name="iopub", daemon=True)
        self._thread.start()

    def stderr(self, text: str) -> None:
        """Show text on stderr of the cell that runs, if one does."""
        self._order(lambda: self._publish(self._publisher.stderr(text)))

    def watch(self, sock: socket.socket, rate: int) -> None:
        """Show the pictures that come from a connection to the kernel.

        Parameters: sock, closed here in the end; rate, pictures a second of a stream.
        """
        self._order(functools.partial(self._watch, sock, rate))

    def look(self) -> None:
        """See whether pictures are wanted in the gallery."""
        self._order(lambda: None)

    def close(self) -> None:
        """End, once what has come has been handed on."""
        self._order(self._stop)
        self._remote.close()
        self._thread.join()

    def _order(self, task: Callable[[], None]) -> None:
        self._todo.put(task)
        self._remote.send(b"")

    def _stop(self) -> None:
        self._stopping = True

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            if self._video is not None:
                self._video.close()
            for sock in (self._upstream, self._monitor, self._downstream, self._orders):
                sock.close()

    def _serve(self) -> None:
        """Pass messages down and subscriptions up until told to stop; then what is on its way."""
        poller = self._poller = zmq.Poller()
        for sock in (self._upstream, self._downstream, self._orders, self._monitor):
            poller.register(sock, zmq.POLLIN)
        connected = visited = False
        while connected or not self._stopping:
            ready = dict(poller.poll(LINGER if self._stopping else None))
            if not ready:
                break
            if self._orders in ready:
                self._orders.recv()
                self._todo.get_nowait()()
            if self._monitor in ready:
                event = recv_monitor_message(self._monitor)["event"]
                connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
                if connected:
                    self._on_subscribed()
            if self._downstream in ready and not visited:
                visited = True
                self._on_client()
            self._pass_down()
            self._pass_up()
            if self._video is not None and self._video.fileno() in ready:
                self._show()
            if self._video is not None and self._wanted():
                self._video.grant()

    def _wanted(self) -> bool:
        """Say whether there is somebody to see pictures."""
        if self._latest_frames is not None and self._latest_frames.has_viewers:
            return True
        return bool(self._viewers) and self._publisher.in_cell

    def _pass_down(self) -> None:
        while int(self._upstream.get(zmq.EVENTS)) & zmq.POLLIN:
            parts: list[Any] = self._upstream.recv_multipart(copy=False)
            if self._resigner is not None:
                parts = self._resigner.resign([bytes(part) for part in parts])
            self._publisher.observe(parts)
            self._downstream.send_multipart(parts, copy=False)

    def _pass_up(self) -> None:
        while int(self._downstream.get(zmq.EVENTS)) & zmq.POLLIN:
            parts = self._downstream.recv_multipart()
            (self._viewers.add if parts[0][:1] == b"\x01" else self._viewers.discard)(parts[0][1:])
            self._upstream.send_multipart(parts)

    # --- pictures -------------------------------------------------------------------------------

    def _watch(self, sock: socket.socket, rate: int) -> None:
        self._forget_video()
        self._video = Video(sock, rate)
        self._poller.register(self._video.fileno(), zmq.POLLIN)

    def _forget_video(self) -> None:
        if self._video is not None:
            self._poller.unregister(self._video.fileno())
            self._video.close()
            self._video = None

    def _show(self) -> None:
        assert self._video is not None
        frames = self._video.receive()
        if frames is None:
            self._forget_video()
            return
        self._pass_down()  # what the kernel said before it
        for frame in {frame.stream: frame for frame in frames}.values():
            self._publish(self._publisher.frame(frame))
            if self._latest_frames is not None:
                self._latest_frames.put(frame)

    def _publish(self, parts: list[bytes] | None) -> None:
        if parts is not None:
            self._downstream.send_multipart(parts)
