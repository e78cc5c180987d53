"""The latest frames over HTTP, as browsers, OpenCV and VLC ask for it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import pytest

from rkernel_launcher.errors import VideoPortInUse
from rkernel_launcher.launcher.video import http_server
from rkernel_launcher.launcher.video.frames import Frame
from rkernel_launcher.launcher.video.http_server import HOST, MjpegServer
from rkernel_launcher.launcher.video.latest_frames import LatestFrames
from tests.support.boards import LIMIT, wait_until

JPEG = b"\xff\xd8 as far as the server knows \xff\xd9"
ENDPOINTS = ("", "stream.mjpg", "still.jpg", "status.json")


def frame(
    stream: str = "", data: bytes = JPEG, mime: str = "image/jpeg", delay: float = 0.0125
) -> Frame:
    return Frame(stream, "cell", "display", mime, 320, 240, delay, data)


@pytest.fixture
def told() -> list[bool]:
    """Give what the board hears of viewers."""
    return []


@pytest.fixture
def server(told: list[bool]) -> Iterator[MjpegServer]:
    server = MjpegServer(LatestFrames(told.append), port=0)
    try:
        yield server
    finally:
        server.close()


def get(
    server: MjpegServer, name: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask for an endpoint, or for a path when it begins with a slash."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=LIMIT)
    path = name if name.startswith("/") else urlsplit(server.url).path + name
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


@contextmanager
def viewer(
    server: MjpegServer, query: str = "", unread: int = 0, more: str = ""
) -> Iterator[BinaryIO]:
    """Be connected to a stream, past the head of the answer.

    `unread` bytes wait to be read at most; `more` is a line of the request.
    """
    with socket.socket() as sock:
        if unread:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, unread)
        sock.settimeout(LIMIT)
        sock.connect((HOST, server.port))
        path = urlsplit(server.url).path
        request = f"GET {path}stream.mjpg{query} HTTP/1.0\r\nHost: {HOST}\r\n{more}\r\n"
        sock.sendall(request.encode())
        with sock.makefile("rb") as stream:
            assert b" 200 " in stream.readline()
            read_head(stream)
            yield stream


def read_head(stream: BinaryIO) -> dict[str, str]:
    head = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(": ")
        head[name] = value
    return head


def next_part(stream: BinaryIO) -> tuple[dict[str, str], bytes]:
    """Read a part, up to and with the boundary that ends it."""
    head = read_head(stream)
    data = stream.read(int(head["Content-Length"]))
    assert stream.readline() == b"\r\n"
    assert stream.readline().startswith(b"--")
    return head, data


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_the_address_is_on_the_loopback_and_cannot_be_guessed(server: MjpegServer) -> None:
    assert re.fullmatch(rf"http://127\.0\.0\.1:{server.port}/[\w-]{{20,}}/", server.url)
    assert server.socket.getsockname()[0] == "127.0.0.1"
    other = MjpegServer(LatestFrames(), port=0)
    other.close()
    assert urlsplit(other.url).path != urlsplit(server.url).path


@pytest.mark.parametrize(("path", "root"), [("", "/"), ("camera", "/camera/"), ("/a/b/", "/a/b/")])
def test_a_path_of_the_users(path: str, root: str) -> None:
    server = MjpegServer(LatestFrames(), port=0, path=path)
    try:
        assert server.url == f"http://127.0.0.1:{server.port}{root}"
        response, page = get(server, root)
        assert response.status == 200
        assert b"<title>" in page
    finally:
        server.close()


def test_a_port_that_is_taken(server: MjpegServer) -> None:
    with pytest.raises(VideoPortInUse, match=f"port {server.port} of this PC") as caught:
        MjpegServer(LatestFrames(), port=server.port)
    assert "{" not in str(caught.value)


def test_a_still_is_the_newest_picture(server: MjpegServer) -> None:
    server.latest_frames.put(frame(data=b"old"))
    with server.latest_frames.viewer():  # so that the board sends pictures already
        for data, mime in ((b"a JPEG", "image/jpeg"), (b"a PNG", "image/png")):
            server.latest_frames.put(frame(data=data, mime=mime))
            response, body = get(server, "still.jpg?stream=")
            assert (response.status, body) == (200, data)
            assert response.getheader("Content-Type") == mime


def test_a_still_waits_for_a_fresh_picture_when_nobody_has_been_looking(
    server: MjpegServer, told: list[bool]
) -> None:
    """The board here does as boards do: it sends a picture once somebody looks."""
    server.latest_frames.put(frame(data=b"from before"))

    def board() -> None:
        wait_until(lambda: told, "somebody looks", LIMIT)
        server.latest_frames.put(frame(data=b"fresh"))

    thread = in_thread(board)
    assert get(server, "still.jpg")[1] == b"fresh"
    thread.join(LIMIT)
    wait_until(lambda: told == [True, False], "the board hears that it is over", LIMIT)


def test_a_still_of_a_board_that_sends_nothing_new(
    server: MjpegServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "NEW_FRAME_TIMEOUT", 0.1)
    assert get(server, "still.jpg")[0].status == 404
    server.latest_frames.put(frame(data=b"the last one"))
    assert get(server, "still.jpg")[1] == b"the last one"


def test_the_status(server: MjpegServer) -> None:
    for _ in range(5):
        server.latest_frames.put(frame("left"))
        time.sleep(0.01)
    server.latest_frames.put(frame("r\u202eight", mime="image/png"))
    response, body = get(server, "status.json")
    assert response.getheader("Content-Type") == "application/json"
    left, right = json.loads(body)["streams"]
    assert 0 < left.pop("fps") <= 101
    assert left == {
        "stream": "left",
        "label": "left",
        "mime": "image/jpeg",
        "width": 320,
        "height": 240,
        "delay": 0.0125,
    }
    assert right["stream"] == "r\u202eight"
    assert right["label"] == r"r\u202eight"


def test_a_status_without_streams_asks_the_board_for_one(
    server: MjpegServer, told: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "NEW_FRAME_TIMEOUT", 0.1)
    assert json.loads(get(server, "status.json")[1]) == {"streams": []}
    wait_until(lambda: told == [True, False], "the board was asked", LIMIT)


def test_a_picture_is_whole_before_the_next_one_comes(server: MjpegServer) -> None:
    with viewer(server) as stream:
        boundary = stream.readline()
        for number in range(3):
            server.latest_frames.put(frame(data=b"picture %d" % number))
            part = stream.readline() + stream.readline() + stream.readline()
            assert part == b"Content-Type: image/jpeg\r\nContent-Length: 9\r\n\r\n"
            assert stream.readline() == b"picture %d\r\n" % number
            assert stream.readline() == boundary, "no other picture is needed to end this one"


def test_a_browser_gets_the_next_parts_head_as_well(server: MjpegServer) -> None:
    """Chromium shows a picture no sooner."""
    with viewer(server, more="Sec-Fetch-Dest: image\r\n") as stream:
        boundary = stream.readline()
        server.latest_frames.put(frame(data=b"picture 0"))
        for number in range(1, 4):
            assert stream.readline() + stream.readline() == b"Content-Type: image/jpeg\r\n\r\n"
            assert stream.readline() == b"picture %d\r\n" % (number - 1)
            assert stream.readline() == boundary
            server.latest_frames.put(frame(data=b"picture %d" % number))


def test_the_boundary_is_as_announced_and_cannot_be_guessed(server: MjpegServer) -> None:
    boundaries = set()
    for _ in range(2):
        connection = http.client.HTTPConnection(HOST, server.port, timeout=LIMIT)
        connection.request("GET", urlsplit(server.url).path + "stream.mjpg")
        response = connection.getresponse()
        kind, _, boundary = (response.getheader("Content-Type") or "").partition("; boundary=")
        assert kind == "multipart/x-mixed-replace"
        assert response.readline() == f"--{boundary}\r\n".encode()
        boundaries.add(boundary)
        response.close()
        connection.close()
    assert len(boundaries) == 2


def test_each_viewer_has_its_stream(server: MjpegServer) -> None:
    name = "Kamera & <links>?"
    with viewer(server, f"?stream={quote(name)}") as left, viewer(server) as first:
        left.readline()
        first.readline()
        server.latest_frames.put(frame("other", b"right", "image/png"))
        server.latest_frames.put(frame(name, b"left"))
        assert next_part(left)[1] == b"left"
        head, data = next_part(first)
        assert (head["Content-Type"], data) == ("image/png", b"right")


def test_a_slow_viewer_gets_the_newest(server: MjpegServer) -> None:
    """Only what the system's buffers hold is old when a viewer reads on after a pause."""
    size, frames = 1 << 18, 100
    with viewer(server, unread=1 << 16) as slow, viewer(server) as quick:
        slow.readline()
        quick.readline()
        for number in range(frames):
            server.latest_frames.put(frame(data=b"%08d" % number + bytes(size)))
            assert int(next_part(quick)[1][:8]) == number, "the quick one misses nothing"
        got = []
        while frames - 1 not in got:
            got.append(int(next_part(slow)[1][:8]))
    assert len(got) <= 4, f"it got {got}"


def test_a_viewer_who_hangs_up_is_no_viewer(server: MjpegServer, told: list[bool]) -> None:
    """Also while no pictures come that could not be sent."""
    with viewer(server):
        with viewer(server):
            wait_until(lambda: server.latest_frames.has_viewers, "the viewers count", LIMIT)
        assert told == [True]
    wait_until(lambda: not server.latest_frames.has_viewers, "nobody looks", LIMIT)
    assert told == [True, False]


def test_a_viewer_who_does_not_read_is_given_up(
    server: MjpegServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server._RequestHandler, "timeout", 0.2)
    with viewer(server, unread=1 << 12):
        wait_until(lambda: server.latest_frames.has_viewers, "the viewer counts", LIMIT)
        server.latest_frames.put(frame(data=bytes(1 << 24)))
        wait_until(lambda: not server.latest_frames.has_viewers, "it is given up", LIMIT)


def test_closing_ends_it_for_all(told: list[bool]) -> None:
    server = MjpegServer(LatestFrames(told.append), port=0)
    with viewer(server, unread=1 << 12) as stuck, viewer(server) as reads:
        server.latest_frames.put(frame(data=bytes(1 << 24)))
        stuck.readline()
        reads.readline()
        next_part(reads)
        start = time.monotonic()
        server.close()
        assert time.monotonic() - start < 2
        assert reads.read() == b""
        assert not server.latest_frames.has_viewers
    assert told == [True], "nothing is said after the end"
    MjpegServer(LatestFrames(), port=server.port).close()


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "127.0.0.1:80:80", "", "[::1]"],
)
@pytest.mark.parametrize("name", ENDPOINTS)
def test_another_hosts_name_gets_nothing(server: MjpegServer, name: str, host: str) -> None:
    server.latest_frames.put(frame())
    response, body = get(server, name, {"Host": host})
    assert (response.status, body) == (404, b"")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1"])
def test_our_hosts_names(server: MjpegServer, host: str) -> None:
    assert get(server, "", {"Host": host})[0].status == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/stream.mjpg", "/still.jpg", "/status.json", "/favicon.ico", "/../", "/guess/still.jpg"],
)
def test_a_wrong_path_gets_nothing(server: MjpegServer, path: str) -> None:
    server.latest_frames.put(frame())
    response, body = get(server, path)
    assert (response.status, body) == (404, b"")
    assert [name for name, _ in response.getheaders()] == ["Content-Length"]


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET {root} HTTP/1.0\r\n\r\n",  # no host
        b"GET {root} HTTP/1.0\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET http://localhost{root} HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET {root}no-such-file HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET {root}still.jpg?a&b&c&d&e HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET {root}\xff HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"POST {root} HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"nonsense <b> here HTTP/7\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.0\r\nHost: localhost\r\n\r\n",
    ],
)
def test_odd_requests_get_nothing(server: MjpegServer, request_head: bytes) -> None:
    server.latest_frames.put(frame())
    with socket.create_connection((HOST, server.port), LIMIT) as sock:
        sock.sendall(request_head.replace(b"{root}", server.root.encode()))
        answer = sock.recv(1024)
    assert answer in (b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"")
    assert get(server, "")[0].status == 200


@pytest.mark.parametrize("name", ["", "still.jpg", "status.json"])
def test_what_browsers_are_told(server: MjpegServer, name: str) -> None:
    server.latest_frames.put(frame())
    with server.latest_frames.viewer():
        headers: Any = dict(get(server, name, {"Origin": "http://evil.example"})[0].getheaders())
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert not [name for name in headers if name.startswith("Access-Control")]
    assert "Server" not in headers


def test_the_pages_scripts_are_its_own(server: MjpegServer) -> None:
    nonces = set()
    for _ in range(2):
        response, page = get(server, "")
        policy = response.getheader("Content-Security-Policy") or ""
        nonce = re.findall(r"script-src 'nonce-([\w-]+)'", policy)[0]
        assert page.count(f'nonce="{nonce}"'.encode()) == 2
        assert page.count(b"<script") == page.count(b"<style") == 1
        assert "unsafe" not in policy
        nonces.add(nonce)
    assert len(nonces) == 2


def test_a_client_that_says_nothing_stops_nobody(server: MjpegServer) -> None:
    with socket.create_connection((HOST, server.port), LIMIT):
        assert get(server, "")[0].status == 200
