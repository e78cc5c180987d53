"""A time without a link: what the launcher tells the user, and how long it may last."""

from __future__ import annotations

import time
from collections.abc import Callable

from board_agent.link.event_loop import Loop

from ..errors import (
    BoardLost,
    BoardSilent,
    HandshakeCut,
    LinkLost,
    NoAgent,
    NobodyAnswers,
    RkernelError,
    SshBusy,
    UnknownHost,
)
from ..target import Target

NOTICE_SECONDS = 2.0  # the cell shows nothing of a shorter outage
LEASE_MARGIN = 30.0  # seconds: the board's lease begins a little later than ours
_NETWORK_IS_DOWN = (
    BoardLost,
    BoardSilent,
    HandshakeCut,
    NoAgent,
    NobodyAnswers,
    SshBusy,
    UnknownHost,
)


class Outage:
    """Wait for the link to come back, for as long as the kernel on the board waits for us.

    Args:
        loop: The event loop that calls everything here.
        target: Its name and its orphan timeout.
        since: When the link was lost, by `time.monotonic`.
        say: Called with text for the cell that runs, or waits for the link; says whether one does.
        give_up: Called with an error once the kernel waits no more.

    Attributes:
        interrupted: Whether an interrupt waits for the link.
    """

    def __init__(
        self,
        loop: Loop,
        target: Target,
        since: float,
        say: Callable[[str], bool],
        give_up: Callable[[LinkLost], None],
    ) -> None:
        self._target = target
        self._since = since
        self._say = say
        self._give_up = give_up
        self._noticed = self._read = False  # whether the notice is due; is in a cell
        self._reason = ""
        self.interrupted = False
        down, lease = self.seconds, target.orphan_timeout.seconds + LEASE_MARGIN
        self._cancel_notice = loop.call_later(max(0.0, NOTICE_SECONDS - down), self._notice)
        self._cancel_over = loop.call_later(lease - down, self._over)

    @property
    def seconds(self) -> float:
        """How long the outage has lasted, in seconds."""
        return time.monotonic() - self._since

    def _notice(self) -> None:
        self._noticed = True
        self._read = self._say(f"link to {self._target.name} lost, reconnecting…\n")
        if self._reason:
            self._say_reason()

    def remind(self) -> None:
        """Say it to a cell that was sent meanwhile, unless another has said it."""
        if self._noticed and not self._read:
            self._notice()

    def explain(self, error: RkernelError) -> None:
        """Say why the link is not back, unless that is what every lost network looks like.

        Args:
            error: Why the last attempt failed.
        """
        if isinstance(error, _NETWORK_IS_DOWN) or str(error) == self._reason:
            return
        self._reason = str(error)
        if self._noticed:
            self._say_reason()

    def _say_reason(self) -> None:
        self._say(f"not back yet: {self._reason}\n")

    def _over(self) -> None:
        facts = {"host": self._target.name, "orphan_timeout": self._target.orphan_timeout}
        self._give_up(LinkLost(**facts, detail="it did not come back"))

    def end(self) -> None:
        """Stop waiting: the link is back."""
        self._cancel_notice()
        self._cancel_over()
        if self._noticed:
            self._say(f"…back after {self.seconds:.0f} s\n")
