"""Devices for adb: Debian's adbd, as a process of this machine, and an adb server for the tests.

adbd is that of Debian 13, run with the libraries that it was built with. It asks nobody for a key,
and listens at every address. So it gets a network of its own, with nothing but a loopback, into
which a port of 127.0.0.1 leads; a board at a USB cable is as far away.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import adbutils

from tests.support import debian, namespaces
from tests.support.boards import LIMIT, wait_until
from tests.support.cache import kept
from tests.support.ports import unused_port
from tests.support.requirements import skip_or_fail
from tests.support.sshd import Server

SUITE = "trixie"
PORT = 5555  # of adbd, in its own network
TOOLS = {"mmdebstrap": "mmdebstrap", "unshare": "util-linux", "ip": "iproute2"}

# Joins its stdin and stdout, which are one socket, with a port there.
RELAY = """
import selectors, socket, sys
here = socket.socket(fileno=0)
there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
with selectors.DefaultSelector() as ready:
    ready.register(here, selectors.EVENT_READ, there)
    ready.register(there, selectors.EVENT_READ, here)
    while True:
        for key, _ in ready.select():
            data = key.fileobj.recv(1 << 16)
            if not data:
                sys.exit()
            key.data.sendall(data)
"""


class Device:
    """A device of the network, as adb calls it: an adbd that programs of this machine serve.

    Parameters: network, its own; environment of what runs there; folder
    for adbd's log; serial, which is how adb reaches it.
    """

    def __init__(
        self,
        network: namespaces.Namespace,
        environment: dict[str, str],
        folder: Path,
        serial: str,
    ) -> None:
        self._network = network
        self._environment = {**environment, "ADBD_PORT": str(PORT)}
        self._log = folder / "adbd.log"
        self._adbd: subprocess.Popen[bytes] | None = None
        self.serial = serial

    def run(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a program in the device's network; its stdout is a pipe."""
        return subprocess.Popen(
            self._network.within(*words),
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def start(self) -> None:
        """Start adbd, and wait until it listens."""
        with self._log.open("wb") as log:
            self._adbd = subprocess.Popen(
                self._network.within(*command(files())),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: b"adbd started" in self._log.read_bytes(), "adbd listens", LIMIT)

    def end(self) -> None:
        """End adbd, which cuts all that it carries."""
        if self._adbd is not None:
            self._adbd.terminate()
            self._adbd.wait(LIMIT)


@contextmanager
def device(environment: dict[str, str], folder: Path) -> Iterator[Device]:
    """Run such a device; see `Device`."""
    missing = sorted(package for tool, package in TOOLS.items() if not shutil.which(tool))
    if missing or sys.platform != "linux":
        skip_or_fail(f"adbd needs: apt-get install {' '.join(missing)}")
    folder.mkdir()
    with namespaces.network() as network, _cable(network, folder) as port:
        found = Device(network, environment, folder, f"127.0.0.1:{port}")
        try:
            found.start()
            yield found
        finally:
            found.end()


@contextmanager
def _cable(network: namespaces.Namespace, folder: Path) -> Iterator[int]:
    """Give a port here that leads to adbd's there."""
    found = Server(network.within(sys.executable, "-c", RELAY, str(PORT)), folder)
    try:
        yield found.port
    finally:
        found.stop()


@contextmanager
def server(environment: dict[str, str], folder: Path) -> Iterator[adbutils.AdbClient]:
    """Give a port for an adb server of ours, and end the server that was started there.

    The environment gets what programs find it by.
    """
    port = unused_port()
    environment["ANDROID_ADB_SERVER_PORT"] = str(port)
    environment["ADB_LOCAL_TRANSPORT_MAX_PORT"] = "1"  # it would look for emulators here
    environment["ANDROID_ADB_LOG_PATH"] = f"{folder}/adb.log"
    client = adbutils.AdbClient("127.0.0.1", port)
    try:
        yield client
    finally:
        client.server_kill()


def files(*architecture: str) -> Path:
    """Return the folder of adbd and all that it needs.

    Parameters: architecture, one of Debian's; without it, that of this machine.
    """
    if debian.mirror() is None:
        skip_or_fail("no Debian mirror is named in /etc/apt")
    options = [f"--architectures={name}" for name in architecture]
    return kept(
        "-".join(["adbd", SUITE, *architecture]),
        lambda folder: debian.unpack(SUITE, folder, ["adbd"], *options),
    )


def command(root: Path, place: Path | None = None) -> list[str]:
    """Return the command line of adbd.

    Parameters: root, what `files` returned; place, where it lies when the command runs.
    """
    (loader,) = root.glob("usr/lib*/ld-linux*")
    (libraries,) = root.glob("usr/lib/*-linux-gnu*")
    path = ":".join(_at(file, root, place) for file in (libraries, libraries / "android"))
    program = root / "usr/lib/android-sdk/platform-tools/adbd"
    return [_at(loader, root, place), "--library-path", path, _at(program, root, place)]


def _at(file: Path, root: Path, place: Path | None) -> str:
    return str((place or root) / file.relative_to(root))
