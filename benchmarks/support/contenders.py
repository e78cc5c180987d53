"""The ways to run a kernel on the board that are compared: for each, the process to start."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from . import other_launchers
from .boards import Compared


@dataclass(frozen=True)
class Contender:
    """A way to run a kernel.

    `argv` gives the command for a connection file. `typed` tells that the command reads the file
    from stdin. `service` is what has to run on the board before.
    """

    name: str
    argv: Callable[[Compared, Path], list[str]]
    typed: bool = False
    service: Callable[[Compared], AbstractContextManager[object]] = lambda board: nullcontext()


def ours(board: Compared, file: Path, *options: str) -> list[str]:
    """Return a launcher's argv: with options of its own, or the ones for a board over ssh."""
    launcher = [sys.executable, "-m", "rkernel_launcher"]
    return [*launcher, *(options or ("--via", "ssh", "--host", "board")), "-f", str(file)]


def _ours_over_rpyc(board: Compared, file: Path) -> list[str]:
    host = f"127.0.0.1:{board.rpyc_port}"
    return ours(board, file, "--via", "rpyc", "--host", host, "--link-port", str(board.link_port))


def _ours_over_paramiko(board: Compared, file: Path) -> list[str]:
    return ours(board, file, "--via", "ssh", "--ssh", "paramiko", "--host", "board")


def _ours_over_command(board: Compared, file: Path) -> list[str]:
    return ours(board, file, "--via", "command", "--command", f"ssh -F {board.ssh_config} board")


@contextmanager
def _rpyc(board: Compared) -> Iterator[None]:
    pid = board.machine.start_rpyc()
    try:
        yield
    finally:
        board.machine.run(f"kill -9 {pid}")


def _by_hand(board: Compared, file: Path) -> list[str]:
    ports = [port for name, port in json.loads(file.read_text()).items() if name.endswith("_port")]
    forwards = [word for p in ports for word in ("-L", f"127.0.0.1:{p}:127.0.0.1:{p}")]
    there = f"/tmp/{file.name}"
    kernel = f"cat > {there}; exec python3 -m ipykernel_launcher -f {there}"
    return ["ssh", "-F", str(board.ssh_config), *forwards, "board", kernel]


def _sshpyk(board: Compared, file: Path) -> list[str]:
    """Write a kernelspec as `sshpyk add` does, and return its argv."""
    python = other_launchers.environment("sshpyk==1.25")
    argv = [str(python), str(python.with_name("sshpyk-kernel"))]
    argv += ["--SSHKernelApp.kernel_name=sshpyk", f"--KernelManager.connection_file='{file}'"]
    config = {
        "ssh_host_alias": "sshpyk-board",
        "ssh_config": str(board.ssh_config),
        "remote_python": "/usr/bin/python3",
        "remote_kernel_name": "python3",
    }
    spec = {
        "argv": argv,
        "display_name": "sshpyk",
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {
            "kernel_provisioner": {"provisioner_name": "sshpyk-provisioner", "config": config}
        },
    }
    folder = Path(board.environment["JUPYTER_DATA_DIR"], "kernels/sshpyk")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel.json").write_text(json.dumps(spec))
    return argv


def _remote_ikernel(board: Compared, file: Path) -> list[str]:
    python = other_launchers.environment(
        "remote_ikernel==0.4.6", "pexpect", "ptyprocess", "tornado"
    )
    kernel = "python3 -m ipykernel_launcher -f {host_connection_file}"
    argv = [str(python), "-m", "remote_ikernel", "--interface", "ssh", "--workdir", "/root"]
    # It has no place for ssh's options in all of its commands but before the host's name.
    return [*argv, f"--host=-F {board.ssh_config} board", "--kernel_cmd", kernel, str(file)]


OURS = Contender("ours", ours)
BY_HAND = Contender("by hand", _by_hand, typed=True)
OVER_PARAMIKO = Contender("ours over paramiko", _ours_over_paramiko)
OVER_COMMAND = Contender("ours over a command", _ours_over_command)
OVER_RPYC = Contender("ours over rpyc", _ours_over_rpyc, service=_rpyc)
OTHERS = [Contender("sshpyk 1.25", _sshpyk), Contender("remote_ikernel 0.4.6", _remote_ikernel)]
