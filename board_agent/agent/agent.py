"""The agent: one small process on the board that starts kernels and serves links to them.

The bootstrap session starts it, detached. It ends when it has had nothing to do for a while.
"""

import os
import signal
import socket
import sys
import time
from functools import partial
from typing import Any, Callable, Dict, List, Optional

from ..common import home, reply
from ..common.agent_lock import AgentLock
from ..link import handshake
from ..link.event_loop import Loop
from ..link.transport import SocketTransport
from . import listeners
from .handovers import Handovers
from .listeners import Acceptor
from .sessions import Sessions
from .strangers import Stranger, Strangers

KEEP_SECONDS = 12 * 3600.0  # between two looks at the files that others may tidy away


def main(argv: List[str]) -> None:
    """Be the only agent of this code at an address, until there is nothing left to do.

    If it cannot listen there, it replies `{"error": why, "detail": text}` and returns.

    Args:
        argv: Options, each followed by its value: `--code`, the hash of this code; `--bind`, the
            HOST:PORT or :PORT to listen at, if launchers cannot hand over their streams; `--idle`,
            the seconds without work after which the agent ends.
    """
    options = {argv[i]: argv[i + 1] for i in range(0, len(argv), 2)}  # argparse would take 200 kB
    bind, idle = options.get("--bind", ""), float(options.get("--idle", 60.0))
    lock = AgentLock(options["--code"], bind)
    if not lock.acquire():
        return  # another one was faster; the launcher will find it
    lock.remove_stale()
    try:
        handovers = listeners.unix(lock.socket)
    except OSError as error:
        reply.say({"error": "no_home", "detail": str(error)})
        lock.clear()
        return
    try:
        listener = listeners.tcp(bind) if bind else None
    except OSError as error:
        reply.say({"error": error.errno, "detail": str(error)})
        lock.clear()
        return
    token = os.urandom(32)
    if os.fork():
        os._exit(0)  # the launcher waits for this process; its child is nobody's
    try:
        port = listener.getsockname()[1] if listener else None
        state = {"pid": os.getpid(), "port": port, "token": token.hex()}
        try:
            lock.write_state(state)
        except OSError as error:  # the disk is full, say
            reply.say(home.failure(error, lock.folder))
            return
        _detach()
        keep = partial(_keep, lock, state)
        Agent(lock.folder, handovers, listener, token, idle, keep).run()
    finally:
        lock.clear()


def _keep(lock: AgentLock, state: Dict[str, Any]) -> None:
    try:
        lock.keep(state)
    except OSError:
        pass  # the disk is full, say; the next time may do


def _detach() -> None:
    """Close stdin and stdout, which the launcher waits on; errors go to the file that stderr is."""
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def _let_kernels_go_first() -> None:
    """Have the scheduler not interrupt a kernel for us at each message that it writes."""
    # On a single core, the agent then passes several messages on at once: less work, sooner done.
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except (AttributeError, OSError):
        pass  # not on this system


class Agent:
    """Accept links, and own the sessions.

    Args:
        folder: Holds the kernels' folders.
        handovers: A non-blocking Unix socket that listens, for streams that are handed over.
        listener: The same for TCP connections; None if there are to be none.
        token: What a peer must prove to know.
        idle: Seconds without sessions and kernels after which `run` returns.
        keep: Called now and then, and when somebody connects, to look after the agent's files.
    """

    def __init__(
        self,
        folder: str,
        handovers: socket.socket,
        listener: Optional[socket.socket],
        token: bytes,
        idle: float,
        keep: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = Loop()
        self._keep = keep
        self._guarded = self._loop.guarded(_log_fault)
        self._sessions = Sessions(self._loop, folder, self._check_idle)
        self._strangers = Strangers(self._loop, token, self._on_proven)
        self._handovers = Handovers(self._guarded, handovers, self._on_handover, keep)
        accept = self._on_connection
        self._acceptor = Acceptor(self._guarded, listener, accept) if listener else None
        self._idle = idle
        self._idle_since = time.monotonic()
        self._cancel_idle_check: Callable[[], None] = lambda: None
        self._stopping = False

    def run(self) -> None:
        """Serve until idle, or until SIGTERM has ended the kernels."""
        _let_kernels_go_first()
        self._loop.on_signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._check_idle()
        self._keep_files()
        self._loop.run()
        self._sessions.close(handshake.STOPPED)
        self._strangers.close()
        self._handovers.close()
        if self._acceptor is not None:
            self._acceptor.close()
        self._loop.close()

    def _on_connection(self, sock: socket.socket, address: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._strangers.add(SocketTransport(sock), address[0])

    def _on_handover(self, transport: Any) -> None:
        self._strangers.add(transport, "")

    def _on_proven(self, stranger: Stranger, number: bytes, received: int) -> None:
        """Let a peer that has proven itself go on with its session, or begin one."""
        session, status = self._sessions.open(number)
        if session is None:
            stranger.reject(status)
            return
        session.driver.suspend()  # a connection that has not noticed yet is over; what came, came
        data = stranger.accept(status, session.driver.link.last_received)
        session.resume(stranger.transport, received, data)
        self._check_idle()

    def _keep_files(self) -> None:
        self._keep()
        self._guarded.call_later(KEEP_SECONDS, self._keep_files)

    def _stop(self) -> None:
        self._stopping = True
        self._sessions.kernels.end()
        self._check_idle()

    def _check_idle(self) -> None:
        now = time.monotonic()
        if len(self._sessions.kernels) or (len(self._sessions) and not self._stopping):
            self._idle_since = now
        elif self._stopping or now - self._idle_since >= self._idle:
            self._loop.stop()
            return
        left = self._idle_since + self._idle - now
        self._cancel_idle_check()
        self._cancel_idle_check = self._guarded.call_later(max(left, 1.0), self._check_idle)


def _log_fault(error: Exception) -> None:
    sys.excepthook(type(error), error, error.__traceback__)
