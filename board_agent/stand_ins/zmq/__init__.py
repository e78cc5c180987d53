"""As much of pyzmq as kernels use, on `board_agent.zmtp` in place of libzmq.

For boards that have no pyzmq: a kernel puts the folder of this package on sys.path, and what
imports zmq finds it. What it lacks raises an error that names it, which is both an AttributeError
and a NotImplementedError. https://pyzmq.readthedocs.io/en/latest/api/ describes what is here.
"""

from __future__ import annotations

from typing import Any

from . import error
from .constants import *  # noqa: F403
from .error import Again, ContextTerminated, NotDone, ZMQBaseError, ZMQBindError, ZMQError
from .sugar.context import Context
from .sugar.frame import Frame, MessageTracker
from .sugar.poll import Poller, device, proxy, select
from .sugar.socket import Socket

__all__ = [
    "Again",
    "Context",
    "ContextTerminated",
    "Frame",
    "Message",
    "MessageTracker",
    "NotDone",
    "Poller",
    "Socket",
    "ZMQBaseError",
    "ZMQBindError",
    "ZMQError",
    "device",
    "error",
    "proxy",
    "select",
]

Message = Frame
COPY_THRESHOLD = 65536

VERSION = (25, 1, 2)  # of the pyzmq that this behaves like
__version__ = "%d.%d.%d" % VERSION


def pyzmq_version() -> Any:
    """Return the version of pyzmq that this stands in for."""
    return __version__


def pyzmq_version_info() -> Any:
    """Return that version as numbers."""
    return VERSION


def has(capability: Any) -> Any:
    """Return whether an optional part of libzmq is here."""
    return capability == "ipc"


def __getattr__(name: Any) -> None:
    raise error.not_there("zmq.%s" % name)
