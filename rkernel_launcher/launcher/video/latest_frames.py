"""The newest frame of each stream, for viewers outside the notebook."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .frames import MIMES, Frame

MAX_STREAMS = 16  # a new stream takes the place of the one whose last frame is the oldest
MAX_NAME = 200  # characters
_WINDOW = 2.0  # seconds over which frames per second are counted
_COUNTED = 256  # frames, at most


class Picture(NamedTuple):
    """A frame with its number; of two pictures the one with the higher number is newer."""

    number: int
    frame: Frame


class LatestFrames:
    """Keep the newest frame of each stream; one thread puts them there, viewers' threads wait.

    We do not trust the board: a frame that is not a JPEG or PNG, or whose stream has an absurd
    name, is dropped.

    Args:
        on_watched: Called with True when the first viewer comes, and with False when the last one
            has gone. A viewer's thread calls it, never twice at a time, and never after `close` has
            returned. It must return soon and without an error, and must not call `close`.
    """

    def __init__(self, on_watched: Callable[[bool], None] = lambda watched: None) -> None:
        self._on_watched = on_watched
        self._viewers_lock = threading.Lock()  # guards the two below, and on_watched while it runs
        self._viewers = 0
        self._open = True
        self._changed = threading.Condition()  # guards the streams
        self._streams: dict[str, _Stream] = {}
        self._number = 0

    def put(self, frame: Frame) -> None:
        """Put a frame in place of its stream's last one."""
        if frame.mime not in MIMES or len(frame.stream) > MAX_NAME:
            return
        with self._changed:
            if frame.stream not in self._streams and len(self._streams) == MAX_STREAMS:
                least_recent = min(
                    self._streams, key=lambda name: self._streams[name].picture.number
                )
                del self._streams[least_recent]
            self._number += 1
            picture = Picture(self._number, frame)
            self._streams.setdefault(frame.stream, _Stream(picture)).show(picture)
            self._changed.notify_all()

    def wait(self, name: str | None, after: int = 0, timeout: float = 0.0) -> Picture | None:
        """Wait for a picture that is newer than the one that the viewer had.

        Args:
            name: The stream's name; None for the first stream.
            after: The number of the picture that the viewer had; 0 for none.
            timeout: How many seconds to wait.

        Returns:
            The newest picture, whatever came in between; None if none came in time, or after
            `close`.
        """

        def newer() -> Picture | None:
            stream = self._find(name)
            return stream.picture if stream and stream.picture.number > after else None

        with self._changed:
            self._changed.wait_for(lambda: newer() or not self._open, timeout)
            return newer() if self._open else None

    def names(self) -> list[str]:
        """Return the streams' names, in the order in which they came."""
        with self._changed:
            return list(self._streams)

    def rate(self, name: str) -> float:
        """Return how many frames a second a stream has had lately; 0 if it stands still."""
        with self._changed:
            stream = self._streams.get(name)
            return stream.rate() if stream else 0.0

    @property
    def has_viewers(self) -> bool:
        """Whether somebody watches."""
        return self._open and self._viewers > 0

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return not self._open

    @contextmanager
    def viewer(self) -> Iterator[bool]:
        """Count as a viewer until the block ends.

        Yields:
            Whether this is the only viewer.
        """
        first = self._count(1) == 1
        try:
            yield first
        finally:
            self._count(-1)

    def close(self) -> None:
        """Give no viewer another picture; those that wait get None."""
        with self._viewers_lock:
            self._open = False
        with self._changed:
            self._changed.notify_all()

    def _find(self, name: str | None) -> _Stream | None:
        if name is None:
            return next(iter(self._streams.values()), None)
        return self._streams.get(name)

    def _count(self, change: int) -> int:
        with self._viewers_lock:
            before = self._viewers
            self._viewers += change
            if self._open and (before == 0 or self._viewers == 0):
                self._on_watched(self._viewers > 0)
            return self._viewers


class _Stream:
    """What is known of one stream."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self._shown: deque[float] = deque(maxlen=_COUNTED)  # when frames came

    def show(self, picture: Picture) -> None:
        self.picture = picture
        self._shown.append(time.monotonic())

    def rate(self) -> float:
        start = time.monotonic() - _WINDOW
        shown = [moment for moment in self._shown if moment > start]
        if len(shown) < 2:
            return 0.0
        return (len(shown) - 1) / max(shown[-1] - shown[0], 0.001)
