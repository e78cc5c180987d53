"""An address with a zone, as of a board that is a network of its own on a USB cable."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import namespaces, sshd
from tests.support.boards import Board
from tests.support.commands import LIMIT, argv

CABLE = (
    "ip link add usb0 type veth peer name gadget0",
    "ip address add fe80::1/64 dev usb0 nodad",
    "ip link set usb0 up",
)
PORT = 2222


@pytest.fixture
def there(home: Board) -> Iterator[namespaces.Namespace]:
    """Give a network where sshd answers at fe80::1%usb0, and no other network has that address."""
    names = ("HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "PYTHONPATH")
    variables = "SetEnv " + " ".join(f"{name}={home.environment[name]}" for name in names)
    with ExitStack() as stack:
        found = stack.enter_context(namespaces.network(*CABLE))
        server = stack.enter_context(sshd.openssh(variables))
        folder = Path(home.environment["HOME"], ".ssh")
        folder.mkdir(mode=0o700)
        server.authorize(sshd.keygen(folder / "id_ed25519"))
        listen = ["-D", "-e", "-o", f"ListenAddress=[::]:{PORT}"]
        command = [server.argv[0], "-f", str(server.folder / "config"), *listen]
        process = stack.enter_context(
            subprocess.Popen(found.within(*command), stderr=subprocess.PIPE, text=True)
        )
        stack.callback(process.kill)
        assert process.stderr is not None
        while "Server listening" not in (line := process.stderr.readline()):
            assert line, "sshd has ended"
        yield found


@pytest.mark.parametrize("engine", ["openssh", "paramiko"])
@pytest.mark.parametrize("host", ["fe80::1%usb0", "board"])
def test_a_zone_is_kept(home: Board, there: namespaces.Namespace, host: str, engine: str) -> None:
    settings = Path(home.environment["HOME"], ".ssh", "config")
    settings.write_text(f"Host board\n HostName fe80::1%%usb0\n\nHost *\n Port {PORT}\n")
    options = ["--via", "ssh", "--ssh", engine, "--python", sys.executable, "--name", "it"]
    options += ["--host-key", "accept-new", "--user", sshd.local_user(), "--yes"]
    run = subprocess.run(
        there.within(*argv("add", "--host", host, *options)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stderr
    assert json.loads((home.specs / "it" / "kernel.json").read_text())["argv"]
