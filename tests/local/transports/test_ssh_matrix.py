"""Where `ssh` gets in, `rkernel add` gets in: a line for each way to set up client and server.

Each row runs a real sshd with some settings, and a real ssh with others. `ssh -o BatchMode=yes`
must get in, and then `rkernel add --yes`, which starts a kernel, runs a cell and stops it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import sshd
from tests.support.boards import Board
from tests.support.commands import rkernel
from tests.support.ssh_settings import real_ssh

LIMIT = 60.0
BASE = "Host board gate\n  HostName 127.0.0.1\n  Port {port}\n"
KEY = "  IdentityFile {key}\n"
KNOWN = "Host *\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile /dev/null\n"


@dataclass(frozen=True)
class Row:
    """A way to set up a client and a server.

    Attributes:
        name: What it is.
        client: Lines of ssh_config, for the host `board`.
        server: Lines of sshd_config.
        usual: Whether the client has the usual lines of address and key as well.
        known: Lines of known_hosts in place of the server's own; None for those.
        options: More for `rkernel add`.
        host_key: The kind of the server's key.
        restricted: What stands before the key in authorized_keys.
        alone: Whether a bare `ssh board true` cannot work, since a setting says what to run.
    """

    name: str
    client: str = ""
    server: tuple[str, ...] = ()
    usual: bool = True
    known: str | None = None
    options: tuple[str, ...] = ()
    host_key: str = "ed25519"
    restricted: str = ""
    alone: bool = False


ROWS = [
    Row("nothing special"),
    # how settings are written
    Row("comment after a value", "Host board\n  Compression no # here\n  User {user} # lab\n"),
    Row("Match final all", "Match final all\n  Compression no\n"),
    Row("Include at the top", "Include {folder}/more\n"),
    Row("Include in a Host block", "Host board\n  Include {folder}/more\n"),
    Row("Include of another host", "Host other\n  Include {folder}/wrong\n"),
    Row("Include in a Match block", "Match host board\n  Include {folder}/more\n"),
    Row("Match exec", "Match host board exec true\n  Compression no\n"),
    Row("Match originalhost and user", "Match originalhost board user {user}\n  Port {port}\n"),
    Row("Match localuser", "Match localuser {user}\n  Compression no\n"),
    Row("CanonicalizeHostname without domains", "CanonicalizeHostname yes\n"),
    Row("a negated pattern", "Host * !board\n  Port 1\n"),
    Row("an equals sign and quotes", 'Host board\n  IdentityFile="{key}"\n'),
    Row("IgnoreUnknown", "IgnoreUnknown UseKeychain\nHost board\n  UseKeychain yes\n"),
    # known hosts
    Row("an alias", "Host board\n  HostKeyAlias lab\n", known="lab {public}\n"),
    Row("two files", "Host board\n  UserKnownHostsFile {folder}/none {known}\n"),
    Row(
        "tokens in its name", "Host board\n  UserKnownHostsFile {folder}/%k-%h\n  HostKeyAlias a\n"
    ),
    Row("a variable in its name", "Host board\n  UserKnownHostsFile ${{HOME}}/../known\n"),
    Row("a pattern", known="[127.0.0.?]:* {public}\n"),
    Row("an authority", known="@cert-authority * {authority}\n", server=("{certificate}",)),
    Row("StrictHostKeyChecking no", "Host board\n  StrictHostKeyChecking no\n", known=""),
    Row("accept-new in settings", "Host board\n  StrictHostKeyChecking accept-new\n", known=""),
    Row("VisualHostKey", "Host board\n  VisualHostKey yes\n"),
    Row("UpdateHostKeys", "Host board\n  UpdateHostKeys yes\n"),
    # keys
    Row("tokens in a key's name", "Host board\n  IdentityFile {folder}/%n-%p-%r\n"),
    Row("IdentitiesOnly", "Host board\n  IdentitiesOnly yes\n"),
    Row("an agent at a path with a space", 'Host board\n  IdentityAgent "{agent}"\n'),
    Row("no agent", "Host board\n  IdentityAgent none\n"),
    Row("a certificate", "Host board\n  CertificateFile {key}-cert.pub\n", ("{trusted}",)),
    Row("many keys that are not there", "Host board\n  IdentityFile /n/1\n  IdentityFile /n/2\n"),
    Row("--identity", "Host board\n  HostName 127.0.0.1\n", options=("--identity", "{key}")),
    # ways there
    Row("ProxyJump", "Host board\n  ProxyJump gate\n"),
    Row("--jump", options=("--jump", "gate")),
    Row("ProxyCommand", "Host board\n  ProxyCommand {ssh} -F {config} -W %h:%p gate\n"),
    Row(
        "ProxyCommand with tokens",
        "Host board\n  ProxyCommand sh -c "
        "'test %n%% = board%% && exec {ssh} -F {config} -W %h:%p gate'\n",
    ),
    Row(
        "BindAddress and AddressFamily",
        "Host board\n  BindAddress 127.0.0.1\n  AddressFamily inet\n",
    ),
    # algorithms
    Row("chacha20 only", server=("Ciphers chacha20-poly1305@openssh.com",)),
    Row("sntrup only", server=("KexAlgorithms sntrup761x25519-sha512@openssh.com",)),
    Row("umac only", server=("Ciphers aes128-ctr", "MACs umac-128-etm@openssh.com")),
    Row("an ECDSA host key", host_key="ecdsa"),
    Row("an RSA host key", host_key="rsa"),
    Row(
        "ssh-rsa only, allowed here",
        "Host board\n  HostKeyAlgorithms +ssh-rsa\n",
        ("HostKeyAlgorithms ssh-rsa",),
        host_key="rsa",
    ),
    Row(
        "group14-sha1 only, allowed here",
        "Host board\n  KexAlgorithms +diffie-hellman-group14-sha1\n",
        ("KexAlgorithms diffie-hellman-group14-sha1",),
    ),
    # what a server forbids, or says
    Row("AllowTcpForwarding no", server=("AllowTcpForwarding no",)),
    Row("PermitOpen none", server=("PermitOpen none",)),
    Row("DisableForwarding yes", server=("DisableForwarding yes",)),
    Row("restrict", restricted="restrict "),
    Row("MaxSessions 1", server=("MaxSessions 1",)),
    Row("PermitTTY no", server=("PermitTTY no",)),
    Row("a banner", server=("Banner {folder}/more",)),
    # settings that would break a stream
    Row("RemoteCommand", "Host board\n  RemoteCommand echo hello\n", alone=True),
    Row("RequestTTY force", "Host board\n  RequestTTY force\n", alone=True),
    Row("LocalCommand", "Host board\n  PermitLocalCommand yes\n  LocalCommand echo hello\n"),
    Row("SessionType none", "Host board\n  SessionType none\n", alone=True),
    Row("StdinNull yes", "Host board\n  StdinNull yes\n"),
    Row("ForkAfterAuthentication yes", "Host board\n  ForkAfterAuthentication yes\n"),
    Row("LocalForward", "Host board\n  LocalForward {port} localhost:1\n"),
    Row("LogLevel QUIET", "Host board\n  LogLevel QUIET\n"),
    Row("Compression and SendEnv", "Host board\n  Compression yes\n  SendEnv LANG LC_*\n"),
    Row("EscapeChar", "Host board\n  EscapeChar a\n"),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_where_ssh_gets_in_rkernel_does(
    row: Row, home: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home.folder / "matrix"
    folder.mkdir()
    there = ("HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "PYTHONPATH")
    variables = "SetEnv " + " ".join(f"{name}={home.environment[name]}" for name in there)
    with ExitStack() as stack:
        key, facts = keys(folder, row, stack)
        settings = [line.format(**facts) for line in row.server]
        server = stack.enter_context(sshd.openssh(variables, *settings, host_keys=(row.host_key,)))
        (public,) = server.public_keys
        facts |= {"port": server.port, "public": public, "name": server.name}
        if "{certificate}" in row.server:
            certify(server, folder, row.host_key)
        server.authorize(row.restricted + key)
        known = server.known_hosts if row.known is None else row.known.format(**facts)
        for name in ("known", "home-known", "a-127.0.0.1"):
            (folder / name).write_text(
                known.replace(server.name, "a") if name[:2] == "a-" else known
            )
        (Path(home.environment["HOME"]).parent / "known").write_text(known)
        client = row.client + (BASE + KEY if row.usual else "") + KNOWN
        Path(facts["config"]).write_text(client.format(**facts))
        ssh = ["-F", facts["config"]]
        monkeypatch.setenv("RKERNEL_SSH", " ".join([facts["ssh"], *ssh]))
        if not row.alone and not row.options:
            command = [facts["ssh"], *ssh, "-o", "BatchMode=yes", "board", "true"]
            run = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
            assert run.returncode == 0, run.stderr
        options = [option.format(**facts) for option in row.options]
        here = ["--python", sys.executable, "--via", "ssh", "--name", "board", "--yes"]
        added = rkernel("add", "--host", "board", *here, *options)
        assert (added.returncode, added.stderr) == (0, ""), added.stderr
        argv = json.loads((home.specs / "board" / "kernel.json").read_text())["argv"]
        assert "--via=ssh" in argv


def keys(folder: Path, row: Row, stack: ExitStack) -> tuple[str, dict[str, object]]:
    """Make the client's key and what its settings name; return the public key and all the names."""
    path, user = folder / "key", sshd.local_user()
    public = sshd.keygen(path)
    (folder / "more").write_text("Compression no\n")
    (folder / "wrong").write_text("Port 1\n")
    authority = sshd.keygen(folder / "authority").strip()
    sign = ["ssh-keygen", "-q", "-s", str(folder / "authority"), "-I", "us", "-n", user]
    subprocess.run([*sign, f"{path}.pub"], check=True, timeout=LIMIT)
    facts: dict[str, object] = {
        "folder": folder,
        "key": path,
        "known": folder / "known",
        "config": str(folder / "config"),
        "user": user,
        "authority": authority,
        "trusted": f"TrustedUserCAKeys {folder}/authority.pub",
        "certificate": f"HostCertificate {folder}/host-cert.pub",
        "ssh": real_ssh(),
        "agent": "",
    }
    if "{agent}" in row.client:
        place = stack.enter_context(sshd.agent(path))
        facts["agent"] = folder / "an agent"
        (folder / "an agent").symlink_to(place)
    return public, facts


def certify(server: sshd.Server, folder: Path, kind: str) -> None:
    """Have the authority vouch for a server's key."""
    shutil.copy(server.folder / f"host_{kind}.pub", folder / "host.pub")
    sign = ["ssh-keygen", "-q", "-s", str(folder / "authority"), "-I", "host", "-h"]
    subprocess.run([*sign, "-n", "127.0.0.1,board", str(folder / "host.pub")], check=True)
