"""A visit to one board: what the rungs of its ladder know, each from those below it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from ...board import reach
from ...board.agent_endpoint import AgentEndpoint
from ...board.answers import Condition, Facts
from ...board.board import Board
from ...errors import RkernelError
from ...target import Target
from .rung import recorded


@dataclass
class Visit:
    """A visit to one board.

    Attributes:
        target: How to reach it; None until the kernelspec has been read. Its `via` is not "auto"
            and its `ipykernel` not "auto" once the board has been looked at.
        name: The kernelspec's name; empty for a board that need not have been added.
        python: The Python that runs the launcher.
        condition: The board's condition, once it is known.
        looked: When it was asked for and when it came, by this PC's clock.
        facts: What the board is, once that is known.
        agent: Its agent, once that runs.
        log: What was logged on the way to the board.
    """

    target: Target | None = None
    name: str = ""
    python: str = sys.executable
    condition: Condition | None = None
    looked: tuple[float, float] = (0.0, 0.0)
    facts: Facts | None = None
    agent: AgentEndpoint | None = None
    log: list[str] = field(default_factory=list)
    _reached: Board | RkernelError | None = field(default=None, repr=False)

    @property
    def wanted(self) -> Target:
        """The target, which the first rung has found."""
        assert self.target is not None
        return self.target

    def board(self) -> Board:
        """Return the board, which is reached once, as a launcher reaches it: nobody is asked.

        Raises:
            RkernelError: As `reach.reach`, the same each time.
        """
        if self._reached is None:
            try:
                with recorded() as self.log:
                    self._reached = reach.reach(self.wanted)
                self.target = self._reached.target
            except RkernelError as error:
                self._reached = error
        if isinstance(self._reached, RkernelError):
            raise self._reached
        return self._reached

    def failure(self) -> RkernelError | None:
        """Reach the board; return why it cannot be reached."""
        try:
            self.board()
        except RkernelError as error:
            return error
        return None

    def close(self) -> None:
        """End the session with the board."""
        if isinstance(self._reached, Board):
            self._reached.close()
