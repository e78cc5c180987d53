"""The sessions of launchers: each has a link, through any number of connections, and a kernel."""

import sys
import time
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from ..common.memory import available
from ..link import handshake
from ..link.driver import LinkDriver
from ..link.event_loop import Loop
from ..link.forwarder import Forwarder
from ..link.frames import ProtocolError
from ..link.handshake import BROKEN, EXPIRED, FAULT, NEW, NO_MEMORY, RESUMED, STOPPED, TAKEN
from ..link.link import Link
from ..link.messages import (
    REQUESTS,
    Attach,
    BadMessage,
    End,
    Failed,
    Interrupt,
    KernelInfo,
    ListKernels,
    Note,
    Start,
    Stop,
    from_json,
)
from ..link.messages import (
    Kernels as KernelList,
)
from .iopub_recorder import IopubRecorder
from .kernels import Kernel, Kernels, Owner

CLOSED_SESSIONS_KEPT = 256  # of which the reason is kept
KERNEL_MEMORY = 32 << 20  # bytes that a kernel takes, besides files that can be read again
SLEEP_ALLOWANCE = 60.0  # seconds of silence after which a launcher counts as gone, not asleep
FOREVER = 1e9  # seconds; a longer lease does not end
OUTPUT_KEPT_SECONDS = 3600.0  # the most seconds that the output of a dead kernel waits
PEER_TIMEOUTS = (1.0, 3600.0)  # seconds, of which a launcher may choose


class Sessions:
    """All sessions of an agent, and their kernels.

    Args:
        loop: The agent's.
        folder: Holds a folder for each kernel.
        on_change: Called when there may be fewer sessions or kernels than before.
    """

    def __init__(self, loop: Loop, folder: str, on_change: Callable[[], None]) -> None:
        self.loop = loop
        self.kernels = Kernels(loop, folder, self._make_room, self._on_kernels_changed)
        self._on_change = on_change
        self._all: Dict[bytes, Session] = {}
        self._closed: Dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._all)

    def open(self, number: bytes) -> Tuple[Optional["Session"], int]:
        """Find or begin the session of a launcher.

        Args:
            number: The 16 bytes that the launcher chose.

        Returns:
            The session and its status; None and the reason if it is over or cannot go on.
        """
        session = self._all.get(number)
        if session is None:
            if number in self._closed:
                return None, self._closed[number]
            session = self._all[number] = Session(self, number)
            return session, NEW
        return (session if session.status == RESUMED else None), session.status

    def close(self, status: int) -> None:
        """Close all sessions; `status` is the reason."""
        for session in tuple(self._all.values()):
            session.close(status)

    def remove(self, session: "Session") -> None:
        """Forget a session that is over, but for the reason."""
        if self._all.pop(session.number, None) is not None and session.status != NEW:
            self._closed[session.number] = session.status
            if len(self._closed) > CLOSED_SESSIONS_KEPT:
                del self._closed[next(iter(self._closed))]
        self._on_change()

    def replace(self, session: "Session", key: str) -> None:
        """Close other sessions with this connection key, and end their kernels."""
        for other in tuple(self._all.values()):
            if key and other is not session and other.key == key:
                other.close(handshake.REPLACED)

    def session_of(self, kernel: str) -> Optional["Session"]:
        """Return the session of the kernel with an id, if there is one."""
        found = (s for s in self._with_kernels() if s.kernel and s.kernel.id == kernel)
        return next(found, None)

    def orphan_like(self, request: Start) -> Optional["Session"]:
        """Return the last abandoned session that fits a request: same owner, python and workdir."""

        def fits(kernel: Optional[Kernel]) -> bool:
            if kernel is None or not kernel.ready:
                return False
            was = kernel.request
            wanted = (request.owner, request.python, request.workdir)
            return (was.owner, was.python, was.workdir) == wanted

        orphans = [session for session in self._abandoned() if fits(session.kernel)]
        return orphans[-1] if orphans else None

    def stop(self, kernel: str) -> None:
        """End the kernel with an id, whoever has it."""
        session = self.session_of(kernel)
        if session is not None:
            session.close(STOPPED)

    def describe(self) -> List[KernelInfo]:
        """Return what a person wants to know of each kernel."""
        sessions = {session.kernel: session for session in self._with_kernels()}
        return [sessions.get(kernel, kernel).describe() for kernel in self.kernels]

    def _with_kernels(self) -> List["Session"]:
        sessions = self._all.values()
        return [s for s in sessions if s.kernel is not None and not s.kernel.over]

    def _abandoned(self) -> List["Session"]:
        """Return the sessions whose launchers are likely gone for good, the longest gone first."""
        found = [session for session in self._all.values() if session.abandoned]
        return sorted(found, key=lambda session: session.detached_since or 0.0)

    def _make_room(self, owner: Owner) -> None:
        """End the oldest orphan if there is no memory for another kernel."""
        free = available(KERNEL_MEMORY)
        orphans = self._abandoned()
        if free < KERNEL_MEMORY and orphans:
            about = orphans[0].describe()
            text = "%d MB are free: ended the kernel %s of %s, whose launcher was away for %.0f s"
            owner.send(Note(text % (free >> 20, about.kernel, about.owner, about.away or 0.0)))
            orphans[0].close(NO_MEMORY)

    def _on_kernels_changed(self) -> None:
        for session in self._all.values():
            session.schedule_lease_expiry()
        self._on_change()


class Session:
    """What the agent keeps for one launcher, through any number of connections.

    A fault in our code in one session ends that one alone.

    Args:
        sessions: All of them.
        number: The 16 bytes that the launcher chose.
    """

    def __init__(self, sessions: Sessions, number: bytes) -> None:
        self.number = number
        self.status = RESUMED  # what the launcher learns when it comes back
        self.kernel: Optional[Kernel] = None
        self.detached_since: Optional[float] = None  # monotonic; None while the connection stands
        self._sessions = sessions
        self._loop = sessions.loop.guarded(self.on_fault)
        self._request: Optional[Union[Start, Attach]] = None
        self._leaving = self._fell_silent = False
        self._iopub: Optional[Forwarder] = None
        self._video: Optional[Forwarder] = None
        self._recorder: Optional[IopubRecorder] = None
        self._iopub_socket: Any = None  # taken over, until the launcher asks for it
        self._cancel_lease: Callable[[], None] = lambda: None
        self.driver = LinkDriver(
            self._loop,
            Link(accepts_streams=True),
            on_message=self._on_message,
            on_disconnect=self.on_disconnect,
            on_open=self._on_open,
        )

    @property
    def key(self) -> str:
        """The connection key of the kernel that runs or is wanted; empty if none is."""
        if self.kernel is not None:
            return "" if self.kernel.over else self.kernel.key
        return self._request.key if self._request is not None else ""

    @property
    def detached(self) -> bool:
        """Whether it has a kernel that runs, and no launcher."""
        return self.detached_since is not None and self.kernel is not None and not self.kernel.over

    @property
    def abandoned(self) -> bool:
        """Whether its launcher is probably gone for good; one that fell silent may be asleep."""
        if self.detached_since is None or not self.detached:
            return False
        return not self._fell_silent or time.monotonic() - self.detached_since > SLEEP_ALLOWANCE

    def resume(self, transport: Any, received: int, data: bytes) -> None:
        """Go on over a new connection of the launcher's.

        Args:
            transport: The connection, past the handshake; see `link.transport`.
            received: The number of the last frame that the launcher received.
            data: What came behind the handshake.
        """
        self._loop.call(partial(self._resume, transport, received, data))

    def _resume(self, transport: Any, received: int, data: bytes) -> None:
        self._cancel_lease()
        self.detached_since = None
        try:
            self.driver.resume(transport, received)
        except ProtocolError as error:
            transport.close()
            self.on_disconnect(error)
            return
        self.driver.receive_data(data)

    def close(self, status: int) -> None:
        """End the session and its kernel; `status` is the reason that the launcher gets."""
        self._cancel_lease()
        self.status = status
        self.driver.close()
        if self._iopub_socket is not None:
            self._iopub_socket.close()
        if self._recorder is not None:
            self._recorder.close()
        if self.kernel is not None:
            self.kernel.end()
        self._sessions.remove(self)

    def describe(self) -> KernelInfo:
        """Return what a person wants to know of the kernel."""
        assert self.kernel is not None and self._request is not None
        away = None if self.detached_since is None else time.monotonic() - self.detached_since
        return self.kernel.describe(self._request.owner, self._state(), self._lease(), away)

    def _state(self) -> str:
        assert self.kernel is not None
        if self.kernel.ending:
            return "ending"
        return self._recorder.state if self._recorder is not None else "starting"

    # --- what the launcher says -----------------------------------------------------------------

    def _on_message(self, content: Dict[str, Any]) -> None:
        try:
            message = from_json(content, REQUESTS, _log)
        except BadMessage as error:
            _log("a message was refused: %s" % error)
            starts = error.type in ("start", "attach")
            self.send(Failed(str(error)) if starts else Note("refused: %s" % error))
            return
        if isinstance(message, (Start, Attach)) and self._request is None:
            self._begin(message)
        elif isinstance(message, Interrupt) and self.kernel is not None:
            self.kernel.interrupt()
        elif isinstance(message, End):
            self._leaving = True
            if self.kernel is not None:
                self.kernel.end()
        elif isinstance(message, ListKernels):
            self.send(KernelList(self._sessions.describe()))
        elif isinstance(message, Stop):
            self._sessions.stop(message.kernel)

    def _begin(self, request: Union[Start, Attach]) -> None:
        self._request = request
        timeout = request.peer_timeout
        if timeout is not None and PEER_TIMEOUTS[0] <= timeout <= PEER_TIMEOUTS[1]:
            self.driver.peer_timeout = timeout
        if isinstance(request, Attach):
            self._attach(request)
        else:
            self._start(request)

    def _start(self, request: Start) -> None:
        self._sessions.replace(self, request.key)
        orphan = self._sessions.orphan_like(request) if request.reattach else None
        if orphan is None or not self._take_over(orphan, request):
            self._sessions.kernels.start(request, self, self._on_start)

    def _attach(self, request: Attach) -> None:
        other = self._sessions.session_of(request.kernel)
        if other is not None and not other.detached:
            self.send(Failed(reason="busy"))
        elif other is None or not self._take_over(other, request):
            self.send(Failed(reason="gone"))

    def _on_start(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.schedule_lease_expiry()
        if self._leaving or self.driver.closed:
            kernel.end()

    def _take_over(self, other: "Session", request: Union[Start, Attach]) -> bool:
        """Adopt the kernel of another session, whose launcher is gone; return whether it worked."""
        kernel = other.kernel
        if kernel is None or not kernel.ready or kernel.ending:
            return False
        try:
            kernel.change_key(request.key, request.signature_scheme)
        except OSError:  # it has just died, or a cell closed its socket to us
            return False
        self._recorder, self._iopub_socket = other.release_kernel()
        other.close(TAKEN)
        self.kernel = kernel
        kernel.owner = self
        self.schedule_lease_expiry()
        return True

    def release_kernel(self) -> Tuple[Optional[IopubRecorder], Any]:
        """Give up the kernel; return its iopub recorder and connection, if there are any."""
        self.kernel = None
        iopub, sock = self._iopub, self._iopub_socket
        recorder, self._recorder, self._iopub_socket = self._recorder, None, None
        if iopub is not None and recorder is not None and not iopub.closed:
            sock = iopub.release()
            if recorder.is_open:
                recorder.prepare_for_takeover(self.driver.link.unacked_data(iopub.number))
            else:
                sock.close()
                sock = None
        return (recorder if sock is not None else None), sock

    def _on_open(self, number: int, channel: str) -> None:
        try:
            if self.kernel is None:
                raise OSError("there is no kernel")
            if channel == "iopub" and self._iopub is None:
                self._open_iopub(self.kernel, number)
            elif channel == "video":
                self._open_video(self.kernel, number)
            else:
                self._forward(number, self.kernel.connect(channel))
        except OSError:
            self.driver.link.reset(number)

    def _open_iopub(self, kernel: Kernel, number: int) -> None:
        if self._recorder is None:
            self._recorder = IopubRecorder()
        if self._iopub_socket is None:
            sock = kernel.connect("iopub")
        else:  # a kernel that was taken over has sent its opening long ago
            sock, self._iopub_socket = self._iopub_socket, None
            self.driver.link.send(number, self._recorder.opening)
        self._iopub = self._forward(number, sock, self._recorder)

    def _open_video(self, kernel: Kernel, number: int) -> None:
        """Connect the stream to the kernel's pictures, now or when it shows some."""
        self._video = self._forward(number, None)
        if kernel.shows_pictures:
            self._connect_video(kernel)

    def _connect_video(self, kernel: Kernel) -> None:
        assert self._video is not None
        try:
            self._video.connect(kernel.connect("video"))
        except OSError:  # it has just ended
            self.driver.link.reset(self._video.number)
            self._video.close()

    def _forward(self, number: int, sock: Any, recorder: Any = None) -> Forwarder:
        forwarder = Forwarder(self._loop, sock, recorder)
        self.driver.attach(number, forwarder)
        return forwarder

    # --- for the kernel -------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the launcher is connected."""
        return self.driver.connected

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the launcher that more should wait in the kernel."""
        return self.driver.is_behind

    def send(self, message: Any) -> None:
        """Send the launcher a message."""
        self.driver.send(message)

    def on_video(self) -> None:
        """Connect the stream that waits for the kernel's pictures."""
        if self._video is not None and not self._video.closed and self.kernel is not None:
            self._connect_video(self.kernel)

    def on_fault(self, error: Exception) -> None:
        """End this session, and no other, after a fault in our code; the log has its traceback."""
        sys.excepthook(type(error), error, error.__traceback__)
        try:
            self.close(FAULT)
        except Exception as another:
            sys.excepthook(type(another), another, another.__traceback__)
            self._sessions.remove(self)

    # --- when the launcher is gone --------------------------------------------------------------

    def on_disconnect(self, error: Exception) -> None:
        """Wait for the launcher to come back; after a ProtocolError, only for the lease to end."""
        if self._leaving or self._request is None:
            self.close(STOPPED if self._leaving else NEW)
            return
        if isinstance(error, ProtocolError):
            self.status = BROKEN
        self.detached_since = time.monotonic()
        self._fell_silent = isinstance(error, TimeoutError)
        if self._said_all():
            self.close(EXPIRED)
        else:
            self.schedule_lease_expiry()

    def _said_all(self) -> bool:
        """Return whether the kernel is over, and the launcher has all that it had to say."""
        link, over = self.driver.link, self.kernel is not None and self.kernel.over
        sent = all(end.has_said_all for end in self.driver.ends.values())
        return over and sent and not (link.unacked_bytes or link.queued_bytes)

    def schedule_lease_expiry(self) -> None:
        """See that the session ends when its launcher has been away for too long."""
        self._cancel_lease()
        lease = None if self.detached_since is None else self._lease()
        if self.detached_since is not None and lease is not None:
            left = self.detached_since + lease - time.monotonic()
            self._cancel_lease = self._loop.call_later(left, self._expire)

    def _lease(self) -> Optional[float]:
        """Return the seconds that the launcher may be away; None means for ever."""
        assert self._request is not None
        lease = self._request.lease
        if lease is not None and not 0 <= lease < FOREVER:
            lease = None
        if self.kernel is None or self.kernel.over:
            return OUTPUT_KEPT_SECONDS if lease is None else min(lease, OUTPUT_KEPT_SECONDS)
        return lease

    def _expire(self) -> None:
        self.close(EXPIRED)


def _log(text: str) -> None:
    print(text, file=sys.stderr)
