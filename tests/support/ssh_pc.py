"""The PC of somebody who logs in over ssh: settings, keys, known hosts, a keyring, and the person.

Both of our clients see the same settings: OpenSSH's is told the file, since it takes its home from
the passwd database; the embedded one finds it in HOME.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from keyring.backend import KeyringBackend

from rkernel_launcher.target import Target
from rkernel_launcher.transports import ssh
from rkernel_launcher.transports.prompts import Prompts
from rkernel_launcher.transports.stream import Stream
from tests.support import sshd

LIMIT = 20.0  # seconds for anything here to happen
ECHO = ("sh", "-c", "cat; exit 3")


class MemoryKeyring(KeyringBackend):
    """A keyring that forgets with the test."""

    priority = 1

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password


class BrokenKeyring(KeyringBackend):
    """A keyring whose service has gone."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        raise OSError("no such bus")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise OSError("no such bus")


@dataclass
class Person:
    """Answers questions from a script, and remembers what was asked and said."""

    yes: bool = True
    secrets: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    threads: set[threading.Thread] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.prompts = Prompts(self._confirm, self._ask, self._secret, self.said.append)

    def _confirm(self, text: str) -> bool:
        self.asked.append(text)
        return self.yes

    def _ask(self, text: str) -> str:
        if "yes/no" in text:
            return "yes" if self._confirm(text) else "no"
        return self._secret(text)

    def _secret(self, text: str) -> str:
        self.asked.append(text)
        self.threads.add(threading.current_thread())
        return self.secrets.pop(0)


class Pc:
    """The PC: its .ssh folder, and one of our clients."""

    def __init__(self, home: Path, engine: str) -> None:
        self.engine = engine
        self.home = home
        self.ssh = home / ".ssh"
        self.ssh.mkdir(parents=True, mode=0o700)
        self.known_hosts = self.ssh / "known_hosts"
        self.streams: list[Stream] = []
        self._settings = ""

    def configure(self, text: str) -> None:
        """Add lines to the settings."""
        self._settings += text + "\n"

    def know(self, *servers: sshd.Server) -> None:
        """Add servers to known_hosts."""
        with self.known_hosts.open("a") as file:
            file.writelines(server.known_hosts for server in servers)

    def key(self, name: str = "id_ed25519", passphrase: str = "", kind: str = "ed25519") -> str:
        """Make a key in the .ssh folder, and return its public line."""
        return sshd.keygen(self.ssh / name, kind, passphrase)

    def target(self, server: sshd.Server | None = None, **said: object) -> Target:
        """Say how to reach a server; the settings are written with it."""
        config = self.ssh / "config"
        usual = [self.ssh / f"id_{kind}" for kind in ("ed25519", "rsa", "ecdsa")]
        lines = [
            self._settings,
            "Host *",
            f'UserKnownHostsFile "{self.known_hosts}"',
            "GlobalKnownHostsFile /dev/null",
            *(f"IdentityFile {path}" for path in usual if path.exists()),
            "IdentityFile none",
        ]
        config.write_text("\n".join(lines) + "\n")
        if server is not None:
            said = {"host": "127.0.0.1", "port": server.port, **said}
        return Target(ssh=self.engine, ssh_command=f"ssh -F {config}", **said)  # type: ignore[arg-type]

    def start(
        self,
        target: Target,
        person: Person | None = None,
        words: tuple[str, ...] = ECHO,
        first: bytes = b"here\n",
        timeout: float = LIMIT,
    ) -> Stream:
        """Start a program on the target."""
        prompts = person.prompts if person else None
        stream = ssh.transport(target, prompts)(words, first, timeout)
        self.streams.append(stream)
        return stream

    def works(self, target: Target, person: Person | None = None) -> None:
        """See that a program there answers, and ends."""
        stream = self.start(target, person)
        try:
            assert stream.read(100, LIMIT) == b"here\n"
        finally:
            stream.close()
