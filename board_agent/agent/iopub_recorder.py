"""What is kept of a kernel's iopub, so that its connection outlives the launcher it was made for.

While the link is down it is spooled; when another launcher takes over, that one has to find ZMTP's
opening, and then whole messages. Sources: https://rfc.zeromq.org/spec/23/ (ZMTP 3.0), and "The wire
protocol" in https://jupyter-client.readthedocs.io/en/stable/messaging.html.
"""

from typing import List, Optional

from ..link.link import CHUNK
from .spool import Spool

GREETING = 64
LONGEST_TOPIC = 255
_DELIMITER = b"\x01\x09<IDS|MSG>"  # a short frame, more to follow
_NEEDED = 2 + LONGEST_TOPIC + len(_DELIMITER)  # bytes that tell that a message begins
_STATE = b'{"execution_state":'


def opening_length(data: bytes) -> Optional[int]:
    """Return the length of the greeting and the READY command; None while they are not whole."""
    if len(data) < GREETING + 2:
        return None
    length = GREETING + 2 + data[GREETING + 1]
    return length if len(data) >= length else None


def first_message(data: bytes) -> int:
    """Return where the first whole message in a part of the stream begins; its length if nowhere.

    It is found by its delimiter and the frame before, the topic. Nothing in a message looks like
    that but a binary buffer made to, since JSON escapes control characters.
    """
    found = data.find(_DELIMITER)
    while found >= 0:
        for start in range(found - 2, max(-1, found - 3 - LONGEST_TOPIC), -1):
            if data[start] == 1 and start + 2 + data[start + 1] == found:
                return start
        found = data.find(_DELIMITER, found + 1)
    return len(data)


class IopubRecorder:
    """The memory of one connection to iopub: how it opened, whether the kernel is busy, a spool.

    A recorder of `Forwarder`.
    """

    def __init__(self) -> None:
        self.spool = Spool()
        self.state = "starting"
        self.opening = b""
        self._opened = False
        self._end = b""  # of what came last, in case a state was cut in two
        self._cut: Optional[bytes] = None  # the end of what came of a message to be left out
        self._hearing: Optional[bytes] = b""  # a launcher's opening, until it is whole
        self._again = False  # that launcher has taken over: the kernel knows an opening already

    def outgoing(self, data: bytes) -> bytes:
        """Take what the kernel sends; return what to pass on of it."""
        if not self._opened:
            self.opening += data
            length = opening_length(self.opening)
            self._opened = length is not None
            self.opening = self.opening[:length]
        text = self._end + data
        at = text.rfind(_STATE)
        if at >= 0:
            parts = text[at + len(_STATE) :].split(b'"', 2)
            if len(parts) == 3:
                self.state = parts[1].decode("ascii", "replace")
        self._end = text[-64:]
        return data if self._cut is None else self._without_cut(data)

    def _without_cut(self, data: bytes) -> bytes:
        assert self._cut is not None
        data = self._cut + data
        start = first_message(data)
        self._cut = None if start < len(data) else data[-_NEEDED:]
        return data[start:]

    def prepare_for_takeover(self, sent: List[bytes]) -> None:
        """Prepare for another launcher: it gets `opening`, and then what the spool holds.

        If the former launcher got a part of a message, the rest of that is left out.

        Args:
            sent: What was sent to the former launcher and may not have reached it.
        """
        data = b"".join(sent)
        start = first_message(data)
        while start == len(data) and self.spool:
            data = data[-_NEEDED:] + self.spool.popleft(CHUNK)
            start = first_message(data)
        if data and start == len(data):
            self._cut = data[-_NEEDED:]  # the rest is still in the kernel
        self.spool.push_front(data[start:])
        self._hearing, self._again = b"", True

    def __len__(self) -> int:
        return len(self.spool)

    @property
    def room(self) -> int:
        """The bytes that can be kept now."""
        return self.spool.room

    def keep(self, data: bytes) -> None:
        """Keep what the peer cannot get now: no more bytes than `room`."""
        self.spool.append(data)

    def take(self, size: int) -> bytes:
        """Return and forget at most `size` bytes of what is kept.

        Raises:
            OSError: The disk failed.
        """
        return self.spool.popleft(size)

    def close(self) -> None:
        """Forget what is kept."""
        self.spool.close()

    @property
    def is_open(self) -> bool:
        """Whether the kernel has sent its opening and got one: else a connection is no use."""
        return self._opened and (self._again or self._hearing is None)

    @property
    def awaits_peer(self) -> bool:
        """Whether another launcher has yet to send its opening: until then, libzmq takes none."""
        return self._again and self._hearing is not None

    def incoming(self, data: bytes) -> bytes:
        """Return what to pass to the kernel of what a launcher sends: no second opening."""
        if self._hearing is None:
            return data
        self._hearing += data
        length = opening_length(self._hearing)
        if length is None:
            return b"" if self._again else data
        rest, self._hearing = self._hearing[length:], None
        return rest if self._again else data
