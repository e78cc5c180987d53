"""Tell the frontend why there is no kernel, before the launcher ends."""

from __future__ import annotations

import logging
import signal

from board_agent.link.event_loop import Loop

from .. import os_support
from ..errors import BadConnectionFile, PortInUse, RkernelError
from . import connection_file
from .channels import Channels
from .stand_in import StandIn

log = logging.getLogger(__name__)

LIMIT = 60.0  # seconds until we end though nobody has run a cell
SETTLE = 0.5  # seconds after a cell was answered: others of the same run want an answer, too


class LastWords:
    """Answer the frontend's requests with an error, until a cell has been answered.

    Args:
        loop: The event loop; `run` runs it.
        channels: The endpoints of the connection file.
        stand_in: What answers.
        error: Why there is no kernel.
        waits_for_client: Whether we stay beyond `LIMIT` while a client is there. A frontend starts
            an ended launcher again at once, which helps if a kernel has died. If none could start,
            it would bring a failure, and often a login, every minute.
    """

    def __init__(
        self,
        loop: Loop,
        channels: Channels,
        stand_in: StandIn,
        error: RkernelError,
        waits_for_client: bool,
    ) -> None:
        self._loop = loop
        self._channels = channels
        self._stand_in = stand_in
        self._waits_for_client = waits_for_client
        self._told = 0
        self._cancel = loop.call_later(LIMIT, self._over)
        stand_in.fail(error)

    def run(self) -> None:
        """Answer until a cell has been answered, the kernel is asked to end, or time is over."""
        try:
            self._channels.answer(self._stand_in, self._on_answered)
        except PortInUse as error:
            log.info("nobody can be told: %s", error)
            return
        self._on_answered()
        self._loop.run()
        self._cancel()

    def _over(self) -> None:
        if self._waits_for_client and self._channels.has_clients:
            self._cancel = self._loop.call_later(LIMIT, self._over)
        else:
            self._loop.stop()

    def _on_answered(self) -> None:
        if self._stand_in.asked_to_end:
            self._loop.stop()
        elif self._stand_in.told > self._told:
            self._told = self._stand_in.told
            self._cancel()
            self._cancel = self._loop.call_later(SETTLE, self._loop.stop)


def deliver(path: str, error: RkernelError) -> None:
    """Tell the frontend of an error that came before there was a launcher.

    Args:
        path: The connection file.
        error: The reason.
    """
    loop = Loop()
    channels = None
    try:
        connection = connection_file.read(path)
        channels = Channels(loop, connection, lambda error: None)
        for number in os_support.end_signals():
            loop.on_signal(number, loop.stop)
        loop.on_signal(signal.SIGINT, lambda: None)  # there is nothing to interrupt
        os_support.watch_parent(lambda: loop.call_soon(loop.stop))
        LastWords(loop, channels, StandIn(connection, "the board"), error, True).run()
    except (BadConnectionFile, PortInUse) as reason:
        log.info("nobody can be told: %s", reason)
    finally:
        if channels is not None:
            channels.close()
        loop.close()
