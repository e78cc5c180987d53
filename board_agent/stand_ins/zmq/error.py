"""Errors, as pyzmq has them."""

from __future__ import annotations

import os
from typing import Any

from .constants import EAGAIN, ETERM


class ZMQBaseError(Exception):
    """The base of all errors."""


class ZMQError(ZMQBaseError):
    """An error with an errno, as in `constants`."""

    def __init__(self, errno: Any = 0, msg: Any = None) -> None:
        self.errno = errno
        if msg is None:
            msg = "Context was terminated" if errno == ETERM else os.strerror(errno)
        self.strerror = msg
        super().__init__(errno, msg)

    def __str__(self) -> Any:
        return self.strerror


class ZMQBindError(ZMQBaseError):
    """No port was free."""


class NotDone(ZMQBaseError):
    """It was not done in time."""


class Again(ZMQError):
    """It would have to wait: EAGAIN."""


class ContextTerminated(ZMQError):
    """The context was terminated: ETERM."""


class NotThere(AttributeError, NotImplementedError):
    """This stand-in for pyzmq does not have it."""


def not_there(name: Any) -> Any:
    """Return the error for a part of pyzmq that is left out."""
    return NotThere("%s is not in this stand-in for pyzmq, which kernels run on" % name)


def translated(error: Any) -> Any:
    """Return the ZMQError that an OSError is."""
    kinds = {EAGAIN: Again, ETERM: ContextTerminated}
    return kinds.get(error.errno, ZMQError)(error.errno, error.strerror)
