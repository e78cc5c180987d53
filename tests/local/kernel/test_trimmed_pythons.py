"""Pythons that lack parts of their library, each alone and all together: survived, or named."""

from __future__ import annotations

import pytest

from rkernel_launcher import errors
from tests.support.boards import Board
from tests.support.commands import assert_refused, connection_file, launcher, rkernel
from tests.support.kernels import started
from tests.support.trimmed import COMPILED, MODULES, trimmed

NEEDED = ("asyncio", "logging", "select", "unicodedata", "zlib")  # a kernel cannot do without


@pytest.mark.parametrize("ipykernel", ["board", "bundled"])
@pytest.mark.parametrize("names", [tuple(MODULES), COMPILED], ids=["modules", "compiled"])
def test_all_together(home: Board, names: tuple[str, ...], ipykernel: str) -> None:
    python = trimmed(home.folder / "python", names)
    options = ("--python", python, "--ipykernel", ipykernel)
    run = rkernel("add", "--via", "local", *options)
    assert (run.returncode, run.stderr) == (0, "")
    with started(home, *options) as kernel:
        assert kernel.run("1 / 0").reply["content"]["ename"] == "ZeroDivisionError"
        assert kernel.run("import sqlite3").reply["content"]["ename"] == "ModuleNotFoundError"


@pytest.mark.parametrize("name", sorted({*MODULES, *COMPILED}))
def test_each_alone(home: Board, name: str) -> None:
    python = trimmed(home.folder / "python", [name])
    with started(home, "--python", python, "--ipykernel", "bundled") as kernel:
        assert kernel.value("6 * 7") == "42"


@pytest.mark.parametrize("name", NEEDED)
def test_what_no_kernel_can_do_without_is_named(home: Board, name: str) -> None:
    python = trimmed(home.folder / "python", [name])
    options = ("--via", "local", "--python", python, "--ipykernel", "bundled")
    run = launcher(*options, connection_file=connection_file(home))
    assert_refused(run, errors.TrimmedPython, f"lacks {name}")
