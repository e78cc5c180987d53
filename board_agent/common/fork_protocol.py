"""What an agent and its template say to each other, over a socket of type SOCK_SEQPACKET.

JSON, one object a packet:

    {"ready": true}     the template's first: it has imported all
    {"start": [...]}    fork a kernel with these arguments of `kernel.main`, but for the first;
                        with two descriptors: of its socket to the agent, and for its output
    {"pid": ...}        the reply; 0 when it cannot, or what it has imported is no longer current
    {"ended": PID, "status": ...}    a kernel has ended; the status is as subprocess has it
"""

import array
import json
import os
import socket
from typing import Any, Dict, List, Optional, Sequence, Tuple

LONGEST = 1 << 16  # bytes of a message


def send(sock: socket.socket, content: Dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send a message, with copies of descriptors.

    Raises:
        OSError: The other end is gone.
    """
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    sock.sendmsg([json.dumps(content).encode()], [rights] if descriptors else [])


def receive(sock: socket.socket) -> Tuple[Optional[Dict[str, Any]], List[int]]:
    """Receive a message and its descriptors; None in place of the message at the end.

    Raises:
        OSError: The socket failed.
    """
    descriptors = array.array("i")
    space = socket.CMSG_SPACE(2 * descriptors.itemsize)
    data, ancillary, _, _ = sock.recvmsg(LONGEST, space, socket.MSG_CMSG_CLOEXEC)
    for _, _, content in ancillary:
        descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return dict(json.loads(data)) if data else None, list(descriptors)


def exit_status(status: int) -> int:
    """Return a wait status as subprocess does: the signal that ended the process is negative."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
