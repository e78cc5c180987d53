"""Which picture is sent next, and how good it is. No I/O.

Each stream has room for one picture, the newest; it replaces the one before. The viewer grants
pictures one by one, so that no more are on their way than it asked for. When it grants them more
slowly than they are due, first their quality falls, then their number; what is sent is always new.
Encoding takes half of one core at most: the board may have no other for the cell's code and for
replies.
"""

from typing import Dict, NamedTuple, Optional

from ..link import video_format
from .images import Picture

MAX_STREAMS = 16  # whose pictures wait
FULL = 90  # quality of a cell's first and last picture, which may be kept
BEST, WORST = 80, 30  # quality of those between them
LESS, MORE = 0.8, 4  # a factor when pictures are skipped, an addition when for a while none was
STREAK = 15  # pictures in a row, none skipped, that earn a better quality
CALM = 4  # pictures after a change of quality that show its effect


class Shown(NamedTuple):
    """A picture that was shown.

    Args:
        stream: The user's name for the stream.
        cell: The msg_id of the request that ran; empty if the picture is not for the notebook.
        display: Its display_id.
        picture: Its pixels.
        at: When, in seconds of the monotonic clock.
    """

    stream: str
    cell: str
    display: str
    picture: Picture
    at: float


class FrameScheduler:
    """The pictures of a kernel on their way to one viewer.

    Times are in seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self.quality = BEST
        self._waiting: Dict[str, Shown] = {}
        self._due: Dict[str, float] = {}  # of each stream, when the next picture may be sent
        self._interval: Optional[float] = None  # seconds between pictures; None without a viewer
        self._rest = 0.0  # when the next picture may be encoded
        self.granted = 0  # pictures that may be sent now
        self._since_change = self._streak = 0

    def receive_grants(self, data: bytes) -> None:
        """Take what the viewer sends: the pictures a second that it wants, then a byte a grant."""
        if self._interval is None and data:
            self._interval = 1.0 / max(1, data[0])
            data = data[1:]
        self.granted += len(data)

    def remove_viewer(self) -> None:
        """Forget the viewer; there may be another."""
        self._interval, self.granted = None, 0
        self.quality = BEST

    def put(self, shown: Shown) -> bool:
        """Take a picture in place of its stream's last one; return whether to ask `wait` again."""
        was_due = self._due.get(shown.stream, 0.0) <= shown.at
        waited = shown.stream in self._waiting
        if waited and was_due and self._interval and not self.granted:
            self._skipped()
        self._waiting[shown.stream] = shown
        if len(self._waiting) > MAX_STREAMS:
            oldest = min(self._waiting.values(), key=lambda waiting: waiting.at).stream
            del self._waiting[oldest]
            self._due.pop(oldest, None)
        return self.granted > 0 and not waited

    def wait(self, now: float) -> Optional[float]:
        """Return the seconds until `popleft` has a picture; None if something must happen first."""
        if not self.granted or not self._waiting:
            return None
        due = min(self._due.get(stream, 0.0) for stream in self._waiting)
        return max(0.0, max(due, self._rest) - now)

    def popleft(self, now: float) -> Optional[Shown]:
        """Return the picture to send now, or None."""
        if self.wait(now) != 0.0 or self._interval is None:
            return None
        stream = min(self._waiting, key=lambda name: self._due.get(name, 0.0))
        # A picture may be early by as much as the one before it was late.
        self._due[stream] = max(self._due.get(stream, 0.0), now - self._interval) + self._interval
        self.granted -= 1
        self._sent()
        return self._waiting.pop(stream)

    def encoded(self, now: float, seconds: float) -> None:
        """Note what encoding the last picture cost: for as long, the processor is for others."""
        self._rest = now + seconds

    def take_back(self) -> None:
        """Take back that the last picture was sent."""
        if self._interval is not None:
            self.granted += 1

    def _skipped(self) -> None:
        self._streak = 0
        if self._since_change >= CALM:
            self.quality = max(WORST, int(self.quality * LESS))
            self._since_change = 0

    def _sent(self) -> None:
        self._since_change += 1
        self._streak += 1
        if self._streak >= STREAK:
            self.quality = min(BEST, self.quality + MORE)
            self._streak = 0


def head(shown: Shown, data: bytes, delay: float) -> bytes:
    """Return what goes before a picture's data on the `video` stream.

    Args:
        shown: The picture.
        data: Its bytes, encoded.
        delay: Seconds since it was shown.
    """
    picture = shown.picture
    facts = video_format.facts(
        *(shown.stream, shown.cell, shown.display, picture.mime, picture.width, picture.height)
    )
    return video_format.head(len(data), delay, facts)
