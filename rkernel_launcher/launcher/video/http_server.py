"""Pictures in a browser, OpenCV or VLC: the latest frames over HTTP, on this PC's loopback only.

Below a path that others cannot guess, the server offers a page, `stream.mjpg`, `still.jpg` and
`status.json`. `?stream=NAME` chooses a stream; without it the server takes the first. A client that
is connected to a stream or waits for an answer counts as a viewer. The server answers any other
request with an empty 404.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from hmac import compare_digest
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib import resources
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs

from ...errors import VideoPortInUse
from ...sanitize import escape_controls
from ...target import VIDEO_PORT
from .frames import Frame
from .latest_frames import LatestFrames

HOST = "127.0.0.1"
CLIENT_TIMEOUT = 10.0  # seconds for a client to send its request, or to receive a picture
NEW_FRAME_TIMEOUT = 2.0  # seconds for the board to send a picture when nobody has watched
_POLL_SECONDS = 1.0  # between two checks that a client that waits for a picture is still there
_UNREAD = 1 << 17  # bytes that the system may buffer for a viewer: they grow old there
_OUR_HOST = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.IGNORECASE)
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_POLICY = (
    "default-src 'none'; img-src 'self'; connect-src 'self'; script-src 'nonce-{nonce}'; "
    "style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

log = logging.getLogger(__name__)


class MjpegServer(ThreadingTCPServer):
    """Serve the latest frames to this PC's programs, in threads of its own, until closed.

    Args:
        frames: What to serve.
        port: Where to listen; 0 for any port that is free.
        path: The beginning of the path of all addresses; "" for none, None for a random one.

    Raises:
        VideoPortInUse: We cannot listen at the port.

    Attributes:
        latest_frames: What it serves.
        root: The beginning of the path of all addresses, with a slash at both ends.
        port: Where it listens.
        url: The address of the page.
    """

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # where it would share a port that is taken

    def __init__(
        self, frames: LatestFrames, port: int = VIDEO_PORT, path: str | None = None
    ) -> None:
        self.latest_frames = frames
        path = secrets.token_urlsafe(16) if path is None else path.strip("/")
        self.root = f"/{path}/" if path else "/"
        self._clients: set[socket.socket] = set()
        try:
            super().__init__((HOST, port), _RequestHandler)
        except (OSError, OverflowError) as error:
            detail = getattr(error, "strerror", None) or str(error)
            raise VideoPortInUse(port=port, detail=detail) from error
        self.port: int = self.server_address[1]
        self.url = f"http://{HOST}:{self.port}{self.root}"
        self._thread = threading.Thread(target=self._serve, name="mjpeg", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self.latest_frames.closed:
            self.handle_request()

    def close(self) -> None:
        """Close the latest frames and all connections, and free the port."""
        self.latest_frames.close()
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, self.port), CLIENT_TIMEOUT).close()  # wakes the thread
        self._thread.join()
        self.server_close()
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember a client, so that `close` can end its connection."""
        self._clients.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Remove a client that is done."""
        self._clients.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong, for --debug only: often a client has just closed its connection."""
        log.debug("A viewer's request failed.", exc_info=True)


class _RequestHandler(BaseHTTPRequestHandler):
    """One request."""

    server: MjpegServer
    timeout = CLIENT_TIMEOUT

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD)
        super().setup()

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        answers: dict[str, Callable[[str | None], None]] = {
            "": self._page,
            "stream.mjpg": self._stream,
            "still.jpg": self._still,
            "status.json": self._status,
        }
        root, name = path[: len(self.server.root)], path[len(self.server.root) :]
        knows_path = compare_digest(root.encode("utf-8", "replace"), self.server.root.encode())
        if not knows_path or name not in answers or not self._named_us():
            return self._nothing()
        try:
            wanted = parse_qs(query, keep_blank_values=True, max_num_fields=4).get("stream")
        except ValueError:
            return self._nothing()
        answers[name](wanted[0] if wanted else None)

    def _named_us(self) -> bool:
        """Say whether the request names this PC, and not a host whose name resolves to it.

        A web page from elsewhere could otherwise read the pictures (DNS rebinding).
        """
        hosts = self.headers.get_all("Host", [])
        return len(hosts) == 1 and bool(_OUR_HOST.fullmatch(hosts[0].strip()))

    def _page(self, stream: str | None) -> None:
        nonce = secrets.token_urlsafe(16)
        source = resources.files(__package__).joinpath("view.html").read_text("utf-8")
        policy = {"Content-Security-Policy": _POLICY.format(nonce=nonce)}
        page = source.replace("{{nonce}}", nonce).encode()
        self._answer("text/html; charset=utf-8", page, policy)

    def _stream(self, stream: str | None) -> None:
        """Send each picture as soon as it is there, for as long as the client stays.

        The boundary that ends a part goes out with the part. Otherwise a client that waits for the
        boundary would show each picture only when the next one comes. Chromium even waits for the
        head of the next part, so browsers get that head as well, and it cannot contain a length.
        OpenCV and VLC (ffmpeg) would lag without a length. The boundary is random, so that no
        picture can contain it. Sources: RFC 2046, section 5.1; Fetch Metadata (W3C).
        """
        frames, number, boundary = self.server.latest_frames, 0, secrets.token_hex(16)
        is_browser = "Sec-Fetch-Dest" in self.headers
        with frames.viewer():
            self._head(f"multipart/x-mixed-replace; boundary={boundary}", {})
            self.wfile.write(f"--{boundary}\r\n".encode())
            while not frames.closed and not self._left():
                picture = frames.wait(stream, number, _POLL_SECONDS)
                if picture is None:
                    continue
                frame = picture.frame
                head = f"Content-Type: {frame.mime}\r\n"
                end = f"\r\n--{boundary}\r\n"
                if is_browser:
                    start, end = "" if number else f"{head}\r\n", f"{end}{head}\r\n"
                else:
                    start = f"{head}Content-Length: {len(frame.data)}\r\n\r\n"
                self.wfile.write(b"".join((start.encode(), frame.data, end.encode())))
                number = picture.number

    def _left(self) -> bool:
        """Say whether the client has closed the connection; drop what it may have sent."""
        self.connection.settimeout(0)
        try:
            return not self.connection.recv(1024)
        except BlockingIOError:
            return False
        finally:
            self.connection.settimeout(self.timeout)

    def _still(self, stream: str | None) -> None:
        """Send the newest picture; for a first viewer, wait for one that is newer still.

        Nobody has watched before the first viewer, so the newest picture may be old.
        """
        frames = self.server.latest_frames
        with frames.viewer() as first:
            picture = frames.wait(stream)
            if first or picture is None:
                picture = (
                    frames.wait(stream, picture.number if picture else 0, NEW_FRAME_TIMEOUT)
                    or picture
                )
        if picture is None:
            return self._nothing()
        self._answer(picture.frame.mime, picture.frame.data)

    def _status(self, stream: str | None) -> None:
        """Describe the streams; if there is none, wait for one as a viewer does."""
        frames = self.server.latest_frames
        if not frames.names():
            with frames.viewer():
                frames.wait(None, timeout=NEW_FRAME_TIMEOUT)
        pictures = [frames.wait(name) for name in frames.names()]
        streams = [self._describe(picture.frame) for picture in pictures if picture]
        self._answer("application/json", json.dumps({"streams": streams}).encode())

    def _describe(self, frame: Frame) -> dict[str, object]:
        return {
            "stream": frame.stream,
            "label": escape_controls(frame.stream),
            "mime": frame.mime,
            "width": frame.width,
            "height": frame.height,
            "fps": round(self.server.latest_frames.rate(frame.stream), 1),
            "delay": frame.delay,
        }

    def _answer(self, mime: str, body: bytes, more: dict[str, str] | None = None) -> None:
        self._head(mime, {"Content-Length": str(len(body)), **(more or {})})
        self.wfile.write(body)

    def _head(self, mime: str, more: dict[str, str]) -> None:
        self.send_response_only(HTTPStatus.OK)
        for name, value in {"Content-Type": mime, **_HEADERS, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def _nothing(self) -> None:
        self.send_response_only(HTTPStatus.NOT_FOUND)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that makes no sense like any other wrong one."""
        self._nothing()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: paths are secret, and requests are of no interest."""
