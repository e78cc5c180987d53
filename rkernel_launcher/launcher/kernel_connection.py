"""A connection to shell, control or stdin of the kernel: ZMTP on a stream of the link."""

from __future__ import annotations

from collections.abc import Callable

from board_agent.zmtp.wire import ProtocolError, Wire, encode

from .buffered_end import BufferedEnd
from .client_connection import MAX_MESSAGE

MAX_UNSENT = 1 << 20  # bytes that wait for the link, at which the client has to wait


class KernelConnection(BufferedEnd):
    """Exchange messages with the kernel on behalf of a client.

    Args:
        identity: What the client calls itself.
        on_message: Called with the frames of each message.
        on_room: Called whenever the link may have taken something.
        on_over: Called once the kernel sends no more.
        on_error: Called with the reason when what comes is not ZMTP.
    """

    def __init__(
        self,
        identity: bytes,
        on_message: Callable[[list[bytes]], None],
        on_room: Callable[[], None],
        on_over: Callable[[], None],
        on_error: Callable[[ProtocolError], None],
    ) -> None:
        self._wire = Wire(b"DEALER", identity, MAX_MESSAGE)
        super().__init__(self._wire.data_to_send())
        self._on_message = on_message
        self._on_room = on_room
        self._on_over = on_over
        self._on_error = on_error
        self._early: list[list[bytes]] = []  # to send once the kernel has introduced itself
        self._received = 0  # bytes of which the link does not know yet that they were passed on
        self._client_left = self._over = False

    @property
    def expects_more(self) -> bool:
        """Whether the kernel may still say something."""
        return not self._over

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the link that the client has to wait."""
        return len(self._out) >= MAX_UNSENT

    def send(self, frames: list[bytes]) -> None:
        """Send the kernel a message."""
        if self._wire.peer is None:
            self._early.append(frames)
            return
        for part in encode(frames):
            self._out += part
        self.update()

    def end(self) -> None:
        """Send the kernel what waits, and no more: the client has left."""
        self._client_left = True
        self.update()

    def receive_data(self, data: bytes) -> None:
        """Pass on the messages that are whole now.

        Args:
            data: The next bytes from the kernel, cut anywhere.
        """
        new = self._wire.peer is None
        try:
            messages = self._wire.receive_data(data)
        except ProtocolError as error:
            self._on_error(error)
            return
        self._out += self._wire.data_to_send()
        if new and self._wire.peer is not None:
            early, self._early = self._early, []
            for frames in early:
                self.send(frames)
        self._received += len(data)
        for frames in messages:
            self._on_message(frames)
        self.update()

    def passed_on(self) -> None:
        """Note that the client has room for more."""
        if self._received and not self._over:
            received, self._received = self._received, 0
            self.link.consumed(self.number, received)
            self.on_progress()

    def update(self) -> None:
        """Send what waits, as far as the link has credit."""
        super().update()
        if self._client_left and not self._out and not self._early and self.link.end(self.number):
            self.on_progress()
        self._on_room()

    def receive_end(self) -> None:
        """End our half too: the kernel sends no more."""
        self.link.end(self.number)
        self.on_progress()
        self.close()

    def close(self) -> None:
        """Expect nothing more."""
        if not self._over:
            self._over = True
            super().close()
            self._on_over()
