"""A launcher's session: its link, through any number of connections, and its kernel."""

import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple

from ..link.driver import Relay
from ..link.forwarder import Leg
from ..link.frames import ProtocolError
from ..link.handshake import BROKEN, EXPIRED, NEW, RESUMED, STOPPED, TAKEN
from ..link.link import Link
from .iopub_recorder import Tape
from .kernels import Kernel

if TYPE_CHECKING:
    from .agent import Agent

KEEP_ALIVE = 3600.0  # seconds that a kernel waits for its launcher, if that does not say
NAP = 60.0  # seconds that a launcher may be silent before its kernel counts as left behind
FOREVER = 1e9  # seconds, from which on nobody counts
LAST_WORDS = 3600.0  # the most seconds that what a dead kernel said waits
SILENCES = (1.0, 3600.0)  # seconds, of which a launcher may choose


class Session:
    """What there is of one launcher, whether its connection stands or not.

    Parameters: agent; number, which the launcher chose for it.
    """

    def __init__(self, agent: "Agent", number: bytes) -> None:
        self.number = number
        self.status = RESUMED  # to be told to the launcher when it comes back
        self.kernel: Optional[Kernel] = None
        self.lost_at: Optional[float] = None  # monotonic; None while the connection stands
        self._agent = agent
        self._request: Optional[Dict[str, Any]] = None
        self._leaving = self._fell_silent = False
        self._iopub: Optional[Leg] = None
        self._tape: Optional[Tape] = None
        self._iopub_socket: Any = None  # taken over, until the launcher asks for it
        self._cancel_lease: Callable[[], None] = lambda: None
        self.relay = Relay(
            agent.loop,
            Link(accepts_streams=True),
            on_message=self._on_message,
            on_lost=self.lose,
            on_open=self._on_open,
        )

    @property
    def key(self) -> str:
        """The connection key of the kernel that is there or wanted; empty if none is."""
        if self.kernel is not None:
            return "" if self.kernel.over else self.kernel.key
        return str((self._request or {}).get("key", ""))

    @property
    def orphaned(self) -> bool:
        """Whether a kernel is there, and its launcher is not."""
        return self.lost_at is not None and self.kernel is not None and not self.kernel.over

    @property
    def deserted(self) -> bool:
        """Whether that is likely to stay so: a launcher that fell silent may just be asleep."""
        if self.lost_at is None or not self.orphaned:
            return False
        return not self._fell_silent or time.monotonic() - self.lost_at > NAP

    def resume(self, sock: Any, received: int) -> None:
        """Go on over a new connection of the launcher's. Raises ProtocolError."""
        self._cancel_lease()
        self.lost_at = None
        self.relay.resume(sock, received)

    def close(self, status: int) -> None:
        """End the session and its kernel; `status` is what the launcher is told."""
        self._cancel_lease()
        self.status = status
        self.relay.close()
        if self._iopub_socket is not None:
            self._iopub_socket.close()
        if self._tape is not None:
            self._tape.spool.close()
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
            keep_alive=self._lease(),
            away=None if self.lost_at is None else time.monotonic() - self.lost_at,
        )

    def _state(self) -> str:
        assert self.kernel is not None
        if self.kernel.ending:
            return "ending"
        return self._tape.state if self._tape is not None else "starting"

    # --- what the launcher says -----------------------------------------------------------------

    def _on_message(self, content: Dict[str, Any]) -> None:
        kind = content.get("type")
        if kind == "start" and self._request is None:
            self._settle(content)
            self._start(content)
        elif kind == "attach" and self._request is None:
            self._settle(content)
            self._attach(content)
        elif kind == "interrupt" and self.kernel is not None:
            self.kernel.interrupt()
        elif kind == "end":
            self._leaving = True
            if self.kernel is not None:
                self.kernel.end()
        elif kind == "list":
            self.relay.message({"type": "kernels", "kernels": self._agent.describe()})
        elif kind == "stop":
            self._agent.stop(str(content.get("kernel")))

    def _settle(self, content: Dict[str, Any]) -> None:
        self._request = content
        silence = content.get("silence")
        if isinstance(silence, (int, float)) and SILENCES[0] <= silence <= SILENCES[1]:
            self.relay.silence = float(silence)

    def _start(self, content: Dict[str, Any]) -> None:
        self._agent.replace(self, str(content.get("key", "")))
        orphan = self._agent.orphan_like(content) if content.get("reattach") else None
        if orphan is None or not self._take_over(orphan, content):
            self._agent.kernels.start(content, self.relay, self._on_start)

    def _attach(self, content: Dict[str, Any]) -> None:
        other = self._agent.session_of(str(content.get("kernel")))
        if other is not None and not other.orphaned:
            self.relay.message({"type": "failed", "reason": "busy"})
        elif other is None or not self._take_over(other, content):
            self.relay.message({"type": "failed", "reason": "gone"})

    def _on_start(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.mind_lease()
        if self._leaving or not self.relay.open:
            kernel.end()

    def _take_over(self, other: "Session", content: Dict[str, Any]) -> bool:
        """Have the kernel of another session, which has lost its launcher; say whether we do."""
        kernel = other.kernel
        if kernel is None or not kernel.ready or kernel.ending:
            return False
        try:
            kernel.take_key(content)
        except OSError:  # it has just died, or a cell closed the lifeline
            return False
        self._tape, self._iopub_socket = other.give_up_kernel()
        other.close(TAKEN)
        self.kernel = kernel
        kernel.relay = self.relay
        self.mind_lease()
        return True

    def give_up_kernel(self) -> Tuple[Optional[Tape], Any]:
        """Let go of the kernel; return its iopub connection, as far as there is one."""
        self.kernel = None
        leg, sock = self._iopub, self._iopub_socket
        tape, self._tape, self._iopub_socket = self._tape, None, None
        if leg is not None and tape is not None and self.relay.legs.get(leg.number) is leg:
            sock = leg.release()
            if tape.is_open:
                tape.rewind(self.relay.link.withdraw(leg.number))
            else:
                sock.close()
                sock = None
        return (tape if sock is not None else None), sock

    def _on_open(self, number: int, channel: str) -> None:
        tape: Optional[Tape] = None
        try:
            if self.kernel is None:
                raise OSError("there is no kernel")
            if channel == "iopub" and self._iopub is None:
                tape = self._tape = self._tape or Tape()
            if tape is not None and self._iopub_socket is not None:
                sock, self._iopub_socket = self._iopub_socket, None
                self.relay.link.send(number, tape.opening)
            else:
                sock = self.kernel.connect(channel)
        except OSError:
            self.relay.link.reset(number)
            return
        leg = self.relay.attach(number, sock, tape)
        if tape is not None:
            self._iopub = leg

    # --- when the launcher is gone --------------------------------------------------------------

    def lose(self, error: Exception) -> None:
        """Wait for the launcher to come back; after a ProtocolError, only for its time to be up."""
        if self._leaving or self._request is None:
            self.close(STOPPED if self._leaving else NEW)
            return
        if isinstance(error, ProtocolError):
            self.status = BROKEN
        self.lost_at = time.monotonic()
        self._fell_silent = isinstance(error, TimeoutError)
        if self._said_all():
            self.close(EXPIRED)
        else:
            self.mind_lease()

    def _said_all(self) -> bool:
        """Say whether the kernel is over, and the launcher knows all that it had to say."""
        link, over = self.relay.link, self.kernel is not None and self.kernel.over
        said = all(leg.has_said_all for leg in self.relay.legs.values())
        return over and said and not (link.held or link.unsent)

    def mind_lease(self) -> None:
        """See that the session ends when its launcher has been away for too long."""
        self._cancel_lease()
        lease = self._lease()
        if self.lost_at is not None and lease is not None:
            left = self.lost_at + lease - time.monotonic()
            self._cancel_lease = self._agent.loop.call_later(left, self._expire)

    def _lease(self) -> Optional[float]:
        """Return the seconds that the launcher may be away; None for ever."""
        seconds = (self._request or {}).get("keep_alive", KEEP_ALIVE)
        known = isinstance(seconds, (int, float)) and 0 <= seconds < FOREVER
        if self.kernel is None or self.kernel.over:
            return min(float(seconds), LAST_WORDS) if known else LAST_WORDS
        return float(seconds) if known else None

    def _expire(self) -> None:
        self.close(EXPIRED)
