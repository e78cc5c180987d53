"""The ssh layer against real servers: OpenSSH's sshd and dropbear on 127.0.0.1."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keyring
import paramiko
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail
from rkernel_launcher.transports.ssh.authorized_keys import install_key, offer_key
from rkernel_launcher.transports.ssh.passwords import Prompts

from rkernel_launcher.errors import (
    ChangedHostKey,
    ConnectTimeout,
    JumpFailed,
    KeyNotInstalled,
    KeyUnusable,
    KnownHostsUnusable,
    LoginCut,
    LoginRefused,
    PasswordNeeded,
    PasswordRefused,
    PortRefused,
    ProxyFailed,
    RevokedHostKey,
    SshFailed,
    UnknownHost,
    UnknownHostKey,
)
from rkernel_launcher.target import Target
from rkernel_launcher.transports.ssh import client
from rkernel_launcher.transports.ssh import transport as ssh_transport
from tests.support import sshd
from tests.support.ports import unused_port

PASSPHRASE = "correct horse"
PASSWORD = "staple battery"
LIMIT = 10.0  # seconds for anything here to happen


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
    """Answers questions from a script, and remembers what was asked."""

    yes: bool | list[bool] = True
    secrets: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    threads: set[threading.Thread] = field(default_factory=set)

    def confirm(self, text: str) -> bool:
        self.asked.append(text)
        return self.yes if isinstance(self.yes, bool) else self.yes.pop(0)

    def secret(self, text: str) -> str:
        self.asked.append(text)
        self.threads.add(threading.current_thread())
        return self.secrets.pop(0)

    @property
    def prompts(self) -> Prompts:
        return Prompts(self.confirm, self.secret)


class Home:
    """The home folder of the PC's user."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ssh = path / ".ssh"
        self.ssh.mkdir(parents=True, mode=0o700)
        self.known_hosts = self.ssh / "known_hosts"

    def configure(self, text: str) -> None:
        with (self.ssh / "config").open("a") as file:
            file.write(text + "\n")

    def know(self, *servers: sshd.Server) -> None:
        with self.known_hosts.open("a") as file:
            file.writelines(server.known_hosts for server in servers)

    def key(self, name: str = "id_ed25519", passphrase: str = "", kind: str = "ed25519") -> str:
        return sshd.keygen(self.ssh / name, kind, passphrase)


@pytest.fixture(autouse=True)
def no_keyring() -> Iterator[None]:
    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())
    yield
    keyring.set_keyring(before)


@pytest.fixture
def kept() -> dict[tuple[str, str], str]:
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    return backend.kept


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Home(tmp_path / "home")


@pytest.fixture(autouse=True)
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Whatever happens, paramiko prints nothing and leaves no thread behind."""
    before = set(threading.enumerate())
    yield
    assert capfd.readouterr() == ("", "")
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT)
        assert not thread.is_alive(), f"{thread} is still there"


@pytest.fixture
def server(home: Home) -> Iterator[sshd.Server]:
    """An sshd that is known here."""
    with sshd.openssh() as server:
        home.know(server)
        yield server


@pytest.fixture(scope="module")
def user() -> Iterator[sshd.Account]:
    with sshd.account(PASSWORD) as account:
        yield account


@pytest.fixture
def password_server(home: Home) -> Iterator[sshd.Server]:
    with sshd.openssh("PasswordAuthentication yes") as server:
        home.know(server)
        yield server


def run(transport: paramiko.Transport, command: str) -> str:
    with transport.open_session(timeout=LIMIT) as channel:
        channel.settimeout(LIMIT)
        channel.exec_command(command)
        return b"".join(iter(lambda: channel.recv(4096), b"")).decode()


def works(target: Target, person: Person | None = None) -> paramiko.Transport:
    transport = client.connect(target, person.prompts if person else None, timeout=LIMIT)
    try:
        assert run(transport, "echo here") == "here\n"
    finally:
        transport.close()
    return transport


def refused(error: type[Exception], target: Target, person: Person | None = None) -> str:
    with pytest.raises(error) as caught:
        client.connect(target, person.prompts if person else None, timeout=LIMIT)
    return str(caught.value)


# --- keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_default_key_logs_in(server: sshd.Server, home: Home, kind: str) -> None:
    server.authorize(home.key(f"id_{kind}", kind=kind))
    works(server.target())


@pytest.mark.parametrize("form", ["PEM", "PKCS8"])
def test_a_key_in_an_older_format_logs_in(server: sshd.Server, home: Home, form: str) -> None:
    server.authorize(sshd.keygen(home.ssh / "old", "rsa", form=form))
    works(server.target(identity="~/.ssh/old"))


def test_the_user_is_the_local_one_unless_said(server: sshd.Server, home: Home) -> None:
    server.authorize(home.key())
    transport = client.connect(server.target())
    assert transport.get_username() == sshd.local_user()
    assert run(transport, "id -un").strip() == sshd.local_user()
    transport.close()


@pytest.mark.parametrize("form", ["", "PEM", "PKCS8"])
def test_a_passphrase_is_asked_for(server: sshd.Server, home: Home, form: str) -> None:
    server.authorize(sshd.keygen(home.ssh / "locked", "rsa", PASSPHRASE, form))
    person = Person(secrets=["wrong one", PASSPHRASE])
    works(server.target(identity=str(home.ssh / "locked")), person)
    assert person.asked == [f"Passphrase of {home.ssh / 'locked'}"] * 2


def test_a_passphrase_is_kept_if_the_person_agrees(
    server: sshd.Server, home: Home, kept: dict[tuple[str, str], str]
) -> None:
    server.authorize(home.key(passphrase=PASSPHRASE))
    works(server.target(), Person(yes=False, secrets=[PASSPHRASE]))
    assert kept == {}
    works(server.target(), Person(yes=True, secrets=[PASSPHRASE]))
    assert kept == {("rkernel", str(home.ssh / "id_ed25519")): PASSPHRASE}
    works(server.target())


def test_a_locked_identity_with_nobody_to_ask_is_named(server: sshd.Server, home: Home) -> None:
    server.authorize(home.key("board", passphrase=PASSPHRASE))
    said = refused(KeyUnusable, server.target(identity="~/.ssh/board"))
    assert str(home.ssh / "board") in said and "passphrase" in said
    home.configure("IdentityFile ~/.ssh/board")
    assert str(home.ssh / "board") in refused(KeyUnusable, server.target())


def test_a_wrong_passphrase_is_a_sentence(server: sshd.Server, home: Home) -> None:
    server.authorize(home.key("board", passphrase=PASSPHRASE))
    person = Person(secrets=["one", "two", "three"])
    assert "passphrase" in refused(KeyUnusable, server.target(identity="~/.ssh/board"), person)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), ("junk", "not a private key")]
)
def test_an_identity_that_is_no_key_is_named(
    server: sshd.Server, home: Home, content: str | None, words: str
) -> None:
    if content:
        (home.ssh / "board").write_text(content)
    assert words in refused(KeyUnusable, server.target(identity="~/.ssh/board"))


def test_a_refused_key_is_a_sentence(server: sshd.Server, home: Home) -> None:
    home.key()
    said = refused(LoginRefused, server.target(user="root"))
    assert (
        "(tried: no password, 1 key)" in said
        and f"ssh-copy-id -p {server.port} root@127.0.0.1" in said
    )


def test_a_user_that_is_not_there_is_a_sentence(server: sshd.Server, home: Home) -> None:
    server.authorize(home.key())
    assert "nobody-here" in refused(LoginRefused, server.target(user="nobody-here"))


def test_the_agent_logs_in(
    server: sshd.Server, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.authorize(sshd.keygen(tmp_path / "elsewhere"))
    with sshd.agent(tmp_path / "elsewhere") as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        works(server.target())


def test_the_agent_saves_asking_for_a_passphrase(
    server: sshd.Server, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.authorize(home.key("board"))
    with sshd.agent(home.ssh / "board") as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        subprocess.run(
            ["ssh-keygen", "-q", "-p", "-N", PASSPHRASE, "-f", str(home.ssh / "board")],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        works(server.target(identity="~/.ssh/board"))
        (home.ssh / "board").unlink()  # the public half is enough
        works(server.target(identity="~/.ssh/board.pub"))


@pytest.fixture
def crowded_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An agent with more keys than a server puts up with."""
    paths = [tmp_path / f"key{number}" for number in range(4)]
    for path in paths:
        sshd.keygen(path)
    with sshd.agent(*paths) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        yield


def test_no_try_is_wasted_on_keys_that_are_not_wanted(home: Home, crowded_agent: None) -> None:
    with sshd.openssh("MaxAuthTries 2") as server:
        home.know(server)
        server.authorize(home.key("board"))
        works(server.target(identity="~/.ssh/board"))
        assert "Failed publickey" not in server.log
        home.configure("Host lonely\n HostName 127.0.0.1\n IdentityFile ~/.ssh/board")
        home.configure(" IdentitiesOnly yes")
        works(server.target(host="lonely"))
        assert "Failed publickey" not in server.log


def test_too_many_keys_are_a_sentence(home: Home, crowded_agent: None) -> None:
    with sshd.openssh("MaxAuthTries 3") as server:
        home.know(server)
        said = refused(LoginCut, server.target())
        assert "too many" in said and "(tried: no password, 2 keys)" in said


def test_an_agent_that_will_not_sign_does_not_end_the_login(
    server: sshd.Server, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declined = sshd.keygen(tmp_path / "declined")
    server.authorize(declined)
    server.authorize(home.key("later", passphrase=PASSPHRASE))
    home.configure("IdentityFile ~/.ssh/later")
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("DISPLAY", ":none")
    with sshd.agent() as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        subprocess.run(["ssh-add", "-q", "-c", str(tmp_path / "declined")], check=True)
        works(server.target(), Person(secrets=[PASSPHRASE]))


# --- passwords --------------------------------------------------------------------------------


def test_an_account_without_a_password_lets_us_in(home: Home) -> None:
    with (
        sshd.account("") as user,
        sshd.openssh("PasswordAuthentication yes", "PermitEmptyPasswords yes") as server,
    ):
        home.know(server)
        works(server.target(user=user.name))
        assert "Accepted none" in server.log


def test_a_password_is_asked_for(
    password_server: sshd.Server, user: sshd.Account, kept: dict[tuple[str, str], str]
) -> None:
    person = Person(secrets=["wrong", PASSWORD])
    works(password_server.target(user=user.name), person)
    assert person.asked == [f"Password of {user.name}@127.0.0.1"] * 2
    assert kept == {}


def test_a_password_is_not_asked_for_when_nobody_is_there(
    password_server: sshd.Server, user: sshd.Account
) -> None:
    said = refused(PasswordNeeded, password_server.target(user=user.name))
    address = f"{user.name}@127.0.0.1:{password_server.port}"
    assert "wants a password" in said and f"rkernel add --host {address} in" in said


def test_three_wrong_passwords_are_a_sentence(
    password_server: sshd.Server, user: sshd.Account
) -> None:
    person = Person(secrets=["one", "two", "three"])
    assert user.name in refused(PasswordRefused, password_server.target(user=user.name), person)
    assert person.secrets == []


def test_an_empty_password_gives_up(password_server: sshd.Server, user: sshd.Account) -> None:
    person = Person(secrets=[""])
    assert "(tried: no password, a password)" in refused(
        LoginRefused, password_server.target(user=user.name), person
    )


def test_a_kept_password_is_used(
    password_server: sshd.Server, user: sshd.Account, kept: dict[tuple[str, str], str]
) -> None:
    name = f"{user.name}@127.0.0.1:{password_server.port}"
    kept["rkernel", name] = PASSWORD
    works(password_server.target(user=user.name))
    kept["rkernel", name] = "an older one"
    refused(PasswordRefused, password_server.target(user=user.name))
    works(password_server.target(user=user.name), Person(secrets=[PASSWORD]))


def test_a_broken_keyring_is_as_good_as_none(
    password_server: sshd.Server, user: sshd.Account
) -> None:
    keyring.set_keyring(BrokenKeyring())
    works(password_server.target(user=user.name), Person(secrets=[PASSWORD]))


def test_a_key_and_a_password_in_a_row(
    home: Home, user: sshd.Account, kept: dict[tuple[str, str], str]
) -> None:
    for order in ("publickey,password", "password,publickey"):
        settings = ("PasswordAuthentication yes", f"AuthenticationMethods {order}")
        with sshd.openssh(*settings) as server:
            home.know(server)
            server.authorize(home.key(order.replace(",", "-")))
            target = server.target(user=user.name, identity=f"~/.ssh/{order.replace(',', '-')}")
            works(target, Person(secrets=[PASSWORD]))
            refused(PasswordRefused, target, Person(secrets=["one", "two", "three"]))


@pytest.fixture
def pam_server(home: Home) -> Iterator[sshd.Server]:
    if not Path("/etc/pam.d/sshd").exists():
        pytest.skip("questions of the server's need PAM")
    with sshd.openssh("UsePAM yes", "KbdInteractiveAuthentication yes") as server:
        home.know(server)
        yield server


def test_the_questions_of_the_server_are_answered(
    pam_server: sshd.Server, user: sshd.Account, kept: dict[tuple[str, str], str]
) -> None:
    person = Person(secrets=["wrong", PASSWORD])
    works(pam_server.target(user=user.name), person)
    assert person.threads == {threading.current_thread()}  # where Ctrl-C arrives
    assert "keyboard-interactive/pam" in pam_server.log
    kept["rkernel", f"{user.name}@127.0.0.1:{pam_server.port}"] = PASSWORD
    works(pam_server.target(user=user.name))


def test_no_question_is_answered_when_nobody_is_there(
    pam_server: sshd.Server, user: sshd.Account
) -> None:
    refused(PasswordNeeded, pam_server.target(user=user.name))


def test_a_person_may_leave_in_the_middle_of_a_question(
    pam_server: sshd.Server, user: sshd.Account
) -> None:
    def leave(_text: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.connect(pam_server.target(user=user.name), Prompts(lambda _text: True, leave))


# --- dropbear ---------------------------------------------------------------------------------


def test_dropbear_by_key_by_password_and_without(home: Home, user: sshd.Account) -> None:
    with sshd.dropbear() as server:
        home.know(server)
        target = server.target(user=user.name)
        transport = client.connect(target, Person(secrets=[PASSWORD]).prompts)
        install_key(transport, home.key())
        transport.close()
        works(target)
        (user.home / ".ssh" / "authorized_keys").unlink()
        refused(PasswordNeeded, target)
    with sshd.account("") as open_user, sshd.dropbear("-B", host_keys=("rsa",)) as server:
        home.know(server)
        works(server.target(user=open_user.name))


# --- host keys --------------------------------------------------------------------------------


def fingerprint(server: sshd.Server, kind: str = "ed25519") -> str:
    command = ["ssh-keygen", "-l", "-f", f"{server.folder}/host_{kind}.pub"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]


def test_an_unknown_host_is_asked_about_and_noted(home: Home) -> None:
    home.ssh.rmdir()
    with sshd.openssh() as server:
        person = Person(yes=True)
        refused(LoginRefused, server.target(), person)
        assert f"ED25519 {fingerprint(server)}" in person.asked[0]
        assert home.known_hosts.read_text() == server.known_hosts
        assert home.known_hosts.stat().st_mode & 0o777 == 0o600
        assert home.ssh.stat().st_mode & 0o777 == 0o700
        server.authorize(home.key())
        works(server.target())


def test_an_unknown_host_is_refused_without_a_yes(home: Home) -> None:
    with sshd.openssh() as server:
        server.authorize(home.key())
        said = refused(UnknownHostKey, server.target())
        assert fingerprint(server) in said and "ED25519" in said
        assert f"@127.0.0.1:{server.port} in a terminal" in said
        refused(UnknownHostKey, server.target(), Person(yes=False))
        assert not home.known_hosts.exists()


def test_a_noted_host_starts_a_line_of_its_own(home: Home) -> None:
    home.known_hosts.write_text("other ssh-ed25519 AAAA")
    with sshd.openssh() as server:
        server.authorize(home.key())
        works(server.target(), Person(yes=True))
        assert home.known_hosts.read_text() == "other ssh-ed25519 AAAA\n" + server.known_hosts


@pytest.mark.parametrize("known", ["ed25519", "rsa", "ecdsa"])
def test_a_host_is_asked_for_the_key_that_is_known(home: Home, known: str) -> None:
    with sshd.openssh(host_keys=("ed25519", "rsa", "ecdsa")) as server:
        server.authorize(home.key())
        (line,) = [k for k in server.public_keys if known in k]
        home.known_hosts.write_text(f"{server.name} {line}\n")
        works(server.target())


def test_a_changed_host_is_refused_and_nobody_asked(home: Home, tmp_path: Path) -> None:
    with sshd.openssh() as server:
        server.authorize(home.key())
        home.known_hosts.write_text(f"{server.name} {sshd.keygen(tmp_path / 'former')}")
        person = Person(yes=True)
        said = refused(ChangedHostKey, server.target(), person)
        assert f"ssh-keygen -R '{server.name}'" in said and fingerprint(server) in said
        assert person.asked == []


def test_a_new_kind_of_key_is_unknown_with_a_warning(home: Home, tmp_path: Path) -> None:
    with sshd.openssh() as server:
        server.authorize(home.key())
        home.known_hosts.write_text(f"{server.name} {sshd.keygen(tmp_path / 'former', 'rsa')}")
        refused(UnknownHostKey, server.target())
        person = Person(yes=True)
        works(server.target(), person)
        assert "another kind" in person.asked[0]


def test_a_revoked_key_is_refused(server: sshd.Server, home: Home) -> None:
    home.known_hosts.write_text(server.known_hosts + f"@revoked * {server.public_keys[0]}\n")
    person = Person(yes=True)
    assert "revoked" in refused(RevokedHostKey, server.target(), person)
    assert person.asked == []


def test_ssh_and_we_agree_on_hashed_names(server: sshd.Server, home: Home) -> None:
    server.authorize(home.key())
    subprocess.run(
        ["ssh-keygen", "-H", "-f", str(home.known_hosts)], check=True, capture_output=True
    )
    assert "127.0.0.1" not in home.known_hosts.read_text()
    works(server.target())


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("[127.0.0.*]:{port} {key}", True),
        ("[127.0.?.1]:{port},other {key}", True),
        ("127.0.0.1 {key}", True),  # without the port, as ssh takes it too
        ("*,!*127.0.0.1* {key}", False),
        ("[127.0.0.2]:{port} {key}", False),
        ("@cert-authority * {key}", False),
        ("# [127.0.0.1]:{port} {key}", False),
        ("|1|junk|{key}", False),
    ],
)
def test_patterns_of_names(home: Home, line: str, known: bool) -> None:
    with sshd.openssh() as server:
        server.authorize(home.key())
        text = line.format(port=server.port, key=server.public_keys[0])
        home.known_hosts.write_text("\nnonsense\na b !\n" + text + "\n")
        if known:
            works(server.target())
        else:
            refused(UnknownHostKey, server.target())


def test_a_known_hosts_that_cannot_be_used_is_a_sentence(home: Home) -> None:
    home.known_hosts.mkdir()
    with sshd.openssh() as server:
        assert str(home.known_hosts) in refused(KnownHostsUnusable, server.target())
        home.configure("UserKnownHostsFile ~/.ssh/known_hosts/below/file")
        (home.known_hosts / "below").touch()
        refused(KnownHostsUnusable, server.target(), Person(yes=True))


def test_other_known_hosts_files_and_an_alias(home: Home) -> None:
    with sshd.openssh() as server:
        server.authorize(home.key())
        first, second = home.path / "first file", home.path / "second"
        home.configure(f'Host board\n HostName 127.0.0.1\n UserKnownHostsFile "{first}" ~/second')
        home.configure(" HostKeyAlias kitchen")
        target = server.target(host="board")
        refused(UnknownHostKey, target)
        works(target, Person(yes=True))
        assert first.read_text() == f"kitchen {server.public_keys[0]}\n"
        first.rename(second)
        works(target)
        second.unlink()
        (home.path / "global").write_text(f"kitchen {server.public_keys[0]}\n")
        home.configure(" GlobalKnownHostsFile ~/global")
        works(target)


# --- ways -------------------------------------------------------------------------------------


def test_two_jump_hosts(home: Home) -> None:
    with sshd.openssh() as first, sshd.openssh() as second, sshd.openssh() as board:
        key = home.key()
        for server in (first, second, board):
            server.authorize(key)
        home.know(first, second, board)
        home.configure(f"Host first\n HostName 127.0.0.1\n Port {first.port}")
        target = board.target(jump=f"first,127.0.0.1:{second.port}")
        transport = works(target)
        assert (first.connections, second.connections, board.connections) == (1, 1, 1)
        below = transport
        while isinstance(below, ssh_transport.Connection) and below.below is not None:
            below = below.below
            below.join(LIMIT)
            assert not below.is_alive()
        assert below is not transport
        home.configure(f"Host second\n HostName 127.0.0.1\n Port {second.port}\n ProxyJump first")
        home.configure("Host board\n HostName 127.0.0.1\n ProxyJump second")
        works(board.target(host="board"))
        assert (first.connections, second.connections, board.connections) == (2, 2, 2)
        # each host on the way is checked
        home.known_hosts.write_text(first.known_hosts + board.known_hosts)
        assert "second" in refused(UnknownHostKey, board.target(host="board"))


def test_the_loss_of_the_board_ends_the_jump_host_too(server: sshd.Server, home: Home) -> None:
    with sshd.openssh() as jump:
        home.know(jump)
        for each in (server, jump):
            each.authorize(home.key(f"id_{each.port}"))
            home.configure(f"IdentityFile ~/.ssh/id_{each.port}")
        transport = client.connect(server.target(jump=f"127.0.0.1:{jump.port}"))
        assert isinstance(transport, ssh_transport.Connection)
        server.drop()
        for connection in (transport, transport.below):
            assert connection is not None
            connection.join(LIMIT)
            assert not connection.is_alive()


def test_a_jump_host_that_reaches_nothing_is_a_sentence(server: sshd.Server, home: Home) -> None:
    server.authorize(home.key())
    jump = f"127.0.0.1:{server.port}"
    said = refused(JumpFailed, Target(host="127.0.0.1", port=unused_port(), jump=jump))
    assert "could not reach" in said
    with sshd.openssh("AllowTcpForwarding no") as closed:
        home.know(closed)
        closed.authorize((home.ssh / "id_ed25519.pub").read_text())
        refused(JumpFailed, server.target(jump=f"127.0.0.1:{closed.port}"))


RELAY = """
import socket, sys, threading
far = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def up():
    while data := sys.stdin.buffer.read1(65536):
        far.sendall(data)
    far.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := far.recv(65536):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
"""


def test_a_proxy_command_carries_the_connection(server: sshd.Server, home: Home) -> None:
    (home.path / "relay.py").write_text(RELAY)
    server.authorize(home.key())
    home.configure(f"Host board\n HostName 127.0.0.1\n ProxyCommand {sys.executable}")
    text = (home.ssh / "config").read_text().rstrip()
    (home.ssh / "config").write_text(f"{text} {home.path}/relay.py %h %p\n")
    before = children()
    transport = client.connect(server.target(host="board"), timeout=LIMIT)
    assert len(run(transport, "head -c 3000000 /dev/zero")) == 3_000_000
    (relay,) = children() - before
    transport.close()
    transport.join(LIMIT)
    wait_for(lambda: relay not in children(), "the ProxyCommand to end")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("echo no way out >&2; exit 7", "status 7: no way out"),
        ("/no/such/command", "status 127"),
        ("true", "status 0"),
    ],
)
def test_a_proxy_command_that_fails_is_a_sentence(home: Home, command: str, words: str) -> None:
    program = home.path / "proxy"
    program.write_text(f"#!/bin/sh\n{command}\n")
    program.chmod(0o700)
    home.configure(f"ProxyCommand {command if command.startswith('/') else program}")
    assert words in refused(ProxyFailed, Target(host="board"))


def test_a_host_that_is_not_known() -> None:
    assert "nowhere.invalid" in refused(UnknownHost, Target(host="nowhere.invalid"))
    refused(UnknownHost, Target(host="x" * 70 + ".invalid"))


def test_a_refused_port() -> None:
    port = unused_port()
    assert str(port) in refused(PortRefused, Target(host="127.0.0.1", port=port))


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = Target(host="127.0.0.1", port=silent.getsockname()[1])
        start = time.monotonic()
        with pytest.raises(ConnectTimeout):
            client.connect(target, timeout=0.3)
        assert time.monotonic() - start < 3


def test_the_settings_limit_the_wait(home: Home) -> None:
    home.configure("ConnectTimeout 1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = refused(ConnectTimeout, Target(host="127.0.0.1", port=silent.getsockname()[1]))
        assert "within 1 s" in said


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n"])
def test_a_server_of_another_kind(greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def serve() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(greeting)

        thread = threading.Thread(target=serve)
        thread.start()
        target = Target(host="127.0.0.1", port=other.getsockname()[1])
        assert "does not speak SSH" in refused(SshFailed, target)
        thread.join(LIMIT)


def test_a_server_with_nothing_in_common(home: Home) -> None:
    with sshd.openssh("Ciphers chacha20-poly1305@openssh.com") as server:
        home.know(server)
        assert "cipher" in refused(SshFailed, server.target())


# --- rest -------------------------------------------------------------------------------------


def test_an_idle_connection_sleeps_and_still_closes_at_once(
    server: sshd.Server, home: Home
) -> None:
    server.authorize(home.key())
    transport = client.connect(server.target())
    assert transport.sock.gettimeout() == ssh_transport.IDLE_POLL > 1
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert transport.local_compression == "none"
    run(transport, "true")
    start = time.monotonic()
    transport.close()
    transport.join(LIMIT)
    assert not transport.is_alive()
    assert time.monotonic() - start < ssh_transport.IDLE_POLL / 2


def test_a_login_by_key_does_not_load_the_keyring(server: sshd.Server, home: Home) -> None:
    server.authorize(home.key())
    code = (
        "import sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        "from rkernel_launcher.transports.ssh import client as ssh\n"
        "from rkernel_launcher.target import Target\n"
        f"ssh.connect(Target(host='127.0.0.1', port={server.port})).close()\n"
        "assert 'keyring' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_digest_can_be_chosen(
    server: sshd.Server, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.authorize(home.key())
    assert works(server.target()).local_mac == ssh_transport.DIGESTS[0]
    monkeypatch.setattr(ssh_transport, "DIGESTS", ("hmac-sha2-512",))
    assert works(server.target()).local_mac == "hmac-sha2-512"


# --- installing a key -------------------------------------------------------------------------


def test_a_key_is_installed_once_and_on_a_line_of_its_own(server: sshd.Server, home: Home) -> None:
    server.authorize(home.key())
    file = server.folder / ".ssh" / "authorized_keys"  # sshd gives its folder as HOME
    new, old = home.key("new"), home.key("old").strip()
    transport = client.connect(server.target())
    install_key(transport, new)
    assert file.read_text() == new
    assert (file.parent.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    file.write_text(f"#{new}{old}")
    install_key(transport, new)
    install_key(transport, new.replace("\n", " elsewhere\n"))
    assert file.read_text() == f"#{new}{old}\n{new}"
    file.unlink()
    file.mkdir()
    with pytest.raises(KeyNotInstalled, match="directory"):
        install_key(transport, new)
    for junk in ("", "junk", new + new):
        with pytest.raises(KeyNotInstalled, match="not the line"):
            install_key(transport, junk)
    transport.close()


def test_openwrt_finds_the_key_where_its_dropbear_looks(home: Home) -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], stderr=-1).returncode:
        pytest.skip("playing OpenWrt needs a mount namespace")
    with sshd.openssh() as server:
        home.know(server)
        server.authorize(home.key())
        copy = server.folder / "etc"
        (copy / "dropbear").mkdir(parents=True)
        script = (
            f"cp /etc/passwd /etc/group /etc/shadow {copy} && mount --bind {copy} /etc && "
            f": > /etc/openwrt_release && exec {server.argv[0]} -i -f {server.folder}/config"
        )
        server.argv = ["unshare", "-m", "sh", "-c", script]
        transport = client.connect(server.target())
        install_key(transport, home.key("new"))
        install_key(transport, home.key("newer"))
        transport.close()
        both = "".join((home.ssh / f"{name}.pub").read_text() for name in ("new", "newer"))
        assert (copy / "dropbear" / "authorized_keys").read_text() == both
        assert (server.folder / ".ssh" / "authorized_keys").read_text() == both


@pytest.fixture
def login(
    password_server: sshd.Server, user: sshd.Account
) -> Iterator[Callable[[], tuple[paramiko.Transport, Target]]]:
    """Logs in with a typed password."""
    transports = []

    def log_in() -> tuple[paramiko.Transport, Target]:
        target = password_server.target(user=user.name)
        transports.append(client.connect(target, Person(secrets=[PASSWORD]).prompts))
        return transports[-1], target

    with (password_server.folder / "config").open() as file:
        text = file.read().replace(f"SetEnv HOME={password_server.folder}", "")
    own = f"AuthorizedKeysFile {user.home}/.ssh/authorized_keys\n"
    (password_server.folder / "config").write_text(own + text)
    yield log_in
    for transport in transports:
        transport.close()
    (user.home / ".ssh" / "authorized_keys").unlink(missing_ok=True)


Login = Callable[[], tuple[paramiko.Transport, Target]]


def test_a_key_is_made_and_installed(login: Login, home: Home) -> None:
    transport, target = login()
    person = Person(yes=True)
    offer_key(transport, target, person.prompts)
    assert "Make a key" in person.asked[0] and len(person.asked) == 1
    assert (home.ssh / "id_ed25519").stat().st_mode & 0o777 == 0o600
    works(target)


def test_a_key_that_needs_no_passphrase_is_installed(login: Login, home: Home) -> None:
    transport, target = login()
    home.key("id_ecdsa", kind="ecdsa", passphrase=PASSPHRASE)
    home.key("id_rsa", kind="rsa")
    person = Person(yes=True)
    offer_key(transport, target, person.prompts)
    assert len(person.asked) == 1 and "id_rsa.pub" in person.asked[0]
    works(target)


def test_the_password_is_kept_instead(
    login: Login, kept: dict[tuple[str, str], str], home: Home
) -> None:
    transport, target = login()
    offer_key(transport, target, Person(yes=[False, False]).prompts)
    assert kept == {}
    offer_key(transport, target, Person(yes=[False, True]).prompts)
    assert list(kept.values()) == [PASSWORD]
    works(target)
    assert not (home.ssh / "id_ed25519").exists()


def test_nothing_is_offered_without_need(server: sshd.Server, home: Home, login: Login) -> None:
    server.authorize(home.key())
    transport = client.connect(server.target())
    person = Person(yes=False)
    offer_key(transport, server.target(), person.prompts)
    transport.close()
    assert person.asked == []
    transport, target = login()
    offer_key(transport, target, person.prompts)  # no keyring: only the key is offered
    assert len(person.asked) == 1


# --- helpers ----------------------------------------------------------------------------------


def children() -> set[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True, text=True
    )
    lines = [line.split() for line in found.stdout.splitlines()]
    return {int(pid) for pid, name in lines if "python" in name}


def wait_for(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < end, f"waited {LIMIT} s for {what}"
        time.sleep(0.01)
