"""The newest frame of each stream, and who looks at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from rkernel_launcher.launcher.video.frames import Frame
from rkernel_launcher.launcher.video.latest_frames import (
    MAX_NAME,
    MAX_STREAMS,
    LatestFrames,
    Picture,
)
from tests.support.boards import LIMIT, wait_until


def frame(stream: str = "", data: bytes = b"a picture", mime: str = "image/jpeg") -> Frame:
    return Frame(stream, "cell", "display", mime, 240, 240, 0.01, data)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def shown(picture: Picture | None) -> bytes:
    assert picture is not None
    return picture.frame.data


def test_a_viewer_that_waits_gets_the_next_frame() -> None:
    frames = LatestFrames()
    frames.put(frame(data=b"first"))
    first = frames.wait("")
    assert first and first.frame.data == b"first"
    assert frames.wait("", first.number) is None

    got: list[Picture | None] = []
    viewer = in_thread(lambda: got.append(frames.wait("", first.number, LIMIT)))
    frames.put(frame("other", b"not for this viewer"))
    frames.put(frame(data=b"second"))
    viewer.join(LIMIT)
    assert [shown(picture) for picture in got] == [b"second"]


def test_a_slow_viewer_skips_what_it_missed() -> None:
    frames = LatestFrames()
    for number in range(100):
        frames.put(frame(data=b"%d" % number))
    picture = frames.wait("")
    assert shown(picture) == b"99"
    assert picture and frames.wait("", picture.number) is None


def test_a_wait_has_an_end() -> None:
    frames = LatestFrames()
    start = time.monotonic()
    assert frames.wait("", timeout=0.1) is None
    assert 0.1 <= time.monotonic() - start < LIMIT


def test_without_a_name_it_is_the_first_stream() -> None:
    frames = LatestFrames()
    assert frames.wait(None) is None
    frames.put(frame("left", b"left"))
    frames.put(frame("right", b"right"))
    assert shown(frames.wait(None)) == b"left"
    assert shown(frames.wait("right")) == b"right"
    assert frames.names() == ["left", "right"]


def test_a_new_stream_replaces_the_stillest_of_too_many() -> None:
    frames = LatestFrames()
    for number in range(MAX_STREAMS):
        frames.put(frame(f"stream {number}"))
    frames.put(frame("stream 0"))
    frames.put(frame("one more"))
    assert len(frames.names()) == MAX_STREAMS
    assert "stream 1" not in frames.names()
    assert {"stream 0", "one more"} < set(frames.names())


@pytest.mark.parametrize(
    "hostile",
    [
        frame(mime="text/html"),
        frame(mime="image/svg+xml"),
        frame(mime="image/png\r\nSet-Cookie: a=b"),
        frame("n" * (MAX_NAME + 1)),
    ],
)
def test_what_is_no_picture_is_not_shown(hostile: Frame) -> None:
    frames = LatestFrames()
    frames.put(hostile)
    assert frames.names() == []


def test_frames_per_second() -> None:
    frames = LatestFrames()
    assert frames.rate("") == 0
    start = time.monotonic()
    for _ in range(20):
        frames.put(frame())
        time.sleep(0.01)
    seconds = time.monotonic() - start
    assert 19 / seconds <= frames.rate("") <= 19 / 0.19 + 1
    wait_until(lambda: frames.rate("") == 0, "a stream that stands still", LIMIT)


def test_the_board_hears_when_somebody_looks() -> None:
    told: list[bool] = []
    frames = LatestFrames(told.append)
    assert not frames.has_viewers
    with frames.viewer() as first, frames.viewer() as second:
        assert (first, second) == (True, False)
        assert frames.has_viewers
        assert told == [True]
    assert not frames.has_viewers
    assert told == [True, False]


def test_what_the_board_hears_is_in_order() -> None:
    """Viewers who come and go at once, in many threads, leave it with the truth."""
    told: list[bool] = []
    frames = LatestFrames(told.append)

    def come_and_go() -> None:
        for _ in range(200):
            with frames.viewer():
                pass

    threads = [in_thread(come_and_go) for _ in range(4)]
    for thread in threads:
        thread.join(LIMIT)
    assert told == [True, False] * (len(told) // 2)
    assert told


def test_an_error_of_a_viewer_does_not_keep_it_there() -> None:
    frames = LatestFrames()
    with pytest.raises(OSError), frames.viewer():
        raise OSError
    assert not frames.has_viewers


def test_a_close_sends_the_viewers_away() -> None:
    told: list[bool] = []
    frames = LatestFrames(told.append)
    got: list[Picture | None] = []

    def look() -> None:
        with frames.viewer():
            got.append(frames.wait("", timeout=LIMIT * 2))

    viewer = in_thread(look)
    wait_until(lambda: told, "the viewer comes", LIMIT)
    frames.close()
    viewer.join(LIMIT)
    assert got == [None]
    assert not frames.has_viewers
    assert told == [True], "nothing is said after the end"
    frames.put(frame())
    assert frames.wait("") is None
