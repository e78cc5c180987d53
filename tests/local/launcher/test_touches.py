"""A key that asks the person at each use: once for a whole start, and once for each new login."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import sshd
from tests.support.boards import wait_until
from tests.support.commands import rkernel
from tests.support.kernels import started
from tests.support.remote import Remote, remote


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a file to which an agent that asks writes its questions; the person always agrees."""
    file = tmp_path / "asked"
    for made in (file, tmp_path / "agree"):
        made.touch()
    with sshd.agent(asking=tmp_path) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        yield file


@pytest.fixture
def board(asked: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """Give a board whose key only that agent has."""
    with remote() as found:
        subprocess.run(["ssh-add", "-q", "-c", str(found.key)], check=True)
        found.key.unlink()
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.mark.parametrize("engine", ["openssh", "paramiko"])
def test_one_touch_for_a_whole_start(board: Remote, asked: Path, engine: str) -> None:
    board = replace(board, options=(*board.options, "--ssh", engine))
    added = rkernel("add", *board.options, "--name", "it", "--yes", "--orphan-timeout", "0")
    assert (added.returncode, added.stderr) == (0, "")
    assert touches(asked) == 2, "one for the check, and one for a kernel as Jupyter starts it"
    agent = {"SSH_AUTH_SOCK": os.environ["SSH_AUTH_SOCK"]}
    with started(replace(board, environment={**board.environment, **agent})) as kernel:
        assert kernel.run("print('here')").text() == "here\n"
        assert touches(asked) == 3
        board.server.drop()
        wait_until(lambda: "the link is back" in kernel.log(), "the link is back", board.limit)
        assert touches(asked) == 4


def touches(asked: Path) -> int:
    """Return how often the person was asked."""
    return asked.read_text().count("Allow use of key")
