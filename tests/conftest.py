"""What many tests need: a PC with nothing on it, and a Python as boards have it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import armv7l
import boards
import pytest
from hypothesis import settings
from pythons import interpreters

# A busy machine is no reason to fail: how long one example may take is not what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rkernel-tests"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[boards.Board]:
    """Give an empty home on this machine, which is its own board; no process in it stays."""
    with boards.local() as board:
        for name, value in board.environment.items():
            monkeypatch.setenv(name, value)
        yield board


@pytest.fixture(scope="session")
def machines() -> Iterator[Callable[[str], armv7l.Armv7l]]:
    """Give an emulated board, booted once, when it is first asked for.

    It is that of a suite, or a bare one with so much memory, as in "bare-64".
    """
    from bare import bare  # it asks here for KEPT

    with ExitStack() as stack:

        def boot(name: str) -> armv7l.Armv7l:
            kind, _, memory = name.partition("-")
            return stack.enter_context(bare(int(memory)) if memory else armv7l.booted(kind))

        yield cache(boot)


@pytest.fixture
def small(machines: Callable[[str], armv7l.Armv7l]) -> Iterator[armv7l.Armv7l]:
    """Give an emulated board with 64 MB that has python3 alone, see bare.py."""
    board = machines("bare-64")
    yield board
    board.end_agents()


@pytest.fixture
def any_board(
    request: pytest.FixtureRequest, machines: Callable[[str], armv7l.Armv7l]
) -> Iterator[boards.Board]:
    """Give the board that the test's parameter names: this machine, or an emulated one's suite."""
    if request.param != "local":
        yield machines(request.param)
        return
    with boards.local() as board:
        yield board


@pytest.fixture(scope="session")
def board_python() -> str:
    """Give the oldest Python that a board may have, with ipykernel."""
    return environment("ipykernel", "ipykernel==6.29.5")


def environment(name: str, *packages: str) -> str:
    """Give the Python of a virtual environment, which is kept, with some packages."""
    version = "3.8" if "3.8" in interpreters() else f"3.{sys.version_info.minor}"
    folder = KEPT / f"venv-{name}-{version}"
    if not folder.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as part:
            new = f"{part}/new"
            _run(interpreters()[version], "-m", "venv", new)
            pip = [f"{new}/bin/python", "-m", "pip", "--disable-pip-version-check", "install"]
            for package in packages:
                _run(*pip, "--quiet", *package.split())
            Path(new).rename(folder)
    return str(folder / "bin" / "python")


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, f"{' '.join(command)}: {result.stderr}"
