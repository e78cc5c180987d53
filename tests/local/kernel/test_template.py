"""Kernels that are forked from a template, and those that are started each for itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import boards
from tests.support.boards import Board, wait_until
from tests.support.kernels import started

WARM = ("--warm-start", "always")
COLD = ("--warm-start", "never")

# What a cell may see of its process, and that has to be the same however that began.
LOOK = """{
    "arguments": [word for word in sys.argv[1:] if "/" not in word and not word.isdigit()],
    "folder": os.getcwd(),
    "path": sys.path,
    "environment": sorted(set(os.environ) - {"_"}),
    "leads its session": os.getsid(0) == os.getpid() == os.getpgid(0),
    "signals": [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE)],
    "main": [__name__, sys.modules["__main__"].__name__],
    "hashes": [hashlib.sha256.__module__, hasattr(hashlib, "scrypt"), hmac.__name__],
    "archives": [name for name, _ in shutil.get_archive_formats()],
    "memory": open("/proc/self/oom_score_adj").read(),
    "debugger": "debugpy" in sys.modules,
    "flags": str(sys.flags),
}"""
IMPORTS = "import hashlib, hmac, os, shutil, signal, sys"


@pytest.fixture
def board() -> Iterator[Board]:
    with boards.local() as board:
        yield board


def only(pids: set[int]) -> int:
    (pid,) = pids
    return pid


def test_all_kernels_are_forked_from_one_template(board: Board) -> None:
    with started(board, *WARM) as kernel:
        template, first = only(board.templates()), only(board.kernels())
        assert board.parent(first) == template
        assert board.parent(template) == board.agent_of(first)
        kernel.run("x = 1")
        kernel.restart()
        second = only(board.kernels())
        assert second != first
        assert kernel.value("'x' in dir()") == "False"
        with started(board, *WARM) as other:
            other.run("x = 2")
            assert kernel.value("'x' in dir()") == "False"
            assert {board.parent(pid) for pid in board.kernels()} == {template}
            assert len(board.kernels()) == 2


def test_there_is_no_template_if_it_is_not_wanted(board: Board) -> None:
    with started(board, *COLD):
        assert not board.templates()
        assert board.parent(only(board.kernels())) in board.agents()


def test_a_kernel_cannot_tell_how_it_began(board: Board) -> None:
    with started(board, *COLD) as kernel:
        kernel.run(IMPORTS)
        cold = kernel.value(LOOK)
    with started(board, *WARM) as kernel:
        assert board.parent(only(board.kernels())) in board.templates()
        kernel.run(IMPORTS)
        assert kernel.value(LOOK) == cold


def test_kernels_do_without_a_template_that_has_gone(board: Board) -> None:
    with started(board, *WARM) as kernel:
        board.signal(only(board.templates()), signal.SIGKILL)
        wait_until(lambda: not board.templates(), "the template has ended", board.limit)
        assert kernel.value("6 * 7") == "42"
        kernel.restart()
        assert board.parent(only(board.kernels())) in board.agents()
        assert kernel.value("6 * 7") == "42"


def test_the_end_of_a_kernel_without_its_template_is_noticed(board: Board) -> None:
    with started(board, *WARM) as kernel:
        board.signal(only(board.templates()), signal.SIGKILL)
        wait_until(lambda: not board.templates(), "the template has ended", board.limit)
        board.signal(only(board.kernels()), signal.SIGKILL)
        assert "SIGKILL" in kernel.reason(board.limit)
        assert kernel.wait_for_end(5) != 0
        assert "SIGKILL" in kernel.said()


def test_what_was_installed_meanwhile_is_imported_anew(board: Board, tmp_path: Path) -> None:
    path = f"{board.environment['PYTHONPATH']}:{tmp_path}"
    board = replace(board, environment={**board.environment, "PYTHONPATH": path})
    with started(board, *WARM) as kernel:
        (tmp_path / "installed.py").touch()
        kernel.restart()
        assert board.parent(only(board.kernels())) in board.agents()


def test_a_template_ends_with_its_agent(board: Board) -> None:
    with started(board, *WARM, "--orphan-timeout", "0"):
        board.signal(board.agent_of(only(board.kernels())), signal.SIGKILL)
        wait_until(lambda: not board.templates(), "the template has ended", board.limit)
        wait_until(lambda: not board.kernels(), "the kernel has ended", board.limit)
    with started(board, *WARM):  # whose agent takes away what the other one left
        assert board.templates()
