"""A launcher's session: its link, through any number of connections, and its kernel."""

import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple

from ..link.driver import LinkDriver
from ..link.forwarder import Forwarder
from ..link.frames import ProtocolError
from ..link.handshake import BROKEN, EXPIRED, NEW, RESUMED, STOPPED, TAKEN
from ..link.link import Link
from .iopub_recorder import IopubRecorder
from .kernels import Kernel

if TYPE_CHECKING:
    from .agent import Agent

DEFAULT_LEASE = 3600.0  # seconds that a kernel waits for its launcher, if that does not say
SLEEP_ALLOWANCE = (
    60.0  # seconds that a launcher may be silent before its kernel counts as left behind
)
FOREVER = 1e9  # seconds, from which on nobody counts
OUTPUT_KEPT_SECONDS = 3600.0  # the most seconds that what a dead kernel said waits
PEER_TIMEOUTS = (1.0, 3600.0)  # seconds, of which a launcher may choose


class Session:
    """What there is of one launcher, whether its connection stands or not.

    Parameters: agent; number, which the launcher chose for it.
    """

    def __init__(self, agent: "Agent", number: bytes) -> None:
        self.number = number
        self.status = RESUMED  # to be told to the launcher when it comes back
        self.kernel: Optional[Kernel] = None
        self.detached_since: Optional[float] = None  # monotonic; None while the connection stands
        self._agent = agent
        self._request: Optional[Dict[str, Any]] = None
        self._leaving = self._fell_silent = False
        self._iopub: Optional[Forwarder] = None
        self._recorder: Optional[IopubRecorder] = None
        self._iopub_socket: Any = None  # taken over, until the launcher asks for it
        self._cancel_lease: Callable[[], None] = lambda: None
        self.driver = LinkDriver(
            agent.loop,
            Link(accepts_streams=True),
            on_message=self._on_message,
            on_lost=self.on_disconnect,
            on_open=self._on_open,
        )

    @property
    def key(self) -> str:
        """The connection key of the kernel that is there or wanted; empty if none is."""
        if self.kernel is not None:
            return "" if self.kernel.over else self.kernel.key
        return str((self._request or {}).get("key", ""))

    @property
    def detached(self) -> bool:
        """Whether a kernel is there, and its launcher is not."""
        return self.detached_since is not None and self.kernel is not None and not self.kernel.over

    @property
    def abandoned(self) -> bool:
        """Whether that is likely to stay so: a launcher that fell silent may just be asleep."""
        if self.detached_since is None or not self.detached:
            return False
        return not self._fell_silent or time.monotonic() - self.detached_since > SLEEP_ALLOWANCE

    def resume(self, sock: Any, received: int) -> None:
        """Go on over a new connection of the launcher's. Raises ProtocolError."""
        self._cancel_lease()
        self.detached_since = None
        self.driver.resume(sock, received)

    def close(self, status: int) -> None:
        """End the session and its kernel; `status` is what the launcher is told."""
        self._cancel_lease()
        self.status = status
        self.driver.close()
        if self._iopub_socket is not None:
            self._iopub_socket.close()
        if self._recorder is not None:
            self._recorder.spool.close()
        if self.kernel is not None:
            self.kernel.end()
        self._agent.forget(self)

    def describe(self) -> Dict[str, Any]:
        """Return what a person wants to know of the kernel."""
        assert self.kernel is not None and self._request is not None
        return dict(
            self.kernel.describe(),
            owner=str(self._request.get("owner", "")),
            state=self._state(),
            lease=self._lease(),
            away=None if self.detached_since is None else time.monotonic() - self.detached_since,
        )

    def _state(self) -> str:
        assert self.kernel is not None
        if self.kernel.ending:
            return "ending"
        return self._recorder.state if self._recorder is not None else "starting"

    # --- what the launcher says -----------------------------------------------------------------

    def _on_message(self, content: Dict[str, Any]) -> None:
        kind = content.get("type")
        if kind == "start" and self._request is None:
            self._apply_options(content)
            self._start(content)
        elif kind == "attach" and self._request is None:
            self._apply_options(content)
            self._attach(content)
        elif kind == "interrupt" and self.kernel is not None:
            self.kernel.interrupt()
        elif kind == "end":
            self._leaving = True
            if self.kernel is not None:
                self.kernel.end()
        elif kind == "list":
            self.driver.message({"type": "kernels", "kernels": self._agent.describe()})
        elif kind == "stop":
            self._agent.stop(str(content.get("kernel")))

    def _apply_options(self, content: Dict[str, Any]) -> None:
        self._request = content
        timeout = content.get("peer_timeout")
        if isinstance(timeout, (int, float)) and PEER_TIMEOUTS[0] <= timeout <= PEER_TIMEOUTS[1]:
            self.driver.peer_timeout = float(timeout)

    def _start(self, content: Dict[str, Any]) -> None:
        self._agent.replace(self, str(content.get("key", "")))
        orphan = self._agent.orphan_like(content) if content.get("reattach") else None
        if orphan is None or not self._take_over(orphan, content):
            self._agent.kernels.start(content, self.driver, self._on_start)

    def _attach(self, content: Dict[str, Any]) -> None:
        other = self._agent.session_of(str(content.get("kernel")))
        if other is not None and not other.detached:
            self.driver.message({"type": "failed", "reason": "busy"})
        elif other is None or not self._take_over(other, content):
            self.driver.message({"type": "failed", "reason": "gone"})

    def _on_start(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.schedule_lease_expiry()
        if self._leaving or not self.driver.open:
            kernel.end()

    def _take_over(self, other: "Session", content: Dict[str, Any]) -> bool:
        """Have the kernel of another session, which has lost its launcher; say whether we do."""
        kernel = other.kernel
        if kernel is None or not kernel.ready or kernel.ending:
            return False
        try:
            kernel.change_key(content)
        except OSError:  # it has just died, or a cell closed the lifeline
            return False
        self._recorder, self._iopub_socket = other.release_kernel()
        other.close(TAKEN)
        self.kernel = kernel
        kernel.driver = self.driver
        self.schedule_lease_expiry()
        return True

    def release_kernel(self) -> Tuple[Optional[IopubRecorder], Any]:
        """Let go of the kernel; return its iopub connection, as far as there is one."""
        self.kernel = None
        forwarder, sock = self._iopub, self._iopub_socket
        recorder, self._recorder, self._iopub_socket = self._recorder, None, None
        if (
            forwarder is not None
            and recorder is not None
            and self.driver.forwarders.get(forwarder.number) is forwarder
        ):
            sock = forwarder.release()
            if recorder.is_open:
                recorder.prepare_for_takeover(self.driver.link.unacked_data(forwarder.number))
            else:
                sock.close()
                sock = None
        return (recorder if sock is not None else None), sock

    def _on_open(self, number: int, channel: str) -> None:
        recorder: Optional[IopubRecorder] = None
        try:
            if self.kernel is None:
                raise OSError("there is no kernel")
            if channel == "iopub" and self._iopub is None:
                recorder = self._recorder = self._recorder or IopubRecorder()
            if recorder is not None and self._iopub_socket is not None:
                sock, self._iopub_socket = self._iopub_socket, None
                self.driver.link.send(number, recorder.opening)
            else:
                sock = self.kernel.connect(channel)
        except OSError:
            self.driver.link.reset(number)
            return
        forwarder = self.driver.attach(number, sock, recorder)
        if recorder is not None:
            self._iopub = forwarder

    # --- when the launcher is gone --------------------------------------------------------------

    def on_disconnect(self, error: Exception) -> None:
        """Wait for the launcher to come back; after a ProtocolError, only for its time to be up."""
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
        """Say whether the kernel is over, and the launcher knows all that it had to say."""
        link, over = self.driver.link, self.kernel is not None and self.kernel.over
        said = all(forwarder.has_said_all for forwarder in self.driver.forwarders.values())
        return over and said and not (link.unacked_bytes or link.queued_bytes)

    def schedule_lease_expiry(self) -> None:
        """See that the session ends when its launcher has been away for too long."""
        self._cancel_lease()
        lease = self._lease()
        if self.detached_since is not None and lease is not None:
            left = self.detached_since + lease - time.monotonic()
            self._cancel_lease = self._agent.loop.call_later(left, self._expire)

    def _lease(self) -> Optional[float]:
        """Return the seconds that the launcher may be away; None for ever."""
        seconds = (self._request or {}).get("lease", DEFAULT_LEASE)
        known = isinstance(seconds, (int, float)) and 0 <= seconds < FOREVER
        if self.kernel is None or self.kernel.over:
            return min(float(seconds), OUTPUT_KEPT_SECONDS) if known else OUTPUT_KEPT_SECONDS
        return float(seconds) if known else None

    def _expire(self) -> None:
        self.close(EXPIRED)
