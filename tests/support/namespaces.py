"""Networks of their own, which end with the test: no packet leaves them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.requirements import skip_or_fail

LOOPBACK = "ip link set lo up"


class Namespace:
    """A network, which stays as long as the process that holds it."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self._holder = holder

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
