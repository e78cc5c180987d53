"""The subscription to what the kernel publishes: ZMTP on the link's stream to `iopub`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from board_agent.zmtp.wire import SUBSCRIBE, ProtocolError, Wire, encode

from .buffered_end import BufferedEnd


class IopubSubscription(BufferedEnd):
    """Subscribe to all that the kernel publishes, and to what clients ask for.

    Args:
        on_subscribed: Called once the kernel sends all that it publishes.
        on_message: Called with the frames of each message.
        on_error: Called with the reason when what comes is not ZMTP.
    """

    def __init__(
        self,
        on_subscribed: Callable[[], None],
        on_message: Callable[[list[bytes]], None],
        on_error: Callable[[ProtocolError], None],
    ) -> None:
        self._wire = Wire(b"SUB")
        super().__init__(self._wire.data_to_send())
        self._early: list[Sequence[bytes]] = []  # to send once the kernel has introduced itself
        self._subscribed = self._over = False
        self._on_subscribed = on_subscribed
        self._on_message = on_message
        self._on_error = on_error

    @property
    def expects_more(self) -> bool:
        """Whether the kernel may still publish something."""
        return not self._over

    def pass_up(self, frames: Sequence[bytes]) -> None:
        """Pass a client's subscription up to the kernel.

        Args:
            frames: The message by which the client subscribes or unsubscribes.
        """
        if self._subscribed:
            self._put(frames)
            self.update()
        else:
            self._early.append(frames)

    def receive_data(self, data: bytes) -> None:
        """Pass on the messages that are whole now.

        Args:
            data: The next bytes from the kernel, cut anywhere.
        """
        try:
            messages = self._wire.receive_data(data)
        except ProtocolError as error:
            self._on_error(error)
            return
        self._out += self._wire.data_to_send()
        if not self._subscribed and self._wire.peer is not None:
            self._subscribed = True
            for early in ([SUBSCRIBE], *self._early):
                self._put(early)
            self._on_subscribed()
        for frames in messages:
            self._on_message(frames)
        self.link.consumed(self.number, len(data))
        self.update()

    def _put(self, frames: Sequence[bytes]) -> None:
        for part in encode(frames):
            self._out += part

    def receive_end(self) -> None:
        """End our half too: the kernel sends no more."""
        self._over = True
        self.link.end(self.number)
        self.on_progress()

    def close(self) -> None:
        """Expect nothing more."""
        self._over = True
        super().close()
