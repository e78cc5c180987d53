"""Which picture is sent next, and how good it is. No I/O.

Each stream has room for one picture, the newest: what was there is forgotten. The viewer grants
pictures one by one, so that no more are under way than it asked for. When it grants them more
slowly than they are due, first their quality falls, then their number; what is sent is always new.
Encoding has half of one core at most: there may be no other, for the cell's code and for answers.
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
    """A picture that was shown; `cell` is the request that ran, `at` the time (monotonic)."""

    stream: str
    cell: str
    display: str
    picture: Picture
    at: float


class FrameScheduler:
    """The pictures of a kernel on their way to one viewer."""

    def __init__(self) -> None:
        self.quality = BEST
        self._waiting: Dict[str, Shown] = {}
        self._due: Dict[str, float] = {}  # of each stream, when the next picture may be sent
        self._interval: Optional[float] = None  # seconds between pictures; None without a viewer
        self._rest = 0.0  # when the next picture may be encoded
        self.granted = 0  # pictures that may be sent now
        self._since_change = self._streak = 0

    def receive_grants(self, data: bytes) -> None:
        """Take what the viewer says."""
        if self._interval is None and data:
            self._interval = 1.0 / max(1, data[0])
            data = data[1:]
        self.granted += len(data)

    def remove_viewer(self) -> None:
        """Forget the viewer; there may be another."""
        self._interval, self.granted = None, 0
        self.quality = BEST

    def put(self, shown: Shown) -> bool:
        """Take a picture in place of the last one; say whether `wait` has to be asked anew."""
        was_due = self._due.get(shown.stream, 0.0) <= shown.at
        waited = shown.stream in self._waiting
        if waited and was_due and self._interval and not self.granted:
            self._skipped()
        self._waiting[shown.stream] = shown
        if len(self._waiting) > MAX_STREAMS:
            oldest = min(self._waiting.values(), key=lambda one: one.at).stream
            del self._waiting[oldest]
            self._due.pop(oldest, None)
        return self.granted > 0 and not waited

    def wait(self, now: float) -> Optional[float]:
        """Return the seconds until `take` has a picture; None if something has to happen first."""
        if not self.granted or not self._waiting:
            return None
        due = min(self._due.get(stream, 0.0) for stream in self._waiting)
        return max(0.0, max(due, self._rest) - now)

    def popleft(self, now: float) -> Optional[Shown]:
        """Return the picture to be sent now, if there is one."""
        if self.wait(now) != 0.0 or self._interval is None:
            return None
        stream = min(self._waiting, key=lambda name: self._due.get(name, 0.0))
        # A picture may be early by as much as the one before it was late.
        self._due[stream] = max(self._due.get(stream, 0.0), now - self._interval) + self._interval
        self.granted -= 1
        self._sent()
        return self._waiting.pop(stream)

    def encoded(self, now: float, seconds: float) -> None:
        """Say what the last picture cost: as long as that, the processor is for others."""
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
    """Return what goes before a picture's data; `delay` is in seconds, since it was shown."""
    picture = shown.picture
    facts = video_format.facts(
        *(shown.stream, shown.cell, shown.display, picture.mime, picture.width, picture.height)
    )
    return video_format.head(len(data), delay, facts)
