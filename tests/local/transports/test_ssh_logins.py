"""Logins over ssh, by keys, agents, passwords and questions: real servers, and both clients."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest

from rkernel_launcher import errors
from tests.support import sshd
from tests.support.ssh_pc import LIMIT, BrokenKeyring, Pc, Person

PASSPHRASE = "correct horse"
PASSWORD = "staple battery"


def refused(pc: Pc, error: type[Exception], target: object, person: Person | None = None) -> str:
    with pytest.raises(error) as caught:
        pc.start(target, person).close()  # type: ignore[arg-type]
    return str(caught.value)


# --- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_default_key_logs_in(pc: Pc, server: sshd.Server, kind: str) -> None:
    server.authorize(pc.key(f"id_{kind}", kind=kind))
    pc.works(pc.target(server))


@pytest.mark.parametrize("form", ["PEM", "PKCS8"])
def test_a_key_in_an_older_format_logs_in(pc: Pc, server: sshd.Server, form: str) -> None:
    server.authorize(sshd.keygen(pc.ssh / "old", "rsa", form=form))
    pc.works(pc.target(server, identity=str(pc.ssh / "old")))


def test_the_user_is_the_local_one_unless_said(pc: Pc, server: sshd.Server) -> None:
    server.authorize(pc.key())
    stream = pc.start(pc.target(server), words=("id", "-un"))
    assert stream.read(100, LIMIT).decode().strip() == sshd.local_user()
    stream.close()


@pytest.mark.parametrize("form", ["", "PEM", "PKCS8"])
def test_a_passphrase_is_asked_for(pc: Pc, server: sshd.Server, form: str) -> None:
    path = pc.ssh / "locked"
    server.authorize(sshd.keygen(path, "rsa", PASSPHRASE, form))
    person = Person(secrets=["wrong one", PASSPHRASE])
    pc.works(pc.target(server, identity=str(path)), person)
    assert person.asked == [f"Enter passphrase for key '{path}': "] * 2
    assert person.prompts.typed == {str(path): PASSPHRASE}


def test_no_passphrase_is_asked_for_a_key_that_the_server_does_not_take(
    pc: Pc, server: sshd.Server
) -> None:
    pc.key("id_rsa", PASSPHRASE, "rsa")
    server.authorize(pc.key())
    person = Person()
    pc.works(pc.target(server), person)
    assert person.asked == []


def test_a_kept_passphrase_is_used(
    pc: Pc, server: sshd.Server, kept: dict[tuple[str, str], str]
) -> None:
    server.authorize(pc.key(passphrase=PASSPHRASE))
    kept["rkernel", str(pc.ssh / "id_ed25519")] = PASSPHRASE
    pc.works(pc.target(server))


def test_a_locked_key_with_nobody_to_ask_is_named(pc: Pc, server: sshd.Server) -> None:
    path = pc.ssh / "board"
    server.authorize(pc.key("board", passphrase=PASSPHRASE))
    said = refused(pc, errors.KeyLocked, pc.target(server, identity=str(path)))
    assert f"ssh-add '{path}'" in said
    assert "ssh-add --apple-load-keychain" in said  # it may be in the keychain of macOS
    pc.configure(f"IdentityFile {path}")
    assert str(path) in refused(pc, errors.KeyLocked, pc.target(server))


def test_a_key_that_is_not_there_is_named(pc: Pc, server: sshd.Server) -> None:
    path = str(pc.ssh / "gone")
    said = refused(pc, errors.KeyUnusable, pc.target(server, identity=path))
    assert path in said and "no such file" in said
    pc.configure(f"Host board\n HostName 127.0.0.1\n IdentityFile {pc.ssh}/%r-%h")
    said = refused(pc, errors.KeyUnusable, pc.target(server, host="board"))
    assert f"{pc.ssh}/{sshd.local_user()}-127.0.0.1" in said


def test_a_named_key_that_is_not_there_is_no_matter_if_another_one_is(
    pc: Pc, server: sshd.Server
) -> None:
    pc.configure(f"IdentityFile {pc.ssh}/gone")
    server.authorize(pc.key())
    pc.works(pc.target(server))


def test_a_file_that_is_no_key_is_passed_over(pc: Pc, server: sshd.Server) -> None:
    (pc.ssh / "junk").write_text("junk")
    (pc.ssh / "junk").chmod(0o600)
    refused(pc, errors.LoginRefused, pc.target(server, identity=str(pc.ssh / "junk")))


def test_a_refused_key_is_a_sentence(pc: Pc, server: sshd.Server) -> None:
    pc.key()
    said = refused(pc, errors.LoginRefused, pc.target(server, user="root"))
    assert "(tried: 1 key)" in said and f"ssh-copy-id -p {server.port} root@127.0.0.1" in said


def test_a_user_name_may_contain_an_at(pc: Pc, server: sshd.Server) -> None:
    server.authorize(pc.key())
    said = refused(pc, errors.LoginRefused, pc.target(server, user="me@corp.example"))
    assert "me@corp.example" in said
    assert "Invalid user me@corp.example from" in server.log


def test_a_public_key_may_have_a_comment_of_any_bytes(pc: Pc, server: sshd.Server) -> None:
    pc.key(passphrase=PASSPHRASE)
    public = pc.ssh / "id_ed25519.pub"
    line = b" ".join(public.read_bytes().split()[:2]) + b" me@caf\xe9\n"
    public.write_bytes(line)
    with (server.folder / "authorized_keys").open("ab") as file:
        file.write(line)
    pc.works(pc.target(server), Person(secrets=[PASSPHRASE]))


def test_a_login_by_key_does_not_load_the_keyring(pc: Pc, server: sshd.Server) -> None:
    server.authorize(pc.key())
    target = pc.target(server)
    said = f"host={target.host!r}, port={target.port}, ssh={target.ssh!r}"
    code = (
        "import sys\n"
        f"sys.path[:] = {sys.path!r}\n"
        "from rkernel_launcher.target import Target\n"
        "from rkernel_launcher.transports import ssh\n"
        f"target = Target({said}, ssh_command={target.ssh_command!r})\n"
        "ssh.transport(target, None)(['cat'], b'x', 20.0).close()\n"
        "assert 'keyring' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- agents ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def agent(monkeypatch: pytest.MonkeyPatch, *keys: Path) -> Iterator[None]:
    with sshd.agent(*keys) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        yield


def test_the_agent_logs_in(
    pc: Pc, server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.authorize(sshd.keygen(tmp_path / "elsewhere"))
    with agent(monkeypatch, tmp_path / "elsewhere"):
        pc.works(pc.target(server))


def test_a_key_of_the_agent_may_have_a_comment_of_any_bytes(
    pc: Pc, server: sshd.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.authorize(sshd.keygen(tmp_path / "key"))
    command = [b"ssh-keygen", b"-q", b"-c", b"-C", b"caf\xe9", b"-f", bytes(tmp_path / "key")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with agent(monkeypatch, tmp_path / "key"):
        listed = subprocess.run(["ssh-add", "-L"], check=True, capture_output=True).stdout
        assert b"\xe9" in listed or b"\\351" in listed
        pc.works(pc.target(server))


def test_the_agent_saves_asking_for_a_passphrase(
    pc: Pc, server: sshd.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pc.ssh / "board"
    server.authorize(pc.key("board"))
    with agent(monkeypatch, path):
        subprocess.run(
            ["ssh-keygen", "-q", "-p", "-N", PASSPHRASE, "-f", str(path)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        pc.works(pc.target(server, identity=str(path)))
        path.unlink()  # the public half is enough
        pc.works(pc.target(server, identity=f"{path}.pub"))


@pytest.fixture
def crowded_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An agent with more keys than a server puts up with."""
    paths = [tmp_path / f"key{number}" for number in range(4)]
    for path in paths:
        sshd.keygen(path)
    with agent(monkeypatch, *paths):
        yield


def test_no_try_is_wasted_on_keys_that_are_not_wanted(pc: Pc, crowded_agent: None) -> None:
    with sshd.openssh("MaxAuthTries 2") as server:
        pc.know(server)
        server.authorize(pc.key("board"))
        pc.works(pc.target(server, identity=str(pc.ssh / "board")))
        assert "Failed publickey" not in server.log
        pc.configure(f"Host lonely\n HostName 127.0.0.1\n IdentityFile {pc.ssh}/board")
        pc.configure(" IdentitiesOnly yes")
        pc.works(pc.target(server, host="lonely"))
        assert "Failed publickey" not in server.log


def test_too_many_keys_are_a_sentence(pc: Pc, crowded_agent: None) -> None:
    with sshd.openssh("MaxAuthTries 3") as server:
        pc.know(server)
        assert "too many" in refused(pc, errors.LoginCut, pc.target(server))


@pytest.fixture
def asking_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An agent with three keys that asks at each use; the file is what it has asked so far."""
    asked = tmp_path / "asked"
    asked.touch()
    with sshd.agent(asking=tmp_path) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        for number in range(3):
            sshd.keygen(tmp_path / f"key{number}")
            add = ["ssh-add", "-q", "-c", str(tmp_path / f"key{number}")]
            subprocess.run(add, check=True)
        yield asked


def test_a_person_confirms_once_and_only_the_key_that_is_taken(
    pc: Pc, server: sshd.Server, asking_agent: Path
) -> None:
    server.authorize((asking_agent.parent / "key2.pub").read_text())
    (asking_agent.parent / "agree").touch()
    pc.works(pc.target(server))
    assert asking_agent.read_text().count("Allow use of key") == 1


def test_an_agent_that_declines_is_a_sentence(
    pc: Pc, server: sshd.Server, asking_agent: Path
) -> None:
    server.authorize((asking_agent.parent / "key2.pub").read_text())
    said = refused(pc, errors.AgentDeclined, pc.target(server))
    assert "did not sign" in said
    assert asking_agent.read_text().count("Allow use of key") == 1


def test_an_agent_that_declines_does_not_end_the_login(
    pc: Pc, server: sshd.Server, asking_agent: Path
) -> None:
    server.authorize((asking_agent.parent / "key1.pub").read_text())
    server.authorize(pc.key("later", passphrase=PASSPHRASE))
    pc.configure(f"IdentityFile {pc.ssh}/later")
    pc.works(pc.target(server), Person(secrets=[PASSPHRASE]))


# --- passwords ------------------------------------------------------------------------------------


def test_an_account_without_a_password_lets_us_in(pc: Pc) -> None:
    with (
        sshd.account("") as user,
        sshd.openssh("PasswordAuthentication yes", "PermitEmptyPasswords yes") as server,
    ):
        pc.know(server)
        pc.works(pc.target(server, user=user.name))
        assert "Accepted none" in server.log


def test_a_password_is_asked_for(pc: Pc, password_server: sshd.Server, user: sshd.Account) -> None:
    person = Person(secrets=["wrong", PASSWORD])
    pc.works(pc.target(password_server, user=user.name), person)
    assert person.asked == [f"{user.name}@127.0.0.1's password: "] * 2
    assert person.prompts.typed == {f"{user.name}@127.0.0.1:{password_server.port}": PASSWORD}
    assert person.threads == {threading.current_thread()}  # where Ctrl-C arrives


def test_a_password_is_not_asked_for_when_nobody_is_there(
    pc: Pc, password_server: sshd.Server, user: sshd.Account
) -> None:
    said = refused(pc, errors.PasswordNeeded, pc.target(password_server, user=user.name))
    address = f"{user.name}@127.0.0.1:{password_server.port}"
    assert "wants a password" in said and f"rkernel add --host {address} in" in said


def test_three_wrong_passwords_are_a_sentence(
    pc: Pc, password_server: sshd.Server, user: sshd.Account
) -> None:
    person = Person(secrets=["one", "two", "three"])
    target = pc.target(password_server, user=user.name)
    assert user.name in refused(pc, errors.PasswordRefused, target, person)
    assert person.secrets == []


def test_a_kept_password_is_used(
    pc: Pc, password_server: sshd.Server, user: sshd.Account, kept: dict[tuple[str, str], str]
) -> None:
    name = f"{user.name}@127.0.0.1:{password_server.port}"
    kept["rkernel", name] = PASSWORD
    target = pc.target(password_server, user=user.name)
    pc.works(target)
    kept["rkernel", name] = "an older one"
    refused(pc, errors.PasswordRefused, target)
    pc.works(target, Person(secrets=[PASSWORD]))


def test_a_broken_keyring_is_as_good_as_none(
    pc: Pc, password_server: sshd.Server, user: sshd.Account
) -> None:
    keyring.set_keyring(BrokenKeyring())
    pc.works(pc.target(password_server, user=user.name), Person(secrets=[PASSWORD]))


@pytest.mark.parametrize("order", ["publickey,password", "password,publickey"])
def test_a_key_and_a_password_in_a_row(pc: Pc, user: sshd.Account, order: str) -> None:
    settings = ("PasswordAuthentication yes", f"AuthenticationMethods {order}")
    with sshd.openssh(*settings) as server:
        pc.know(server)
        server.authorize(pc.key())
        pc.works(pc.target(server, user=user.name), Person(secrets=[PASSWORD]))
        wrong = Person(secrets=["one", "two", "three"])
        refused(pc, errors.PasswordRefused, pc.target(server, user=user.name), wrong)


@pytest.fixture
def pam_server(pc: Pc) -> Iterator[sshd.Server]:
    if not Path("/etc/pam.d/sshd").exists():
        pytest.skip("questions of the server's need PAM")
    with sshd.openssh("UsePAM yes", "KbdInteractiveAuthentication yes") as server:
        pc.know(server)
        yield server


def test_the_questions_of_the_server_are_answered(
    pc: Pc, pam_server: sshd.Server, user: sshd.Account, kept: dict[tuple[str, str], str]
) -> None:
    person = Person(secrets=["wrong", PASSWORD])
    target = pc.target(pam_server, user=user.name)
    pc.works(target, person)
    assert person.asked == [f"({user.name}@127.0.0.1) Password: "] * 2
    assert person.threads == {threading.current_thread()}
    assert "keyboard-interactive/pam" in pam_server.log
    kept["rkernel", f"{user.name}@127.0.0.1:{pam_server.port}"] = PASSWORD
    pc.works(target)


def test_a_person_may_leave_in_the_middle_of_a_question(
    pc: Pc, pam_server: sshd.Server, user: sshd.Account
) -> None:
    class Leaving(Person):
        def _secret(self, text: str) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pc.start(pc.target(pam_server, user=user.name), Leaving())


def test_a_second_factor_is_asked_for(pc: Pc, user: sshd.Account) -> None:
    if not Path("/etc/pam.d/sshd").exists():
        pytest.skip("questions of the server's need PAM")
    settings = (
        "UsePAM yes",
        "KbdInteractiveAuthentication yes",
        "AuthenticationMethods publickey,keyboard-interactive",
    )
    with sshd.openssh(*settings) as server:
        pc.know(server)
        server.authorize(pc.key())
        target = pc.target(server, user=user.name)
        pc.works(target, Person(secrets=[PASSWORD]))
        assert "ControlMaster" in refused(pc, errors.SecondFactorNeeded, target)


def test_what_the_server_says_to_whoever_logs_in_is_shown(pc: Pc, tmp_path: Path) -> None:
    (tmp_path / "banner").write_text("Mind the \x1b[31mgap\n")
    with sshd.openssh(f"Banner {tmp_path}/banner") as server:
        pc.know(server)
        server.authorize(pc.key())
        person = Person()
        pc.works(pc.target(server), person)
        shown = "".join(person.said)
        assert "Mind the " in shown and "\x1b" not in shown
        pc.works(pc.target(server))


# --- other servers --------------------------------------------------------------------------------


def test_dropbear_by_key_by_password_and_without(pc: Pc, user: sshd.Account) -> None:
    with sshd.dropbear() as server:
        pc.know(server)
        target = pc.target(server, user=user.name)
        pc.works(target, Person(secrets=[PASSWORD]))
        folder = user.home / ".ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "authorized_keys").write_text(pc.key())
        subprocess.run(["chown", "-R", user.name, str(folder)], check=True)
        pc.works(pc.target(server, user=user.name))
        (folder / "authorized_keys").unlink()
        refused(pc, errors.PasswordNeeded, target)
    with sshd.account("") as open_user, sshd.dropbear("-B", host_keys=("rsa",)) as server:
        pc.know(server)
        pc.works(pc.target(server, user=open_user.name))


@pytest.mark.parametrize(
    "setting",
    ["AllowTcpForwarding no", "PermitOpen none", "DisableForwarding yes", "MaxSessions 1"],
)
def test_a_server_that_forwards_nothing_will_do(pc: Pc, setting: str) -> None:
    with sshd.openssh(setting) as server:
        pc.know(server)
        server.authorize("restrict " + pc.key())
        pc.works(pc.target(server))
