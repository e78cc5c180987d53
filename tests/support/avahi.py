"""Debian's avahi-daemon, in a network of the tests: it publishes a host and services by mDNS."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.boards import LIMIT, wait_until
from tests.support.namespaces import Namespace
from tests.support.requirements import skip_or_fail

_SETTINGS = """
[server]
host-name={name}
use-ipv6=no
enable-dbus=no
[publish]
publish-workstation={workstation}
publish-hinfo=no
"""
_SERVICE = """<?xml version="1.0"?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group><name replace-wildcards="yes">%h</name>
<service><type>{kind}</type><port>{port}</port>{texts}</service></service-group>
"""

# It keeps its process id and its services where only one can; mounts of its own let several run.
_START = """
mkdir -p /run/avahi-daemon && mount -t tmpfs tmpfs /run/avahi-daemon &&
mount --bind "$1/services" /etc/avahi/services &&
exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f "$1/conf"
"""


@contextmanager
def published(
    network: Namespace,
    folder: Path,
    name: str,
    *services: tuple[str, int, str],
    workstation: bool = False,
) -> Iterator[None]:
    """Publish a host.

    Parameters: network, where; folder, a new one for its files; name, the host's; services, the
    type, the port, and a text such as "model=X", of each; workstation, whether it is published as
    one.
    """
    if not shutil.which("avahi-daemon"):
        skip_or_fail("mDNS needs: apt-get install avahi-daemon")
    (folder / "services").mkdir(parents=True)
    said = "yes" if workstation else "no"
    (folder / "conf").write_text(_SETTINGS.format(name=name, workstation=said))
    for kind, port, text in services:
        texts = f"<txt-record>{text}</txt-record>" if text else ""
        content = _SERVICE.format(kind=kind, port=port, texts=texts)
        (folder / "services" / f"{kind}.service").write_text(content)
    log = folder / "log"
    command = network.within("unshare", "--mount", "sh", "-c", _START, "sh", str(folder))
    with log.open("wb") as file, subprocess.Popen(command, stderr=file, stdout=file) as process:
        try:
            wait_until(
                lambda: b"Server startup complete" in log.read_bytes(), "avahi-daemon starts", LIMIT
            )
            wait_until(
                lambda: log.read_bytes().count(b"successfully established") == len(services),
                "avahi-daemon publishes the services",
                LIMIT,
            )
            yield
        finally:
            process.terminate()
            process.wait(LIMIT)
