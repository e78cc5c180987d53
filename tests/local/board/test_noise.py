"""Boards whose shell, Python or wrapper prints what nobody asked for, or does something else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rkernel_launcher import errors
from rkernel_launcher.board import bootstrap, reach
from rkernel_launcher.target import Target
from tests.support.boards import Board
from tests.support.commands import assert_refused, rkernel
from tests.support.kernels import started
from tests.support.remote import Remote, remote

WRAPPER = """#!/bin/sh
echo '{"error": "the wrapper starts"}'; printf 'no end of line'
PYTHONPATH=%s "%s" "$@"
status=$?
echo; echo 'the wrapper ends'
exit $status
"""
SITE = """
import atexit, sys
print('{"installed": true}', end="", flush=True)
print("noise on stderr", file=sys.stderr)
atexit.register(print, "and good bye", flush=True)
"""


@pytest.fixture(scope="module")
def board() -> Iterator[Remote]:
    with remote() as found:
        yield found


@pytest.fixture(autouse=True)
def _of_this_pc(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in board.environment.items():
        monkeypatch.setenv(name, value)


@contextmanager
def startup_file(board: Board, text: str) -> Iterator[None]:
    """Have the login shell on the board run some lines first."""
    path = Path(board.environment["HOME"], ".bashrc")
    path.write_text(text + "\n")
    try:
        yield
    finally:
        path.unlink()


def noisy_python(board: Board) -> str:
    """Make a Python that prints before it starts, as it starts, as it ends, and afterwards."""
    folder = board.folder / "noisy"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE)
    path = folder / "python"
    path.write_text(WRAPPER % (f"{folder}:{board.environment['PYTHONPATH']}", sys.executable))
    path.chmod(0o755)
    return str(path)


def add(board: Board, *options: str, name: str = "noise") -> None:
    run = rkernel("add", *board.options, *options, "--name", name, "--yes")
    assert (run.returncode, run.stderr) == (0, "")


def test_noise_at_every_step(board: Remote) -> None:
    options = ("--python", noisy_python(board))
    with startup_file(board, "echo Welcome; echo rkernel-reply: {}; printf 'no end of line'"):
        add(board, *options)
        with started(board, *options) as kernel:
            kernel.run("kept = 7")
            board.network.reset()
            board.network.restore()
            assert kernel.value("kept") == "7"
            run = rkernel("ps", "noise")
            assert (run.returncode, run.stderr) == (0, "") and "connected" in run.stdout
        add(board, *options, "--ipykernel", "bundled", name="bundled")


@pytest.mark.parametrize(
    "line",
    ["read answer", "read answer; read again", "bash --norc", "echo $(cat /proc/uptime)"],
    ids=["reads", "reads twice", "a shell within", "prints"],
)
def test_startup_files_that_let_us_go_on(board: Remote, line: str) -> None:
    with startup_file(board, line):
        run = rkernel("add", *board.options, "--name", "goes-on", "--yes", "--no-check")
    if line.endswith("again"):  # it has taken a line that we need
        assert "Not checked: rkernel's code did not start" in run.stdout
    else:
        assert "Reading what the board has" in run.stdout and "Not checked" not in run.stdout


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("exit", "ended with status 0"),
        ("echo The lab is closed.; exit 5", "The lab is closed"),
        ("exec tmux", "not a terminal"),
        ("exec dash", "another shell"),
        ("exec bash --norc", "another shell"),
        ("exec python3 -c 'print(input())'", "exit 79"),
    ],
)
def test_startup_files_that_replace_the_shell(board: Remote, line: str, words: str) -> None:
    with startup_file(board, line):
        run = rkernel("add", *board.options)
    assert_refused(run, errors.ShellEnded, words)


def test_a_startup_file_that_shows_a_menu(board: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "START_SECONDS", 0.5)
    with startup_file(board, "echo '1: shell, 2: reboot'; exec sleep 2"):
        target = Target(via="ssh", host="pi", python=sys.executable)
        with pytest.raises(errors.ShellSilent, match="1: shell, 2: reboot"):
            reach.reach(target)
