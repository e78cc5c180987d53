"""Networks of their own, which end with the test: no packet leaves them."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.requirements import skip_or_fail

LOOPBACK = "ip link set lo up"
_numbers = itertools.count()

# Ends with its stdin, and its programs with it.
_INETD = """
import selectors, socket, subprocess, sys
programs = []
with socket.create_server(("", int(sys.argv[1]))) as listener, selectors.DefaultSelector() as ready:
    ready.register(listener, selectors.EVENT_READ)
    ready.register(0, selectors.EVENT_READ)
    print("up", flush=True)
    while not any(key.fileobj == 0 for key, _ in ready.select()):
        with listener.accept()[0] as sock:
            programs.append(subprocess.Popen(sys.argv[2:], stdin=sock, stdout=sock))
for program in programs:
    program.terminate()
    program.wait()
"""


class Namespace:
    """A network, which stays as long as the process that holds it."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self._holder = holder

    @property
    def pid(self) -> str:
        """The process that holds it, for programs that name a network so."""
        return str(self._holder.pid)

    def within(self, *words: str) -> list[str]:
        """Return a command that runs another one in it."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--", *words]


@contextmanager
def network(*commands: str) -> Iterator[Namespace]:
    """Give a network with a loopback, set up by commands of a shell."""
    script = " && ".join([LOOPBACK, *commands, "echo up", "exec cat"])
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"up\n":
            skip_or_fail("a network of its own needs root")
        yield Namespace(process)


def join(one: Namespace, other: Namespace, addresses: tuple[str, str]) -> None:
    """Join two networks by a cable, which goes with either of them.

    Parameters: addresses of its ends, each as ADDRESS/BITS.
    """
    name = f"rk{next(_numbers)}"
    link = ["ip", "link", "add", name, "type", "veth", "peer", "name", name]
    subprocess.run(one.within(*link, "netns", other.pid), check=True)
    for network_, address in zip((one, other), addresses, strict=True):
        subprocess.run(network_.within("ip", "address", "add", address, "dev", name), check=True)
        subprocess.run(network_.within("ip", "link", "set", name, "up"), check=True)


@contextmanager
def listening(network_: Namespace, port: int, *program: str) -> Iterator[None]:
    """Serve a port of a network: each connection gets a process, as inetd would start it."""
    command = network_.within(sys.executable, "-c", _INETD, str(port), *program)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n", f"nothing listens at port {port}"
        yield
