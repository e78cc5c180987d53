"""How the launcher gets back to an agent after a loss of the link: at once, then repeatedly."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from .. import errors
from ..board.agent_endpoint import AgentEndpoint, ResumeReply, shake_hands
from ..board.board import Board
from ..transports.stream import Stream

log = logging.getLogger(__name__)

DELAY_SHARE = 0.1  # of the time that the link is down, until the next attempt
DELAYS = (0.2, 4.0)  # seconds, the shortest and the longest


def delay(seconds_down: float) -> float:
    """Return the seconds until the next attempt: more while the link stays down, with jitter.

    Args:
        seconds_down: How long the link has been down.
    """
    least, most = DELAYS
    return min(most, max(least, DELAY_SHARE * seconds_down)) * random.uniform(0.7, 1.0)


class Reconnection:
    """Dial an agent, in a thread of its own, until there is a connection or the agent is gone.

    The thread calls all callbacks.

    Args:
        board: Where the agent is.
        agent: Its port and its token.
        session: The session's number.
        prepare: Called once the board answers. The result is the number of the last frame that
            came, or None if nobody needs the connection any more.
        on_connected: Called with a connection after the handshake, and the agent's reply.
        on_failure: Called with the reason when an attempt fails.
        on_gone: Called when the agent does not exist any more; with an error if we now reach
            another machine.
    """

    def __init__(
        self,
        board: Board,
        agent: AgentEndpoint,
        session: bytes,
        prepare: Callable[[], Future[int | None]],
        on_connected: Callable[[Stream, ResumeReply], None],
        on_failure: Callable[[errors.RkernelError], None],
        on_gone: Callable[[errors.OtherMachine | None], None],
    ) -> None:
        self._board = board
        self._agent = agent
        self._session = session
        self._prepare = prepare
        self._on_connected = on_connected
        self._on_failure = on_failure
        self._on_gone = on_gone
        self._last_logged = ""
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="reconnection", daemon=True).start()

    def stop(self) -> None:
        """Make no further attempt; one that runs ends by itself."""
        self._stopped.set()

    def _run(self) -> None:
        start = time.monotonic()
        while not self._stopped.is_set():
            pause = 0.0
            try:
                if self._attempt():
                    return
            except errors.RkernelError as error:
                self._log_once(f"not back yet: {error}")
                self._on_failure(error)
                pause = error.retry_after
            except Exception:
                log.exception("an attempt to reconnect failed")
            self._stopped.wait(max(pause, delay(time.monotonic() - start)))

    def _attempt(self) -> bool:
        """Try once; if the board is there and the agent does not answer, ask the board for it.

        Returns:
            Whether there is nothing more to do.
        """
        try:
            return self._connect()
        except errors.NoAgent as error:
            self._log_once(f"the agent does not answer: {error}")
        try:
            if self._board.still_runs(self._agent):
                return False
        except errors.OtherMachine as error:
            self._on_gone(error)
        else:
            self._on_gone(None)
        return True

    def _connect(self) -> bool:
        stream = self._board.redial(self._agent)
        received = self._prepare().result()
        if received is None or self._stopped.is_set():
            stream.close()
            return True
        name = self._board.target.name
        reply = shake_hands(stream, self._agent, self._session, received, name)
        self._on_connected(stream, reply)
        return True

    def _log_once(self, text: str) -> None:
        """Log what is wrong, unless the last attempt logged the same."""
        if text != self._last_logged:
            self._last_logged = text
            log.info("%s", text)
