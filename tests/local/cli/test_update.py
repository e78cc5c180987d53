"""`rkernel update`: a board has all that a kernel needs before a frontend waits for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rkernel_launcher import errors
from tests.support.boards import Board
from tests.support.commands import assert_refused, rkernel
from tests.support.kernels import started


@pytest.fixture
def there(home: Board) -> Path:
    """Give the folder of a board for which two kernels were added, and that has nothing now."""
    for name, options in {"own": [], "sent": ["--ipykernel", "bundled"]}.items():
        run = rkernel("add", "--via", "local", "--name", name, *options, "--no-check")
        assert (run.returncode, run.stderr) == (0, "")
    folder = Path(home.environment["XDG_CACHE_HOME"], "rkernel")
    shutil.rmtree(folder)
    return folder


def kinds(folder: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in folder.iterdir()}


def test_one_kernel(there: Path) -> None:
    run = rkernel("update", "own")
    assert (run.returncode, run.stderr) == (0, "")
    assert "bundle" not in kinds(there) and "code" in kinds(there)


def test_all_kernels(home: Board, there: Path) -> None:
    run = rkernel("update", "--all")
    assert (run.returncode, run.stderr) == (0, "")
    assert "Sending the packages" in run.stdout and "code and packages" in run.stdout
    assert {"bundle", "code"} <= kinds(there)
    before = sorted(there.rglob("*"))
    assert "Sending" not in rkernel("update", "sent", "own").stdout
    with started(home, "--ipykernel", "bundled") as kernel:
        assert kernel.value("6 * 7") == "42"
    assert sorted(there.rglob("*")) == before


def test_a_board_that_is_off_keeps_nobody_waiting(there: Path) -> None:
    run = rkernel("add", "--host", "x.invalid", "--via", "ssh", "--name", "off", "--no-check")
    assert run.returncode == 0
    run = rkernel("update", "--all")
    assert run.returncode == 1
    assert run.stderr.startswith("x.invalid: This PC cannot find the host x.invalid.")
    assert "code" in kinds(there)
    assert_refused(rkernel("update", "off"), errors.UnknownHost)


@pytest.mark.parametrize("arguments", [[], ["--all", "own"]])
def test_what_is_meant_must_be_clear(home: Board, arguments: list[str]) -> None:
    run = rkernel("update", *arguments)
    assert run.returncode == 2 and "Give names of kernels, or --all." in run.stderr


def test_a_name_that_nobody_added(home: Board) -> None:
    assert_refused(rkernel("update", "nobody"), errors.NoSuchKernel)
