"""Hand this process's stdin and stdout over to the agent, and wait until it lets go of them.

The launcher feeds this file to `python3 -c` over stdin when it dials again, and calls `main`; the
bootstrap session calls `hand_over` when it is done. It stands alone, and imports only what is built
in: `socket`, with what that imports, takes a slow board half a second.

The agent gets the descriptors over a Unix socket in its folder, see `agent.handovers`. This process
then becomes `cat`, which takes 0.1 MB, and which ends when the agent closes what it was given.
"""

import _signal as signal  # type: ignore[import-not-found]
import _socket
import errno
import os
import sys

NO_AGENT = "no agent"
SECONDS = 10.0  # for the agent to accept
MAX_DESCRIPTORS = 64  # that this process may have open
CHUNK = 1 << 16


def main(marker: str, path: str) -> None:
    """Hand over, or say on stdout what went wrong: `marker`, and then a line of JSON.

    Args:
        marker: What a line for the launcher begins with.
        path: The agent's Unix socket.
    """
    failure = hand_over(0, 1, path, marker)
    os.write(1, ('%s{"error": "%s"}\n' % (marker, failure)).encode("ascii"))


def hand_over(stdin: int, stdout: int, path: str, marker: str) -> str:
    """Give two descriptors to the agent, and become what waits until it lets go of them.

    Where descriptors cannot be sent, this process stays and moves the bytes.

    Args:
        stdin: Descriptor that the agent is to read.
        stdout: Descriptor that it is to write, after a line with `marker` that says so.
        path: The agent's Unix socket.
        marker: What that line begins with.

    Returns:
        What went wrong: NO_AGENT, or the name of an error. If nothing does, this does not return.
    """
    said = (marker + '{"handed": true}\n').encode("ascii")
    try:
        agent = _connected(path)
        held, given = _socket.socketpair()
        numbers = (stdin, stdout, given.fileno())
        rights = b"".join(number.to_bytes(4, sys.byteorder) for number in numbers)
        if os.path.sameopenfile(stdout, 2):  # nothing that anybody says may get into the link
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.write(stdout, said)  # before the agent has it, which answers what the launcher sends
        try:
            agent.sendmsg([b"h"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        except OSError:
            _relay(stdin, stdout, agent)
        _wait(held.fileno())
    except OSError as error:
        gone = error.errno in (errno.ENOENT, errno.ECONNREFUSED)
        return NO_AGENT if gone else errno.errorcode.get(error.errno or 0, "ETIMEDOUT")
    return ""  # for who reads types


def _connected(path: str) -> "_socket.socket":
    agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    agent.settimeout(SECONDS)
    agent.connect(path)
    return agent


def _wait(descriptor: int) -> None:
    """Be `cat` until the agent closes its end, and then exit: our own Python would take 4 MB."""
    os.dup2(descriptor, 0)
    null = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(null, number)
    os.closerange(3, MAX_DESCRIPTORS)
    try:
        os.execvp("cat", ["cat"])
    except OSError:
        while os.read(0, CHUNK):
            pass
    os._exit(0)


def _relay(stdin: int, stdout: int, agent: "_socket.socket") -> None:
    """Move bytes between the two descriptors and the agent until one of them ends, and exit."""
    agent.settimeout(None)
    agent.sendall(b"r")
    child = os.fork()
    try:
        if child:
            _move(stdin, agent.fileno())
        else:
            _move(agent.fileno(), stdout)
    except OSError:
        pass
    os.kill(child or os.getppid(), signal.SIGKILL)  # else the stream would stay half open
    os._exit(0)


def _move(source: int, sink: int) -> None:
    while True:
        data = os.read(source, CHUNK)
        if not data:
            return
        while data:
            data = data[os.write(sink, data) :]
