"""A kernel that is started to see whether a board will do."""

from __future__ import annotations

from pathlib import Path

import pytest

from rkernel_launcher.cli import trial
from rkernel_launcher.errors import (
    CheckFailed,
    KernelSilent,
)
from rkernel_launcher.target import Target
from tests.support.boards import Board
from tests.support.commands import wrapper


def test_a_kernel_that_says_nothing(
    home: Board, silent_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "READY_SECONDS", 3.0)
    with pytest.raises(KernelSilent, match="within 3 s"):
        trial.kernel(Target(via="local", python=silent_python, warm_start="never"))
    assert home.kernels() == set()


def test_a_kernel_that_ends_at_once(home: Board) -> None:
    with pytest.raises(CheckFailed, match="workdir"):
        trial.kernel(Target(via="local", workdir="/no/such/folder"))


def test_a_kernel_that_computes_oddly(home: Board) -> None:
    startup = Path(home.environment["IPYTHONDIR"], "profile_default", "startup")
    startup.mkdir(parents=True)
    (startup / "print.py").write_text("def print(*words): raise OSError('\\x1b[2J no paper')\n")
    with pytest.raises(CheckFailed, match=r"\\\\x1b\[2J no paper"):
        trial.kernel(Target(via="local"))


@pytest.fixture
def silent_python(home: Board) -> str:
    """A Python whose kernels do nothing at all."""
    return wrapper(home.folder / "silent", "*'board_agent.kernel '*) exec sleep 300;;")
