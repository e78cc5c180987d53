"""`rkernel doctor` without a name: this PC, and one line for each board."""

from __future__ import annotations

from pathlib import Path

import pytest

from rkernel_launcher import errors
from tests.support import sshd
from tests.support.boards import Board
from tests.support.commands import PYTHON, rkernel
from tests.support.diagnosis import Diagnosis, diagnosis
from tests.support.remote import Remote


def doctor() -> Diagnosis:
    return diagnosis(rkernel("doctor"))


def test_a_pc_without_boards(home: Board) -> None:
    found = doctor()
    assert list(found.good) == ["rkernel", "Jupyter", "ssh", "SSH agent", "Keyring", "adb"]
    assert home.environment["JUPYTER_DATA_DIR"] in found.good["Jupyter"]
    assert "OpenSSH" in found.good["ssh"]
    assert "adbutils" in found.good["adb"]


def test_kernels_that_vs_code_does_not_find(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(home.environment["HOME"], ".vscode").mkdir()
    data = home.environment["JUPYTER_DATA_DIR"]
    doctor().names("VS Code", errors.HiddenFromVsCode, data, "JUPYTER_PATH")
    monkeypatch.setenv("JUPYTER_PATH", data)
    assert "VS Code" in doctor().good
    monkeypatch.delenv("JUPYTER_PATH")
    monkeypatch.delenv("JUPYTER_DATA_DIR")
    assert "VS Code" in doctor().good


def test_a_folder_of_kernels_that_is_a_file(home: Board) -> None:
    data = Path(home.environment["JUPYTER_DATA_DIR"])
    data.parent.mkdir(parents=True, exist_ok=True)
    data.touch()
    doctor().names("Jupyter", errors.KernelsUnusable, str(data))


def test_a_pc_without_ssh(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RKERNEL_SSH", "no-such-program")
    assert "no-such-program" in doctor().good["ssh"]


def test_the_ssh_agent(home: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Path(home.environment["HOME"], "key")
    sshd.keygen(key)
    with sshd.agent(key) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        assert doctor().good["SSH agent"] == "answers, with 1 key"
    doctor().names("SSH agent", errors.SshAgentGone, "No such file")


def test_one_line_for_each_board(remote: Remote) -> None:
    for name, host in (("pi", "pi"), ("lost", "nowhere.invalid")):
        add = ["add", "--name", name, "--via", "ssh", "--host", host, "--python", PYTHON]
        assert rkernel(*add, "--no-check").returncode == 0
    found = doctor()
    assert "2 kernels of rkernel" in found.good["Jupyter"]
    assert "answers" in found.good["pi"]
    found.names("lost", errors.UnknownHost, "nowhere.invalid")
    assert set(found.wrong) == {"lost"}
