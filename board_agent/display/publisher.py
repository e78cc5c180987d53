"""Show pictures under the cell that runs: `from board_agent.display import show`.

A cell's first picture of a stream and its last one are ordinary output of the kernel: they arrive
in order, whatever happens to the link. Those between them take the link's `video` stream, on which
only the newest counts.
"""

import base64
import collections
import logging
import os
import select
import socket
import sys
import threading
import time
import uuid
from typing import Any, Counter, Dict, Optional, Tuple

from ..common import agent_socket
from ..link.video_format import FIRST, LAST, LONGEST
from .frame_scheduler import FULL, FrameScheduler, Shown, head
from .images import Picture, copy
from .jpeg import encode

log = logging.getLogger(__name__)

SOCKET = 6  # of the kernel's sockets, see SOCKETS in `agent.kernels`
LONGEST_NAME = 100  # characters of a stream's name
ACCEPT_BACKOFF = 0.2  # seconds before a viewer that could not be let in is tried again
NICE = 5  # of the thread that encodes: on one core, the user's code and replies go first
_lock = threading.Lock()
_display: Optional["Display"] = None
_forked = False


def show(image: Any, stream: str = "", bgr: bool = False) -> None:
    """Show a picture under the cell: what `board_agent.display.show` does."""
    if not isinstance(stream, str) or len(stream) > LONGEST_NAME:
        raise TypeError("stream is a name of up to %d characters, not %r" % (LONGEST_NAME, stream))
    (_display or _instance()).show(image, stream, bgr)


def _instance() -> "Display":
    global _display
    with _lock:
        if _display is None:
            if _forked:
                raise RuntimeError("show() works in the kernel's own process, not in a child of it")
            if not agent_socket.is_open():
                raise RuntimeError("show() works in a notebook, on a kernel that rkernel started")
            _display = Display()
        return _display


def _forget() -> None:
    global _display, _forked, _lock
    _display, _forked, _lock = None, True, threading.Lock()


os.register_at_fork(after_in_child=_forget)


def _depth_now() -> int:
    """Return how many cells run in the main thread, one inside the other; at least 1."""
    depth, frame = 0, sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        depth += frame.f_code.co_name == "run_cell_async"
        frame = frame.f_back
    return max(1, depth)


class Display:
    """What the kernel of this process shows, and the thread that sends it."""

    def __init__(self) -> None:
        from ipykernel.kernelapp import IPKernelApp

        app: Any = IPKernelApp.instance()
        self._publisher = app.real_display_pub
        self._scheduler = FrameScheduler()
        # Of all that follows. An object may show something while it is asked for its picture.
        self._guard = threading.RLock()
        self._now: Dict[Tuple[str, str], Shown] = {}  # by cell and stream: what is to be seen
        self._busy: Optional[Picture] = None  # what is being encoded for the viewer
        self._complete: Dict[str, Picture] = {}  # by display: what was published at full quality
        # Of the cells that run: magics run cells in cells.
        self._depth: Counter[str] = collections.Counter()
        header = self._publisher.parent_header or {}
        if header.get("msg_type") == "execute_request":
            self._depth[str(header.get("msg_id"))] = _depth_now()
        app.shell.events.register("pre_execute", self._on_cell)
        app.shell.events.register("post_execute", self._on_cell_end)
        self._wakes, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._listener = socket.socket(socket.AF_UNIX)
        folder = os.path.dirname(app.abs_connection_file)
        self._listener.bind("%s/k-%d" % (folder, SOCKET))
        self._listener.listen(8)
        self._viewer: Optional[socket.socket] = None
        self._poll = select.poll()
        self._poll.register(self._wakes, select.POLLIN)
        self._poll.register(self._listener, select.POLLIN)
        threading.Thread(target=self._run, name="display", daemon=True).start()
        agent_socket.send({"video": True})

    def show(self, image: Any, stream: str, bgr: bool) -> None:
        """Publish a stream's first picture in a cell; leave the others to the thread that sends."""
        with self._guard:
            now, cell = time.monotonic(), self._cell()
            known = self._now.get((cell, stream))
            if known is not None:
                free = None if known.picture is self._busy else known.picture
                picture = copy(image, bgr, into=free)
                shown = for_viewer = Shown(stream, cell, known.display, picture, now)
            else:
                shown = Shown(stream, cell, uuid.uuid4().hex, copy(image, bgr), now)
                if cell:
                    shown = self._open(shown)
                for_viewer = shown._replace(cell="")  # in the cell it is to be seen already
            self._now[cell, stream] = shown
            wake = self._scheduler.put(for_viewer)
        if wake:
            self._wake()

    def _cell(self) -> str:
        """Return the id of the cell that runs; empty if none does, as for a thread that goes on."""
        cell = self._request()
        return cell if cell in self._depth else ""

    def _request(self) -> str:
        return str((self._publisher.parent_header or {}).get("msg_id", ""))

    def _open(self, shown: Shown) -> Shown:
        """Publish a stream's first picture in a cell; return it as it was published."""
        complete = self._at_full_quality(shown.picture)
        self._publish("display_data", shown.display, complete, FIRST)
        self._complete[shown.display] = complete
        return shown._replace(picture=complete)

    def _at_full_quality(self, picture: Picture) -> Picture:
        return picture._replace(mode="", pixels=encode(picture, FULL))

    def _publish(self, kind: str, display: str, picture: Picture, topic: bytes) -> None:
        content = {
            "data": {picture.mime: base64.b64encode(picture.pixels).decode()},
            "metadata": {},
            "transient": {"display_id": display},
        }
        ident, publisher = topic + display.encode(), self._publisher
        publisher._flush_streams()
        publisher.session.send(
            publisher.pub_socket, kind, content, parent=publisher.parent_header, ident=ident
        )

    # --- cells ----------------------------------------------------------------------------------

    def _on_cell(self) -> None:
        with self._guard:
            self._depth[self._request()] += 1

    def _on_cell_end(self) -> None:
        """Publish each stream's last picture, before the frontend knows that the cell has ended."""
        cell = self._request()
        with self._guard:
            self._depth[cell] -= 1
            if self._depth[cell] > 0:
                return
            del self._depth[cell]
            shown = [self._now.pop(key) for key in list(self._now) if key[0] == cell]
            last = [item for item in shown if item.picture is not self._complete.pop(item.display)]
        for item in last:
            picture = self._at_full_quality(item.picture)
            self._publish("update_display_data", item.display, picture, LAST)

    # --- to the viewer --------------------------------------------------------------------------

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:
            pass  # it has been woken often enough

    def _run(self) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        except OSError:
            pass  # for threads, this is Linux only
        while True:
            with self._guard:
                wait = self._scheduler.wait(time.monotonic())
            self._listen(wait)
            with self._guard:
                shown, quality = self._scheduler.popleft(time.monotonic()), self._scheduler.quality
                self._busy = None if shown is None else shown.picture
            if shown is not None:
                self._send(shown, quality)

    def _send(self, shown: Shown, quality: int) -> None:
        assert self._viewer is not None
        try:
            start = time.thread_time()
            data = encode(shown.picture, quality)
            cost = time.thread_time() - start
            with self._guard:
                self._busy = None
                self._scheduler.encoded(time.monotonic(), cost)
            if len(data) > LONGEST:
                raise ValueError("a picture of %d bytes" % len(data))
            delay = time.monotonic() - shown.at
            self._viewer.sendall(head(shown, data, delay) + data)
        except OSError:
            self._remove_viewer()
        except Exception as error:
            log.warning("a picture was left out: %r", error)
            with self._guard:
                self._scheduler.take_back()

    def _listen(self, wait: Optional[float]) -> None:
        """Wait for anything to happen, at most `wait` seconds, and handle it."""
        if self._viewer is not None:
            # What it grants is worth waking for once nothing is left; its end always is.
            self._poll.modify(self._viewer, 0 if self._scheduler.granted else select.POLLIN)
        for number, _ in self._poll.poll(None if wait is None else wait * 1000):
            if number == self._wakes.fileno():
                self._wakes.recv(4096)
            elif number == self._listener.fileno():
                self._accept()
        if self._viewer is not None:
            self._receive_grants()

    def _accept(self) -> None:
        self._remove_viewer()
        try:
            self._viewer, _ = self._listener.accept()
            self._poll.register(self._viewer, select.POLLIN)
        except OSError:
            time.sleep(ACCEPT_BACKOFF)  # the process has too many files open

    def _receive_grants(self) -> None:
        assert self._viewer is not None
        try:
            data = self._viewer.recv(4096, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            with self._guard:
                self._scheduler.receive_grants(data)
        else:
            self._remove_viewer()

    def _remove_viewer(self) -> None:
        if self._viewer is not None:
            self._poll.unregister(self._viewer)
            self._viewer.close()
            self._viewer = None
        with self._guard:
            self._scheduler.remove_viewer()
