"""The ssh settings in a home: hosts by name, and the keys they are known by."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

# ssh takes its home from the passwd database, and so an account's, not a test's.
_SSH = """\
#!/bin/sh
settings=none
[ -e {home}/.ssh/config ] && settings={home}/.ssh/config
exec {ssh} -F $settings -o UserKnownHostsFile={home}/.ssh/known_hosts \\
    -o IdentityFile={home}/.ssh/id_ed25519 "$@"
"""


def real_ssh() -> str:
    """Return the path of this machine's own ssh."""
    places = [place for place in os.environ["PATH"].split(os.pathsep) if "/rk-" not in place]
    return shutil.which("ssh", path=os.pathsep.join(places)) or "ssh"


def give_home(script: Path, home: Path) -> None:
    """Write a script that runs this machine's ssh with the settings, keys and hosts of a home."""
    script.write_text(_SSH.format(ssh=real_ssh(), home=home))
    script.chmod(0o755)


def add_host(
    home: Path,
    name: str,
    port: int,
    *,
    user: str,
    key: Path,
    host_keys: Iterable[str],
    more: str = "",
) -> None:
    """Have ssh log in to a port of this machine when it is told a name.

    Parameters: home, whose settings they are; name; port; user, the account there; key, the file of
    the private one; host_keys, those that the host is known by; more, further lines of settings.
    """
    folder = home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "known_hosts").open("a") as file:
        file.writelines(f"[127.0.0.1]:{port} {host_key}\n" for host_key in host_keys)
    with (folder / "config").open("a") as file:
        file.write(
            f"Host {name}\n HostName 127.0.0.1\n Port {port}\n User {user}\n IdentityFile {key}\n"
            f"{more}"
        )
