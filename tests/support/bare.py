"""An emulated board that has python3 alone, and dropbear in place of OpenSSH.

It is bookworm's image, stripped when it has booted, on the disk of that run: nothing is left in
dist-packages, so that there is no ipykernel, pyzmq, rpyc or pip, and init starts dropbear where it
started sshd. What some tests add to such a board is kept in folders that no Python looks at by
itself, see PICTURES and SERVICE.
"""

from __future__ import annotations

import base64
import contextlib
import io
import socket
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.support import maixpy3
from tests.support.armv7l import Armv7l, booted
from tests.support.boards import wait_until
from tests.support.cache import share_wheels
from tests.support.emulator.machine import RPYC_PORT, SSH_PORT

PICTURES = "/opt/pictures"  # NumPy and Pillow
SERVICE = "/opt/service"  # rpyc, and maixpy3 with what stands in for its compiled parts

STRIP = f"""
set -e
mkdir -p {PICTURES} {SERVICE}
cd /usr/lib/python3/dist-packages
mv numpy PIL {PICTURES}
mv rpyc plumbum {SERVICE}
rm -r ./*
"""
# The host key stays the same, so that this machine knows the board still.
DROPBEAR = """
set -e
ssh=/etc/ssh/ssh_host_ed25519_key dropbear=/etc/dropbear/dropbear_ed25519_host_key
dropbearconvert openssh dropbear $ssh $dropbear
echo '::sysinit:/etc/rc' > /etc/inittab
echo "::respawn:/usr/sbin/dropbear -F -E -r $dropbear" >> /etc/inittab
kill -HUP 1
"""


# What the readme of rpyc_ikernel has its users run on the board, see SERVICE.
START = "exec python3 -c 'import maix.mjpg;maix.mjpg.start()'"


@contextmanager
def bare(memory: int) -> Iterator[Armv7l]:
    """Boot such a board; this machine has the wheels that it lacks.

    Parameters: memory, in MB.
    """
    with booted("bookworm", memory=memory) as board:
        board.shell(STRIP)
        for folder in (maixpy3.files(), maixpy3.STAND_IN):  # more than dropbear takes in a command
            board.shell(f"echo {_packed(folder)} | base64 -d | tar xz -C {SERVICE}")
        board.shell(DROPBEAR)
        board.machine.hang_up()
        port = board.machine.port(SSH_PORT)
        wait_until(lambda: b"dropbear" in _greeting(port), "dropbear answers", board.limit)
        share_wheels(Path(board.environment["XDG_CACHE_HOME"], "rkernel-wheels"))
        yield replace(board, options=(*board.options, "--ipykernel", "bundled"))


@contextmanager
def serving(board: Armv7l) -> Iterator[None]:
    """Run maixpy3's service on a board."""
    server = board.machine.start(f"PYTHONPATH={SERVICE} {START}")
    try:
        wait_until(lambda: _listens(board, RPYC_PORT), "the service listens", board.limit)
        yield
    finally:
        board.shell(f"kill -9 {server}")


def _packed(folder: Path) -> str:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for path in sorted(folder.rglob("*.py")):
                archive.add(path, path.relative_to(folder))
        return base64.b64encode(file.getvalue()).decode()


def _listens(board: Armv7l, port: int) -> bool:
    return f":{port:04X} " in board.shell("cat /proc/net/tcp")


def _greeting(port: int) -> bytes:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as sock:
        return sock.recv(100)
    return b""
