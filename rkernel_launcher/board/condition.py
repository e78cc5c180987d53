"""The condition of a board and of the connection to it, before anything of ours is needed there."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from . import agent_archive, answers
from .answers import Condition, never
from .rpyc.session import Session

_EXCHANGES = 5  # of which the middle one counts
_PIECE, _MOST = 1 << 14, 1 << 20  # bytes to measure with
_LONG_ENOUGH = 0.1  # seconds, for a measurement to say something


class Speed(NamedTuple):
    """What the connection to a board can do.

    Attributes:
        round_trip: Seconds for a question and its answer.
        up: Bytes a second to the board.
        down: Bytes a second from there.
    """

    round_trip: float
    up: float
    down: float


def look(session: Session) -> Condition:
    """Return the condition of a board.

    Args:
        session: A session with it; nothing of ours need be there.

    Raises:
        RkernelError: As `Session.call`.
    """
    session.execute(agent_archive.condition_source())
    reply = session.call("look_at_board", agent_archive.version())
    return answers.read("look_at_board", Condition, reply, never)


def measure(session: Session) -> Speed:
    """Measure the connection to a board.

    Args:
        session: A session with it, after `look`.

    Raises:
        RkernelError: As `Session.call`.
    """
    times = sorted(_exchange(session, 1, 1) for _ in range(_EXCHANGES))
    size = _PIECE
    while (up := _exchange(session, size, 1)) < _LONG_ENOUGH and size < _MOST:
        size *= 4
    return Speed(times[_EXCHANGES // 2], size / up, size / _exchange(session, 1, size))


def _exchange(session: Session, sent: int, received: int) -> float:
    """Send bytes and receive characters; return the seconds that it took."""
    data = os.urandom(sent)
    begun = time.monotonic()
    session.call("echo", data, received)
    return max(time.monotonic() - begun, 1e-6)
