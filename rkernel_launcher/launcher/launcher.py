"""The launcher: the kernel, as far as the frontend can see.

It holds the endpoints of the connection file for as long as the kernel on the board lives, through
any loss of the link, and ends with the kernel, or once it has told the frontend why there is none.
A thread of its own reaches the board, so that the launcher can act on a signal or on the end of the
frontend at any time.
"""

from __future__ import annotations

import enum
import functools
import getpass
import logging
import math
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from board_agent.link import handshake
from board_agent.link.driver import LinkDriver
from board_agent.link.event_loop import Loop
from board_agent.link.frames import ProtocolError
from board_agent.link.link import Link
from board_agent.link.messages import (
    REPLIES,
    Attach,
    BadMessage,
    End,
    Exited,
    Failed,
    Interrupt,
    Missing,
    Note,
    Output,
    Ready,
    Start,
    from_json,
)
from board_agent.link.transport import SocketTransport

from .. import errors, os_support
from ..board import agent_endpoint, reach
from ..board.agent_endpoint import AgentEndpoint, ResumeReply
from ..board.board import Board
from ..board.kernel_status import KernelStatus
from ..sanitize import escape_controls
from ..target import Target
from ..transports.stream import Stream
from . import connection_file, endings
from .channels import Channels
from .last_words import LastWords
from .outage import Outage
from .reconnection import Reconnection
from .slow_start import SlowStart
from .stand_in import StandIn
from .video.latest_frames import LatestFrames

if TYPE_CHECKING:
    from .video.page import View

log = logging.getLogger(__name__)

END_SECONDS = 2.0  # for the board to say that the kernel has ended
DRAIN_SECONDS = 2.0  # of silence in which more of a kernel's last output may still come
DRAIN_POLL = 0.02  # seconds
QUOTED_OUTPUT = 2000  # characters


class State(enum.Enum):
    """How far a launcher is; `_NEXT` says which state may follow which."""

    REACHING = "we connect to the board"
    STARTING = "the link is there, the kernel is not"
    SERVING = "the kernel serves its channels"
    ENDING = "the frontend has asked the kernel to end"
    OVER = "there is a result"


_NEXT = {
    State.REACHING: (State.STARTING, State.ENDING, State.OVER),
    State.STARTING: (State.SERVING, State.ENDING, State.OVER),
    State.SERVING: (State.ENDING, State.OVER),
    State.ENDING: (State.OVER,),
    State.OVER: (),
}


class Launcher:
    """Run one kernel on a board, for the frontend that started this process.

    Args:
        target: Where and how to run it.
        path: The connection file.
        attach: A kernel on the board to take over in place of starting one. Then a signal, Ctrl-C
            among them, ends the launcher and leaves the kernel to its lease.
        on_ready: Called once clients can connect.
        on_failure: Called with the reason as soon as there will be no kernel any more.

    Raises:
        BadConnectionFile: The connection file cannot be used.
    """

    def __init__(
        self,
        target: Target,
        path: str,
        attach: KernelStatus | None = None,
        on_ready: Callable[[], None] = lambda: None,
        on_failure: Callable[[errors.RkernelError], None] = lambda error: None,
    ) -> None:
        self._target = target
        self._orphan_timeout = target.orphan_timeout.seconds
        self._connection = connection_file.read(path)
        self._attach = attach
        self._on_ready = on_ready
        self._on_failure = on_failure
        self._loop = Loop()
        self._channels: Channels | None = None
        self._board: Board | None = None
        self._agent: AgentEndpoint | None = None
        self._bundle: str | None = None  # the name of that on the board
        self._session = agent_endpoint.new_session()
        self._driver = LinkDriver(
            self._loop,
            Link(),
            on_message=self._on_message,
            on_disconnect=self._on_disconnect,
            on_ping_overdue=self._reconnect,
        )
        self._driver.peer_timeout = target.link_timeout.seconds
        self._reconnection: Reconnection | None = None
        self._outage: Outage | None = None  # while the link is down
        self._latest_frames = LatestFrames(self._on_watched) if target.video == "mjpeg" else None
        self._view: View | None = None
        self._slow_start: SlowStart | None = None  # until the kernel is ready
        self._state = self._ended_in = State.REACHING
        self._stand_in = StandIn(self._connection, target.name)
        self._kernel_stays = False  # when we end
        self._result: errors.RkernelError | int = 0

    def run(self) -> int:
        """Serve until the kernel has ended, and return the exit status for that.

        Raises:
            PortInUse: An endpoint of the connection file is taken.
            RkernelError: Another reason, see `errors`, why the kernel did not start or has ended.
                The frontend has been told, if it asked in time.
        """
        try:
            return self._serve()
        except errors.RkernelError as error:
            self._on_failure(error)
            self._tell(error)
            raise
        finally:
            self._close()

    def _serve(self) -> int:
        self._channels = Channels(
            self._loop, self._connection, self._on_nonsense, self._latest_frames
        )
        for number in os_support.end_signals():
            self._loop.on_signal(number, self._leave if self._attach else self._end)
        self._loop.on_signal(signal.SIGINT, self._leave if self._attach else self._interrupt)
        if not self._attach:
            os_support.watch_parent(lambda: self._loop.call_soon(self._end))
            self._slow_start = SlowStart(
                self._loop,
                self._channels,
                self._stand_in,
                on_asked_to_end=self._end,
                on_error=self._finish,
            )
        threading.Thread(target=self._reach_board, name="bootstrap", daemon=True).start()
        self._loop.run()
        if isinstance(self._result, errors.RkernelError):
            raise self._result
        return self._result

    def _tell(self, error: errors.RkernelError) -> None:
        """Tell the frontend why there is no kernel, unless it has no need of one any more."""
        asked_to_end = self._stand_in.asked_to_end or self._ended_in is State.ENDING
        if self._channels is None or self._attach or asked_to_end:
            return
        self._end_slow_start()
        self._leave_board()
        LastWords(
            self._loop,
            self._channels,
            self._stand_in,
            error,
            waits_for_client=self._ended_in is not State.SERVING,
        ).run()

    # --- to the board ---------------------------------------------------------------------------

    def _explain(self, step: str, detail: str = "") -> None:
        """Say what goes on before the kernel is ready; from any thread."""
        if (slow_start := self._slow_start) is not None:
            step = f"{self._target.name}: {step}"
            self._loop.call_soon(functools.partial(slow_start.explain, step, detail))

    def _explain_upload(self, what: str, done: int, size: int) -> None:
        if done in (0, size):
            log.info("%s: %d of %d", what, done, size)
        self._explain(what[0].lower() + what[1:], f"{100 * done // size} %" if size else "")

    def _reach_board(self) -> None:
        try:
            self._explain("connecting")
            reached = reach.reach(self._target)
            log.info("reached the board")
            self._explain("preparing")
            reached.prepare()
            if self._target.ipykernel != "board" and not self._attach:
                from ..board import requirements  # which few launchers need

                self._bundle = requirements.supply(reached, self._explain_upload)
            self._explain("starting the kernel")
            found = self._attach.agent if self._attach else reached.start_agent()
            stream = reached.connect(found)
            agent_endpoint.shake_hands(stream, found, self._session, 0, self._target.name)
        except errors.RkernelError as error:
            self._loop.call_soon(functools.partial(self._finish, error))
        except Exception as error:
            log.exception("reaching the board failed")
            failure = errors.RkernelError(detail=repr(error))
            self._loop.call_soon(functools.partial(self._finish, failure))
        else:
            self._loop.call_soon(functools.partial(self._start, reached, found, stream))

    def _start(self, reached: Board, found: AgentEndpoint, stream: Stream) -> None:
        self._board, self._agent = reached, found
        if self._state is not State.REACHING:
            stream.close()  # asked to end meanwhile
            return
        self._enter(State.STARTING)
        self._driver.resume(SocketTransport(stream), 0)
        self._driver.send(self._request())

    def _request(self) -> Start | Attach:
        lease = self._orphan_timeout if self._orphan_timeout < math.inf else None
        if self._attach:
            return Attach(
                kernel=self._attach.id,
                key=self._connection.key,
                signature_scheme=self._connection.signature_scheme,
                owner=_owner(),
                lease=lease,
                peer_timeout=self._target.link_timeout.seconds,
            )
        return Start(
            key=self._connection.key,
            signature_scheme=self._connection.signature_scheme,
            python=self._target.python,
            bundle=self._bundle,
            warm_start=self._target.warm_start,
            workdir=self._target.workdir,
            env=dict(self._target.env),
            debugger=self._target.debugger,
            reattach=self._target.reattach,
            owner=_owner(),
            lease=lease,
            peer_timeout=self._target.link_timeout.seconds,
        )

    # --- what the board says --------------------------------------------------------------------

    def _on_message(self, content: dict[str, Any]) -> None:
        try:
            message = from_json(content, REPLIES, log.info)
        except BadMessage as error:
            log.warning("a message was refused: %s", error)
            if error.type not in ("note", "output"):
                self._on_nonsense(error)
            return
        if isinstance(message, Ready):
            self._on_kernel_ready(message)
        elif isinstance(message, Missing):
            self._finish(endings.missing(escape_controls(message.module), self._target.name))
        elif isinstance(message, Output):
            log.info("the kernel wrote: %s", escape_controls(message.text))
        elif isinstance(message, Note):
            text = escape_controls(message.text)
            log.info("the board says: %s", text)
            self._explain(f"starting the kernel ({text})")
        elif isinstance(message, Exited):
            self._drain(message, time.monotonic())
        elif isinstance(message, Failed):
            self._finish(self._failure(message))

    def _on_nonsense(self, error: Exception) -> None:
        """End after a message that no agent of ours sends; leave its kernel to the lease."""
        self._kernel_stays = True
        broken = isinstance(error, ProtocolError)
        what = "what breaks the protocol" if broken else "what makes no sense"
        self._finish(errors.BoardMisbehaved(what="rkernel's agent", detail=f"{what} ({error})"))

    def _failure(self, message: Failed) -> errors.RkernelError:
        if self._attach and message.reason == "busy":
            return errors.KernelBusy(kernel=self._attach.id, host=self._target.name)
        if self._attach and message.reason == "gone":
            return errors.NoKernel(kernel=self._attach.id, host=self._target.name)
        return errors.KernelNotStarted(detail=escape_controls(message.detail))

    def _on_kernel_ready(self, message: Ready) -> None:
        if self._state is not State.STARTING:
            return
        self._enter(State.SERVING)
        self._end_slow_start()
        how = "was taken over" if message.former_keys else "is ready"
        version = escape_controls(message.ipykernel)
        log.info("the kernel %s: ipykernel %s, pid %d", how, version, message.pid)
        assert self._channels is not None
        try:
            self._channels.serve(
                self._driver, self._stand_in, self._on_client_message, message.former_keys
            )
        except errors.PortInUse as error:
            self._finish(error)
        else:
            self._open_view()
            self._channels.show_video(self._target.frame_rate)
            self._on_ready()

    def _end_slow_start(self) -> None:
        if self._slow_start is not None:
            self._slow_start.end()
            self._slow_start = None

    def _open_view(self) -> None:
        if self._latest_frames is None:
            return
        from .video.page import View  # and with it an HTTP server, which few launchers need

        try:
            self._view = View(self._latest_frames, self._target)
        except (OSError, errors.VideoPortInUse) as error:
            log.warning("the launcher shows pictures in the notebook only: %s", error)

    def _on_watched(self, watched: bool) -> None:
        if self._channels is not None:
            self._loop.call_soon(self._channels.update_video_demand)

    def _drain(self, message: Exited, since: float) -> None:
        """Wait for the kernel's last messages before we treat its end as the end of all.

        They have come if all streams have ended, or if the board answers and sends no more of them.
        """
        now = time.monotonic()
        heard, moved = now - self._driver.heard_at, now - max(since, self._driver.moved_at)
        if self._driver.idle or (moved > DRAIN_SECONDS and heard < DRAIN_SECONDS / 2):
            self._on_exited(message)
            return
        if self._driver.connected and heard > DRAIN_SECONDS / 4 and not self._driver.ping_pending:
            self._driver.ping()
        self._loop.call_later(DRAIN_POLL, functools.partial(self._drain, message, since))

    def _on_exited(self, message: Exited) -> None:
        in_order = message.status == 0 and (
            self._stand_in.asked_to_end or not self._stand_in.has_cell
        )
        if self._state is State.ENDING or in_order:
            log.info("the kernel has ended")
            self._finish(0)
            return
        output = escape_controls(message.output[-QUOTED_OUTPUT:]).strip()
        self._finish(endings.died(message.status, output, message.out_of_memory))

    # --- when the link is lost ------------------------------------------------------------------

    def _on_disconnect(self, error: Exception) -> None:
        if isinstance(error, ProtocolError):
            self._on_nonsense(error)
            return
        log.info("the link is lost: %s", error)
        if self._state is State.ENDING:
            self._finish(0)
        elif self._orphan_timeout == 0:
            self._finish(
                errors.LinkLost(
                    host=self._target.name,
                    detail=str(error),
                    orphan_timeout=self._target.orphan_timeout,
                )
            )
        else:
            timed_out = isinstance(error, TimeoutError)
            self._on_link_down(self._driver.heard_at if timed_out else time.monotonic())
            self._reconnect()

    def _on_client_message(self) -> None:
        if self._outage is not None:
            self._outage.remind()

    def _on_link_down(self, since: float) -> None:
        if self._outage is not None:
            return  # it broke again before anything came over it
        assert self._channels is not None
        self._outage = Outage(self._loop, self._target, since, self._channels.stderr, self._finish)

    def _reconnect(self) -> None:
        """Dial the agent again: the link is lost, or its other end does not answer."""
        if self._reconnection is not None or self._state not in (State.STARTING, State.SERVING):
            return
        if self._driver.connected and self._orphan_timeout == 0:
            return  # a second connection would end the first, and with it the kernel
        assert self._board is not None and self._agent is not None
        self._reconnection = Reconnection(
            self._board,
            self._agent,
            self._session,
            prepare=self._prepare_to_resume,
            on_connected=lambda stream, reply: self._loop.call_soon(
                functools.partial(self._on_reconnected, stream, reply)
            ),
            on_failure=lambda error: self._loop.call_soon(
                functools.partial(self._on_attempt_failed, error)
            ),
            on_gone=lambda error: self._loop.call_soon(
                functools.partial(self._on_agent_gone, error)
            ),
        )

    def _prepare_to_resume(self) -> Future[int | None]:
        """Drop the former connection, unless it has recovered.

        Returns:
            The number of the last frame that came over it; None if nobody needs a new one.
        """
        future: Future[int | None] = Future()

        def prepare() -> None:
            recovered = self._driver.connected and not self._driver.ping_overdue
            if recovered or self._state is State.OVER:
                self._reconnection = None
                future.set_result(None)
                return
            if self._driver.connected:
                log.info("the link does not answer, and another one does")
                self._driver.suspend()
                self._on_link_down(self._driver.heard_at)
            future.set_result(self._driver.link.last_received)

        self._loop.call_soon(prepare)
        return future

    def _on_reconnected(self, stream: Stream, reply: ResumeReply) -> None:
        self._reconnection = None
        if self._state is State.OVER:
            stream.close()
            return
        begun = self._driver.link.last_received > 0  # if not, a new session does as well
        if reply.status != handshake.RESUMED and (begun or reply.status != handshake.NEW):
            stream.close()
            self._finish(endings.gone(reply.status, self._target.name, self._target.orphan_timeout))
            return
        try:
            self._driver.resume(SocketTransport(stream), reply.received)
        except ProtocolError as error:
            self._on_nonsense(error)
            return
        self._on_link_up()

    def _on_link_up(self) -> None:
        assert self._outage is not None and self._channels is not None
        log.info("the link is back after %.1f s", self._outage.seconds)
        self._outage.end()
        self._outage = None
        if self._state is State.SERVING:
            self._channels.show_video(self._target.frame_rate)

    def _on_attempt_failed(self, error: errors.RkernelError) -> None:
        if self._outage is not None:
            self._outage.explain(error)

    def _on_agent_gone(self, error: errors.OtherMachine | None) -> None:
        self._reconnection = None
        gone = endings.gone(handshake.NEW, self._target.name, self._target.orphan_timeout)
        self._finish(error or gone)

    # --- what the frontend and the user want ----------------------------------------------------

    def _interrupt(self) -> None:
        if self._slow_start is not None:
            self._slow_start.interrupt()
        if self._agent is None or self._state is State.OVER:
            return
        if self._outage is not None:
            if self._outage.interrupted:
                return  # one interrupt that waits is enough
            self._outage.interrupted = True
        self._driver.send(Interrupt())

    def _end(self) -> None:
        if self._state is State.OVER:
            self._loop.stop()  # the frontend is being told why: it does not want to hear it
        if self._state in (State.ENDING, State.OVER):
            return
        self._enter(State.ENDING)
        log.info("asked to end")
        if self._driver.connected:
            self._driver.send(End())
            self._loop.call_later(END_SECONDS, functools.partial(self._finish, 0))
        else:
            self._finish(0)  # the board finds out by itself

    def _leave(self) -> None:
        self._kernel_stays = True
        self._finish(0)

    def _finish(self, result: errors.RkernelError | int) -> None:
        if self._state is State.OVER:
            return  # the first result is the cause of those that follow
        self._ended_in = self._state
        self._enter(State.OVER)
        self._result = result
        self._loop.stop()

    def _enter(self, state: State) -> None:
        assert state in _NEXT[self._state], (self._state, state)
        self._state = state

    def _close(self) -> None:
        self._leave_board()
        if self._channels is not None:  # after the driver, whose last messages clients then get
            self._channels.close()
        self._loop.close()

    def _leave_board(self) -> None:
        if self._driver.closed:
            return
        if self._reconnection is not None:
            self._reconnection.stop()
        if self._view is not None:
            self._view.close()
        failed_attach = self._attach and isinstance(self._result, errors.RkernelError)
        if not self._kernel_stays and not failed_attach:
            self._driver.send(End())  # or the kernel would wait for us
        self._driver.close()


def _owner() -> str:
    """Say who starts the kernel, for people."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
