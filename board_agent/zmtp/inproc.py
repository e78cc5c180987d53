"""Connections within a process: two sockets of a context that hand messages to each other.

Call all of it with the reactor's lock held.
"""

from typing import Any, Optional

from .patterns import Frames, Pipe


class Inproc:
    """One end of a pipe to another socket of the same context.

    Args:
        core: The socket at this end.
        to: The socket at the other one.
    """

    __slots__ = ("_core", "_other", "_pipe", "_to")

    def __init__(self, core: Any, to: Any) -> None:
        self._core, self._to = core, to
        self._pipe = _inproc_pipe(core, to, self)
        self._other: Optional[Inproc] = None

    def push(self, frames: Frames) -> None:
        """Hand a message to the other socket."""
        assert self._other is not None
        if self._to.pattern.deliver(self._other._pipe, frames):
            self._to.wake()

    def resume(self) -> None:
        """Let the other end go on sending."""
        if self._other is not None and self._other._pipe.blocked and not self._other._pipe.full:
            self._other._pipe.blocked = False
            self._to.wake()

    def end(self, linger: Optional[float]) -> None:
        """Part the two sockets. What has come can still be received."""
        other, self._other = self._other, None
        if other is not None:
            self._core.detach(self._pipe)
            self._core.drop(self)
            other.close()

    def close(self) -> None:
        """Part the two sockets, as `end` does."""
        self.end(None)

    @classmethod
    def join(cls, core: Any, to: Any) -> None:
        """Connect two sockets, unless either refuses."""
        here, there = cls(core, to), cls(to, core)
        here._other, there._other = there, here
        there._pipe.inbox, here._pipe.inbox = here._pipe.outbox, there._pipe.outbox
        for end in (here, there):
            if end._other is None:
                return
            end._core.ports.add(end)
            end._pipe.identity = end._to.identity
            for refused in end._core.pattern.attach(end._pipe):
                refused.port.close()
            end._core.wake()
        for end in (here, there):
            for frames in end._core.pattern.opening():
                end.push(frames)


def _inproc_pipe(core: Any, to: Any, port: Inproc) -> Pipe:
    limits = (core.sndhwm, to.rcvhwm)
    return Pipe(sum(limits) if all(limits) else 0, port)
