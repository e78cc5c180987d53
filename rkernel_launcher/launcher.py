"""The launcher: the kernel, as far as the frontend can see.

It holds the endpoints of the connection file for as long as the kernel on the board lives, and ends
with it. Getting to the board happens in a thread of its own, so that a signal or the end of the
frontend is heeded at any time.
"""

from __future__ import annotations

import functools
import getpass
import logging
import signal
import socket
import threading
from typing import Any

from board_agent.link import Link
from board_agent.loop import Loop
from board_agent.relay import Relay

from . import connection_file, endings, errors, system, ways
from .board import Board
from .channels import Channels
from .target import Target
from .text import printable

log = logging.getLogger(__name__)

END_SECONDS = 2.0  # how long the board has to say that the kernel has ended
DRAIN_SECONDS = 0.7  # how long a kernel's last output may take once it has ended
DRAIN_POLL = 0.02
QUOTED_OUTPUT = 2000  # characters


class Launcher:
    """Run one kernel on a board, for the frontend that started this process.

    Parameters: target; path, the connection file.
    """

    def __init__(self, target: Target, path: str) -> None:
        self._target = target
        self._connection = connection_file.read(path)
        self._loop = Loop()
        self._channels: Channels | None = None
        self._board: Board | None = None
        self._relay: Relay | None = None
        self._ending = False
        self._result: errors.RkernelError | int | None = None

    def run(self) -> int:
        """Serve until the kernel has ended, and return the exit status for it.

        Raises the error that ended it, see `errors`.
        """
        try:
            self._channels = Channels(self._loop, self._connection)
            for number in system.end_signals():
                self._loop.on_signal(number, self._end)
            self._loop.on_signal(signal.SIGINT, self._interrupt)
            system.watch_parent(lambda: self._loop.call_soon(self._end))
            threading.Thread(target=self._reach_board, name="bootstrap", daemon=True).start()
            self._loop.run()
        finally:
            self._close()
        if isinstance(self._result, errors.RkernelError):
            raise self._result
        return self._result or 0

    # --- to the board ---------------------------------------------------------------------------

    def _reach_board(self) -> None:
        try:
            reached = ways.reach(self._target)
            log.info("reached the board")
            reached.prepare()
            sock = reached.open_link()
            reached.end_session()
        except errors.RkernelError as error:
            self._loop.call_soon(functools.partial(self._finish, error))
        except Exception as error:
            log.exception("reaching the board failed")
            failure = errors.RkernelError(detail=repr(error))
            self._loop.call_soon(functools.partial(self._finish, failure))
        else:
            self._loop.call_soon(functools.partial(self._start, reached, sock))

    def _start(self, reached: Board, sock: socket.socket) -> None:
        self._board = reached
        sock.setblocking(False)
        self._relay = Relay(self._loop, sock, Link(), self._on_message, self._on_close)
        self._relay.message(
            {
                "type": "start",
                "key": self._connection.key,
                "signature_scheme": self._connection.signature_scheme,
                "python": self._target.python,
                "workdir": self._target.workdir,
                "env": self._target.env,
                "debugger": self._target.debugger,
                "owner": f"{getpass.getuser()}@{socket.gethostname()}",
            }
        )

    # --- what the board says --------------------------------------------------------------------

    def _on_message(self, content: dict[str, Any]) -> None:
        try:
            self._heed(content)
        except (KeyError, TypeError, ValueError):
            self._finish(errors.BoardMisbehaved(detail="a message that makes no sense"))

    def _heed(self, content: dict[str, Any]) -> None:
        kind = content.get("type")
        if kind == "ready":
            self._on_ready(content)
        elif kind == "output":
            log.info("the kernel wrote: %s", printable(str(content.get("text", ""))))
        elif kind == "ended":
            self._drain(content, DRAIN_SECONDS)
        elif kind == "failed":
            self._finish(errors.KernelNotStarted(detail=printable(str(content.get("detail")))))

    def _on_ready(self, content: dict[str, Any]) -> None:
        if missing := content.get("missing"):
            self._finish(endings.missing(printable(str(missing)), self._target.host))
            return
        version = printable(str(content["ipykernel"]))
        log.info("the kernel is ready: ipykernel %s, pid %d", version, content["pid"])
        assert self._channels is not None and self._relay is not None
        try:
            self._channels.serve(self._relay)
        except errors.PortInUse as error:
            self._finish(error)

    def _drain(self, content: dict[str, Any], seconds: float) -> None:
        """Let the kernel's last messages come before its end is taken for the end of all."""
        assert self._relay is not None
        if seconds > 0 and not self._relay.quiet:
            again = functools.partial(self._drain, content, seconds - DRAIN_POLL)
            self._loop.call_later(DRAIN_POLL, again)
        else:
            self._on_ended(content)

    def _on_ended(self, content: dict[str, Any]) -> None:
        status = int(content["status"])
        if self._ending or status == 0:
            log.info("the kernel has ended")
            self._finish(0)
            return
        said = printable(str(content.get("output", ""))[-QUOTED_OUTPUT:]).strip()
        self._finish(endings.died(status, said))

    def _on_close(self, reason: str) -> None:
        name = self._target.host or "the board"
        self._finish(0 if self._ending else errors.LinkLost(host=name, detail=reason))

    # --- what the frontend and the user want ----------------------------------------------------

    def _interrupt(self) -> None:
        if self._relay is not None:
            self._relay.message({"type": "interrupt"})

    def _end(self) -> None:
        if self._ending:
            return
        self._ending = True
        log.info("asked to end")
        if self._relay is None:
            self._finish(0)
        else:
            self._relay.message({"type": "end"})
            self._loop.call_later(END_SECONDS, functools.partial(self._finish, 0))

    def _finish(self, result: errors.RkernelError | int) -> None:
        if self._result is None:  # what came first is the cause of what comes after
            self._result = result
        self._loop.stop()

    def _close(self) -> None:
        if self._relay is not None:
            self._ending = True
            self._relay.close("the launcher ends")
        if self._channels is not None:  # after the relay: what that has passed on can come first
            self._channels.close()
        if self._board is not None:
            self._board.close()
        self._loop.close()
