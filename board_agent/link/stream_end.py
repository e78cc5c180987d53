"""What a stream of the link ends in at this side: a socket (`Forwarder`), or an object."""

from typing import Callable

from .link import Link


class StreamEnd:
    """One end of a stream. The driver attaches it, and calls it with what comes from the peer.

    An end sends with `link.send`, within `link.credit`. It reports with `link.consumed` what it has
    passed on, and calls `on_progress` whenever it has called the link.
    """

    link: Link
    number: int
    on_progress: Callable[[], None]
    on_closed: Callable[["StreamEnd"], None]

    waits_for_room = False  # whether `update` is to be called when the link can take more

    @property
    def expects_more(self) -> bool:
        """Whether the peer may still send something worth waiting for."""
        return False

    @property
    def has_said_all(self) -> bool:
        """Whether all that this end will ever send is in the link."""
        return True

    def attach(
        self,
        link: Link,
        number: int,
        on_progress: Callable[[], None],
        on_closed: Callable[["StreamEnd"], None],
    ) -> None:
        """Begin with a stream.

        Args:
            link: What carries the stream.
            number: The stream's number.
            on_progress: To be called whenever this end has called the link.
            on_closed: To be called with this end once it is closed.
        """
        self.link = link
        self.number = number
        self.on_progress = on_progress
        self.on_closed = on_closed
        self.update()

    def update(self) -> None:
        """Note that the link has more room, or has got or lost its transport."""

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer."""

    def receive_end(self) -> None:
        """Note that the peer sends no more."""

    def close(self) -> None:
        """Close: the stream is over, or the link is."""
        self.on_closed(self)
