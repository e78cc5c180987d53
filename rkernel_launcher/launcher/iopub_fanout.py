"""iopub on the PC: what the kernel publishes comes once, and from here goes to every client.

The launcher's own messages to a cell go to the clients from here too, and so do live pictures. All
of it happens in the thread of the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import zmq

from board_agent.link.event_loop import Loop

from .connection_file import Connection
from .jupyter_messages import CellPublisher, Resigner
from .video.frames import Frame, VideoStream
from .video.latest_frames import LatestFrames

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

HWM = 100_000  # messages kept for a client that does not read; the stock kernel keeps 1000
LINGER = 1000  # milliseconds for the last messages to reach clients


class IopubFanout:
    """Hand what the kernel publishes to the clients.

    Args:
        loop: The event loop that calls everything here.
        context: Where to make the socket.
        connection: What the connection file says.
        bind: Called with the socket to bind it to the clients' endpoint.
        on_subscription: Called with each message by which a client subscribes or unsubscribes.
        former_keys: The keys with which a kernel that was taken over signed before.
        latest_frames: Where to put pictures for viewers that are not clients; None for nowhere.
    """

    def __init__(
        self,
        loop: Loop,
        context: Context,
        connection: Connection,
        bind: Callable[[Socket], None],
        on_subscription: Callable[[Sequence[bytes]], None],
        former_keys: Sequence[str],
        latest_frames: LatestFrames | None = None,
    ) -> None:
        self._loop = loop
        self._latest_frames = latest_frames
        self._on_subscription = on_subscription
        self._publisher = CellPublisher(connection)
        self._resigner = Resigner(connection, former_keys) if former_keys else None
        self._topics: set[bytes] = set()  # that clients have subscribed to
        self._video: VideoStream | None = None
        self._socket = context.socket(zmq.XPUB)
        self._socket.linger = LINGER
        self._socket.sndhwm = HWM
        self._socket.xpub_verbose = True  # the kernel sends a welcome for each subscription
        bind(self._socket)
        self._descriptor = int(self._socket.get(zmq.FD))
        loop.watch(self._descriptor, self._read_subscriptions, None)

    @property
    def cell(self) -> dict[str, Any] | None:
        """The header of the request whose cell runs, if one does."""
        return self._publisher.cell

    @property
    def has_clients(self) -> bool:
        """Whether a client has subscribed."""
        return bool(self._topics)

    def publish(self, parts: list[bytes]) -> None:
        """Send the clients a message of the kernel.

        Args:
            parts: Its frames, the topic first.
        """
        if self._resigner is not None:
            parts = self._resigner.resign(parts)
        self._publisher.observe(parts)
        self._send(parts)
        self.update_video_demand()

    def stderr(self, text: str) -> bool:
        """Show text on stderr of the cell that runs; return whether one does."""
        message = self._publisher.stderr(text)
        self._send(message)
        return message is not None

    def show(self, video: VideoStream) -> None:
        """Show the pictures of a stream, in place of those of the stream before."""
        self._video = video
        video.on_frames = self._show
        self.update_video_demand()

    def update_video_demand(self) -> None:
        """Ask the kernel for pictures if somebody wants to see them now."""
        if self._video is None:
            return
        elsewhere = self._latest_frames is not None and self._latest_frames.has_viewers
        if elsewhere or (self._topics and self._publisher.cell):
            self._video.grant()

    def close(self) -> None:
        """Close the clients' endpoint; what was sent may still reach them for `LINGER`."""
        self._loop.watch(self._descriptor, None, None)
        self._socket.close()

    def _show(self, frames: Sequence[Frame]) -> None:
        for frame in {frame.stream: frame for frame in frames}.values():
            self._send(self._publisher.frame(frame))
            if self._latest_frames is not None:
                self._latest_frames.put(frame)
        self.update_video_demand()

    def _send(self, parts: list[bytes] | None) -> None:
        if parts is not None:
            self._socket.send_multipart(parts, copy=False)
            self._read_subscriptions()  # sending may have reset the descriptor that signals one

    def _read_subscriptions(self) -> None:
        """Read all: the descriptor signals a message only once (ZMQ_FD in zmq_getsockopt(3))."""
        while int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:
            parts = self._socket.recv_multipart()
            subscribes, topic = parts[0][:1] == b"\x01", parts[0][1:]
            (self._topics.add if subscribes else self._topics.discard)(topic)
            self._on_subscription(parts)
            self.update_video_demand()
