"""As much of pyzmq as kernels use, on `board_agent.zmtp` in place of libzmq.

For boards that have no pyzmq: the folder that this one is in is put on sys.path there, and what
imports zmq finds it. What it does not have raises an error that names it, which is both an
AttributeError and a NotImplementedError.
"""

from . import error
from .sugar.context import Context
from .sugar.frame import Frame, MessageTracker
from .sugar.poll import Poller, device, proxy, select
from .sugar.socket import Socket
from .constants import *  # noqa: F403
from .error import Again, ContextTerminated, NotDone, ZMQBaseError, ZMQBindError, ZMQError

Message = Frame
COPY_THRESHOLD = 65536

__version__ = "25.1.2"  # of the pyzmq whose ways these are


def pyzmq_version():
    """Return the version of pyzmq that this stands in for."""
    return __version__


def pyzmq_version_info():
    """Return the same as numbers."""
    return tuple(map(int, __version__.split(".")))


def has(capability):
    """Say whether an extra of libzmq is there."""
    return capability == "ipc"


def __getattr__(name):
    raise error.not_there("zmq.%s" % name)
