"""The agent: one small process on the board that starts kernels and serves links to them.

Started by `bootstrap`, detached; ends itself when it has had nothing to do for a while.
"""

import argparse
import json
import os
import secrets
import signal
import socket
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Set

from .handshake import Handshake, HandshakeError
from .home import Seat
from .kernels import Kernel, Kernels
from .link import Link
from .loop import Loop
from .relay import Relay

STRANGERS = 32  # peers that may be at the handshake at once
STRANGER_SECONDS = 5.0
STRANGER_BYTES = 1024


def main(argv: List[str]) -> None:
    """Take the seat, say on stdout how it went, and serve until there is nothing left to do."""
    parser = argparse.ArgumentParser(prog="board_agent")
    parser.add_argument("--code", required=True, help="the hash of this code")
    parser.add_argument("--bind", default="127.0.0.1:0", help="HOST:PORT to listen at")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds until it ends itself")
    options = parser.parse_args(argv)
    seat = Seat(options.code, options.bind)
    if not seat.take():
        return  # another one was faster; the launcher will find it
    seat.sweep()
    try:
        listener = _listen(options.bind)
    except OSError as error:
        print(json.dumps({"error": error.errno, "detail": str(error)}))
        seat.clear()
        return
    token = secrets.token_bytes(32)
    if os.fork():
        os._exit(0)  # the launcher waits for this process; its child is nobody's
    seat.write_state({"pid": os.getpid(), "port": listener.getsockname()[1], "token": token.hex()})
    _detach()
    try:
        Agent(seat.folder, listener, token, options.idle).run()
    finally:
        seat.clear()


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
    seconds without links and kernels after which `run` returns.
    """

    def __init__(self, folder: str, listener: socket.socket, token: bytes, idle: float) -> None:
        self.loop = Loop()
        self.kernels = Kernels(self.loop, folder, self._mind_idleness)
        self.sessions: Set[Session] = set()
        self.token = token
        self._listener = listener
        self._strangers: List[Stranger] = []
        self._idle = idle
        self._idle_since = time.monotonic()
        self._cancel_look: Callable[[], None] = lambda: None
        self._stopping = False

    def run(self) -> None:
        """Serve until idle, or until SIGTERM has ended the kernels."""
        _let_kernels_go_first()
        self.loop.on_signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.loop.watch(self._listener, self._accept, None)
        self._mind_idleness()
        self.loop.run()
        for session in tuple(self.sessions):
            session.relay.close("the agent ends")
        self._listener.close()
        self.loop.close()

    def meet(self, stranger: "Stranger", rest: bytes) -> None:
        """Make a session of a peer that has proven itself."""
        self.dismiss(stranger)
        session = Session(self, stranger.sock)
        self.sessions.add(session)
        session.relay.receive(rest)

    def dismiss(self, stranger: "Stranger") -> None:
        """Forget a peer that is past the handshake, one way or the other."""
        if stranger in self._strangers:
            self._strangers.remove(stranger)

    def leave(self, session: "Session") -> None:
        """Forget a session whose link is over."""
        self.sessions.discard(session)
        self._mind_idleness()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self._strangers) >= STRANGERS:
            self._strangers[0].close()
        self._strangers.append(Stranger(self, sock))

    def _stop(self) -> None:
        self._stopping = True
        self.kernels.end()
        self._mind_idleness()

    def _mind_idleness(self) -> None:
        now = time.monotonic()
        if len(self.kernels) or (self.sessions and not self._stopping):
            self._idle_since = now
        elif self._stopping or now - self._idle_since >= self._idle:
            self.loop.stop()
            return
        left = self._idle_since + self._idle - now
        self._cancel_look()
        self._cancel_look = self.loop.call_later(max(left, 1.0), self._mind_idleness)


class Stranger:
    """A peer at the handshake: little memory, little time, and no information."""

    def __init__(self, agent: Agent, sock: socket.socket) -> None:
        self.sock = sock
        self._agent = agent
        self._handshake = Handshake(agent.token, launcher=False)
        self._room = STRANGER_BYTES
        self._cancel = agent.loop.call_later(STRANGER_SECONDS, self.close)
        agent.loop.watch(sock, self._on_readable, None)

    def close(self) -> None:
        """Send the peer away."""
        self._cancel()
        self._agent.loop.watch(self.sock, None, None)
        self.sock.close()
        self._agent.dismiss(self)

    def _on_readable(self) -> None:
        try:
            data = self.sock.recv(self._room)
            if not data:
                raise HandshakeError("gone")
            self._room -= len(data)
            self._handshake.receive(data)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, HandshakeError):
            self._send()
            self.close()
            return
        self._send()
        if self._handshake.done:
            self._cancel()
            self._agent.loop.watch(self.sock, None, None)
            self._agent.meet(self, self._handshake.rest())

    def _send(self) -> None:
        try:
            self.sock.send(self._handshake.take())
        except OSError:
            pass  # a hundred bytes always fit a new connection; if it is gone, reading tells


class Session:
    """A launcher's link, and the kernel it asked for."""

    def __init__(self, agent: Agent, sock: socket.socket) -> None:
        self._agent = agent
        self._kernel: Optional[Kernel] = None
        self._asked = False  # for a kernel
        self.relay = Relay(
            agent.loop,
            sock,
            Link(accepts_streams=True),
            on_message=self._on_message,
            on_close=self._on_close,
            on_open=self._on_open,
        )

    def _on_message(self, content: Dict[str, Any]) -> None:
        kind = content.get("type")
        if kind == "start" and not self._asked:
            self._asked = True
            self._agent.kernels.start(content, self.relay, self._on_start)
        elif kind == "interrupt" and self._kernel is not None:
            self._kernel.interrupt()
        elif kind == "end" and self._kernel is not None:
            self._kernel.end()

    def _on_start(self, kernel: Kernel) -> None:
        self._kernel = kernel
        if not self.relay.open:
            kernel.end()

    def _on_open(self, number: int, channel: str) -> None:
        try:
            if self._kernel is None:
                raise OSError("there is no kernel")
            sock = self._kernel.connect(channel)
        except OSError:
            self.relay.link.reset(number)
        else:
            self.relay.attach(number, sock)

    def _on_close(self, reason: str) -> None:
        if self._kernel is not None:
            self._kernel.end()
        self._agent.leave(self)
