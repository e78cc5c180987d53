"""The Python of a login shell: `rkernel add` says so if the kernel uses another one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.boards import Board
from tests.support.commands import rkernel
from tests.support.remote import remote


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    with remote() as found:
        yield found


@pytest.fixture(autouse=True)
def _of_this_pc(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in board.environment.items():
        monkeypatch.setenv(name, value)


def added(board: Board, profile: str, *options: str) -> str:
    """Add a kernel of a board whose login shells read these lines; return what was said."""
    Path(board.environment["HOME"], ".bash_profile").write_text(profile + "\n")
    host = ["--via", "ssh", "--host", "pi", "--name", "x", "--yes", "--no-check"]
    run = rkernel("add", *host, *options)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def other_python(board: Board) -> Path:
    """Make a folder with a `python3`, as a venv has."""
    folder = board.folder / "venv"
    folder.mkdir(exist_ok=True)
    (folder / "python3").unlink(missing_ok=True)
    (folder / "python3").symlink_to("/usr/bin/python3")
    return folder


def test_another_python_is_named(board: Board) -> None:
    folder = other_python(board)
    said = added(board, f"echo Welcome; export PATH={folder}:$PATH")
    assert f"A login shell there has {folder}/python3 (3." in said
    assert f"add --python {folder}/python3" in said


def test_nothing_is_said_where_there_is_nothing_to_say(board: Board) -> None:
    assert "A login shell" not in added(board, f"export PATH={os.environ['PATH']}")
    other = f"export PATH={other_python(board)}:$PATH"
    assert "A login shell" not in added(board, other, "--python", "/usr/bin/python3")


@pytest.mark.parametrize("profile", ["exit 3", "exec tmux", "echo a; exec sleep 60"])
def test_login_shells_that_do_not_tell(board: Board, profile: str) -> None:
    begun = time.monotonic()
    assert "A login shell" not in added(board, profile)
    assert time.monotonic() - begun < 20
