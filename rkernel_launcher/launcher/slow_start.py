"""A start that takes long: clients can connect before the kernel is ready, and read what goes on.

So no frontend gives up, as most do after a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from board_agent.link.event_loop import Loop

from ..errors import PortInUse
from .channels import Channels
from .stand_in import StandIn

SLOW_SECONDS = 10.0  # most starts are over by then, and clients meet the kernel itself
SAY_EVERY = 5.0  # seconds at least between two lines about one step


class SlowStart:
    """Say what the launcher is at, from `SLOW_SECONDS` on.

    Args:
        loop: The event loop that calls everything here.
        channels: The endpoints of the connection file.
        stand_in: What answers until the kernel does.
        on_asked_to_end: Called when a client asks the kernel to end.
        on_error: Called with the reason when clients cannot connect.
    """

    def __init__(
        self,
        loop: Loop,
        channels: Channels,
        stand_in: StandIn,
        on_asked_to_end: Callable[[], None],
        on_error: Callable[[PortInUse], None],
    ) -> None:
        self._channels = channels
        self._stand_in = stand_in
        self._on_asked_to_end = on_asked_to_end
        self._on_error = on_error
        self._step = self._said_step = ""
        self._said_at = 0.0
        self._open = False
        self._cancel = loop.call_later(SLOW_SECONDS, self._answer)

    def explain(self, step: str, detail: str = "") -> None:
        """Set what goes on.

        Args:
            step: Such as "maixcam: sending the packages".
            detail: How far that is, such as "60 %".
        """
        self._step = step
        self._stand_in.explain(f"The kernel is not ready yet: {_text(step, detail)}.")
        self._say(detail)

    def interrupt(self) -> None:
        """End the cells that wait."""
        if self._open:
            self._stand_in.interrupt()
            self._channels.pass_on_answers()

    def end(self) -> None:
        """Say no more."""
        self._cancel()
        self._open = False

    def _answer(self) -> None:
        self._open = True
        try:
            self._channels.answer(self._stand_in, self._on_answered)
        except PortInUse as error:
            self._on_error(error)

    def _on_answered(self) -> None:
        if self._stand_in.asked_to_end:
            self._on_asked_to_end()
        else:
            self._say("")

    def _say(self, detail: str) -> None:
        """Tell the cell that waits, unless it has just been told."""
        if not self._open or not self._stand_in.has_cell:
            return
        now = time.monotonic()
        if self._step != self._said_step or (detail and now - self._said_at >= SAY_EVERY):
            self._channels.stderr(f"{_text(self._step, detail)}…\n")
            self._said_step, self._said_at = self._step, now


def _text(step: str, detail: str) -> str:
    return f"{step}, {detail}" if detail else step
