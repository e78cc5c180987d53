"""Networks of their own, which end with the test: no packet leaves them."""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.requirements import skip_or_fail

LOOPBACK = "ip link set lo up"
_numbers = itertools.count()

# Ends with its stdin, and its programs with it.
_INETD = """
import selectors, socket, subprocess, sys
programs = []
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
with listener, selectors.DefaultSelector() as ready:
    ready.register(listener, selectors.EVENT_READ)
    ready.register(0, selectors.EVENT_READ)
    print("up", flush=True)
    while not any(key.fileobj == 0 for key, _ in ready.select()):
        with listener.accept()[0] as sock:
            programs.append(subprocess.Popen(sys.argv[3:], stdin=sock, stdout=sock))
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

    def run(self, *words: str) -> None:
        """Run a command in it, which must succeed."""
        subprocess.run(self.within(*words), check=True)


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


def join(one: Namespace, other: Namespace, here: str, *there: str, mac: str = "") -> None:
    """Join two networks by a cable, which goes with either of them.

    Parameters: here, the address of the one's end as ADDRESS/BITS; there, those of the other's;
    mac, the MAC address there.
    """
    name = f"rk{next(_numbers)}"
    peer = ["peer", "name", name, "netns", other.pid, *(["address", mac] if mac else [])]
    one.run("ip", "link", "add", name, "type", "veth", *peer)
    for network_, addresses in ((one, (here,)), (other, there)):
        for address in addresses:
            network_.run("ip", "address", "add", address, "dev", name)
        network_.run("ip", "link", "set", name, "up")


@contextmanager
def listening(
    network_: Namespace, port: int, *program: str, address: str = ""
) -> Iterator[Callable[[], str]]:
    """Serve a port of a network: each connection gets a process, as inetd would start it.

    Returns: a function that tells what these processes have said on stderr.
    """
    command = network_.within(sys.executable, "-c", _INETD, address, str(port), *program)
    pipe = subprocess.PIPE
    with (
        tempfile.NamedTemporaryFile("r", prefix="rk-inetd-") as log,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n", f"port {port}: {log.read()}"
        yield lambda: Path(log.name).read_text()
