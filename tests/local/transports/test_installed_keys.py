"""After a login with a password: a key on the board in its place, or the keyring has it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from rkernel_launcher.board.board import Board
from rkernel_launcher.board.reach import reach
from rkernel_launcher.cli import login
from rkernel_launcher.errors import KeyNotInstalled
from rkernel_launcher.target import Target
from tests.support import sshd
from tests.support.ssh_pc import Pc, Person

PASSPHRASE = "correct horse"
PASSWORD = "staple battery"


@pytest.fixture
def boards() -> Iterator[ExitStack]:
    """Close boards."""
    with ExitStack() as stack:
        yield stack


def reached(boards: ExitStack, target: Target, person: Person | None = None) -> Board:
    board = reach(target, person.prompts if person else None)
    boards.callback(board.close)
    board.prepare()
    return board


def over_ssh(pc: Pc, server: sshd.Server, **said: object) -> Target:
    return pc.target(server, via="ssh", python=sys.executable, **said)


def test_a_key_is_installed_once_and_on_a_line_of_its_own(
    pc: Pc, server: sshd.Server, boards: ExitStack
) -> None:
    server.authorize(pc.key())
    file = server.folder / ".ssh" / "authorized_keys"  # sshd gives its folder as HOME
    new, old = pc.key("new"), pc.key("old").strip()
    board = reached(boards, over_ssh(pc, server))
    board.install_key(new.encode())
    assert file.read_text() == new
    assert (file.parent.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    file.write_text(f"#{new}{old}")
    board.install_key(new.encode())
    board.install_key(new.encode().replace(b"\n", b" caf\xe9\n"))
    assert file.read_text() == f"#{new}{old}\n{new}"
    file.unlink()
    file.mkdir()
    with pytest.raises(KeyNotInstalled, match="directory"):
        board.install_key(new.encode())
    for junk in ("", "junk", new + new):
        with pytest.raises(KeyNotInstalled, match="not the line"):
            board.install_key(junk.encode())


def test_openwrt_finds_the_key_where_its_dropbear_looks(pc: Pc, boards: ExitStack) -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], stderr=-1).returncode:
        pytest.skip("playing OpenWrt needs a mount namespace")
    with sshd.openssh() as server, boards:
        pc.know(server)
        server.authorize(pc.key())
        copy = server.folder / "etc"
        (copy / "dropbear").mkdir(parents=True)
        script = (
            f"cp /etc/passwd /etc/group /etc/shadow {copy} && mount --bind {copy} /etc && "
            f": > /etc/openwrt_release && exec {server.argv[0]} -i -f {server.folder}/config"
        )
        server.argv = ["unshare", "-m", "sh", "-c", script]
        board = reached(boards, over_ssh(pc, server))
        board.install_key(pc.key("new").encode())
        board.install_key(pc.key("newer").encode())
        both = "".join((pc.ssh / f"{name}.pub").read_text() for name in ("new", "newer"))
        assert (copy / "dropbear" / "authorized_keys").read_text() == both
        assert (server.folder / ".ssh" / "authorized_keys").read_text() == both


@pytest.fixture
def target(pc: Pc, password_server: sshd.Server, user: sshd.Account) -> Iterator[Target]:
    """An account that has a password, and a home with keys of its own."""
    config = password_server.folder / "config"
    text = config.read_text().replace(f"SetEnv HOME={password_server.folder}", "")
    config.write_text(f"AuthorizedKeysFile {user.home}/.ssh/authorized_keys\n{text}")
    yield pc.target(password_server, via="ssh", user=user.name, python="/usr/bin/python3")
    (user.home / ".ssh" / "authorized_keys").unlink(missing_ok=True)


def visited(boards: ExitStack, target: Target, yes: bool) -> Person:
    """Log in with a typed password, and take what is offered, or not."""
    person = Person(yes=yes, secrets=[PASSWORD])
    board = reached(boards, target, person)
    person.asked.clear()
    login.offer_key(board, person.prompts)
    return person


def test_a_key_is_made_and_installed(
    pc: Pc, password_server: sshd.Server, target: Target, boards: ExitStack
) -> None:
    person = visited(boards, target, yes=True)
    assert "Make a key" in person.asked[0] and len(person.asked) == 1
    assert (pc.ssh / "id_ed25519").stat().st_mode & 0o777 == 0o600
    pc.works(pc.target(password_server, user=target.user))


def test_a_key_that_needs_no_passphrase_is_installed(
    pc: Pc, password_server: sshd.Server, user: sshd.Account, boards: ExitStack, target: Target
) -> None:
    pc.key("id_ecdsa", kind="ecdsa", passphrase=PASSPHRASE)
    pc.key("id_rsa", kind="rsa")
    pc.target(password_server)  # so the settings name them
    person = visited(boards, target, yes=True)
    assert len(person.asked) == 1 and "id_rsa.pub" in person.asked[0]
    pc.works(pc.target(password_server, user=user.name))


def test_the_password_is_kept_instead(
    pc: Pc, target: Target, kept: dict[tuple[str, str], str], boards: ExitStack
) -> None:
    assert len(visited(boards, target, yes=False).asked) == 2
    assert kept == {}
    board = reached(boards, target, person := Person(secrets=[PASSWORD]))
    answers = iter([False, True])
    object.__setattr__(person.prompts, "confirm", lambda text: next(answers))
    login.offer_key(board, person.prompts)
    assert list(kept.values()) == [PASSWORD]
    pc.works(target)
    assert not (pc.ssh / "id_ed25519").exists()


def test_nothing_is_offered_without_need(
    pc: Pc, server: sshd.Server, target: Target, boards: ExitStack
) -> None:
    server.authorize(pc.key())
    person = Person(yes=False)
    login.offer_key(reached(boards, over_ssh(pc, server), person), person.prompts)
    assert person.asked == []
    (pc.ssh / "id_ed25519").unlink()
    assert len(visited(boards, target, yes=False).asked) == 1  # no keyring: only the key is offered
