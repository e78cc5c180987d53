"""An end of a stream in the launcher that sends what it has when the link can take it."""

from __future__ import annotations

from board_agent.link.stream_end import StreamEnd


class BufferedEnd(StreamEnd):
    """Keep what is to be sent until the link has credit for it.

    Args:
        data: The first bytes to send.
    """

    def __init__(self, data: bytes) -> None:
        self._out = bytearray(data)

    def update(self) -> None:
        """Send what waits, as far as the link has credit."""
        while self._out and (credit := self.link.credit(self.number)):
            self.link.send(self.number, bytes(self._out[:credit]))
            del self._out[:credit]
            self.on_progress()
        self.waits_for_room = bool(self._out)
