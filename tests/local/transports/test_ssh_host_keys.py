"""Host keys: known, new, changed and revoked, with real servers and both clients."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rkernel_launcher import errors
from tests.support import sshd
from tests.support.ssh_pc import Pc, Person


def refused(pc: Pc, error: type[Exception], target: object, person: Person | None = None) -> str:
    with pytest.raises(error) as caught:
        pc.start(target, person).close()  # type: ignore[arg-type]
    return str(caught.value)


def fingerprint(server: sshd.Server, kind: str = "ed25519") -> str:
    command = ["ssh-keygen", "-l", "-f", f"{server.folder}/host_{kind}.pub"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]


def test_a_new_host_is_asked_about_and_noted(pc: Pc) -> None:
    with sshd.openssh() as server:
        server.authorize(pc.key())
        person = Person(yes=True)
        pc.works(pc.target(server), person)
        assert fingerprint(server) in person.asked[0]
        assert pc.known_hosts.read_text() == server.known_hosts
        if pc.engine == "paramiko":
            assert pc.known_hosts.stat().st_mode & 0o777 == 0o600
        pc.works(pc.target(server))


def test_a_new_host_is_refused_without_a_yes(pc: Pc) -> None:
    with sshd.openssh() as server:
        server.authorize(pc.key())
        said = refused(pc, errors.UnknownHostKey, pc.target(server))
        assert fingerprint(server) in said and "--host-key accept-new" in said
        assert f"127.0.0.1:{server.port} in a terminal" in said
        refused(pc, errors.UnknownHostKey, pc.target(server), Person(yes=False))
        assert not pc.known_hosts.exists()


@pytest.mark.parametrize("settings", ["accept-new", "no", "off"])
def test_the_settings_may_accept_new_hosts(pc: Pc, settings: str) -> None:
    pc.configure(f"StrictHostKeyChecking {settings}")
    with sshd.openssh() as server:
        server.authorize(pc.key())
        pc.works(pc.target(server))
        assert pc.known_hosts.read_text() == server.known_hosts


def test_the_settings_may_refuse_new_hosts_and_ask_nobody(pc: Pc) -> None:
    pc.configure("StrictHostKeyChecking yes")
    with sshd.openssh() as server:
        server.authorize(pc.key())
        person = Person(yes=True)
        refused(pc, errors.UnknownHostKey, pc.target(server), person)
        assert person.asked == []


@pytest.mark.parametrize("settings", ["", "StrictHostKeyChecking ask", "StrictHostKeyChecking no"])
def test_an_option_accepts_a_new_host_and_no_changed_one(
    pc: Pc, tmp_path: Path, settings: str
) -> None:
    pc.configure(settings)
    with sshd.openssh() as server:
        server.authorize(pc.key())
        pc.works(pc.target(server, host_key="accept-new"))
        assert pc.known_hosts.read_text() == server.known_hosts
        pc.known_hosts.write_text(f"{server.name} {sshd.keygen(tmp_path / 'former')}")
        refused(pc, errors.ChangedHostKey, pc.target(server, host_key="accept-new"))


@pytest.mark.parametrize("engine", ["paramiko"])
def test_a_noted_host_starts_a_line_of_its_own(pc: Pc) -> None:
    pc.known_hosts.write_text("other ssh-ed25519 AAAA")
    with sshd.openssh() as server:
        server.authorize(pc.key())
        pc.works(pc.target(server, host_key="accept-new"))
        assert pc.known_hosts.read_text() == "other ssh-ed25519 AAAA\n" + server.known_hosts


@pytest.mark.parametrize("known", ["ed25519", "rsa", "ecdsa"])
def test_a_host_is_asked_for_the_key_that_is_known(pc: Pc, known: str) -> None:
    with sshd.openssh(host_keys=("ed25519", "rsa", "ecdsa")) as server:
        server.authorize(pc.key())
        (line,) = [k for k in server.public_keys if known in k]
        pc.known_hosts.write_text(f"{server.name} {line}\n")
        pc.works(pc.target(server))


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_changed_host_is_refused_and_nobody_asked(pc: Pc, tmp_path: Path, kind: str) -> None:
    with sshd.openssh() as server:
        server.authorize(pc.key())
        pc.known_hosts.write_text(f"{server.name} {sshd.keygen(tmp_path / 'former', kind)}")
        person = Person(yes=True)
        said = refused(pc, errors.ChangedHostKey, pc.target(server), person)
        assert fingerprint(server) in said
        assert f"ssh-keygen -f '{pc.known_hosts}' -R '{server.name}'" in said
        assert person.asked == []


def test_a_revoked_key_is_refused(pc: Pc, server: sshd.Server) -> None:
    server.authorize(pc.key())
    pc.known_hosts.write_text(server.known_hosts + f"@revoked * {server.public_keys[0]}\n")
    person = Person(yes=True)
    said = refused(pc, errors.RevokedHostKey, pc.target(server), person)
    assert "known_hosts marks the SSH key" in said and fingerprint(server) in said
    assert person.asked == []


def test_hashed_names(pc: Pc, server: sshd.Server) -> None:
    server.authorize(pc.key())
    subprocess.run(["ssh-keygen", "-H", "-f", str(pc.known_hosts)], check=True, capture_output=True)
    assert "127.0.0.1" not in pc.known_hosts.read_text()
    pc.works(pc.target(server))


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("[127.0.0.*]:{port} {key}", True),
        ("[127.0.?.1]:{port},other {key}", True),
        ("127.0.0.1 {key}", True),  # without the port, as ssh takes it too
        ("*,!*127.0.0.1* {key}", False),
        ("[127.0.0.2]:{port} {key}", False),
        ("# [127.0.0.1]:{port} {key}", False),
        ("|1|junk|{key}", False),
    ],
)
def test_patterns_of_names(pc: Pc, line: str, known: bool) -> None:
    with sshd.openssh() as server:
        server.authorize(pc.key())
        text = line.format(port=server.port, key=server.public_keys[0])
        pc.known_hosts.write_text("\nnonsense\na b !\n" + text + "\n")
        if known:
            pc.works(pc.target(server))
        else:
            refused(pc, errors.UnknownHostKey, pc.target(server))


def test_other_known_hosts_files_and_an_alias(pc: Pc) -> None:
    with sshd.openssh() as server:
        server.authorize(pc.key())
        first, second = pc.home / "first file", pc.home / "second"
        pc.configure(f'Host board\n HostName 127.0.0.1\n UserKnownHostsFile "{first}" {second}')
        pc.configure(" HostKeyAlias kitchen")
        target = pc.target(server, host="board")
        refused(pc, errors.UnknownHostKey, target)
        pc.works(target, Person(yes=True))
        assert first.read_text() == f"kitchen {server.public_keys[0]}\n"
        first.rename(second)
        pc.works(target)
        second.unlink()
        (pc.home / "global").write_text(f"kitchen {server.public_keys[0]}\n")
        pc.configure(f" GlobalKnownHostsFile {pc.home}/global")
        pc.works(pc.target(server, host="board"))


def test_a_known_hosts_that_cannot_be_written_does_not_stop_a_login(pc: Pc) -> None:
    pc.configure(f"UserKnownHostsFile {pc.home}/file/known_hosts")
    (pc.home / "file").touch()
    with sshd.openssh() as server:
        server.authorize(pc.key())
        pc.works(pc.target(server, host_key="accept-new"))


# --- the embedded client alone --------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["paramiko"])
def test_a_host_that_an_authority_vouches_for_is_a_sentence(pc: Pc) -> None:
    with sshd.openssh() as server:
        server.authorize(pc.key())
        authority = f"@cert-authority [127.0.0.1]:{server.port} {server.public_keys[0]}\n"
        pc.known_hosts.write_text(authority)
        said = refused(pc, errors.SettingNotHonoured, pc.target(server))
        assert f"@cert-authority in {pc.known_hosts}" in said
        pc.known_hosts.write_text(authority + server.known_hosts)
        pc.works(pc.target(server))
        pc.known_hosts.write_text(authority.replace("127.0.0.1", "127.0.0.2"))
        refused(pc, errors.UnknownHostKey, pc.target(server))


@pytest.mark.parametrize("engine", ["paramiko"])
def test_a_known_hosts_that_cannot_be_read_is_a_sentence(pc: Pc) -> None:
    pc.known_hosts.mkdir()
    with sshd.openssh() as server:
        said = refused(pc, errors.KnownHostsUnusable, pc.target(server))
        assert str(pc.known_hosts) in said
