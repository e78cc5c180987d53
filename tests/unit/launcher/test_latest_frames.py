"""The newest frame of each stream, and who looks at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from rkernel_launcher.launcher.video.frames import Frame
from rkernel_launcher.launcher.video.latest_frames import (
    LONGEST_NAME,
    MOST_STREAMS,
    Gallery,
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
    gallery = Gallery()
    gallery.put(frame(data=b"first"))
    first = gallery.wait("")
    assert first and first.frame.data == b"first"
    assert gallery.wait("", first.number) is None

    got: list[Picture | None] = []
    viewer = in_thread(lambda: got.append(gallery.wait("", first.number, LIMIT)))
    gallery.put(frame("other", b"not for this viewer"))
    gallery.put(frame(data=b"second"))
    viewer.join(LIMIT)
    assert [shown(picture) for picture in got] == [b"second"]


def test_a_slow_viewer_skips_what_it_missed() -> None:
    gallery = Gallery()
    for number in range(100):
        gallery.put(frame(data=b"%d" % number))
    picture = gallery.wait("")
    assert shown(picture) == b"99"
    assert picture and gallery.wait("", picture.number) is None


def test_a_wait_has_an_end() -> None:
    gallery = Gallery()
    start = time.monotonic()
    assert gallery.wait("", timeout=0.1) is None
    assert 0.1 <= time.monotonic() - start < LIMIT


def test_without_a_name_it_is_the_first_stream() -> None:
    gallery = Gallery()
    assert gallery.wait(None) is None
    gallery.put(frame("left", b"left"))
    gallery.put(frame("right", b"right"))
    assert shown(gallery.wait(None)) == b"left"
    assert shown(gallery.wait("right")) == b"right"
    assert gallery.names() == ["left", "right"]


def test_a_new_stream_replaces_the_stillest_of_too_many() -> None:
    gallery = Gallery()
    for number in range(MOST_STREAMS):
        gallery.put(frame(f"stream {number}"))
    gallery.put(frame("stream 0"))
    gallery.put(frame("one more"))
    assert len(gallery.names()) == MOST_STREAMS
    assert "stream 1" not in gallery.names()
    assert {"stream 0", "one more"} < set(gallery.names())


@pytest.mark.parametrize(
    "hostile",
    [
        frame(mime="text/html"),
        frame(mime="image/svg+xml"),
        frame(mime="image/png\r\nSet-Cookie: a=b"),
        frame("n" * (LONGEST_NAME + 1)),
    ],
)
def test_what_is_no_picture_is_not_shown(hostile: Frame) -> None:
    gallery = Gallery()
    gallery.put(hostile)
    assert gallery.names() == []


def test_frames_per_second() -> None:
    gallery = Gallery()
    assert gallery.rate("") == 0
    start = time.monotonic()
    for _ in range(20):
        gallery.put(frame())
        time.sleep(0.01)
    seconds = time.monotonic() - start
    assert 19 / seconds <= gallery.rate("") <= 19 / 0.19 + 1
    wait_until(lambda: gallery.rate("") == 0, "a stream that stands still", LIMIT)


def test_the_board_hears_when_somebody_looks() -> None:
    told: list[bool] = []
    gallery = Gallery(told.append)
    assert not gallery.watched
    with gallery.watching() as first, gallery.watching() as second:
        assert (first, second) == (True, False)
        assert gallery.watched
        assert told == [True]
    assert not gallery.watched
    assert told == [True, False]


def test_what_the_board_hears_is_in_order() -> None:
    """Viewers who come and go at once, in many threads, leave it with the truth."""
    told: list[bool] = []
    gallery = Gallery(told.append)

    def come_and_go() -> None:
        for _ in range(200):
            with gallery.watching():
                pass

    threads = [in_thread(come_and_go) for _ in range(4)]
    for thread in threads:
        thread.join(LIMIT)
    assert told == [True, False] * (len(told) // 2)
    assert told


def test_an_error_of_a_viewer_does_not_keep_it_there() -> None:
    gallery = Gallery()
    with pytest.raises(OSError), gallery.watching():
        raise OSError
    assert not gallery.watched


def test_a_closed_gallery_sends_its_viewers_away() -> None:
    told: list[bool] = []
    gallery = Gallery(told.append)
    got: list[Picture | None] = []

    def look() -> None:
        with gallery.watching():
            got.append(gallery.wait("", timeout=LIMIT * 2))

    viewer = in_thread(look)
    wait_until(lambda: told, "the viewer comes", LIMIT)
    gallery.close()
    viewer.join(LIMIT)
    assert got == [None]
    assert not gallery.watched
    assert told == [True], "nothing is said after the end"
    gallery.put(frame())
    assert gallery.wait("") is None
