"""What the tests of the ssh clients share: each runs with either."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backends import fail

from tests.support import sshd
from tests.support.ssh_pc import LIMIT, MemoryKeyring, Pc

PASSWORD = "staple battery"


@pytest.fixture(params=["openssh", "paramiko"])
def engine(request: pytest.FixtureRequest) -> str:
    """Name the client."""
    return str(request.param)


@pytest.fixture
def pc(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pc]:
    """Give a PC without keys; no stream and no thread is left behind."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    ring = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())
    before = set(threading.enumerate())
    pc = Pc(tmp_path / "home", engine)
    yield pc
    for stream in pc.streams:
        stream.close()
    keyring.set_keyring(ring)
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT)
        assert not thread.is_alive(), f"{thread} is still there"


@pytest.fixture(autouse=True)
def nothing_printed(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """See that nothing is printed."""
    yield
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def kept(pc: Pc) -> dict[tuple[str, str], str]:
    """Give what the keyring keeps."""
    backend = MemoryKeyring()
    keyring.set_keyring(backend)
    return backend.kept


@pytest.fixture
def server(pc: Pc) -> Iterator[sshd.Server]:
    """Give an sshd that is known here."""
    with sshd.openssh() as server:
        pc.know(server)
        yield server


@pytest.fixture(scope="module")
def user() -> Iterator[sshd.Account]:
    """Give an account of this machine."""
    with sshd.account(PASSWORD) as account:
        yield account


@pytest.fixture
def password_server(pc: Pc) -> Iterator[sshd.Server]:
    """Give an sshd that takes passwords."""
    with sshd.openssh("PasswordAuthentication yes") as server:
        pc.know(server)
        yield server
