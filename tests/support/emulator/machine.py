"""One emulated board: boot it, run commands on it, pull its plug."""

from __future__ import annotations

import shlex
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import paramiko

from tests.support.ports import unused_port

from . import image

SSH_PORT = 22
RPYC_PORT = 18812
BOARD_PORTS = (SSH_PORT, 18811, RPYC_PORT, 18813)
BOOT_SECONDS = 120

# Memory that the kernel would set apart, of which nobody else gets any. With 64 MB, that was 8 MB
# against fragmentation, since Linux 5.0, and so not on the boards; 16 MB for devices that there are
# none of; and 8 MB for blocks of 32 KB, which only the emulated network card's driver asks for.
KERNEL_OPTIONS = (
    "console=ttyAMA0 loglevel=4 panic=-1 sysctl.vm.watermark_boost_factor=0 cma=0"
    " sysctl.net.core.high_order_alloc_disable=1"
)

# The parent leaves once the port listens, so that the command's end is the sign to connect.
RPYC_SERVER = """
import os
from rpyc.core.service import SlaveService
from rpyc.utils.server import ThreadedServer
server = ThreadedServer(SlaveService, hostname="0.0.0.0", port=18812, reuse_addr=True)
server.listener.listen()
if child := os.fork():
    print(child, flush=True)
    os._exit(0)
os.setsid()
null = os.open(os.devnull, os.O_RDWR)
for descriptor in range(3):
    os.dup2(null, descriptor)
server.start()
"""


class BoardFailure(Exception):
    """The emulated board did not do what was asked of it."""


class Machine:
    """A board that runs while the `with` block does; its disk keeps what is written that long.

    Parameters: suite, one of image.SUITES; memory, in MB; ports, further ports of the board that
    are to be reached from here, by the same numbers; counted, whether its clock counts the
    instructions of its processor, 125 million a second, so that its times depend on nothing here.
    Raises: BoardFailure when it does not come up.
    """

    def __init__(
        self,
        suite: str,
        *,
        memory: int = 256,
        ports: Iterable[int] = (),
        counted: bool = False,
    ) -> None:
        self.memory = memory
        self._counted = counted
        self._image = image.build(suite)
        self._same_ports = {port: port for port in ports}
        self.ports: dict[int, int] = {}
        self._clients: dict[str, paramiko.SSHClient] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._cleanup = ExitStack()

    def __enter__(self) -> Machine:
        folder = tempfile.TemporaryDirectory(prefix="board-")
        self._cleanup.enter_context(folder)
        self._cleanup.callback(self.power_off)
        self._folder = Path(folder.name)
        self.console = self._folder / "console.log"
        self.known_hosts = self._folder / "known_hosts"
        self.key = self._folder / "key"
        self.key.touch(mode=0o600)
        self.key.write_bytes((self._image / "key").read_bytes())
        base = self._image / "rootfs.ext4"
        overlay = ("-f", "qcow2", "-b", base, "-F", "raw", self._folder / "disk")
        subprocess.run(["qemu-img", "create", "-q", *overlay], check=True)
        try:
            self.power_on()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def port(self, guest_port: int) -> int:
        """Give the port of 127.0.0.1 that leads to the board's port."""
        return self.ports[guest_port]

    @property
    def host_keys(self) -> list[str]:
        """The keys that its sshd has, one of each kind."""
        return (self._image / "host_keys").read_text().splitlines()

    def power_on(self) -> None:
        """Boot, and return when sshd answers; the ports stay those of the first boot.

        Raises: BoardFailure when sshd does not answer within BOOT_SECONDS.
        """
        if not self.ports:
            self.ports = {port: unused_port() for port in BOARD_PORTS} | self._same_ports
        self._boot()

    def power_off(self) -> None:
        """End the board at once, as pulling its plug does."""
        self.hang_up()
        if self._process:
            self._process.kill()
            self._reader.join()
            self._process = None

    def hang_up(self) -> None:
        """Close the ssh connections that are kept; the next command makes a new one."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def stop(self) -> None:
        """End the board and remove its files; harmless when done already."""
        self._cleanup.close()

    def run(
        self, command: str, *, user: str = "root", timeout: float = 60, check: bool = True
    ) -> str:
        """Run a shell command over a kept ssh connection.

        Parameters: command, for /bin/sh; user, root or student; timeout, in seconds of silence;
        check, whether a status other than 0 is an error.
        Returns: its output, with what it wrote to stderr.
        Raises: BoardFailure when it fails, TimeoutError when it takes too long.
        """
        channel = self._connection(user).open_session(timeout=timeout)
        with channel:
            channel.settimeout(timeout)
            channel.set_combine_stderr(True)
            channel.exec_command(command)
            with channel.makefile("rb") as stream:
                output = stream.read().decode(errors="replace")
            if not channel.status_event.wait(timeout):
                raise TimeoutError(f"`{command}` closed its output but did not end")
            status = channel.recv_exit_status()
        if check and status:
            raise BoardFailure(f"`{command}` ended with status {status} on the board:\n{output}")
        return output

    def start(self, command: str, *, user: str = "root") -> int:
        """Start a shell command in a session of its own and leave it running.

        Returns: its process id, which is also that of its process group.
        """
        background = f"busybox setsid sh -c {shlex.quote(command)} </dev/null >/dev/null 2>&1 &"
        return int(self.run(f"{background} echo $!", user=user))

    def start_rpyc(self) -> int:
        """Start the board's own rpyc server on its port 18812, as MaixPy3 does.

        Returns: its process id, once the port listens.
        """
        return int(self.run(f"python3 -c {shlex.quote(RPYC_SERVER)}"))

    def _connection(self, user: str) -> paramiko.Transport:
        if user not in self._clients:
            client = paramiko.SSHClient()
            client.load_host_keys(str(self.known_hosts))
            client.connect(
                "127.0.0.1",
                self.port(SSH_PORT),
                user,
                key_filename=str(self.key),
                look_for_keys=False,
                allow_agent=False,
                timeout=30,
            )
            self._clients[user] = client
        transport = self._clients[user].get_transport()
        assert transport is not None
        return transport

    def _boot(self) -> None:
        entry = f"[127.0.0.1]:{self.port(SSH_PORT)}"
        self.known_hosts.write_text("".join(f"{entry} {key}\n" for key in self.host_keys))
        started, self._listens = threading.Event(), threading.Event()
        self._reader = threading.Thread(target=self._follow, args=(started,), daemon=True)
        self._reader.start()
        started.wait()
        try:
            if not self._listens.wait(BOOT_SECONDS):
                raise BoardFailure(f"no sshd within {BOOT_SECONDS} s.{self._last_lines()}")
            if self._process is None or self._process.returncode is not None:
                raise BoardFailure(f"qemu ended.{self._last_lines()}")
            with socket.create_connection(("127.0.0.1", self.port(SSH_PORT)), 30) as connection:
                if not connection.recv(4).startswith(b"SSH-"):
                    raise BoardFailure(f"what answers is not sshd.{self._last_lines()}")
        except BaseException:
            self.power_off()
            raise

    def _follow(self, started: threading.Event) -> None:
        """Be qemu's parent and keep its console, until it ends.

        The kernel kills qemu when the thread that started it is gone, so this thread is the one.
        """
        try:
            with self.console.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
                started.set()
                with self._process as process:
                    assert process.stdout is not None
                    for line in process.stdout:
                        log.write(line)
                        log.flush()
                        if b"Server listening on 0.0.0.0" in line:
                            self._listens.set()
        finally:
            started.set()
            self._listens.set()  # or never will

    def _command(self) -> list[str]:
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{here}-:{there}" for there, here in self.ports.items()
        )
        return [
            *("setpriv", "--pdeathsig", "KILL", "qemu-system-arm"),
            *("-M", "virt", "-cpu", "cortex-a7", "-smp", "1", "-m", str(self.memory)),
            *("-kernel", str(self._image / "vmlinuz"), "-initrd", str(self._image / "initramfs")),
            *("-append", KERNEL_OPTIONS),
            *("-drive", f"if=none,id=disk,format=qcow2,cache=unsafe,file={self._folder / 'disk'}"),
            *("-device", "virtio-blk-device,drive=disk"),
            *("-netdev", f"user,id=net,restrict=on{forwards}"),
            *("-device", "virtio-net-device,netdev=net"),
            *("-device", "virtio-rng-device"),
            *("-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"),
            *(("-icount", "shift=3,align=off,sleep=on") if self._counted else ()),
        ]

    def _last_lines(self) -> str:
        lines = self.console.read_text("utf-8", "replace").splitlines()[-15:]
        return "\n".join([" Its console's last lines:", *lines])
