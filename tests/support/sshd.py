"""Real SSH servers on an ephemeral port of 127.0.0.1, for the tests.

The port is ours and listens at once; each connection gets a server process of its own, as inetd
would start it. So there is no port to race for, and nothing to wait for.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from rkernel_launcher.target import Target

_STOP_TIME = 10.0


class Server:
    """A port whose connections are handed to new processes.

    Parameters: `argv` of the process, which finds the connection as its stdin and stdout; `folder`
    for its log.
    """

    def __init__(self, argv: list[str], folder: Path) -> None:
        self.folder = folder
        self.connections = 0
        self.argv = argv
        self._log = folder / "log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def name(self) -> str:
        """The server's name in known_hosts."""
        return f"[127.0.0.1]:{self.port}"

    @property
    def public_keys(self) -> list[str]:
        """The lines of its public host keys, without their comments."""
        files = sorted(self.folder.glob("host_*.pub"))
        return [" ".join(file.read_text().split()[:2]) for file in files]

    @property
    def known_hosts(self) -> str:
        """The lines that make it known."""
        return "".join(f"{self.name} {key}\n" for key in self.public_keys)

    @property
    def log(self) -> str:
        """All that its processes have said on stderr."""
        return self._log.read_text(errors="replace")

    def target(self, **said: object) -> Target:
        """Say how to reach it."""
        return Target(**{"host": "127.0.0.1", "port": self.port, **said})  # type: ignore[arg-type]

    def authorize(self, public_key: str) -> None:
        """Let a key in."""
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(public_key.strip() + "\n")

    def drop(self) -> None:
        """End every connection from the server's side."""
        deadline = time.monotonic() + _STOP_TIME
        while running := [process for process in self._processes if process.poll() is None]:
            assert time.monotonic() < deadline, f"{running} did not end within {_STOP_TIME} s"
            for process in running:
                process.terminate()  # again: sshd misses a signal that comes just before it waits
            with contextlib.suppress(subprocess.TimeoutExpired):
                running[0].wait(0.2)
        self._processes.clear()

    def stop(self) -> None:
        """End the port and every connection."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(_STOP_TIME)
        self._listener.close()
        self.drop()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, self._log.open("ab") as log:
                self._processes.append(
                    subprocess.Popen(self.argv, stdin=connection, stdout=connection, stderr=log)
                )


@contextlib.contextmanager
def openssh(*settings: str, host_keys: tuple[str, ...] = ("ed25519",)) -> Iterator[Server]:
    """Run sshd, with no way in but `Server.authorize` unless the settings say more.

    Parameters: `settings`, lines of sshd_config that win over those here; `host_keys`, the kinds.
    """
    sshd = _find("sshd")
    if os.geteuid() == 0:  # the package's own run-time folder: it stays
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with _folder() as folder:
        for kind in host_keys:
            keygen(folder / f"host_{kind}", kind)
        lines = [
            *settings,
            *(f"HostKey {folder}/host_{kind}" for kind in host_keys),
            f"AuthorizedKeysFile {folder}/authorized_keys",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "PermitRootLogin yes",
            "StrictModes no",
            "PermitUserRC no",
            "PrintMotd no",
            "PidFile none",
            "LogLevel VERBOSE",
            f"SetEnv HOME={folder}",
            "Subsystem sftp internal-sftp",
        ]
        (folder / "config").write_text("\n".join(lines) + "\n")
        with _running([sshd, "-i", "-e", "-f", f"{folder}/config"], folder) as server:
            yield server


@contextlib.contextmanager
def dropbear(*options: str, host_keys: tuple[str, ...] = ("ed25519",)) -> Iterator[Server]:
    """Run dropbear; it reads the accounts' own authorized_keys.

    Parameters: `options` of dropbear; `host_keys`, the kinds.
    """
    program = _find("dropbear")
    with _folder() as folder:
        argv = [program, "-i", *options]  # it logs to syslog: no -E with -i
        for kind in host_keys:
            file = folder / f"host_{kind}"
            command = [_find("dropbearkey"), "-t", kind, "-f", str(file)]
            made = subprocess.run(command, check=True, capture_output=True, text=True)
            public = [line for line in made.stdout.splitlines() if " AAAA" in line]
            file.with_suffix(".pub").write_text(public[0] + "\n")
            argv += ["-r", str(file)]
        with _running(argv, folder) as server:
            yield server


@dataclass(frozen=True)
class Account:
    """An account of this machine, made for a test."""

    name: str
    password: str
    home: Path


@contextlib.contextmanager
def account(password: str) -> Iterator[Account]:
    """Make an account, and remove it again; skips the test for who is not root.

    Parameters: `password`, empty for an account that needs none.
    """
    if os.geteuid() != 0 or shutil.which("useradd") is None:
        _lack("making an account for the test needs root and useradd")
    with _folder() as home:
        name = f"rk-{home.name[-8:].lower()}"
        _run("useradd", "-M", "-d", str(home), "-s", "/bin/sh", name)
        try:
            if password:
                _run("chpasswd", said=f"{name}:{password}")
            else:
                _run("passwd", "-d", name)
            shutil.chown(home, name)
            yield Account(name, password, home)
        finally:
            _run("userdel", "-f", name)


@contextlib.contextmanager
def agent(*keys: Path, asking: Path | None = None) -> Iterator[str]:
    """Run an ssh-agent that holds some keys.

    Parameters: `keys`, files of private keys without a passphrase; `asking`, a folder to whose file
    `asked` it writes its questions, to which a file `agree` says yes.
    Returns: the path of its socket.
    """
    with _folder() as folder:
        path = f"{folder}/agent"
        asks = {}
        if asking is not None:
            program = folder / "askpass"
            program.write_text(f'#!/bin/sh\necho "$1" >> {asking}/asked\n[ -e {asking}/agree ]\n')
            program.chmod(0o700)
            asks = {"SSH_ASKPASS": str(program), "DISPLAY": ":none"}
        process = subprocess.Popen(
            [_find("ssh-agent"), "-D", "-a", path],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **asks},
        )
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it speaks when its socket is there
            if keys:
                _run("ssh-add", "-q", *map(str, keys), environment={"SSH_AUTH_SOCK": path})
            yield path
        finally:
            process.terminate()
            process.wait(_STOP_TIME)
            process.stdout.close()


def keygen(path: Path, kind: str = "ed25519", passphrase: str = "", form: str = "") -> str:
    """Make a key pair with ssh-keygen.

    Parameters: `path`, of the private key; `kind`; `passphrase`; `form`, "PEM" or "PKCS8".
    Returns: the public key's line.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    form_options = ["-m", form] if form else []
    size = ["-b", "2048"] if kind == "rsa" else []
    command = ["ssh-keygen", "-q", "-t", kind, *size, *form_options, "-N", passphrase, "-f"]
    _run(*command, str(path))
    return Path(f"{path}.pub").read_text()


def local_user() -> str:
    """Name the account that the tests run as."""
    return getpass.getuser()


def _run(*command: str, said: str | None = None, environment: dict[str, str] | None = None) -> None:
    result = subprocess.run(
        command,
        input=said,
        stdin=subprocess.DEVNULL if said is None else None,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, f"{shlex.join(command)}: {result.stderr}"


def _lack(reason: str) -> NoReturn:
    from tests.support.requirements import (
        skip_or_fail,  # the benchmarks, which use this module, have no such
    )

    skip_or_fail(reason)


def _find(program: str) -> str:
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if path is None:
        _lack(f"{program} is not installed")
    return path


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    # not pytest's own: other accounts must be able to enter
    with tempfile.TemporaryDirectory(prefix="rk-ssh-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextlib.contextmanager
def _running(argv: list[str], folder: Path) -> Iterator[Server]:
    server = Server(argv, folder)
    try:
        yield server
    finally:
        server.stop()
