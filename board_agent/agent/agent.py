"""The agent: one small process on the board that starts kernels and serves links to them.

Started by `bootstrap`, detached; ends itself when it has had nothing to do for a while.
"""

import errno
import json
import os
import signal
import socket
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from ..common.agent_lock import AgentLock
from ..common.memory import available
from ..link import handshake
from ..link.driver import LinkDriver
from ..link.event_loop import Loop
from ..link.frames import ProtocolError
from .kernels import Kernels
from .sessions import Session
from .strangers import Stranger, Strangers

KERNEL_MEMORY = 32 << 20  # bytes that a kernel takes, besides files that can be read anew
CLOSED_SESSIONS_KEPT = 256  # sessions that are over, of which it is known why
ACCEPT_BACKOFF = 1.0  # seconds without new peers when there is no socket left for them


def main(argv: List[str]) -> None:
    """Take the seat, say on stdout how it went, and serve until there is nothing left to do.

    Parameters: argv, of `--code`, the hash of this code; `--bind`, the HOST:PORT to listen at;
    `--idle`, the seconds until it ends itself; each followed by its value.
    """
    options = {argv[i]: argv[i + 1] for i in range(0, len(argv), 2)}  # argparse would take 200 kB
    bind, idle = options.get("--bind", "127.0.0.1:0"), float(options.get("--idle", 60.0))
    lock = AgentLock(options["--code"], bind)
    if not lock.acquire():
        return  # another one was faster; the launcher will find it
    lock.remove_stale()
    try:
        listener = _listen(bind)
    except OSError as error:
        print(json.dumps({"error": error.errno, "detail": str(error)}))
        lock.clear()
        return
    token = os.urandom(32)
    if os.fork():
        os._exit(0)  # the launcher waits for this process; its child is nobody's
    lock.write_state({"pid": os.getpid(), "port": listener.getsockname()[1], "token": token.hex()})
    _detach()
    try:
        Agent(lock.folder, listener, token, idle).run()
    finally:
        lock.clear()


def _listen(bind: str) -> socket.socket:
    host, port = bind.rsplit(":", 1)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _detach() -> None:
    """Let go of what the launcher waits on; complaints go to the file that stderr is."""
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def _let_kernels_go_first() -> None:
    """Have the scheduler not break off a kernel for us at each message it writes.

    On a single core, several messages are then passed on at one go: less work, and sooner done.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except (AttributeError, OSError):
        pass  # not on this system


class Agent:
    """Accept links, and own the kernels.

    Parameters: folder, for the kernels' folders; listener; token, which a peer must know; idle,
    seconds without sessions and kernels after which `run` returns.
    """

    def __init__(self, folder: str, listener: socket.socket, token: bytes, idle: float) -> None:
        self.loop = Loop()
        self.kernels = Kernels(self.loop, folder, self._make_room, self._on_kernels_changed)
        self._sessions: Dict[bytes, Session] = {}
        self._farewells: Dict[bytes, int] = {}
        self._listener = listener
        self._strangers = Strangers(self.loop, token, self._on_proven)
        self._idle = idle
        self._idle_since = time.monotonic()
        self._cancel_idle_check: Callable[[], None] = lambda: None
        self._stopping = False

    def run(self) -> None:
        """Serve until idle, or until SIGTERM has ended the kernels."""
        _let_kernels_go_first()
        self.loop.on_signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._listen()
        self._check_idle()
        self.loop.run()
        for session in tuple(self._sessions.values()):
            session.close(handshake.STOPPED)
        self._strangers.close()
        self._listener.close()
        self.loop.close()

    # --- for sessions ---------------------------------------------------------------------------

    def forget(self, session: Session) -> None:
        """Forget a session that is over, except for why."""
        known = self._sessions.pop(session.number, None)
        if known is not None and session.status != handshake.NEW:
            self._farewells[session.number] = session.status
            if len(self._farewells) > CLOSED_SESSIONS_KEPT:
                del self._farewells[next(iter(self._farewells))]
        self._check_idle()

    def replace(self, session: Session, key: str) -> None:
        """End the kernel that has the key of a session that starts one, or is yet to be started."""
        for other in tuple(self._sessions.values()):
            if key and other is not session and other.key == key:
                other.close(handshake.REPLACED)

    def session_of(self, kernel: str) -> Optional[Session]:
        """Return the session that a kernel belongs to."""
        found = (s for s in self._all_with_kernels() if s.kernel and s.kernel.id == kernel)
        return next(found, None)

    def orphan_like(self, request: Dict[str, Any]) -> Optional[Session]:
        """Return the youngest that has lost its launcher, of those that a request could mean."""

        def same(session: Session) -> bool:
            kernel = session.kernel
            names = ("owner", "python", "workdir")
            return bool(kernel and all(kernel.request.get(n) == request.get(n) for n in names))

        orphans = [s for s in self._orphans() if same(s) and s.kernel and s.kernel.ready]
        return orphans[-1] if orphans else None

    def stop(self, kernel: str) -> None:
        """End a kernel, whoever has it."""
        session = self.session_of(kernel)
        if session is not None:
            session.close(handshake.STOPPED)

    def describe(self) -> List[Dict[str, Any]]:
        """Return what a person wants to know of the kernels."""
        sessions = {session.kernel: session for session in self._all_with_kernels()}
        return [sessions.get(kernel, kernel).describe() for kernel in self.kernels]

    def _all_with_kernels(self) -> List[Session]:
        sessions = self._sessions.values()
        return [s for s in sessions if s.kernel is not None and not s.kernel.over]

    def _orphans(self) -> List[Session]:
        """Return those whose launchers are likely to be gone for good, the oldest first."""
        orphans = [session for session in self._sessions.values() if session.abandoned]
        return sorted(orphans, key=lambda session: session.detached_since or 0.0)

    def _make_room(self, driver: LinkDriver) -> None:
        """End the oldest orphan if there is no memory for another kernel."""
        free = available(KERNEL_MEMORY)
        orphans = self._orphans()
        if free < KERNEL_MEMORY and orphans:
            about = orphans[0].describe()
            text = "%d MB are free: ended the kernel %s of %s, whose launcher was away for %.0f s"
            facts = (free >> 20, about["kernel"], about["owner"], about["away"])
            driver.message({"type": "note", "text": text % facts})
            orphans[0].close(handshake.NO_MEMORY)

    def _on_kernels_changed(self) -> None:
        for session in self._sessions.values():
            session.schedule_lease_expiry()
        self._check_idle()

    # --- peers ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        self.loop.watch(self._listener, self._accept, None)

    def _accept(self) -> None:
        try:
            sock, address = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self.loop.watch(self._listener, None, None)
                self.loop.call_later(ACCEPT_BACKOFF, self._listen)
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._strangers.add(sock, address[0])

    def _on_proven(self, stranger: Stranger, number: bytes, received: int) -> None:
        """Let a peer that has proven itself go on with its session, or begin one."""
        session = self._sessions.get(number)
        status = self._farewells.get(number, handshake.NEW) if session is None else session.status
        if session is None and status == handshake.NEW:
            session = self._sessions[number] = Session(self, number)
        if session is None or status not in (handshake.NEW, handshake.RESUMED):
            stranger.reject(status)
            return
        session.driver.suspend()  # a connection that has not noticed yet is over; what came, came
        rest = stranger.accept(status, session.driver.link.last_received)
        try:
            session.resume(stranger.sock, received)
        except ProtocolError as error:
            stranger.sock.close()
            session.on_disconnect(error)
            return
        self._check_idle()
        session.driver.receive_data(rest)

    def _stop(self) -> None:
        self._stopping = True
        self.kernels.end()
        self._check_idle()

    def _check_idle(self) -> None:
        now = time.monotonic()
        if len(self.kernels) or (self._sessions and not self._stopping):
            self._idle_since = now
        elif self._stopping or now - self._idle_since >= self._idle:
            self.loop.stop()
            return
        left = self._idle_since + self._idle - now
        self._cancel_idle_check()
        self._cancel_idle_check = self.loop.call_later(max(left, 1.0), self._check_idle)
