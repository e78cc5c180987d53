"""What the person's ssh settings come to for one host, as `ssh -G` tells; see ssh_config(5)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import SshConfigBroken
from ...sanitize import escape_controls
from .program import Program

_SECONDS = 60.0  # the settings may run programs of the person's


class Settings(NamedTuple):
    """Settings for one host.

    Attributes:
        host: The host as the person called it.
        values: The values of each keyword, which is in lower case.
    """

    host: str
    values: dict[str, list[str]]

    def value(self, keyword: str) -> str:
        """Return the first value of a keyword; empty if it has none, or `none`."""
        value = self.values.get(keyword, [""])[0]
        return "" if value.lower() == "none" else value

    def number(self, keyword: str) -> int:
        """Return the same as a number; 0 if it is none."""
        value = self.value(keyword)
        return int(value) if value.isdigit() else 0

    @property
    def account(self) -> str:
        """The account on the host as the keyring knows it."""
        return f"{self.login}:{self.value('port')}"

    @property
    def login(self) -> str:
        """The same without the port."""
        return f"{self.value('user')}@{self.value('hostname')}"

    @property
    def identities(self) -> list[Path]:
        """The files of the private keys, in the order in which ssh tries them."""
        return [Path(name).expanduser() for name in self.values.get("identityfile", [])]


def read(program: Program, destination: Sequence[str], host: str) -> Settings:
    """Ask ssh for its settings.

    Args:
        program: The client.
        destination: What `arguments.destination` returns.
        host: The host.

    Raises:
        SshConfigBroken: The settings cannot be understood.
    """
    # a setting that ssh refuses where no command follows; older ones do not have it
    whole = ["-o", "ForkAfterAuthentication=no"] if program.version >= (8, 7) else []
    argv = [*program.argv, "-G", "-T", *whole, *destination, "--", host]
    try:
        run = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SshConfigBroken(detail=str(error), host=host) from error
    if run.returncode:
        said = escape_controls(run.stderr.decode("utf-8", "replace").strip())
        lines = [line for line in said.splitlines() if "terminating," not in line]
        raise SshConfigBroken(detail=(lines or ["no reason given"])[0].rstrip("."), host=host)
    values: dict[str, list[str]] = {}
    for line in run.stdout.decode("utf-8", "surrogateescape").splitlines():
        keyword, _, value = line.partition(" ")
        values.setdefault(keyword, []).append(value)
    return Settings(host, values)
